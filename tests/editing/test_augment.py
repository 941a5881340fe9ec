"""Augmentation: a corpus as it is, and synthetic training images of what is rare in it, which nobody takes for real."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.cli import app as entry
from phonybrains.editing.augment import augment
from phonybrains.editing.config import AugmentConfig
from phonybrains.editing.plan import Combination, check_augment, plan_of
from phonybrains.errors import ConfigError, ModelError, OutputError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.inputs.sets import open_sides
from phonybrains.held_out import held_out, real_rows
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png
from phonybrains.model import painting
from phonybrains.model.finding import model_folder
from phonybrains.model.fitting import fit_conditions
from phonybrains.model.training_data import splits
from phonybrains.model.withdrawal import withdraw
from phonybrains.record import read_record
from phonybrains.training.stage import train
from tests.support.in_turn import called
from tests.support.tiny_training import micro

QUICK: dict[str, Any] = {"steps": 2, "show": False}


def edited(corpus: Path, out: Path, change: Callable[[Row], Row | None]) -> Path:
    """A copy of a set whose rows are changed, or left out where there is none any more."""
    shutil.copytree(corpus, out)
    rows = [change(row) for row in ImageSet.open(corpus).rows]
    write_metadata(out, [row for row in rows if row])
    return out


@pytest.fixture(scope="module")
def corpus(phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms as if they were scans; of the 16 CT heads to learn from 4 are "none", 4, 4 and 1 bleed."""
    seen = Counter[str]()

    def scan(row: Row) -> Row | None:
        kind = str(row["hemorrhage"])
        seen[kind] += row.split == "train"
        rare = row.split == "train" and kind == "subdural" and seen[kind] > 1
        return None if rare else replace(row, synthetic=False)

    return edited(phantom_corpus, tmp_path_factory.mktemp("augment") / "corpus", scan)


