"""The gate: a synthetic set is shown to readers only if its audit for copies passed, or if its lack is accepted."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from phonybrains.cli.study import study_app
from phonybrains.errors import ModelError, StudyError
from phonybrains.evaluation.findings import Sign
from phonybrains.imageset import ImageSet, write_metadata
from phonybrains.model.folder import read_model
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.study import Study
from phonybrains.record import fingerprint, read_record
from phonybrains.release_gate import AUDIT_NAME, audit_status, read_audit, require_audit, stamp_model, write_audit
from tests.support.in_turn import called
from tests.support.study_files import make_sets, small_config

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def imported(sets: tuple[Path, Path], tmp_path: Path) -> Path:
    """The synthetic set as if it came from outside: its record tells of an import."""
    folder = shutil.copytree(sets[0], tmp_path / "work" / "imported")
    return changed(folder, lambda record: record.update(stage="import"))


def changed(folder: Path, change: Change) -> Path:
    record = read_record(folder)
    change(record)
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def made_by(model: Path, samples: Path) -> Path:
    """Let a set's record say that a model of real patients made it."""
    record = read_record(model)
    record["inputs"] = [{"name": "corpus", "sha256": "0", "record": {"stage": "import"}}]
    maker = {"name": model.name, "sha256": fingerprint(model), "record": record}
    return changed(samples, lambda own: own.update(stage="generate", inputs=[maker]))


def audit(samples: Path, out: Path, status: str = "passed", unseen: int = 0, signs: Sequence[Any] = ()) -> Path:
    """An evaluation's folder with the audit that the memorisation part would have written; unseen: MR images."""
    counts = {m: len(ImageSet.open(samples).where(modality=m)) for m in ("MR", "CT")}
    counts["MR"] -= unseen
    numbers = {modality: {"n": n, "exceedances": 0, "threshold": 0.7, "p": 0.5} for modality, n in counts.items()}
    out.mkdir(parents=True)
    write_audit(out, samples, samples, {"status": status, "signs": signs, "audit": numbers}, "0123")
    return out


def test_phantoms_have_nobody_to_copy(sets: tuple[Path, Path], tiny_model: Path, imported: Path) -> None:
    """Phantoms pass, and so do images of a model that learnt from phantoms; the same model of scans does not."""
    assert audit_status(sets[0]).word == "no patients"
    maker = {"name": "tiny", "sha256": fingerprint(tiny_model), "record": read_record(tiny_model)}
    changed(imported, lambda own: own.update(stage="generate", inputs=[maker]))
    assert require_audit(imported).word == "no patients"
    assert audit_status(made_by(tiny_model, imported)).word == "unaudited"


def test_an_imported_set_is_refused_until_it_is_audited(imported: Path) -> None:
    """The error says which command to run; an audit that passed opens the gate, one beside the set as well."""
    with pytest.raises(StudyError, match=r"imported has not been searched.*phonybrains evaluate .*--accept-unaudited"):
        require_audit(imported)
    accepted = require_audit(imported, accept_unaudited=True)
    assert (accepted.word, accepted.passed) == ("unaudited", False)
    elsewhere = audit(imported, imported.parent.parent / "far" / "evaluation")
    assert audit_status(imported).word == "unaudited"
    assert require_audit(imported, evaluations=[elsewhere]).word == "audited"
    assert require_audit(imported, evaluations=[elsewhere / AUDIT_NAME]).audit["n"] == 80
    audit(imported, imported.parent / "evaluation")
    assert require_audit(imported).sentence.endswith("passed, 0 of 80 flagged")


def test_an_audit_holds_for_the_images_it_saw(imported: Path) -> None:
    """One image more or less and the fingerprint no longer fits."""
    evaluation = audit(imported, imported.parent / "evaluation")
    assert require_audit(imported, evaluations=[evaluation]).passed
    write_metadata(imported, ImageSet.open(imported).rows[1:])
    with pytest.raises(StudyError, match="has not been searched"):
        require_audit(imported, evaluations=[evaluation])


@pytest.mark.parametrize(
    ("status", "unseen", "verdict", "message"),
    [
        ("failed", 0, "failed", "failed its audit"),
        ("undecided", 0, "undecided", "without a clear outcome"),
        ("passed", 10, "undecided", "without a clear outcome"),
    ],
    ids=["failed", "undecided", "ten images not seen"],
)
def test_only_a_passed_audit_of_the_whole_set_passes(
    imported: Path, status: str, unseen: int, verdict: str, message: str
) -> None:
    """A failed audit, an undecided one and one of a part are refused; accepted, the status still says so."""
    evaluation = audit(imported, imported.parent / "evaluation", status, unseen)
    with pytest.raises(StudyError, match=message):
        require_audit(imported, evaluations=[evaluation])
    found = require_audit(imported, evaluations=[evaluation], accept_unaudited=True)
    assert (found.word, found.verdict, found.passed) == ("audited", verdict, False)


@pytest.mark.parametrize("command", ["evaluate", "audit"])
@pytest.mark.parametrize(("verdict", "code"), [("passed", 0), ("look", 0), ("undecided", 0), ("failed", 1)])
def test_a_failed_audit_ends_in_1_and_says_so_last(
    imported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    verdict: str,
    code: int,
) -> None:
    """Failed alone ends with 1; the last line says that it failed, why, and where to look. All else ends with 0."""
    folder = audit(
        imported, tmp_path / "evaluation", verdict, signs=[{"word": verdict, "text": "MR: 3 of 40 are near"}]
    )
    monkeypatch.setattr("phonybrains.evaluation.stage.evaluate", lambda *_, **__: folder)
    assert called(command, imported, "--against", imported, "--out", folder) == code
    said = f"phonybrains: the audit failed; MR: 3 of 40 are near. Look at the pairs in {folder / 'report.html'}.\n"
    assert capsys.readouterr().err == (said if code else "")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 9, "samples": "0"}'])
