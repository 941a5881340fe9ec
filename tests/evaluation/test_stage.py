"""The evaluation as a stage: it goes on where a part cannot, takes up what was stopped, and refuses what cannot be."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonybrains.config import load_config
from phonybrains.errors import ConfigError, ImageSetError, OutputError
from phonybrains.evaluation.config import PARTS, EvaluateConfig, Part
from phonybrains.evaluation.findings import Facts, Findings, MapImages, Telling
from phonybrains.evaluation.inputs.sets import Sides, grouping, open_sides, shared_attributes
from phonybrains.evaluation.score import Null, Score, unavailable
from phonybrains.evaluation.stage import NOT_MEASURED, Runner, evaluate, run_parts
from phonybrains.imageset import ImageSet, Row, read_metadata, write_metadata
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import read_record
from tests.support.evaluation_files import make_sides
from tests.support.in_turn import called

CONFIG = EvaluateConfig()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Phantoms as samples and as corpus; do not change them."""
    return make_sides(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def sides(folders: tuple[Path, Path]) -> Sides:
    return open_sides(*folders, CONFIG)


def counting(name: str, calls: list[str]) -> Runner:
    """A part that notes each time it is measured."""

    def run(samples: ImageSet, *_) -> Findings:
        calls.append(name)
        return Findings([Score(name, 1.0, n=len(samples))], {"x": np.arange(3)}, Facts(sentence=f"{name} is there."))

    return run


def failing(error: BaseException) -> Runner:
    def run(*_) -> Findings:
        raise error

    return run


def changed(folder: Path, out: Path, change: Callable[[Row], Row | None]) -> Path:
    """A copy of an image set whose rows are changed, or left out where `change` gives None."""
    shutil.copytree(folder, out)
    rows: Sequence[Row | None] = [change(row) for row in read_metadata(out / "metadata.csv")]
    write_metadata(out, [row for row in rows if row is not None])
    return out


def test_places_make_no_groups():
    """Where a slice or a lesion lies is no group of images, unless the settings name it."""
    names = ["lesion_x", "plane", "sex", "slice"]
    assert grouping(names, CONFIG) == ["plane", "sex"]
    assert grouping(names, EvaluateConfig(attributes=("slice", "sex"))) == ["plane", "sex", "slice"]


def test_scores_and_findings_come_back_as_they_were(tmp_path: Path):
    """What is written is what is read; numbers that JSON has not become missing ones."""
    score = Score(
        "kid", 0.1, 0.0, 0.2, 95, Null(0.0, -0.1, 0.1, 20), 0.03, "test", "MR", "plane=axial", "x sha256:0", "n"
    )
    scores = [score, replace(score, null=None, value=float("nan"), high=float("inf")), unavailable("fid", "why")]
    map_of = {"MR": MapImages("x", ("a",), [])}
    facts = Facts(map_of, {"MR": [Telling("a", np.float32(0.5))]}, sentence="Said.")
    Findings(scores, {"map/MR/real": np.eye(2)}, facts).save(tmp_path / "part")
    found = Findings.load(tmp_path / "part")
    assert found.scores == [score, replace(score, null=None, value=None, high=None), scores[2]]
    assert found.facts == Facts({"MR": MapImages("x", ["a"], [])}, {"MR": [Telling("a", 0.5)]}, sentence="Said.")
    np.testing.assert_array_equal(found.arrays["map/MR/real"], np.eye(2))


def test_a_part_that_cannot_says_why_and_the_rest_goes_on(sides: Sides, tmp_path: Path):
    """A part's error is one score without a value, with its reason; the other parts are whole."""
    calls: list[str] = []
    runners: dict[Part, Runner] = {
        "quality": failing(ImageSetError("one image\n is too few")),
        "texture": counting("texture_worst_auc", calls),
        "memorisation": counting("copies_flagged", calls),
        "bias": failing(ZeroDivisionError("division by zero")),
        "utility": counting("auc", calls),
    }
    found = run_parts(runners, PARTS, sides, CONFIG, tmp_path, show=False)
    assert list(found) == list(PARTS)
    assert found["quality"].scores == [unavailable(NOT_MEASURED, "quality could not be measured: one image is too few")]
    assert found["memorisation"].scores == [Score("copies_flagged", 1.0, n=24)]
    assert "division by zero" in found["bias"].scores[0].note
    assert found["utility"].scores == [Score("auc", 1.0, n=24)]


THREE: tuple[Part, ...] = ("quality", "memorisation", "bias")


def test_what_is_measured_is_not_measured_again(sides: Sides, tmp_path: Path):
    """A stopped evaluation goes on after its last whole part; what failed or is damaged is measured again."""
    calls: list[str] = []
    runners: dict[Part, Runner] = {"quality": counting("kid", calls), "memorisation": counting("copies_flagged", calls)}
    stopped: dict[Part, Runner] = {**runners, "bias": failing(KeyboardInterrupt())}
    with pytest.raises(KeyboardInterrupt):
        run_parts(stopped, THREE, sides, CONFIG, tmp_path, show=False)
    (tmp_path / "memorisation" / "arrays.npz").write_bytes(b"half")
    first = run_parts({**runners, "bias": failing(ValueError("bad"))}, THREE, sides, CONFIG, tmp_path, show=False)
    again = run_parts({**runners, "bias": counting("auc", calls)}, THREE, sides, CONFIG, tmp_path, show=False)
    assert calls == ["kid", "copies_flagged", "copies_flagged", "auc"]
    assert first["quality"].facts == again["quality"].facts == Facts(sentence="kid is there.")


def test_the_same_command_again_changes_nothing_and_the_record_leads_back(folders: tuple[Path, Path], tmp_path: Path):
    """A finished evaluation stays as it is, byte for byte; another one does not overwrite it. Its record names both
    sets with their own records, the settings, and what was found."""
    out = evaluate(*folders, tmp_path / "out", only=["utility"], show=False)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {"report.html", "report.pdf", "scores.json", "scores.csv", "record.json"} <= {path.name for path in before}
    evaluate(*folders, tmp_path / "out", only=["utility"], show=False)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(OutputError, match="already exists"):
        evaluate(*folders, tmp_path / "out", only=["bias"], show=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    record, scores = read_record(out), json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert record["stage"] == "evaluate"
    assert [(item["name"], item["record"]["stage"]) for item in record["inputs"]] == [
        ("samples", "phantom"),
        ("corpus", "phantom"),
    ]
    assert record["config"]["parts"] == ["utility"]
    assert record["results"]["glance"] == {one["question"]: one["answer"] for one in scores["glance"]}
    assert record["results"]["status"] == scores["status"] == "not audited"


def test_what_cannot_be_is_said_before_any_work(folders: tuple[Path, Path], tmp_path: Path):
    """Unknown parts, files that are not there, splits that are not there: one line, and nothing is written."""
    with pytest.raises(ConfigError, match="not 'beauty'"):
        evaluate(*folders, tmp_path / "out", only=["beauty"], show=False)
    with pytest.raises(ConfigError, match=r"weights\.safetensors"):
        evaluate(*folders, tmp_path / "out", EvaluateConfig(features=tmp_path / "weights.safetensors"), show=False)
    unsplit = changed(folders[1], tmp_path / "unsplit", lambda row: replace(row, split="train"))
    with pytest.raises(ConfigError, match="test or validation"):
        evaluate(folders[0], unsplit, tmp_path / "out", show=False)
    assert not (tmp_path / "out").exists()


def test_sets_without_a_common_modality_are_refused(folders: tuple[Path, Path], tmp_path: Path):
    """MR is not compared with CT; a modality that one side lacks is left out, which is said."""
    ct = make_phantoms(8, tmp_path / "ct", size=64, modalities=("CT",))
    mr = changed(folders[1], tmp_path / "mr", lambda row: row if row.modality == "MR" else None)
    with pytest.raises(ImageSetError, match="no modality in common"):
        open_sides(ct, mr, CONFIG)
    both = open_sides(ct, folders[1], CONFIG)
    assert both.modalities == ["CT"]
    assert {row.modality for row in both.corpus.rows} == {"CT"}
    assert any("real MR images left out" in warning for warning in both.warnings)


def test_what_is_odd_about_the_sets_is_said(folders: tuple[Path, Path], tmp_path: Path):
    """Other sizes, the same file on both sides, few images and synthetic "scans": each is a warning."""
    large = make_phantoms(4, tmp_path / "large", seed=3, size=80)
    warnings = " ".join(open_sides(large, folders[1], CONFIG).warnings)
    assert "differ in size: synthetic 80×80, real 64×64" in warnings
    assert "Only" in warnings
    overlap = " ".join(open_sides(folders[1], folders[1], CONFIG).warnings)
    assert "Of 96 synthetic images, 96 are in the corpus too" in overlap
    phantoms = changed(folders[1], tmp_path / "phantoms", lambda row: replace(row, synthetic=True))
    assert "no real image took part" in " ".join(open_sides(folders[0], phantoms, CONFIG).warnings)
    assert open_sides(*folders, CONFIG).warnings == tuple(
        f"Only {n} {side} {modality} images: what follows of {modality} says little."
        for modality in ("MR", "CT")
        for side, n in (("synthetic", 12), ("real test", 4))
    )


@pytest.mark.parametrize(
    ("count", "said"),
    [(3, "Of the 24 synthetic images, 3 repeat another"), (23, "All 24 synthetic images are one and the same")],
)
def test_repeats_are_said(folders: tuple[Path, Path], tmp_path: Path, count: int, said: str):
    """One image in the place of others: how many repeat another; in the place of all: that they are one."""
    first, *others = read_metadata(folders[0] / "metadata.csv")
    repeated = {row.file_name for row in others[:count]}
    again = changed(
        folders[0],
        tmp_path / "again",
        lambda row: replace(row, sha256=first.sha256) if row.file_name in repeated else row,
    )
    for name in repeated:
        shutil.copy(folders[0] / first.file_name, again / name)
    assert any(warning.startswith(said) for warning in open_sides(again, folders[1], CONFIG).warnings)


def test_an_attribute_that_is_missing_is_said_and_the_rest_goes_on(folders: tuple[Path, Path]):
    """A wanted column that one side lacks is a warning with what there is; the others are kept."""
    config = EvaluateConfig(attributes=("plane", "shoe_size"))
    sides = open_sides(*folders, config)
    (said,) = (warning for warning in sides.warnings if "is not in both sets" in warning)
    assert said.startswith("The attribute 'shoe_size'")
    assert "plane" in said
    found = set(shared_attributes(sides.samples.rows, sides.corpus.rows))
    assert found & {"plane", "seed", "index", "generator"} == {"plane"}


def test_the_command_line_says_what_is_measured(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Options win over the file, parts are named in a row or with commas, and the command ends with four lines."""
    (tmp_path / "settings.toml").write_text('seed = 3\n[utility]\nattribute = "plane"\nseeds = 2\n', encoding="utf-8")
    out, settings = tmp_path / "out", ("--config", tmp_path / "settings.toml", "--seed", 7, "--held-out", "validation")
    words = ("evaluate", folders[0], "--against", folders[1], "--out", out, "--only", "utility", *settings)
    assert called(*words) == 0
    config = read_record(out)["config"]
    assert (config["seed"], config["held_out"], config["parts"]) == (7, "validation", ["utility"])
    assert (config["utility"]["attribute"], config["utility"]["seeds"]) == ("plane", 2)
    printed = capsys.readouterr().out
    assert "scores.csv" in printed
    last = ["as real?  not measured", "new?      not measured", "fair?     not measured", "useful?   not measured"]
    assert [line[:22] for line in printed.splitlines()[-4:]] == last


def with_copies(samples: Path, corpus: Path, out: Path, n: int) -> Path:
    """A copy of an image set with n training images of a corpus among its own, marked as synthetic."""
    shutil.copytree(samples, out)
    taken = [row for row in read_metadata(corpus / "metadata.csv") if row.split == "train"][:n]
    stolen = [replace(row, file_name=f"images/stolen-{i}.png", split="", synthetic=True) for i, row in enumerate(taken)]
    for own, row in zip(taken, stolen, strict=True):
        shutil.copy(corpus / own.file_name, out / row.file_name)
    write_metadata(out, [*read_metadata(out / "metadata.csv"), *stolen])
    return out


def test_stolen_images_fail_the_audit_wherever_one_looks(folders: tuple[Path, Path], tmp_path: Path):
    """Training images among the samples: the record, the scores, the audit and the report say failed, and show them."""
    stolen = with_copies(*folders, tmp_path / "stolen", 3)
    out = evaluate(stolen, folders[1], tmp_path / "out", only=["memorisation"], show=False)
    assert read_record(out)["results"]["status"] == "failed"
    assert json.loads((out / "audit.json").read_text(encoding="utf-8"))["verdict"] == "failed"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "COPIES OF TRAINING IMAGES WERE FOUND" in page
    assert "Of 27 synthetic images, 3 are in the corpus too" in page
    assert all(f"synthetic stolen-{i}: likeness 1.000 FLAGGED" in page for i in range(3))


KILLED = """
import os, signal, sys
from phonybrains.cli import app
from phonybrains.evaluation.features import shards

def and_die(*words, **named):
    write_whole(*words, **named)
    os.kill(os.getpid(), signal.SIGKILL)

write_whole, shards.write_whole, shards.SHARD = shards.write_whole, and_die, 32
app.main()
"""


def test_a_killed_evaluation_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Killed outright while it reads features, the same command finishes: no kept file of features changes, and scores
    are those of a run that nobody stopped."""
    monkeypatch.setattr("phonybrains.evaluation.features.shards.SHARD", 32)
    made = make_phantoms(80, tmp_path / "samples", seed=2, size=32, modalities=("CT",))
    real = make_phantoms(120, tmp_path / "corpus", seed=1, size=32, modalities=("CT",), synthetic=False)
    settings, out = tmp_path / "settings.toml", tmp_path / "out"
    settings.write_text("attributes = []\n[quality]\nnull_draws = 4\npermutations = 20\n")
    words = ["evaluate", made, "--against", real, "--only", "quality", "--config", settings, "--out", out]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    (kept,) = tmp_path.glob(".out.*/features/*.npy")
    written = kept.stat().st_mtime_ns
    seen: dict[Path, int] = {}
    config = load_config(EvaluateConfig, settings)
    whole = evaluate(made, real, tmp_path / "whole", config, only=["quality"], show=False)

    def look(folder: Path, **_: object) -> None:
        seen.update({path: path.stat().st_mtime_ns for path in Path(folder).glob("*.npy")})

    monkeypatch.setattr("phonybrains.evaluation.stage.shutil.rmtree", look)
    evaluate(made, real, out, config, only=["quality"], show=False)
    assert seen[kept] == written
    assert len(seen) > 5
    assert (out / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
