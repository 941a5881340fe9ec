"""How fast the denoiser trains: ours against a plain diffusers loop with the same network and objective, in turns.

python -m bench train                  phantoms at 256×256, batches of 16, the preset 'cpu'
python -m bench train --corpus corpus/ --preset gpu --batch-size 256 --compile
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from .options import measurement
from .timing import in_turns, machine, table, use_threads
from .train_options import TrainOptions

HEADER = ("loop", "precision", "samples/s", "range", "GFLOP/s", "of matmul", "ours is faster by")
DEFAULTS = TrainOptions()
app = measurement(__name__, __doc__)


@app.default
def main(options: TrainOptions = DEFAULTS) -> None:
    """Measure in turns and print samples/s, FLOP/s, their share of what a matrix product reaches, and ratios."""
    if options.smoke:
        options = replace(options, preset="tiny", size=64, phantoms=20, batch_size=4, warmup=1, steps=2, rounds=1)
    use_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        _measure(options, Path(work))


def _measure(options: TrainOptions, work: Path) -> None:
    from . import loops
    from .networks import forward_flop

    setup = loops.prepare(options, work)
    ours, plain = setup.precision("auto"), setup.precision(options.plain_precision)
    contestants: dict[str, tuple[str, Callable[[int], float]]] = {
        "phonybrains' loop": (ours, lambda number: loops.ours(setup, options, work / f"ours-{number}")),
        "plain loop, images encoded in each step": (plain, lambda _: loops.plain(setup, options, cached=False)),
        "plain loop, latents cached": (plain, lambda _: loops.plain(setup, options, cached=True)),
    }
    peaks = {
        f"matmul {kind}": (kind, lambda _, k=kind: loops.matmul_peak(setup.device, k)) for kind in sorted({ours, plain})
    }
    everyone = contestants | peaks

    def turn(name: str, number: int) -> float:
        value = everyone[name][1](number)
        unit = "TFLOP/s" if name in peaks else "samples/s"
        print(f"round {number + 1}, {name}: {value:.3g} {unit}", file=sys.stderr, flush=True)
        return value

    columns = in_turns([lambda number, n=name: turn(n, number) for name in everyone], options.rounds)
    measured = dict(zip(everyone, columns, strict=True))
    result = {name: median(column) for name, column in measured.items()}
    flop = 3 * forward_flop(setup.denoiser, setup.latents.values.shape[2:], setup.corpus.encoded.shape[1])
    rows: list[list[object]] = []
    for name, (kind, _) in contestants.items():
        rate, reached = result[name], result[name] * flop / 1e12
        spread = f"{min(measured[name]):.3g}–{max(measured[name]):.3g}"
        share, ratio = reached / result[f"matmul {kind}"], result["phonybrains' loop"] / rate
        rows.append([name, kind, rate, spread, 1000 * reached, f"{share:.1%}", f"{ratio:.2f}×"])
    print(f"\n{machine()}; {loops.device_name(setup.device)}; medians of {options.rounds} rounds in turns")
    print(
        f"{setup.parameters / 1e6:.2f} M parameters, {flop / 1e9:.3g} GFLOP a sample (forward × 3, denoiser alone), "
        f"batches of {options.batch_size}; matmul: "
        + ", ".join(f"{result[name]:.3g} TFLOP/s {kind}" for name, (kind, _) in peaks.items())
    )
    print(table(HEADER, rows))
