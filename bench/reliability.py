"""What a kill, a power cut, a second writer and broken files do: the counts of docs/reliability.md.

python -m bench reliability kill --n 300
python -m bench reliability power --n 100           # as root: it mounts file systems
python -m bench reliability fuzz --n 100000
python -m bench reliability sync --n 3600           # what syncing costs
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import phonybrains.files

from .disturbed import COMMANDS, make_inputs, rounds, warm_up
from .fuzz import fuzz
from .kills import killed
from .options import measurement
from .power_cuts import format_disk, unplugged, why_not
from .readers import READERS
from .sync_cost import sync_cost

CommandName = Literal["phantom", "import", "train", "generate", "evaluate"]
app = measurement(__name__, __doc__)


@app.default
def main(
    what: Literal["kill", "term", "power", "fuzz", "sync"],
    /,
    *,
    n: int = 20,
    seed: int = 0,
    commands: tuple[CommandName, ...] = ("import", "train", "generate", "evaluate"),
    minutes: float = 1e9,
    readers: tuple[str, ...] = tuple(READERS),
    unsynced: bool = False,
    work: Path | None = None,
) -> None:
    """Make trials and count how they end.

    Args:
        what: Which trials.
        n: Trials of each command, broken inputs, or images that are published.
        seed: Start of the random numbers.
        commands: Those that are disturbed.
        minutes: Begin no trial after so many.
        readers: Those that get broken files.
        unsynced: Show that the trials find it: nothing is synced.
        work: Folder for inputs and what a failed trial leaves.
    """
    if unknown := set(readers) - set(READERS):
        sys.exit(f"There is no reader called {', '.join(sorted(unknown))}.")
    work = Path(work or tempfile.mkdtemp(prefix="reliability-")).resolve()
    folder = Path(tempfile.mkdtemp(prefix=f"{what}-", dir=_made(work)))
    if what == "sync":
        sync_cost(n, folder)
        sys.exit()
    warm_up(COMMANDS if what == "fuzz" else commands)
    if unsynced:
        phonybrains.files._sync = lambda handle: None
    if what == "fuzz":
        counts = fuzz(n, seed, folder, work / "failures", list(readers))
        print(", ".join(f"{count} {how}" for how, count in sorted(counts.items())))
        sys.exit(bool(counts["FAILED"] or counts["died"]))
    inputs = make_inputs(work / "inputs", commands)
    if what == "power":
        if reason := why_not(folder):
            sys.exit(reason)
        trial = unplugged(inputs, format_disk(folder / "empty.img"))
    else:
        trial = killed(inputs, signal.SIGKILL if what == "kill" else signal.SIGTERM)
    disturbed = rounds(commands, n, inputs, folder, seed, trial, minutes)
    for name, ended in disturbed.items():
        print(f"{name}: {', '.join(f'{count} {how}' for how, count in sorted(ended.items()))}")
    sys.exit(any("FAILED" in ended for ended in disturbed.values()))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
