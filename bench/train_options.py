"""What `python -m bench train` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class TrainOptions:
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
