"""Commands that are killed or unplugged end in the bytes of a calm run: a few of the trials of bench/reliability.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.power_cuts import why_not
from tests.support.places import ROOT


def trials(work: Path, *words: str) -> str:
    """Run trials that have to end well; what was said of them."""
    command = [sys.executable, "-m", "bench", "reliability", *words, "--work", str(work)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "FAILED" not in run.stdout
    return run.stdout


def test_power_cuts(tmp_path: Path):
    """A power cut in the midst of phantom and import, or soon after, leaves the whole folder or none."""
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    said = trials(tmp_path, "power", "--n", "8", "--commands", "phantom", "import")
    assert sum(map(int, re.findall(r"(\d+) (?:during|after) the run", said))) == 8


def test_kills(tmp_path: Path):
    """kill -9 in the midst of import, train, generate and evaluate: the same command again ends as a calm run."""
    said = trials(tmp_path, "kill", "--n", "8")
    assert [line.partition(":")[0] for line in said.splitlines()[1:]] == ["import", "train", "generate", "evaluate"]
    assert sum(map(int, re.findall(r"(\d+) killed", said))) == 8


def test_stops(tmp_path: Path):
    """SIGTERM is a request to stop: the command cleans up, says that it was stopped, and the next goes on."""
    said = trials(tmp_path, "term", "--n", "6", "--commands", "phantom", "import")
    assert sum(map(int, re.findall(r"(\d+) killed", said))) == 6
