"""Opens whichever kind of model: one of our own, or a fine-tuned Stable Diffusion; both are asked for images alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..networks.conditions import Conditions, Value
from .finding import is_fine_tuned
from .fine_tuned import FineTuned
from .latent_diffusion import LatentDiffusion
from .sampling import Sampling


class ImageModel(Protocol):
    """What generating needs of a model. size: side of its images in pixels; units: of their pixels, by modality.

    own_guidance: the strength of the guidance where none is asked for.
    """

    @property
    def size(self) -> int: ...
    @property
    def units(self) -> Mapping[str, tuple[float, float, str]]: ...
    @property
    def conditions(self) -> Conditions: ...
    @property
    def own_guidance(self) -> float: ...

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


def open_model(folder: Path, device: str = "cpu") -> ImageModel:
    """Load a model folder of either kind. Raises ModelError if it is damaged, before anything is computed."""
    return FineTuned.load(folder, device) if is_fine_tuned(folder) else LatentDiffusion.load(folder, device)
