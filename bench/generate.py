"""How fast images are made: ours and other systems in turns in one process, and the command line by itself.

python -m bench generate                     the table: seconds per image, peak memory, ratio to ours
python -m bench generate --isolate           the peak memory of each system in a process of its own
python -m bench generate --whole             whole commands: phonybrains generate, phonybrains demo
python -m bench generate --scale 95 1000     time and memory against the number of images
python -m bench generate --torchrun          one process against two
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from cyclopts import Parameter

from phonybrains.model.compiled import installed
from phonybrains.model.sampling import Engine

from .options import measurement
from .peers import Size, System, monai, monai_is_missing, ours, stable_diffusion
from .timing import PHONYBRAINS, Usage, cores, figure, in_turns, machine, own_peak_mib, run, table, use_threads

SystemName = Literal["ours", "monai-ddpm", "monai-ddim", "sd"]


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is measured, and how."""

    model: str = "heads"
    """A model folder, or the name of a shipped model."""
    steps: tuple[int, ...] = (2, 16)
    """Step settings of ours."""
    engines: tuple[Engine, ...] = ("torch", "compiled")
    """What computes ours; compiled where MNN is installed."""
    images: int = 95
    """Images of ours in each round, and of the commands."""
    peer_batch: int = 1
    """Images that the peers make at a time (1, as in their scripts)."""
    timed_steps: int = 20
    """Steps of the peers that are timed and scaled to all."""
    rounds: int = 3
    """How often everything is measured; the median counts."""
    threads: int = 0
    """Threads of all systems (0: as the machine has cores)."""
    systems: tuple[SystemName, ...] = ("ours", "monai-ddpm", "monai-ddim", "sd")
    isolate: bool = False
    """Peak memory of each system in a process of its own."""
    whole: bool = False
    """Time whole commands in fresh processes."""
    scale: tuple[int, ...] = ()
    """Time and memory for these numbers of images."""
    torchrun: bool = False
    """One process against two that share the work."""
    toy: Annotated[bool, Parameter(show=False)] = False
    smoke: bool = False
    """Tiny networks and numbers: whether it runs, not how fast."""


app = measurement(__name__, __doc__)


@app.default
def main(options: Options = Options()) -> None:
    """Run what the command line asks for, and print tables."""
    if options.smoke:
        options = replace(options, images=2, steps=(1, 2), timed_steps=1, rounds=1, toy=True)
    use_threads(options.threads)
    parts = {"isolate": isolate, "whole": whole, "scale": scale, "torchrun": torchrun}
    asked = [part for name, part in parts.items() if getattr(options, name)]
    for part in asked or [compare]:
        part(options)


def compare(options: Options) -> None:
    """All systems in turns: median seconds per image, peak memory of the process after each, ratios to ours."""
    systems = list(_systems(options))
    peaks: dict[int, float] = {}

    def turn(place: int, number: int) -> float:
        seconds = systems[place](number)
        peaks.setdefault(place, own_peak_mib())
        what = f"round {number + 1}, {systems[place].name}, {systems[place].steps} steps"
        print(f"{what}: {seconds:.3g} s/image", file=sys.stderr, flush=True)
        return seconds

    rounds = in_turns([lambda number, place=i: turn(place, number) for i in range(len(systems))], options.rounds)
    seconds = [median(column) for column in rounds]
    references = [(s.name, s.steps, time) for s, time in zip(systems, seconds, strict=True) if s.ours]
    rows: list[list[object]] = []
    for i, (system, time, column) in enumerate(zip(systems, seconds, rounds, strict=True)):
        spread = f"{min(column):.3g}–{max(column):.3g}"
        ratios = [f"{figure(time / reference)}×" for *_, reference in references]
        rows.append([system.name, system.steps, system.timed, time, spread, peaks[i], *ratios])
    print(f"\n{machine()}; medians of {options.rounds} rounds in turns; fp32, 256×256 images")
    ratios = [f"ratio to {name}, {count} steps" for name, count, _ in references]
    print(table(["system", "steps", "timed", "s/image", "range", "peak MiB so far", *ratios], rows))


def _systems(options: Options) -> Iterator[System]:
    """What is asked for, ours first, since the peak memory of a process only rises; what is not installed is named."""
    size = Size(options.images, options.peer_batch, options.timed_steps, options.toy)
    if "ours" in options.systems:
        for engine in options.engines:
            if engine == "compiled" and not installed():
                print("compiled: skipped, MNN is not installed (the extra 'compile' has it)")
            else:
                yield from ours(options.model, options.steps, size, engine)
    for name, sampler in (("monai-ddim", "DDIM"), ("monai-ddpm", "DDPM")):
        if name in options.systems and monai_is_missing():
            print(f"{name}: skipped, monai is not installed (the extra 'bench' has it)")
        elif name in options.systems:
            yield monai(sampler, size)
    if "sd" in options.systems:
        yield stable_diffusion(size)


