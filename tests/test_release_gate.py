"""The gate: a synthetic set is shown to readers only if its audit for copies passed, or if its lack is accepted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phonybrains.cli.study import study_app
from phonybrains.errors import ModelError, StudyError
from phonybrains.imageset import ImageSet, write_metadata
from phonybrains.model.folder import read_model
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.study import Study
from phonybrains.record import fingerprint, read_record
from phonybrains.release_gate import AUDIT_NAME, audit_status, read_audit, require_audit, stamp_model, write_audit
from tests.support.study_files import make_sets, small_config

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def imported(sets: tuple[Path, Path], tmp_path: Path) -> Path:
    """The synthetic set as if it came from outside: its record tells of an import."""
    return changed(
        shutil.copytree(sets[0], tmp_path / "work" / "imported"), lambda record: record.update(stage="import")
    )


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


def audit(samples: Path, out: Path, status: str = "passed", n: int | None = None, flagged: int = 0) -> Path:
    """An evaluation's folder with the audit that the memorisation part would have written."""
    counts = {m: len(ImageSet.open(samples).where(modality=m)) for m in ("MR", "CT")}
    counts["MR"] = counts["MR"] if n is None else n
    facts = {
        "status": status,
        "audit": {
            modality: {"n": n, "exceedances": flagged, "threshold": 0.7, "p": 0.5} for modality, n in counts.items()
        },
    }
    out.mkdir(parents=True)
    write_audit(out, samples, samples, facts, "0123")
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
    ("status", "n", "verdict", "message"),
    [
        ("failed", None, "failed", "failed its audit"),
        ("undecided", None, "undecided", "without a clear outcome"),
        ("passed", 30, "undecided", "without a clear outcome"),
    ],
    ids=["failed", "undecided", "ten images not seen"],
)
def test_only_a_passed_audit_of_the_whole_set_passes(
    imported: Path, status: str, n: int | None, verdict: str, message: str
) -> None:
    """A failed audit, an undecided one and one of a part are refused; accepted, the status still says so."""
    evaluation = audit(imported, imported.parent / "evaluation", status, n)
    with pytest.raises(StudyError, match=message):
        require_audit(imported, evaluations=[evaluation])
    found = require_audit(imported, evaluations=[evaluation], accept_unaudited=True)
    assert (found.word, found.verdict, found.passed) == ("audited", verdict, False)


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
    """Refused without one and nothing is written; with one, or accepted, the protocol and its page tell which."""
    study = tmp_path / "study"
    with pytest.raises(StudyError, match="has not been searched"):
        design_study([imported], sets[1], study, small_config(), show=False)
    assert not study.exists()
    accepted = Study.open(
        design_study([imported], sets[1], tmp_path / "1", small_config(accept_unaudited=True), show=False)
    ).protocol
    assert accepted["audit"]["imported"]["word"] == "unaudited"
    assert accepted["warnings"][0].startswith("Set imported: unaudited")
    assert "Copies of training images in imported: unaudited" in (tmp_path / "1" / "protocol.html").read_text()
    audited = design_study(
        [imported],
        sets[1],
        study,
        small_config(),
        show=False,
        evaluations=[audit(imported, tmp_path / "far" / "evaluation")],
    )
    protocol = Study.open(audited).protocol
    assert protocol["audit"]["imported"]["word"] == "audited"
    assert not any("imported" in warning for warning in protocol["warnings"])
    assert read_record(audited)["results"]["audit"] == protocol["audit"]


def test_the_command_line_takes_evaluations_and_acceptance(
    sets: tuple[Path, Path], imported: Path, tmp_path: Path
) -> None:
    """--evaluation and --accept-unaudited reach the study."""
    few = "synthetic = { MR = 6, CT = 6 }\nreal = { MR = 6, CT = 6 }\ntraining = 4\nchecks = 2\nrepeats.share = 0\n"
    (tmp_path / "small.toml").write_text(few + 'split = "any"\n')
    evaluation = audit(imported, tmp_path / "far" / "evaluation")
    common = ["design", "--synthetic", str(imported), "--real", str(sets[1]), "--config", str(tmp_path / "small.toml")]
    for name, options, word in (
        ("1", ["--evaluation", str(evaluation)], "audited"),
        ("2", ["--accept-unaudited"], "unaudited"),
    ):
        study_app([*common, "--out", str(tmp_path / name), *options], result_action="return_value")
        assert Study.open(tmp_path / name).protocol["audit"]["imported"]["word"] == word


def test_evaluate_writes_the_audit_that_the_gate_reads(phantom_corpus: Path, tmp_path: Path) -> None:
    """The evaluation of a set says of that set, and of no other, what its memorisation part found."""
    from phonybrains.evaluation.stage import evaluate

    samples = make_phantoms(8, tmp_path / "samples", seed=3, size=64)
    changed(samples, lambda record: record.update(stage="import"))
    out = evaluate(samples, phantom_corpus, tmp_path / "far" / "out", only=["memorisation"], show=False)
    found = read_audit(out)
    assert (found["n"], found["samples"], found["corpus"]) == (8, fingerprint(samples), fingerprint(phantom_corpus))
    assert found["evaluation"] == read_record(out)["identity"]
    assert found["verdict"] == json.loads((out / "findings" / "memorisation" / "facts.json").read_text())["status"]
    status = require_audit(samples, evaluations=[out], accept_unaudited=True)
    assert (status.word, status.verdict) == ("audited", found["verdict"])


def test_the_gate_does_without_torch() -> None:
    """A study server has none."""
    code = (
        "import sys, phonybrains.release_gate, phonybrains.readerstudy.design.stage; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
