"""Held out: one rule says which real images a model has not seen, and evaluation, training and studies keep to it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.features.extractors import Handcrafted
from phonybrains.evaluation.inputs.real import Compared
from phonybrains.evaluation.inputs.sets import open_sides
from phonybrains.evaluation.inputs.sides import side_of
from phonybrains.evaluation.memorisation.audit import memorisation_audit
from phonybrains.finetuning.config import FinetuneConfig
from phonybrains.finetuning.stage import _prepare
from phonybrains.held_out import held_out, set_apart, split_to_compare
from phonybrains.imageset import ImageSet, Row
from phonybrains.model.fitting import fit_conditions
from phonybrains.readerstudy.design.choose import Arm, _pool
from phonybrains.training.corpus import Corpus
from tests.support.image_files import written

CASES = {  # name: modality, patient, split, file, and whether a model has not seen it
    "learnt from": ("MR", "a", "train", "one", False),
    "learnt from, nobody knows whom it shows": ("MR", "", "train", "two", False),
    "another person": ("MR", "b", "test", "three", True),
    "the same person in validation": ("MR", "b", "validation", "four", True),
    "nobody knows whom it shows": ("MR", "", "test", "five", True),
    "a near duplicate of what is learnt from": ("MR", "c", "test", "one, a grey level brighter", True),
    "a person in both splits": ("MR", "a", "test", "six", False),
    "a person in both splits, in validation": ("MR", "a", "validation", "seven", False),
    "a file in both splits": ("MR", "d", "test", "one", False),
    "without a split": ("MR", "e", "", "eight", False),
    "without a split or a person": ("MR", "", "", "nine", False),
    "CT learnt from": ("CT", "f", "train", "eleven", False),
    "CT of a person learnt from in MR": ("CT", "a", "test", "ten", False),
    "CT in validation alone": ("CT", "g", "validation", "twelve", True),
}
ROWS = [Row(name, file, modality, who, split) for name, (modality, who, split, file, _) in CASES.items()]


def test_what_a_model_has_not_seen_is_held_out() -> None:
    """Persons and files of train never are, whichever split they are in too; what has no split is on neither side."""
    assert [ROWS[i].file_name for i in held_out(ROWS)] == [name for name, case in CASES.items() if case[-1]]
    assert [ROWS[i].file_name for i in held_out(ROWS, "validation")] == [
        "the same person in validation",
        "CT in validation alone",
    ]
    assert held_out([Row("a.png", "", "MR"), Row("b.png", "", "MR", "a", "train")]) == []


def test_an_edit_is_on_the_side_of_its_source() -> None:
    """An edit of what is learnt from is not held out, whatever its split says, by patient or by file; nor is an image
    of which an edit, or an edit of an edit, is learnt from."""

    def row(sha: str, split: str, patient: str = "", of: str = "") -> Row:
        return Row(f"{sha}.png", sha, "MR", patient, split, attributes={"edit_of_sha256": of})

    learnt = [row("a", "train"), row("b", "train", "p"), row("c", "train", of="d;e")]
    others = [row("1", "test", of="a"), row("2", "test", "p", of="9"), row("3", "test", of="9;a"), row("e", "test")]
    assert held_out([*learnt, *others, row("4", "test", of="8"), row("d", "validation")]) == [7]


@pytest.mark.parametrize(
    ("modality", "wanted", "found"),
    [
        ("MR", None, "test"),
        ("MR", "validation", "validation"),
        ("CT", None, "validation"),
        ("CT", "test", None),
        ("PET", None, None),
    ],
)
def test_test_is_compared_with_before_validation(modality: str, wanted: str | None, found: str | None) -> None:
    """Validation has chosen the weights, so it is taken only where nobody is left in test; a wanted split stays it."""
    rows = set_apart(ImageSet(Path(), tuple(ROWS), 8, 8, 8)).where(modality=modality).rows
    assert split_to_compare(rows, wanted) == found


def made_of_cases(folder: Path, times: int, synthetic: bool) -> ImageSet:
    """Each of CASES so many times, of as many persons, as images of noise of 64×64."""
    images: list[np.ndarray] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("modality", "patient_id", "split", "attributes")}
    for name, (modality, who, split, file, _) in CASES.items():
        for k in range(times):
            rng = np.random.default_rng([k, *file.partition(",")[0].encode()])
            images.append(rng.integers(20, 200, (64, 64), np.uint8) + np.uint8("brighter" in file))
            for column, value in zip(columns, (modality, who and f"{who}{k}", split, {"case": name}), strict=True):
                columns[column].append(value)
    return written(folder, images, synthetic=synthetic, **columns)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return made_of_cases(tmp_path_factory.mktemp("held out") / "corpus", 10, False)


def cases(rows: Any) -> list[str]:
    return list(dict.fromkeys(str(row["case"]) for row in rows))


IN_TEST = ["another person", "nobody knows whom it shows", "a near duplicate of what is learnt from"]
IN_VALIDATION = ["the same person in validation", "CT in validation alone"]


def test_all_parts_of_an_evaluation_hold_out_the_same(
    corpus: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Report, quality, bias and utility compare with the same images, memorisation with those of both splits; and what
    was left out is said."""
    made = made_of_cases(tmp_path / "made", 2, True)
    sides = open_sides(made.folder, corpus.folder, EvaluateConfig())
    assert cases(sides.real.rows) == [*IN_TEST, "CT in validation alone"]
    assert sides.held_out == "test and validation"
    left_out = "40 images of the splits test and validation left out: train has the same patients or files."
    assert left_out in sides.warnings
    for modality, wanted in (("MR", IN_TEST), ("CT", ["CT in validation alone"])):
        mine, real = (images.where(modality=modality) for images in (sides.samples, sides.corpus))
        side = Compared.of(mine, sides.corpus, Handcrafted(), EvaluateConfig())
        assert cases(side.real.rows[i] for i in side.reference) == wanted
        if modality == "MR":
            measured = side_of(mine, real, modality, EvaluateConfig())
            assert cases(measured.real.rows[i] for i in measured.held) == wanted
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.MOST_TURNS", 4)
    facts = memorisation_audit(sides.samples.where(modality="MR"), sides.corpus, EvaluateConfig()).facts.audit["MR"]
    assert facts.held_out - facts.left_out == 10 * 4


def test_training_and_studies_hold_out_the_same(corpus: ImageSet, tmp_path: Path) -> None:
    """Training and fine-tuning validate with those of validation alone; a study's controls are those of test."""
    opened = Corpus.open(corpus, fit_conditions(corpus.rows, []), tmp_path, torch.device("cpu"))
    assert cases(corpus.rows[i] for i in opened.validation) == IN_VALIDATION
    config = FinetuneConfig(min_patients=0, caption="{modality} of a brain")
    job = _prepare(cast(Any, SimpleNamespace(family="sd")), corpus, config)
    assert cases(corpus.rows[i] for i in job.rows[job.train :]) == IN_VALIDATION
    pool = _pool(Arm("real", corpus), "MR", "test")
    assert cases(corpus.rows[i] for i in pool) == IN_TEST