def isolate(options: Options) -> None:
    """The peak memory of each system in a process of its own, and what importing PyTorch and diffusers takes of it."""
    base = run([sys.executable, "-c", "import torch, diffusers.models.unets.unet_2d"])
    rows: list[list[object]] = [["imports alone", base.peak_mib, "", ""]]
    reference = 0.0
    for name in options.systems:
        if name.startswith("monai") and monai_is_missing():
            rows.append([name, "skipped: monai is not installed", "", ""])
            continue
        given = f"--rounds 1 --images {options.images} --peer-batch {options.peer_batch} --timed-steps 2"
        given += f" --steps {options.steps[0]} --engines torch" + " --toy" * options.toy
        alone = (sys.executable, "-m", "bench", "generate", "--systems", name, "--model", options.model)
        peak = run([*alone, *given.split()]).peak_mib
        reference = peak if name == "ours" else reference
        rows.append([name, peak, peak - base.peak_mib, peak / reference if reference else ""])
    print(table(["system, alone in its process", "peak MiB", "above imports", "ratio to ours"], rows))


def whole(options: Options) -> None:
    """Wall and CPU seconds and peak memory of whole commands in fresh processes, in turns."""
    generate = [*PHONYBRAINS, "generate", options.model, "-n", options.images]
    name = f"generate {options.model} -n {options.images}"
    commands = {name: generate} | {f"{name} --steps {steps}": [*generate, "--steps", steps] for steps in options.steps}
    commands |= {"demo": [*PHONYBRAINS, "demo"], "--version": [*PHONYBRAINS, "--version"]}

    def once(words: Sequence[object], _: int) -> Usage:
        with tempfile.TemporaryDirectory() as folder:
            out = [] if words[-1] == "--version" else ["--out", Path(folder) / "out"]
            return run([str(word) for word in (*words, *out)])

    columns = in_turns([lambda number, words=w: once(words, number) for w in commands.values()], options.rounds)
    _print_usage("command, in a fresh process", list(commands), columns, options.images)


def scale(options: Options) -> None:
    """Seconds per image and peak memory of the command line for growing numbers of images, one run each."""
    rows: list[list[object]] = []
    for count in options.scale:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            used = run([*PHONYBRAINS, *_generating(options, count, out)])
        rows.append([count, used.wall_s, used.cpu_s, used.wall_s / count, used.peak_mib])
        print(f"{count} images: {used.wall_s:.1f} s", file=sys.stderr, flush=True)
    for row, before in zip(rows[1:], rows, strict=False):
        row.append((row[1] - before[1]) / (row[0] - before[0]))  # type: ignore[operator]
    rows[0].append("")
    print(table(["images", "wall s", "CPU s", "s/image", "peak MiB", "s for each more"], rows))


def _generating(options: Options, images: int, out: Path) -> list[str | Path]:
    return ["generate", options.model, "-n", str(images), "--steps", str(options.steps[0]), "--out", out]


def torchrun(options: Options) -> None:
    """One process with all threads against two with half of them each: time, and whether the images are the same."""
    threads = options.threads or cores()
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "phonybrains"]
    ways = {
        f"1 process, {threads} threads": (PHONYBRAINS, threads),
        f"torchrun, 2 processes, {max(1, threads // 2)} threads each": (two, max(1, threads // 2)),
    }
    with tempfile.TemporaryDirectory() as folder:

        def once(place: int, number: int) -> Usage:
            command, each = list(ways.values())[place]
            out = Path(folder) / f"{place}-{number}"
            words = [*command, *_generating(options, options.images, out)]
            return run(words, {"OMP_NUM_THREADS": str(each)})

        columns = in_turns([lambda number, place=i: once(place, number) for i in range(2)], options.rounds)
        difference, same = largest_difference(Path(folder) / "0-0", Path(folder) / "1-0")
    _print_usage(f"{options.images} images, {options.steps[0]} steps", list(ways), columns, options.images)
    print(f"largest grey-level difference between the two sets: {difference}; {same} images identical")


def largest_difference(one: Path, other: Path) -> tuple[int, int]:
    """The largest difference between two image sets in grey levels, and how many images are identical."""
    from phonybrains.imageset import ImageSet

    a, b = ImageSet.open(one), ImageSet.open(other)
    if [row.file_name for row in a.rows] != [row.file_name for row in b.rows]:
        raise SystemExit("the two sets have different images")
    each = [int(abs(a.pixels(i).astype(int) - b.pixels(i).astype(int)).max()) for i in range(len(a))]
    return max(each), each.count(0)


def _print_usage(title: str, names: Sequence[str], columns: Sequence[Sequence[Usage]], images: int) -> None:
    medians = [Usage.median(column) for column in columns]
    rows: list[list[object]] = []
    for name, used in zip(names, medians, strict=True):
        each = used.wall_s / images if name != "--version" else ""
        rows.append([name, used.wall_s, used.cpu_s, used.peak_mib, each, used.wall_s / medians[0].wall_s])
    print(f"\n{cores()} cores, load average {os.getloadavg()[0]:.1f}; medians of {len(columns[0])} rounds in turns")
    print(table([title, "wall s", "CPU s", "peak MiB (largest process)", "s/image", "ratio to the first"], rows))
