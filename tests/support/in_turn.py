"""Command lines that are given one after the other to one process, which imports what they need only once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TURNS = """
import importlib, json, sys
main = importlib.import_module(sys.argv[1]).main
for words in json.loads(sys.argv[2]):
    sys.argv = ["command", *words]
    try:
        main()
    except SystemExit as end:
        print("\\nended with", end.code or 0, flush=True)
"""


def in_turn(
    module: str, commands: Sequence[Sequence[object]], folder: Path, environment: dict[str, str]
) -> tuple[list[int], subprocess.CompletedProcess[str]]:
    """Call a module's main() for each command, with `folder` as the current one: their exit codes, and all output."""
    texts = json.dumps([list(map(str, words)) for words in commands])
    program = [sys.executable, "-c", TURNS, module, texts]
    done = subprocess.run(program, capture_output=True, text=True, errors="replace", cwd=folder, env=environment)
    return [int(code) for code in re.findall(r"(?m)^ended with (\d+)$", done.stdout)], done
