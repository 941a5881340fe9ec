"""The recipe of the paper, small: from drawn heads to two reports, with a text-to-image service on this machine."""

from __future__ import annotations

import json
import subprocess

from phonybrains.imageset import ImageSet
from phonybrains.record import read_record
from tests.support.forking import forking
from tests.support.places import ROOT

RECIPES = ROOT / "recipes"


def test_both_experiments_end_in_a_report(tmp_path):
    """One command: 20 MR and 20 CT of the service and of the model, searched for copies, read by two, reported."""
    with forking(tmp_path / "bin") as environment:
        environment.pop("OPENAI_API_KEY", None)
        command = ["bash", RECIPES / "paper-small.sh", tmp_path]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    for name in ("imagined", "samples"):
        images = ImageSet.open(tmp_path / name)
        assert all(row.synthetic and row["generator"] == "model" for row in images.rows)
        results = json.loads((tmp_path / f"{name}-report/results.json").read_text())
        assert "2 readers judged 40 images (20 MR and 20 CT; all phony), 80 answers" in json.dumps(results)
        assert (tmp_path / f"{name}-report/report.pdf").stat().st_size > 10_000
        protocol = json.loads((tmp_path / f"{name}-study/protocol.json").read_text())
        (audit,) = protocol["audit"].values()
        assert (audit["word"], audit["verdict"]) == ("audited", "passed")
    asked = read_record(tmp_path / "imagined.originals")["results"]
    assert (asked["asked"], asked["images"], asked["requests"]) == (40, 40, {"image": 40})
    assert {row["prompt"] for row in ImageSet.open(tmp_path / "imagined").rows} == {"Brain MRI image", "Brain CT image"}


def test_the_recipe_for_real_scans_is_sound():
    """It parses, says how it is used, and asks nobody for anything without its arguments."""
    subprocess.run(["bash", "-n", RECIPES / "paper.sh"], check=True)
    run = subprocess.run(["bash", RECIPES / "paper.sh"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "bash recipes/paper.sh OUT SOURCE" in run.stderr
