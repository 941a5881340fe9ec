"""Command lines without a process each: in this one, or one after the other in another, which imports only once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pytest

from phonybrains.cli import app

TURNS = """
import importlib, json, sys
module, _, name = sys.argv[1].partition(":")
called = getattr(importlib.import_module(module), name)
for words in json.loads(sys.argv[2]):
    sys.argv = ["command", *words]
    try:
        code = called()
    except SystemExit as end:
        code = end.code
    print("\\nended with", code or 0, flush=True)
"""


def in_turn(
    entry: str, commands: Sequence[Sequence[object]], folder: Path, environment: dict[str, str]
) -> tuple[list[int], subprocess.CompletedProcess[str]]:
    """Call an entry, "module:function", for each command, in a folder: their exit codes, and all output."""
    texts = json.dumps([list(map(str, words)) for words in commands])
    program = [sys.executable, "-c", TURNS, entry, texts]
    done = subprocess.run(program, capture_output=True, text=True, errors="replace", cwd=folder, env=environment)
    return [int(code) for code in re.findall(r"(?m)^ended with (\d+)$", done.stdout)], done


def called(*words: object, folder: Path | None = None, stdin: TextIO | None = None) -> int:
    """The exit code of `phonybrains` with these words, in this process, with another current folder and input."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["phonybrains", *map(str, words)])
        patch.chdir(folder or Path.cwd())
        patch.setattr(sys, "stdin", stdin or sys.stdin)
        with pytest.raises(SystemExit) as end:
            app.main()
    return int(end.value.code or 0)
