"""Anything that can be asked for images: a model of our own, or a fine-tuned Stable Diffusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..networks.conditions import Conditions, Value
from .fine_tuned import DESCRIPTION, FineTuned
from .folder import model_folder
from .latent_diffusion import LatentDiffusion, Sampling


class Painter(Protocol):
    """What generating needs of a model. size: side of its images in pixels; units: of their pixels, by modality."""

    @property
    def size(self) -> int: ...
    @property
    def units(self) -> Mapping[str, tuple[float, float, str]]: ...
    @property
    def conditions(self) -> Conditions: ...

    def ask(self, indices: Sequence[int], where: Mapping[str, Value], seed: int) -> list[dict[str, Value]]: ...
    def doubts(self, where: Mapping[str, Value]) -> list[str]: ...
    def settle(self, sampling: Sampling) -> Sampling: ...
    def batches(self, n: int, sampling: Sampling) -> list[slice]: ...
    def paint(
        self,
        indices: Sequence[int],
        wanted: Sequence[Mapping[str, Any]],
        sampling: Sampling,
        batches: Sequence[slice] | None = None,
    ) -> Iterator[NDArray[np.uint8]]: ...


def painter_folder(name: str | Path) -> Path:
    """The folder of a model of either kind, or of one that ships with the package, by name.

    Raises ModelError if it is no model.
    """
    return Path(name) if is_fine_tuned(name) else model_folder(name)


def load_painter(folder: Path, device: str = "cpu") -> Painter:
    """Load a model folder of either kind. Raises ModelError if it is damaged, before anything is computed."""
    return FineTuned.load(folder, device) if is_fine_tuned(folder) else LatentDiffusion.load(folder, device)


def is_fine_tuned(folder: str | Path) -> bool:
    """Whether a folder is that of a fine-tuned checkpoint."""
    return (Path(folder) / DESCRIPTION).is_file()


def own_guidance(painter: Painter) -> float:
    """The strength of the guidance where none is asked for."""
    return painter.facts.guidance if isinstance(painter, FineTuned) else Sampling.guidance
