"""What a kill, a power cut, a second writer and broken files do: the counts of docs/reliability.md.

python -m bench reliability kill --n 300
python -m bench reliability power --n 100           # as root: it mounts file systems
python -m bench reliability fuzz --n 100000
python -m bench reliability sync --n 3600           # what syncing costs
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import phonybrains.files

from .disturbed import COMMANDS, make_inputs, rounds, warm_up
from .fuzz import fuzz
from .kills import killed
from .power_cuts import format_disk, unplugged, why_not
from .readers import READERS
from .sync_cost import sync_cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kill", "term", "power", "fuzz", "sync"])
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=["import", "train", "generate", "evaluate"])
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial after so many")
    parser.add_argument("--readers", nargs="+", choices=READERS)
    parser.add_argument("--unsynced", action="store_true", help="show that the trials find it: nothing is synced")
    parser.add_argument("--work", type=Path, help="folder for inputs and what a failed trial leaves")
    options = parser.parse_args()
    work = Path(options.work or tempfile.mkdtemp(prefix="reliability-")).resolve()
    folder = Path(tempfile.mkdtemp(prefix=f"{options.what}-", dir=_made(work)))
    if options.what == "sync":
        sync_cost(options.n, folder)
        sys.exit()
    warm_up(COMMANDS if options.what == "fuzz" else options.commands)
    if options.unsynced:
        phonybrains.files._sync = lambda handle: None
    if options.what == "fuzz":
        counts = fuzz(options.n, options.seed, folder, work / "failures", options.readers or list(READERS))
        print(", ".join(f"{count} {how}" for how, count in sorted(counts.items())))
        sys.exit(bool(counts["FAILED"] or counts["died"]))
    inputs = make_inputs(work / "inputs", options.commands)
    if options.what == "power":
        if reason := why_not(folder):
            sys.exit(reason)
        trial = unplugged(inputs, format_disk(folder / "empty.img"))
    else:
        trial = killed(inputs, signal.SIGKILL if options.what == "kill" else signal.SIGTERM)
    disturbed = rounds(options.commands, options.n, inputs, folder, options.seed, trial, options.minutes)
    for name, ended in disturbed.items():
        print(f"{name}: {', '.join(f'{count} {how}' for how, count in sorted(ended.items()))}")
    sys.exit(any("FAILED" in ended for ended in disturbed.values()))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
