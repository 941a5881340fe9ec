"""What starting costs: CPU seconds of short commands, the best of 5, each beside those of an empty Python.

python -m bench startup
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .options import measurement
from .study_load import SERVER, make_study
from .timing import PHONYBRAINS, children_cpu_s, in_turns, table

UNTIL_ASKED = """
import os
from phonybrains.startup import lean_diffusers
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
with lean_diffusers():
    from phonybrains.model.latent_diffusion import LatentDiffusion
LatentDiffusion.paint = lambda *_, **__: os._exit(0)
from phonybrains.cli.app import main
main()
"""
"""The command line with its own settings and imports; it ends where the first image is asked for."""

app = measurement(__name__, __doc__)


@app.default
def main(*, rounds: int = 5) -> None:
    """Start every command in turns.

    Args:
        rounds: How often; the best counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = ("-n", "1", "--out", str(Path(folder) / "out"))
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "phonybrains --help": (*PHONYBRAINS, "--help"),
            "model info heads": (*PHONYBRAINS, "model", "info", "heads"),
            "generate heads, until the first image": (sys.executable, "-c", UNTIL_ASKED, "generate", "heads", *out),
            "generate, no such model": (*PHONYBRAINS, "generate", "no-such-model", *out),
            "generate, no such condition": (*PHONYBRAINS, "generate", "heads", "--where", "plane=x", *out),
            "study serve, until it answers": (sys.executable, "-c", SERVER, str(make_study(Path(folder), 2, 64)), ""),
        }
        columns = in_turns([lambda _, words=words: cpu_s(words) for words in commands.values()], rounds)
    best = [min(column) for column in columns]
    rows = [[name, seconds, seconds / best[0]] for name, seconds in zip(commands, best, strict=True)]
    print(table(["command", "CPU s", "of an empty Python"], rows))


def cpu_s(words: tuple[str, ...]) -> float:
    """CPU seconds of a command until it ends, or until it says that it serves."""
    before = children_cpu_s()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("Serving"):
            process.send_signal(signal.SIGINT)
    process.wait()
    return children_cpu_s() - before
