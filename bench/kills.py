"""kill -9 and SIGTERM at random moments: the same command again has to end in the bytes of a calm run."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np

from .disturbed import Calm, Command, Disturbed, Trial, compare, run_to_end, start, state_of, stop, wait, work_of

ENDS = {signal.SIGKILL: (-signal.SIGKILL,), signal.SIGTERM: (130, -signal.SIGTERM)}
"""Exit codes; a command that has not yet begun is ended by the signal itself."""


def killed(inputs: Path, means: signal.Signals) -> Trial:
    """A trial: stop a command in the midst of its work, one time in two its second attempt too, then let it end.

    How far it is by then is told by its CPU time, whatever else the machine does. A calm run that a busy machine made
    dearer sets moments too late: a command that ends before the first signal starts over, to be stopped sooner.
    """

    def trial(command: Command, calm: Calm, folder: Path, rng: np.random.Generator) -> str:
        kills, wanted, work_s = 0, int(rng.integers(1, 3)), calm.work_s * 8
        while kills < wanted:
            process = start(command, inputs, folder)
            moment, ended = work_s * rng.uniform(0, 1), None
            while ended is None and work_of(process) < moment:
                ended = wait(process, 0.002)
            code = stop(process, means) if ended is None else ended
            if code == 0 and kills:
                break
            if code == 0:
                work_s = moment
                shutil.rmtree(folder)
                folder.mkdir()
            elif code not in ENDS[means]:
                raise Disturbed(f"it ended with {code} where {means.name} was due")
            else:
                kills += 1
        run_to_end(command, inputs, folder)
        compare(state_of(folder), calm.state, f"after {kills} times {means.name}")
        shutil.rmtree(folder)
        return f"killed {kills} times"

    return trial
