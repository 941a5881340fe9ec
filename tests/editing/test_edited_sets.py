"""What an edited set is taken for: synthetic, an edit of its patients, and by nobody a set of new people."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from phonybrains.editing.config import Upscale, Vary
from phonybrains.editing.stage import edit
from phonybrains.errors import StudyError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.findings import EditsSign
from phonybrains.evaluation.inputs.sets import attributes_of, open_sides
from phonybrains.evaluation.memorisation.audit import memorisation_audit
from phonybrains.held_out import edited_from
from phonybrains.imageset import HOW_MADE, MADE_COLUMNS, ImageSet, write_metadata
from phonybrains.importing.config import ImportConfig
from phonybrains.importing.stage import import_images
from phonybrains.readerstudy.design.stage import open_sets
from phonybrains.record import read_record
from phonybrains.release_gate import audit_status, require_audit


def test_its_rows_say_what_it_is(varied: Path, some_training: Path) -> None:
    """Each row is synthetic, shows the patient of its source and lies in the split of it; every column that the edit
    adds is one that no attribute can be called."""
    images, source = ImageSet.open(varied), ImageSet.open(some_training)
    assert len(images) == 2 * len(source)
    assert all(row.synthetic for row in images.rows)
    for number, row in enumerate(images.rows):
        own = source.rows[number // 2]
        assert (row.patient_id, row.split, row["edit_of"]) == (own.patient_id, "train", own.file_name)
        assert edited_from(row) == (own.sha256,)
        assert (row["edit"], row["edit_strength"]) == ("vary", 0.1)
    added = {name for row in images.rows for name in row.attributes} - {n for r in source.rows for n in r.attributes}
    assert added <= {*HOW_MADE} <= {*MADE_COLUMNS}


def test_a_column_of_the_source_is_not_lost(some_training: Path, tiny_model: Path, tmp_path: Path) -> None:
    """A corpus may call its own columns strength, area, sigma or draw; an edit leaves them as they are."""
    source = shutil.copytree(some_training, tmp_path / "source")
    images = ImageSet.open(source)
    own = {"strength": 3.0, "area": "left", "area_pixels": 9.0, "sigma": 2.0, "law": "x", "draw": 7.0, "factor": 5.0}
    write_metadata(source, [replace(row, attributes={**row.attributes, **own}) for row in images.rows[:1]])
    made = ImageSet.open(edit(source, tmp_path / "out", Vary(n=1, steps=1), model=tiny_model, show=False))
    assert {name: made.rows[0][name] for name in own} == own


def test_an_edit_of_an_edit_names_both(varied: Path, some_training: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Editing twice does not hide where an image comes from, and leaves no settings of the first edit behind."""
    few = shutil.copytree(varied, tmp_path / "few")
    write_metadata(few, ImageSet.open(few).rows[:1])
    again = ImageSet.open(
        edit(few, tmp_path / "again", Upscale(n=1, steps=1, simulate=True), model=tiny_model, show=False)
    ).rows[0]
    first, root = ImageSet.open(few).rows[0], ImageSet.open(some_training).rows[0]
    assert edited_from(again) == (first.sha256, root.sha256)
    assert (again["edit"], again["edit_factor"], again["edit_strength"]) == ("upscale", 2.0, None)
    assert again["edit_of_kind"] == first["edit_of_kind"]


def test_an_evaluation_compares_by_what_images_show_and_warns(varied: Path, phantom_corpus: Path) -> None:
    """No column of the edit is an attribute; the report warns that these are no new images."""
    sides = open_sides(varied, phantom_corpus, EvaluateConfig())
    shared = attributes_of(sides.samples, sides.corpus, EvaluateConfig())
    assert shared
    assert not {*shared} & {*HOW_MADE}
    n = len(sides.samples)
    assert f"Of {n} synthetic images, {n} are edits of images, not new ones." in sides.warnings


def test_edits_of_whom_they_are_compared_with_flatter(phantom_corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Edits of the test split beside the test split: the warning says how many, and of which split."""
    source = shutil.copytree(phantom_corpus, tmp_path / "source")
    held = ImageSet.open(phantom_corpus).where(split="test").rows[:2]
    write_metadata(source, held)
    out = edit(source, tmp_path / "out", Vary(n=1, steps=1), model=tiny_model, show=False)
    (warning,) = [w for w in open_sides(out, phantom_corpus, EvaluateConfig()).warnings if "are edits" in w]
    assert "Of them, 2 show people of the split test, with which they are compared" in warning


def test_the_audit_says_edit_of(varied: Path, phantom_corpus: Path) -> None:
    """Variations at strength .1 of training phantoms are edits of them by that very model, beside the corpus it learnt
    from: all are counted apart, each beside its own patient, and none is flagged as a copy of that patient."""
    images, corpus = ImageSet.open(varied), ImageSet.open(phantom_corpus)
    found = memorisation_audit(images, corpus, EvaluateConfig()).facts
    signs = [sign for sign in found.signs or () if isinstance(sign, EditsSign)]
    assert sum(sign.edits for sign in signs) == sum(sign.of_training for sign in signs) == len(images)
    assert not [sign for sign in found.signs or () if sign.look in ("corpus", "nearness")]
    patient = {row.file_name: row.patient_id for row in images.rows}
    edits = [pair for pair in found.pairs or () if pair.edit]
    assert edits
    assert all(pair.patient == patient[pair.synthetic] and not pair.flagged for pair in edits)
    copies = [pair for pair in found.pairs or () if not pair.edit]
    assert all(pair.patient != patient[pair.synthetic] for pair in copies)


def test_the_gate(varied: Path, tmp_path: Path) -> None:
    """Phantoms by a model of phantoms are nobody; of scans, with the stamp of a model that passed, it stays closed: the
    model's audit says nothing of edits of patients, and the error says what an audit can and cannot tell."""
    assert audit_status(varied).word == "no patients"
    real = shutil.copytree(varied, tmp_path / "real")
    record = read_record(real)
    record["inputs"][0]["record"] = {"stage": "import"}
    record["inputs"][1]["record"]["results"] = {"audit": {"version": 2, "verdict": "passed", "n": 9, "exceedances": 0}}
    (real / "record.json").write_text(json.dumps(record))
    rows = ImageSet.open(real).rows
    write_metadata(real, [replace(row, attributes={**row.attributes, "edit_of_kind": "real"}) for row in rows])
    status = audit_status(real)
    assert status.word == "unaudited"
    assert "edits of real images" in status.sentence
    with pytest.raises(StudyError, match=r"holds edits of real images.*--accept-unaudited"):
        require_audit(real)
    assert require_audit(real, accept_unaudited=True).word == "unaudited"


def test_a_study_takes_it_as_synthetic_alone(varied: Path) -> None:
    """As an arm it is called as its folder; as the set of real images it is refused."""
    arms, _ = open_sets([varied], None)
    assert [arm.name for arm in arms] == ["varied"]
    with pytest.raises(StudyError, match="a synthetic image in the set that was given as real"):
        open_sets([varied], varied)


def test_an_import_keeps_what_it_is(varied: Path, tmp_path: Path) -> None:
    """Imported again, rows are still synthetic, and name the images that they are edits of."""
    import_images([varied], tmp_path / "imported", ImportConfig(size=64))
    imported = ImageSet.open(tmp_path / "imported")
    assert all(row.synthetic and row["edit"] == "vary" for row in imported.rows)
    origins = {edited_from(row) for row in ImageSet.open(varied).rows}
    assert {edited_from(row) for row in imported.rows} == origins
