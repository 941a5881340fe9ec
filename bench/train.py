"""How fast the denoiser trains: ours against a plain diffusers loop with the same network and objective, in turns.

python -m bench train                  phantoms at 256×256, batches of 16, the preset 'cpu'
python -m bench train --corpus corpus/ --preset gpu --batch-size 256 --compile
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

from cyclopts import Parameter

from .options import measurement
from .timing import in_turns, machine, table, use_threads


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is trained, and what is timed."""

    corpus: Path | None = None
    """An image set (phantoms, made for the occasion, where it is not given)."""
    phantoms: int = 64
    """How many phantoms."""
    size: int = 256
    """Side of the phantoms."""
    preset: str = "cpu"
    """Whose networks and settings: tiny, cpu or gpu."""
    batch_size: int = 16
    warmup: int = 2
    """Steps before the clock starts."""
    steps: int = 10
    """Steps that are timed."""
    rounds: int = 3
    """How often everything is measured; the median counts."""
    threads: int = 0
    """Threads (0: as the machine has cores)."""
    plain_precision: Literal["fp32", "bf16"] = "fp32"
    """Of the plain loop (fp32, as its default)."""
    workers: int = 0
    """Processes that read images for the plain loop (0, as its default)."""
    compile: bool = False
    """torch.compile in our loop."""
    smoke: bool = False
    """Tiny networks and numbers: whether it runs, not how fast."""


app = measurement(__name__, __doc__)


@app.default
def main(options: Options = Options()) -> None:
    """Measure in turns and print samples/s, FLOP/s, their share of what a matrix product reaches, and ratios."""
    if options.smoke:
        options = replace(options, preset="tiny", size=64, phantoms=20, batch_size=4, warmup=1, steps=2, rounds=1)
    use_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        _measure(options, Path(work))


def _measure(options: Options, work: Path) -> None:
    from . import loops

    setup = loops.prepare(options, work)
    ours, plain = setup.precision("auto"), setup.precision(options.plain_precision)
    contestants: dict[str, tuple[str, Callable[[int], float]]] = {
        "phonybrains' loop": (ours, lambda number: loops.ours(setup, options, work / f"ours-{number}")),
        "plain loop, images encoded in each step": (plain, lambda _: loops.plain(setup, options, cached=False)),
        "plain loop, latents cached": (plain, lambda _: loops.plain(setup, options, cached=True)),
        **{
            f"matmul {kind}": (kind, lambda _, k=kind: loops.matmul_peak(setup.device, k))
            for kind in sorted({ours, plain})
        },
    }

    def turn(name: str, number: int) -> float:
        value = contestants[name][1](number)
        unit = "TFLOP/s" if name.startswith("matmul") else "samples/s"
        print(f"round {number + 1}, {name}: {value:.3g} {unit}", file=sys.stderr, flush=True)
        return value

    columns = in_turns([lambda number, n=name: turn(n, number) for name in contestants], options.rounds)
    results = {name: median(column) for name, column in zip(contestants, columns, strict=True)}
    spread = {name: f"{min(c):.3g}–{max(c):.3g}" for name, c in zip(contestants, columns, strict=True)}
    flop = loops.training_flop(setup)
    rows: list[list[object]] = []
    for name, (kind, _) in list(contestants.items())[:3]:
        rate, peak = results[name], results[f"matmul {kind}"]
        rows.append(
            [
                name,
                kind,
                rate,
                spread[name],
                rate * flop / 1e9,
                f"{rate * flop / 1e12 / peak:.1%}",
                f"{results[next(iter(contestants))] / rate:.2f}×",
            ]
        )
    print(f"\n{machine()}; {loops.device_name(setup.device)}; medians of {options.rounds} rounds in turns")
    print(
        f"{setup.parameters / 1e6:.2f} M parameters, {flop / 1e9:.3g} GFLOP a sample (forward × 3, denoiser alone), "
        f"batches of {options.batch_size}; matmul: "
        + ", ".join(f"{results[name]:.3g} TFLOP/s {name.split()[1]}" for name in results if name.startswith("matmul"))
    )
    print(table(["loop", "precision", "samples/s", "range", "GFLOP/s", "of matmul", "ours is faster by"], rows))