@pytest.fixture(scope="module")
def balanced(tiny_model: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus with as many images of each hemorrhage, the seed 3."""
    out = tmp_path_factory.mktemp("balanced") / "set"
    return augment(corpus, out, model=tiny_model, balance="hemorrhage", seed=3, **QUICK)


def added(folder: Path) -> list[Row]:
    return [row for row in ImageSet.open(folder).rows if row.synthetic]


def plan(corpus: Path, model: Path, *balance: str, factor: float | None = None) -> dict[str, Combination]:
    groups = plan_of(ImageSet.open(corpus), model, AugmentConfig(balance=balance, factor=factor))
    return {group.said: group for group in groups}


# What is made


def test_the_corpus_is_there_as_it_was(corpus: Path, balanced: Path):
    """Its rows come first and unchanged, but for empty cells of new columns; its images have the same bytes."""
    before, after = ImageSet.open(corpus), ImageSet.open(balanced)
    kept = [replace(row, attributes={name: row[name] for name in before.rows[0].attributes}) for row in after.rows]
    assert tuple(kept[: len(before)]) == before.rows
    for row in before.rows:
        assert (balanced / row.file_name).read_bytes() == (corpus / row.file_name).read_bytes()


def test_masks_are_there_too(masked_corpus: Path, masked_model: Path, tmp_path: Path):
    """A corpus with masks keeps them, and what they outline."""
    out = augment(masked_corpus, tmp_path / "set", model=masked_model, factor=1.3, **QUICK)
    before, after = ImageSet.open(masked_corpus), ImageSet.open(out)
    assert after.outline == before.outline == "lesion"
    assert [row.mask_sha256 for row in after.rows[: len(before)]] == [row.mask_sha256 for row in before.rows]
    assert {row.mask_file_name for row in after.rows[len(before) :]} == {""}


def test_rare_values_become_as_frequent_as_the_most_frequent_one(balanced: Path):
    """Counted on the split train alone: validation and test stay as they are, also where they lack a value."""
    rows = [row for row in ImageSet.open(balanced).rows if row.modality == "CT"]
    counts = Counter(row["hemorrhage"] for row in rows if row.split == "train")
    assert set(counts.values()) == {4}
    assert len(counts) == 4
    assert Counter(row["hemorrhage"] for row in rows if row.split == "validation") == {"intraventricular": 4}


def test_what_is_held_out_does_not_change_the_plan(corpus: Path, tiny_model: Path, tmp_path: Path):
    """Other labels in validation and test, ever so many, leave it as it is."""

    def relabelled(row: Row) -> Row:
        return row if row.split == "train" else replace(row, attributes={**row.attributes, "hemorrhage": "subdural"})

    other = edited(corpus, tmp_path / "other", relabelled)
    assert plan(other, tiny_model, "hemorrhage") == plan(corpus, tiny_model, "hemorrhage")


def test_a_synthetic_row_says_what_it_is(balanced: Path, tiny_model: Path):
    """It is for training, of no patient, and names its model, seed, index, steps and guidance."""
    rows = added(balanced)
    assert len(rows) == 3
    for index, row in enumerate(rows):
        assert (row.synthetic, row.patient_id, row.split, row.modality) == (True, "", "train", "CT")
        assert (row["edit"], row["generator"], row.source) == ("augment", tiny_model.name, tiny_model.name)
        assert (row["seed"], row["index"], row["steps"], row["guidance"]) == (3, index, 2, 1)
        assert (row["hemorrhage"], row["age_years"]) == ("subdural", None)


def test_a_factor_bounds_what_is_added(corpus: Path, tiny_model: Path):
    """One image of a value becomes two with the factor 2, however many others have."""
    assert [g.target for g in plan(corpus, tiny_model, "hemorrhage", factor=2).values()] == [2]
    assert [g.target for g in plan(corpus, tiny_model, "hemorrhage", factor=99).values()] == [4]


def test_several_attributes_are_balanced_by_their_combinations(corpus: Path, tiny_model: Path):
    """An attribute that no image of a modality has says nothing there: MR by plane, CT by plane and hemorrhage."""
    found = plan(corpus, tiny_model, "plane", "hemorrhage")
    assert {said: (g.images, g.target) for said, g in found.items()} == {
        "MR, plane coronal, hemorrhage not given": (4, 8),
        "MR, plane sagittal, hemorrhage not given": (4, 8),
        "CT, plane axial, hemorrhage subdural": (1, 4),
    }


def test_images_that_lack_the_attribute_are_said(corpus: Path, tiny_model: Path, tmp_path: Path):
    """Where others of the modality have it, they are in the plan, and are neither counted nor filled up."""

    def forgotten(row: Row) -> Row:
        lost = row["hemorrhage"] in ("none", "intraventricular")
        return replace(row, attributes={**row.attributes, "hemorrhage": None}) if lost else row

    found = plan(edited(corpus, tmp_path / "other", forgotten), tiny_model, "hemorrhage")
    assert {said: (g.images, g.more) for said, g in found.items()} == {
        "CT, hemorrhage not given": (8, 0),
        "CT, hemorrhage subdural": (1, 3),
    }


def test_a_factor_alone_makes_everything_larger(corpus: Path, tiny_model: Path, tmp_path: Path):
    """Every combination of categories, those with a missing value too, has twice as many training images."""
    out = augment(corpus, tmp_path / "set", model=tiny_model, factor=2, **QUICK)

    def counts(folder: Path) -> Counter[Any]:
        rows = [row for row in ImageSet.open(folder).rows if row.split == "train"]
        return Counter((row.modality, row["plane"], row["hemorrhage"]) for row in rows)

    assert counts(out) == Counter({shows: 2 * n for shows, n in counts(corpus).items()})


def test_modalities_are_balanced_when_asked(corpus: Path, tiny_model: Path):
    """Three CT images fewer than MR: these are added."""
    assert {said: g.more for said, g in plan(corpus, tiny_model, "modality").items()} == {"CT": 3}


def test_what_a_model_cannot_draw_is_left_and_said(corpus: Path, tiny_model: Path, tmp_path: Path):
    """A value it does not know, or has withdrawn, is in the plan with the reason, in the record, and gets no image."""

    def renamed(row: Row) -> Row:
        strange = {**row.attributes, "hemorrhage": "epidural"}
        return replace(row, attributes=strange) if row["hemorrhage"] == "subdural" else row

    other = edited(corpus, tmp_path / "other", renamed)
    (group,) = plan(other, tiny_model, "hemorrhage").values()
    assert (group.more, "'epidural' is not known to the model" in group.why) == (0, True)
    (group,) = plan(corpus, model_folder("heads"), "hemorrhage", factor=2).values()
    assert (group.more, "is withdrawn" in group.why) == (0, True)
    two = augment(other, tmp_path / "two", model=tiny_model, balance=("plane", "hemorrhage"), **QUICK)
    assert [(one["hemorrhage"], one["images"]) for one in read_record(two)["results"]["left"]] == [("epidural", 1)]
    assert "epidural" not in {row["hemorrhage"] for row in added(two)}


def test_the_record_nests_corpus_and_model(balanced: Path):
    """Both inputs with their records; how the patients were split still holds."""
    record = read_record(balanced)
    assert [one["record"]["stage"] for one in record["inputs"]] == ["phantom", "train"]
    assert record["results"]["split"] == {"CT": "by patient", "MR": "by patient"}
    assert (record["results"]["images"], record["results"]["synthetic"]) == (48, 3)


# Again, stopped, and by other batches


def test_images_depend_on_seed_and_index_alone(corpus: Path, tiny_model: Path, balanced: Path, tmp_path: Path):
    """One at a time they are those of one batch, within a grey level; another seed gives others."""

    def pixels(folder: Path) -> np.ndarray:
        images = ImageSet.open(folder).where(synthetic=True)
        return np.stack([images.pixels(i).astype(int) for i in range(len(images))])

    how = {"model": tiny_model, "balance": "hemorrhage"} | QUICK
    single = augment(corpus, tmp_path / "single", seed=3, batch_size=1, **how)
    other = augment(corpus, tmp_path / "other", seed=4, **how)
    assert np.abs(pixels(single) - pixels(balanced)).max() <= 1
    assert np.abs(pixels(other) - pixels(balanced)).max() > 1


def test_a_stopped_run_makes_only_what_is_missing(
    corpus: Path, tiny_model: Path, balanced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped after one image, given again: the rest is made, with the bits of an undisturbed run; then nothing is."""
    out, written = tmp_path / "set", list[str]()

    def until_stopped(path: Path, image: Any, mark: Any) -> str:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path.name)
        return write_png(path, image, mark)

    def again() -> Path:
        return augment(corpus, out, model=tiny_model, balance="hemorrhage", seed=3, **QUICK)

    monkeypatch.setattr(painting, "write_png", until_stopped)
    with pytest.raises(KeyboardInterrupt):
        again()
    assert not out.exists()
    written.clear()
    monkeypatch.setattr(painting, "write_png", lambda path, *how: written.append(path.name) or write_png(path, *how))
    assert ImageSet.open(again()).rows == ImageSet.open(balanced).rows
    assert len(written) == 2
    again()
    assert len(written) == 2


