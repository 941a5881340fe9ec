"""Commands that are disturbed: what is run, how it is stopped, and whether what it leaves is that of a calm run.

Each run is the real command line, in a process forked from one that has imported everything, so that hundreds are
cheap. A calm run that ends after midnight has another day in its PDF than one that ended before.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from .timing import children_cpu_s

TENSORBOARD = "training/tensorboard/"
"""TensorBoard's curves hold the time of each point, and a stopped run has one file more."""
TRAIN = """
conditions = ["plane", "age_years"]
min_patients = 0
precision = "fp32"
autoencoder.loop = { steps = 4, batch_size = 4, validate_every = 4, checkpoint_every = 2 }
denoiser.loop = { steps = 6, batch_size = 4, validate_every = 6, checkpoint_every = 2 }
denoiser.variants = 1
few_step.loop.steps = 0
"""
EVALUATE = """
[quality]
permutations = 20
null_draws = 4
"""


@dataclass(frozen=True)
class Command:
    """A command line; words that name a folder of the inputs begin with @, the output is OUT, in the current folder."""

    name: str
    words: str
    out: str = "OUT"

    def arguments(self, inputs: Path) -> list[str]:
        """The words after `phonybrains`."""
        return [str(inputs / word[1:]) if word.startswith("@") else word for word in self.words.split()]


class Disturbed(Exception):
    """What a disturbance left is not what a calm run leaves."""


COMMANDS = {
    "phantom": Command("phantom", "phantom -n 24 --size 64 --out OUT"),
    "import": Command("import", "import @sources --out OUT --modality MR --size 64 --key-file @key"),
    "train": Command("train", "train @corpus --out OUT --preset tiny --config @train.toml"),
    "generate": Command("generate", "generate @model -n 24 --steps 3 --batch-size 4 --precision fp32 --out OUT"),
    "evaluate": Command(
        "evaluate", "evaluate @samples --against @corpus --out OUT --config @evaluate.toml --only quality bias"
    ),
}
INPUTS = (
    Command("corpus", "phantom -n 40 --size 32 --out corpus --as-scans"),
    Command("model", "train @corpus --out model --preset tiny --config @train.toml"),
    Command("samples", "generate @model -n 8 --steps 2 --out samples"),
)
"""What is made for the commands to read, in this order."""
MODULES = {
    "phantom": "phantom.corpus",
    "import": "importing",
    "train": "training.stage",
    "generate": "generating.stage finetuning.stage",
    "evaluate": "evaluation.stage evaluation.memorisation.audit evaluation.quality.audit evaluation.quality.c2st "
    "evaluation.report.build reporting.pages",
}
"""What a command imports, by its first word."""


def needed(names: Sequence[str]) -> list[Command]:
    """The inputs of commands, and of those inputs."""
    found: list[Command] = []
    for made in reversed(INPUTS):
        if any(f"@{made.name}" in other.words.split() for other in (*(COMMANDS[name] for name in names), *found)):
            found.insert(0, made)
    return found


def make_inputs(folder: Path, names: Sequence[str]) -> Path:
    """What the commands read: sources, a corpus, a model, samples and settings."""
    import nibabel
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.toml").write_text(TRAIN)
    (folder / "evaluate.toml").write_text(EVALUATE)
    (folder / "key").write_text("00" * 32 + "\n")
    (folder / "key").chmod(0o600)
    rng, sources = np.random.default_rng(0), folder / "sources"
    sources.mkdir(exist_ok=True)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (80, 80), np.uint8)).save(sources / f"{number:03d}.png")
    volume = rng.integers(0, 2000, (64, 64, 20)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 2.0, 2.0, 1.0])), sources / "sub-1_T1w.nii.gz")
    for made in needed(names):
        if not (folder / made.name).exists():
            run_to_end(made, folder, folder)
    return folder


def warm_up(names: Sequence[str]) -> None:
    """Import all that commands import, so that a forked process begins to work at once."""
    for command in (*(COMMANDS[name] for name in names), *needed(names)):
        for module in MODULES[command.words.split()[0]].split():
            import_module(f"phonybrains.{module}")


