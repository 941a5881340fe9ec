"""Broken files against every reader; few, as bench/reliability.py tries many."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT


def test_broken_files_are_refused_in_a_line(tmp_path: Path):
    """No reader answers 1500 broken inputs with a traceback, a hang, a half-written set or memory without end."""
    run = subprocess.run(
        [sys.executable, "-m", "bench", "reliability", "fuzz", "--n", "1500", "--work", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    failures = tmp_path / "failures" / "failures.txt"
    assert run.returncode == 0, (failures.read_text() if failures.exists() else "") + run.stderr
    assert sum(map(int, re.findall(r"(\d+) (?:read|refused)", run.stdout.splitlines()[-1]))) >= 1500