def test_an_audit_that_cannot_be_read_is_said_so(imported: Path, tmp_path: Path, text: str) -> None:
    """A damaged or foreign audit that was given is an error; one that merely lies about is not."""
    (tmp_path / AUDIT_NAME).write_text(text)
    with pytest.raises(StudyError, match=AUDIT_NAME):
        require_audit(imported, evaluations=[tmp_path])
    with pytest.raises(StudyError, match="no evaluation with the part memorisation"):
        read_audit(imported)
    (imported.parent / AUDIT_NAME).write_text(text)
    assert audit_status(imported).word == "unaudited"


def test_a_stamped_model_vouches_for_its_later_sets_alone(tiny_model: Path, imported: Path, tmp_path: Path) -> None:
    """The stamp goes into model.json and the record, the model still loads, and its next set is audited by model."""
    model = shutil.copytree(tiny_model, tmp_path / "tiny")
    made_by(model, imported)
    evaluation = audit(imported, tmp_path / "far" / "evaluation")
    stamp = stamp_model(model, evaluation)
    assert json.loads((model / "model.json").read_text())["audit"] == stamp == read_record(model)["results"]["audit"]
    assert (stamp["verdict"], stamp["n"], stamp["evaluation"]) == ("passed", 80, "0123")
    assert read_model(model).size == read_model(tiny_model).size
    assert audit_status(imported).word == "unaudited"
    status = require_audit(made_by(model, imported))
    assert (status.word, status.verdict) == ("audited by model", "passed")
    assert "not these images themselves" in status.sentence
    stamp_model(model, read_audit(evaluation) | {"verdict": "failed"})
    with pytest.raises(StudyError, match="failed its audit"):
        require_audit(made_by(model, imported))


def test_a_model_is_not_stamped_with_anothers_audit(tiny_model: Path, imported: Path, tmp_path: Path) -> None:
    """Images from elsewhere say nothing about a model; neither does a mapping without the model's hash."""
    model = shutil.copytree(tiny_model, tmp_path / "tiny")
    evaluation = audit(imported, tmp_path / "evaluation")
    for given in (evaluation, {"verdict": "passed"}):
        with pytest.raises(ModelError, match="not made by this model"):
            stamp_model(model, given)
    assert "audit" not in json.loads((model / "model.json").read_text())


def test_study_design_asks_for_the_audit(sets: tuple[Path, Path], imported: Path, tmp_path: Path) -> None:
    """Refused without one and nothing is written; accepted by --accept-unaudited, or shown one by --evaluation, the
    protocol and its page tell which."""
    with pytest.raises(StudyError, match="has not been searched"):
        design_study([imported], sets[1], tmp_path / "study", small_config(), show=False)
    assert not (tmp_path / "study").exists()
    few = "synthetic = { MR = 6, CT = 6 }\nreal = { MR = 6, CT = 6 }\ntraining = 4\nchecks = 2\nrepeats.share = 0\n"
    (tmp_path / "small.toml").write_text(few + 'split = "any"\n')
    common = ["design", "--synthetic", imported, "--real", sets[1], "--config", tmp_path / "small.toml"]

    def designed(name: str, *options: object) -> tuple[dict[str, Any], Path]:
        words = [*common, "--out", tmp_path / name, *options]
        study_app(list(map(str, words)), result_action="return_value")
        return Study.open(tmp_path / name).protocol, tmp_path / name

    accepted, folder = designed("accepted", "--accept-unaudited")
    assert accepted["audit"]["imported"]["word"] == "unaudited"
    assert accepted["warnings"][0].startswith("Set imported: unaudited")
    assert "Copies of training images in imported: unaudited" in (folder / "protocol.html").read_text()
    audited, folder = designed("audited", "--evaluation", audit(imported, tmp_path / "far" / "evaluation"))
    assert audited["audit"]["imported"]["word"] == "audited"
    assert not any("imported" in warning for warning in audited["warnings"])
    assert read_record(folder)["results"]["audit"] == audited["audit"]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", 'he said "x,\n\ny"', "\n\n"])
def test_a_line_break_in_a_cell_is_no_image(imported: Path, text: str) -> None:
    """An attribute that holds line breaks and quotes leaves a passed audit passed: rows are counted, not lines."""
    rows = [replace(row, attributes={"revised_prompt": text}) for row in ImageSet.open(imported).rows[:8]]
    write_metadata(imported, rows)
    with (imported / "metadata.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 9
    audit(imported, imported.parent / "evaluation")
    assert audit_status(imported).verdict == "passed"


def test_a_look_opens_the_gate_with_a_warning_and_an_older_rule_does_not(imported: Path) -> None:
    """look: shown, with the reason; what an earlier version called passed is no audit of this rule."""
    sign = Sign("nearness", "look", "CT", "CT: nearer to training people than chance gives")
    path = audit(imported, imported.parent / "evaluation", "look", signs=[asdict(sign)]) / AUDIT_NAME
    status = require_audit(imported)
    assert (status.verdict, status.passed, status.opens) == ("look", False, True)
    assert status.sentence.endswith("look, 0 of 80 flagged; CT: nearer to training people than chance gives")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    with pytest.raises(StudyError, match="not an audit of version 2"):
        audit_status(imported, [path])


def test_the_gate_does_without_torch() -> None:
    """A study server has none."""
    modules = "phonybrains.release_gate, phonybrains.readerstudy.design.stage"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