def start(command: Command, inputs: Path, folder: Path) -> int:
    """Begin a command in a process group of its own, with `folder` as its current one; its process number.

    What it prints goes to a file beside `folder`.
    """
    process = os.fork()
    if process:
        with suppress(PermissionError, ProcessLookupError):  # it has done so itself, or is done altogether
            os.setpgid(process, process)
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        with (inputs / f"{command.name}.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.chdir(folder)
        sys.argv = ["phonybrains", *command.arguments(inputs)]
        from phonybrains.cli.app import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(process: int, seconds: float | None = None) -> int | None:
    """The exit code of a process (minus the signal that ended it); None if it has not ended in so many seconds."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            return None
        time.sleep(0.002)


def work_of(process: int) -> float:
    """CPU seconds that a process of ours has spent."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, numbers[11:13])) / os.sysconf("SC_CLK_TCK")


def run_to_end(command: Command, inputs: Path, folder: Path) -> float:
    """Run a command that has to succeed; the seconds it took."""
    begun = time.monotonic()
    code = wait(start(command, inputs, folder))
    if code != 0:
        said = (inputs / f"{command.name}.log").read_text(errors="replace").strip().splitlines()
        raise Disturbed(f"{command.name} ended with {code}: {' | '.join(said[-3:])}")
    return time.monotonic() - begun


def stop(process: int, means: signal.Signals) -> int | None:
    """Send a signal to a process and all it has started; its exit code."""
    os.killpg(process, means)
    return wait(process)


def state_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, drafts and hidden ones too; a record without the time it was written at."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(_timeless(path)).hexdigest()
        for name, path in paths.items()
        if TENSORBOARD not in name and not name.startswith("lost+found")
    }


def _timeless(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name == "record.json" and content:
        return json.dumps({**json.loads(content), "created": "", "sha256": ""}).encode()
    return content


def compare(found: Mapping[str, str], calm: Mapping[str, str], when: str) -> None:
    """Raise Disturbed where two states differ, naming what does."""
    names = sorted(name for name in found.keys() | calm.keys() if found.get(name) != calm.get(name))
    if names:
        kind = [f"{'left' if n not in calm else 'missing' if n not in found else 'other'} {n}" for n in names]
        raise Disturbed(f"{when}: {len(names)} files differ: {', '.join(kind[:4])}")


@dataclass(frozen=True)
class Calm:
    """How a command ends that nobody disturbs, how long it takes, and how much CPU time."""

    state: Mapping[str, str]
    seconds: float
    work_s: float


def undisturbed(command: Command, inputs: Path, folder: Path) -> Calm:
    """Run a command in an empty folder."""
    place = Path(tempfile.mkdtemp(prefix=f"{command.name}-", dir=folder))
    before = children_cpu_s()
    seconds = run_to_end(command, inputs, place)
    return Calm(state_of(place), seconds, children_cpu_s() - before)


Trial = Callable[[Command, Calm, Path, np.random.Generator], str]


def rounds(
    names: Sequence[str], n: int, inputs: Path, folder: Path, seed: int, trial: Trial, minutes: float
) -> dict[str, Counter[str]]:
    """Try n times or so many minutes, the commands in turns; how each ended.

    A failure names seed and number, and says so where a command that nobody disturbs gives other bytes too.
    """
    end = time.monotonic() + 60 * minutes
    calm = {name: undisturbed(COMMANDS[name], inputs, folder) for name in dict.fromkeys(names)}
    print(", ".join(f"{name} {one.seconds:.2f} s" for name, one in calm.items()), flush=True)
    counts = {name: Counter[str]() for name in calm}
    for number in range(n):
        if time.monotonic() > end:
            break
        name = names[number % len(names)]
        place = folder / f"{number:05d}"
        place.mkdir()
        try:
            ended = trial(COMMANDS[name], calm[name], place, np.random.default_rng([seed, number]))
        except Disturbed as error:
            ended = "FAILED"
            alone = undisturbed(COMMANDS[name], inputs, folder).state == calm[name].state
            why = "" if alone else "; undisturbed it gives other bytes too"
            print(f"{name}, trial {number} of seed {seed}: {error}{why}", flush=True)
        counts[name][ended] += 1
    return counts
