"""Commands that are killed or unplugged end in the bytes of a calm run: a few of the trials of bench/reliability.py."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bench.power_cuts import why_not
from tests.support.in_turn import in_turn
from tests.support.places import ROOT


def trials(work: Path, *kinds: str) -> list[str]:
    """Run trials that have to end well; what was said of each kind."""
    commands = [(*words.split(), "--work", work) for words in kinds]
    codes, done = in_turn("bench.reliability:app", commands, ROOT, dict(os.environ))
    assert codes == [0] * len(kinds), done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    return done.stdout.split("ended with")


@pytest.mark.needs("root")
def test_power_cuts(tmp_path: Path):
    """A power cut in the midst of phantom and import, or soon after, leaves the whole folder or none."""
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    said, _ = trials(tmp_path, "power --n 4 --commands phantom import")
    assert sum(map(int, re.findall(r"(\d+) (?:during|after) the run", said))) == 4


def test_kills_and_stops(tmp_path: Path):
    """Killed -9 in its midst, each command given again ends as a calm run; SIGTERM lets it clean up and say so."""
    kills, stops, _ = trials(tmp_path, "kill --n 4", "term --n 4 --commands phantom import")
    assert re.findall(r"(?m)^(\w+): \d+ killed [12] times$", kills) == ["import", "train", "generate", "evaluate"]
    assert sum(map(int, re.findall(r"(\d+) killed [12] times", stops))) == 4
