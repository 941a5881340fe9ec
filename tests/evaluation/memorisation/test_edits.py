"""Edits in the audit: an edit of a patient is no copy of that patient, and a copy of another one still is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.findings import EditsSign, Findings
from phonybrains.evaluation.inputs.edits import edits_among, of_held_out
from phonybrains.evaluation.memorisation.audit import memorisation_audit
from phonybrains.imageset import ImageSet, Row
from tests.support.image_files import written

from .conftest import Audit

EDITED = range(10, 34, 2)
"""Training images, each of another person."""


def barely_changed(images: ImageSet, numbers: Any) -> list[np.ndarray]:
    """Images as a weak edit leaves them: the same head, a little noise."""
    rng = default_rng(5)
    changed = (images.pixels(i) + rng.normal(0, 2, images.pixels(i).shape) for i in numbers)
    return [np.clip(np.rint(pixels), 0, 255).astype(np.uint8) for pixels in changed]


def marked(images: ImageSet, numbers: Any, **more: Any) -> dict[str, list[Any]]:
    """What the table says of edits of these images; one says it by file, the next by patient."""
    rows = [images.rows[i] for i in numbers]
    said = [{"edit": "vary", "edit_of_kind": "real", **more} for _ in rows]
    for place, row in enumerate(rows):
        said[place]["edit_of_sha256"] = row.sha256 if place % 2 == 0 else "f" * 64
    return {"attributes": said, "patient_id": ["" if i % 2 == 0 else row.patient_id for i, row in enumerate(rows)]}


def sign_of(found: Findings) -> EditsSign:
    return next(sign for sign in found.facts.signs or () if isinstance(sign, EditsSign))


def test_edits_of_training_patients_are_counted_apart(
    training: ImageSet, new_heads: ImageSet, audit: Audit, tmp_path: Path
) -> None:
    """Twelve edits that anybody would know again, known by file or patient: no copy is found, none is hidden. The
    verdict is undecided and says why; without the marks the same images fail."""
    images = [*barely_changed(training, EDITED), *(new_heads.pixels(i) for i in range(12))]
    said = marked(training, EDITED)
    columns = {name: values + [{} if name == "attributes" else ""] * 12 for name, values in said.items()}
    found = audit(written(tmp_path / "edited", images, **columns))
    audited, sign = found.facts.audit["CT"], sign_of(found)
    assert (audited.n, audited.exceedances, audited.certain) == (24, 0, 0)
    assert (sign.edits, sign.of_training, sign.of_held_out, sign.of_others) == (12, 12, 0, 0)
    assert sign.recognised == 12
    assert sign.word == found.facts.status == "undecided"
    assert "12 of 24 are edits of images, counted apart: 12 of training patients (12 of the 12 nearer to their own" in (
        found.facts.sentence
    )
    pairs = [pair for pair in found.facts.pairs if pair.edit]
    assert {(pair.synthetic, pair.patient) for pair in pairs} == {
        (f"images/{k:03d}.png", training.rows[i].patient_id) for k, i in enumerate(EDITED)
    }
    assert not any(pair.flagged for pair in found.facts.pairs)
    spread = next(sign for sign in found.facts.signs if sign.look == "patients")
    assert spread.n == 12  # the new heads alone
    unmarked = audit(written(tmp_path / "unmarked", images))
    assert unmarked.facts.status == "failed"
    assert unmarked.facts.audit["CT"].certain >= 10


def test_a_copy_of_another_patient_among_edits_is_found(training: ImageSet, audit: Audit, tmp_path: Path) -> None:
    """Three images that are said to be edits of one patient and are copies of another, one of them the very file: these
    three are flagged, beside whom they show, and the audit fails."""
    planted = [training.pixels(60)[:, ::-1], training.pixels(64), training.pixels(68)]
    images = [*barely_changed(training, EDITED[3:]), *planted]
    found = audit(written(tmp_path / "planted", images, **marked(training, [*EDITED[3:], 40, 42, 44])))
    assert found.facts.status == "failed"
    assert found.facts.audit["CT"].certain == 3
    flagged = {(pair.synthetic, pair.patient) for pair in found.facts.pairs if pair.flagged}
    whom = (training.rows[i].patient_id for i in (60, 64, 68))
    assert flagged == {(f"images/{k:03d}.png", patient) for k, patient in zip((9, 10, 11), whom, strict=True)}
    assert "3 of 12 are nearer to a training image of another patient than the one edited" in found.facts.sentence
    assert sign_of(found).recognised == 9  # a planted copy is not like the patient that it is said to be of


def row(sha: str, split: str = "", patient: str = "", **attributes: str) -> Row:
    return Row(f"{sha}.png", sha, "CT", patient, split, attributes=attributes)


def test_whose_edits_there_are() -> None:
    """By file, by patient, by what an edit of an edit started from; an edit of a generated image is of nobody."""
    corpus = [row("a", "train", "p"), row("b", "train", "p"), row("c", "test", "q"), row("d", "train")]
    made = [
        row("1", edit_of_sha256="b", edit_of_kind="real"),
        row("2", "", "q", edit_of_sha256="0", edit_of_kind="real"),
        row("3", edit_of_sha256="1;c", edit_of_kind="real"),
        row("4", edit_of_sha256="9", edit_of_kind="real"),
        row("5", edit_of_sha256="9", edit_of_kind="synthetic"),
        row("6", "", "p"),
    ]
    edits = edits_among(made, corpus)
    assert [np.flatnonzero(own).tolist() for own in edits.own[:3]] == [[0, 1], [2], [2]]
    assert not edits.own[3:].any()
    assert edits.real.tolist() == [True, True, True, True, False, False]
    assert of_held_out(made, corpus).tolist() == [False, True, True, False, False, False]
    assert not of_held_out(made, corpus, "validation").any()


@pytest.mark.parametrize("stage", ["phantom", "import"])
def test_edits_of_phantoms_show_nobody(training: ImageSet, audit: Audit, tmp_path: Path, stage: str) -> None:
    """The sign says so and does not stand in the way; the same images of a record that leads to scans are undecided."""
    record = {"stage": "edit", "inputs": [{"name": "corpus", "sha256": "0", "record": {"stage": stage}}]}
    few = written(tmp_path / "few", barely_changed(training, EDITED[:2]), **marked(training, EDITED[:2]))
    sign = sign_of(audit(replace(few, record=record)))
    assert sign.word == ("passed" if stage == "phantom" else "undecided")
    assert ("no patient is shown" in sign.text) == (stage == "phantom")


def test_the_model_that_edited_learnt_from_another_corpus(training: ImageSet, corpus: ImageSet, tmp_path: Path) -> None:
    """Then copies of whom that model knows were not searched for, also where the source was made by one that fits."""
    few = written(tmp_path / "few", barely_changed(training, EDITED[:2]))

    def model(identity: str) -> dict[str, Any]:
        learnt = {"sha256": "0", "record": {"stage": "import", "identity": identity}}
        return {"sha256": "1", "record": {"stage": "train", "inputs": [learnt]}}

    source = {"sha256": "2", "record": {"stage": "generate", "inputs": [model("own")]}}
    nobody = replace(corpus, rows=(), record={"identity": "own"})
    for editor, said in (("own", False), ("another", True)):
        edited = replace(few, record={"stage": "edit", "inputs": [source, model(editor)]})
        signs = memorisation_audit(edited, nobody, EvaluateConfig()).facts.signs
        assert any(sign.look == "corpus" for sign in signs) == said
