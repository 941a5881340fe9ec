"""How fast the denoiser trains: ours against a plain diffusers loop with the same network and objective, in turns.

python -m bench train                  phantoms at 256×256, batches of 16, the preset 'cpu'
python -m bench train --corpus corpus/ --preset gpu --batch-size 256 --compile
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from .timing import in_turns, machine, table, use_threads

SMOKE = {"preset": "tiny", "size": 64, "phantoms": 20, "batch_size": 4, "warmup": 1, "steps": 2, "rounds": 1}


def main(words: Sequence[str] | None = None) -> None:
    """Measure in turns and print samples/s, FLOP/s, their share of what a matrix product reaches, and ratios."""
    options = _parse(words)
    use_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        _measure(options, Path(work))


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--corpus", type=Path, help="an image set (phantoms, made for the occasion, where it is not given)")
    add("--phantoms", type=int, default=64, help="how many phantoms")
    add("--size", type=int, default=256, help="side of the phantoms")
    add("--preset", default="cpu", help="whose networks and settings: tiny, cpu or gpu")
    add("--batch-size", type=int, default=16)
    add("--warmup", type=int, default=2, help="steps before the clock starts")
    add("--steps", type=int, default=10, help="steps that are timed")
    add("--rounds", type=int, default=3, help="how often everything is measured; the median counts")
    add("--threads", type=int, default=0, help="threads (0: as the machine has cores)")
    add("--plain-precision", choices=("fp32", "bf16"), default="fp32", help="of the plain loop (fp32, as its default)")
    add("--workers", type=int, default=0, help="processes that read images for the plain loop (0, as its default)")
    add("--compile", action="store_true", help="torch.compile in our loop")
    add("--smoke", action="store_true", help="tiny networks and numbers: whether it runs, not how fast")
    options = parser.parse_args(words)
    if options.smoke:
        vars(options).update(SMOKE)
    return options


def _measure(options: argparse.Namespace, work: Path) -> None:
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


if __name__ == "__main__":
    main()