def test_a_finished_set_that_lost_an_image_is_an_error(corpus: Path, tiny_model: Path, balanced: Path, tmp_path: Path):
    """It says what is lost, and what to do."""
    out = tmp_path / "set"
    shutil.copytree(balanced, out)
    (out / added(out)[0].file_name).unlink()
    with pytest.raises(OutputError, match=r"no longer whole.*Remove it"):
        augment(corpus, out, model=tiny_model, balance="hemorrhage", seed=3, **QUICK)


# What cannot be


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        (("hemorhage",), "no training image of the corpus has it.*Did you mean hemorrhage"),
        (("sex",), "the model was not told of it. Known: modality, plane, hemorrhage"),
        (("age_years",), "it is a number, which has no values to count"),
    ],
)
def test_an_attribute_that_cannot_be_balanced(
    corpus: Path, tiny_model: Path, tmp_path: Path, balance: Sequence[str], message: str
):
    """Unknown to the corpus or to the model, or a number: an error before anything is made."""
    with pytest.raises(ConfigError, match=message):
        augment(corpus, tmp_path / "set", model=tiny_model, balance=balance, **QUICK)
    assert not any(tmp_path.iterdir())


def test_nothing_to_fill_up_makes_nothing(
    corpus: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """What is balanced already is said, nothing is written, and the corpus itself is the answer."""
    even = edited(corpus, tmp_path / "even", lambda row: None if row["hemorrhage"] == "subdural" else row)
    assert augment(even, tmp_path / "set", model=tiny_model, balance="hemorrhage") == even
    assert capsys.readouterr().out == "Nothing to fill up: balanced already\n"
    assert not (tmp_path / "set").exists()


def test_what_does_not_go_together(corpus: Path, balanced: Path, tiny_model: Path, tmp_path: Path):
    """No split train, an augmented corpus, another size or unit than the model's, OUT inside, no model."""

    def fails(message: str, folder: Path = corpus, model: str | Path = tiny_model, out: Path = tmp_path / "x") -> None:
        with pytest.raises((ConfigError, ModelError), match=message):
            check_augment(ImageSet.open(folder), model, out)

    fails("no image is in the split 'train'", edited(corpus, tmp_path / "a", lambda row: replace(row, split="test")))
    fails("is augmented already", balanced)
    fails("images of 64×64 in 8 bits, and heads draws 256×256", model="heads")
    fails("lies inside the corpus", out=corpus / "more")
    fails("is not a model folder", model="nobody")
    louder = edited(corpus, tmp_path / "b", lambda row: replace(row, slope=row.slope * 2))
    fails("a grey level of MR is 2 a.u. from 0 on there, and 1 a.u.", louder)


@pytest.mark.parametrize("how", [{}, {"factor": 0.5}, {"balance": ("plane", "plane")}, {"factor": float("nan")}])
def test_settings_that_cannot_be(corpus: Path, tiny_model: Path, tmp_path: Path, how: dict[str, Any]):
    """Nothing asked for, a factor below 1 or none at all, an attribute twice."""
    with pytest.raises(ConfigError):
        augment(corpus, tmp_path / "set", model=tiny_model, **how, **QUICK)


# Nobody takes what was added for real


def rows_of(n: int, patient: str = "", **columns: Any) -> list[Row]:
    """Images to learn from, each with a file of its own."""
    attributes = {key: columns.pop(key) for key in ("kind", "generator") if key in columns}
    row = Row("", "", "CT", patient, "train", attributes=attributes)
    return [replace(row, file_name=f"{patient}{attributes}{i}", sha256=f"{patient}{i}", **columns) for i in range(n)]


def test_real_images_are_those_not_marked_synthetic():
    """Among phantoms alone, those that no model drew; where a model drew all, all."""
    scans, phantoms = rows_of(2, "a"), rows_of(2, "b", synthetic=True)
    drawn = rows_of(3, synthetic=True, generator="heads")
    assert real_rows([*drawn, *scans, *phantoms]) == [3, 4]
    assert real_rows([*phantoms, *drawn]) == [0, 1]
    assert real_rows(drawn) == [0, 1, 2]


def test_drawn_images_are_never_held_out():
    """Whatever their split says: nothing is measured against them."""
    rows = [*rows_of(2, "a", split="test"), *rows_of(2, synthetic=True, generator="heads", split="test")]
    assert held_out(rows) == [0, 1]


def test_synthetic_images_do_not_bring_a_withdrawn_value_back():
    """Twenty drawn images of a value that one patient has are of no patient: the value stays withdrawn."""
    scans = [row for i in range(6) for row in rows_of(1, f"p{i}", kind="common")] + rows_of(2, "q", kind="rare")
    drawn = rows_of(20, kind="rare", synthetic=True, generator="heads")
    images = ImageSet(Path(), (*scans, *drawn), 8, 8, 8)
    kept, withdrawn = withdraw(images, ["kind"], 5)
    assert [(one.value, one.images, one.patients) for one in withdrawn] == [("rare", 2, 1)]
    assert {row["kind"] for row in kept.rows} == {"common", None}
    conditions = fit_conditions(images.rows, ["kind"])
    people = dict(zip(conditions.combinations, conditions.patients, strict=True))
    assert {values: (len(who), unknown) for (values, _), (who, unknown) in people.items()} == {
        ("CT", "common"): (6, 0),
        ("CT", "rare"): (1, 0),
    }


def test_evaluation_takes_the_real_images_of_a_mixed_corpus(balanced: Path, corpus: Path):
    """The corpus side has no drawn image, the other side none of a patient; both are warned of."""
    sides = open_sides(balanced, balanced, EvaluateConfig())
    assert {row.synthetic for row in sides.corpus.rows} == {False}
    assert len(sides.corpus) == sum(row.modality == "CT" for row in ImageSet.open(corpus).rows)
    assert sides.samples.rows == tuple(added(balanced))
    assert sides.warnings[:2] == (
        "45 real images among the synthetic ones left out: these are no samples.",
        "3 synthetic images of the corpus left out: what a model drew shows nobody.",
    )


def test_a_model_says_that_it_learnt_from_synthetic_images(
    balanced: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """It learns from them; training says how many there are, and so does the card."""
    images = ImageSet.open(balanced)
    assert f"32 for train (3 synthetic, drawn by {tiny_model.name})" in splits(images)
    out = train(balanced, tmp_path / "model", micro(conditions=("hemorrhage",), min_patients=0))
    assert f"Of 32 training images, 3 synthetic, drawn by {tiny_model.name}" in capsys.readouterr().out
    assert f"(3 synthetic, drawn by {tiny_model.name})" in (out / "README.md").read_text(encoding="utf-8")


# The command line


def test_a_dry_run_prints_the_plan_alone(corpus: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]):
    """How many of what, and no folder."""
    assert called("augment", corpus, "--model", tiny_model, "--balance", "hemorrhage", "--dry-run") == 0
    assert capsys.readouterr().out == (
        "CT, hemorrhage subdural: 1 image, 3 are added\n3 synthetic images in the split train\n"
    )


def test_the_command(corpus: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """It writes the set and a contact sheet, says what comes next, and goes on when it was stopped."""
    out, grid = tmp_path / "set", tmp_path / "grid.png"
    words = ["augment", corpus, "--model", tiny_model, "--balance", "hemorrhage", "--steps", 2, "--out", out]
    assert called(*words, "--grid", grid) == 0
    assert f"{out}: 48 images. Next: phonybrains train {out}" in capsys.readouterr().out
    assert len(added(out)) == 3
    assert grid.is_file()
    assert "augment" in entry.GOES_ON


@pytest.mark.parametrize(("words", "code"), [(["--balance", "hemorrhage"], 2), (["--out", "x"], 1)])
def test_a_command_that_lacks_something(corpus: Path, words: list[str], code: int):
    """No folder to write into is wrong usage; nothing to fill up is an error."""
    assert called("augment", corpus, *words) == code
