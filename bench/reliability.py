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
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .options import chosen, measurement
from .timing import use_threads

app = measurement(__name__, __doc__)


@app.default
def main(
    what: Literal["kill", "term", "power", "fuzz", "sync"],
    /,
    *,
    n: int = 20,
    seed: int = 0,
    commands: tuple[str, ...] = ("import", "train", "generate", "evaluate"),
    minutes: float = 1e9,
    readers: tuple[str, ...] = (),
    unsynced: bool = False,
    work: Path | None = None,
) -> None:
    """Make trials and count how they end.

    Args:
        what: Which trials.
        n: Trials of each command, broken inputs, or images that are published.
        seed: Start of the random numbers.
        commands: Those that are disturbed: phantom, import, train, generate, evaluate.
        minutes: Begin no trial after so many.
        readers: Those that get broken files; all if none are given.
        unsynced: Show that the trials find it: nothing is synced.
        work: Folder for inputs and what a failed trial leaves.
    """
    use_threads(1)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import phonybrains.files

    from .disturbed import COMMANDS, make_inputs, rounds, warm_up
    from .fuzz import fuzz
    from .kills import killed
    from .power_cuts import format_disk, unplugged, why_not
    from .readers import READERS
    from .sync_cost import sync_cost

    names, given = chosen(commands, COMMANDS, "command"), chosen(readers, READERS, "reader")
    work = Path(work or tempfile.mkdtemp(prefix="reliability-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{what}-", dir=work))
    if what == "sync":
        sync_cost(n, folder)
        sys.exit()
    warm_up([*COMMANDS] if what == "fuzz" else names)
    if unsynced:
        phonybrains.files._sync = lambda handle: None
    if what == "fuzz":
        counts = fuzz(n, seed, folder, work / "failures", given)
        print(told(counts))
        sys.exit(bool(counts["FAILED"] or counts["died"]))
    inputs = make_inputs(work / "inputs", names)
    if what == "power":
        if reason := why_not(folder):
            sys.exit(reason)
        trial = unplugged(inputs, format_disk(folder / "empty.img"))
    else:
        trial = killed(inputs, signal.SIGKILL if what == "kill" else signal.SIGTERM)
    disturbed = rounds(names, n, inputs, folder, seed, trial, minutes)
    for name, ended in disturbed.items():
        print(f"{name}: {told(ended)}")
    sys.exit(any("FAILED" in ended for ended in disturbed.values()))


def told(counts: Mapping[str, int]) -> str:
    """Counts in words."""
    return ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))
