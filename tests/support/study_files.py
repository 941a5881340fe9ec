"""Image sets and studies for the tests of the reader study: phantoms play both sides."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phonybrains.imageset import ImageSet, write_metadata, write_png
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.config import StudyConfig
from phonybrains.readerstudy.design.stage import design_study

SMALL: dict[str, Any] = {
    "seed": 7,
    "synthetic": {"MR": 6, "CT": 6},
    "real": {"MR": 6, "CT": 6},
    "split": "any",
    "training": 4,
    "checks": 2,
    "repeats": {"share": 0.1, "least": 4, "gap": 6},
    "fillers": 0,
    "same_history": (),
}
"""24 test cases, 4 repeats, 2 checks and 4 training cases: 34 presentations."""


def make_sets(folder: Path, n: int = 80, size: int = 64) -> tuple[Path, Path]:
    """Image sets `samples` (synthetic) and `corpus` (real, two slices a patient) of n phantoms, half MR, half CT."""
    samples = make_phantoms(n, folder / "samples", seed=2, size=size)
    corpus = make_phantoms(n, folder / "corpus", seed=1, size=size, slices_per_patient=2, synthetic=False)
    return samples, corpus


def small_config(**config: Any) -> StudyConfig:
    """The small study's configuration, with some of it changed."""
    return StudyConfig.model_validate(SMALL | config)


def make_study(folder: Path, **config: Any) -> Path:
    """A frozen small study of phantoms in `folder`/study, its sets beside it; `config` changes the configuration."""
    samples, corpus = make_sets(folder)
    return design_study([samples], corpus, folder / "study", small_config(**config), show=False)


def rewritten_pixels(folder: Path, out: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of a set with its pixels changed."""
    shutil.copytree(folder, out)
    images, rows = ImageSet.open(folder), []
    for i, row in enumerate(images.rows):
        rows.append(replace(row, sha256=write_png(out / row.file_name, change(images.pixels(i)))))
    write_metadata(out, rows)
    return out
