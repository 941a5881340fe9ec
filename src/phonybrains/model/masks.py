"""Masks that a model is asked to follow: what they are, and what is wrong with one that is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

Mask = NDArray[np.bool_]


class Masks(Protocol):
    """Masks (H, W), True inside, in memory or read when they are needed; None: not said. All False: none of it here."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mask | None: ...


@dataclass(frozen=True)
class MaskFacts:
    """What the masks that a model takes outline, how many training images of each modality had one, and empty ones."""

    outline: str = ""
    images: Mapping[str, int] = field(default_factory=dict)
    empty: int = 0


def masks_in_words(facts: MaskFacts) -> str:
    """What masks outline, and how many training images had one."""
    counts = " and ".join(f"{n} {modality}" for modality, n in facts.images.items())
    what = facts.outline or "what they outline is not said"
    return f"{what}; training images that have one: {counts}, {facts.empty} of them an empty one: none of it there"


def as_masks(given: Any, size: int) -> list[Mask | None]:
    """One mask or several, as arrays or pictures of two values, checked: as many (size, size) arrays.

    Raises ConfigError saying which is none, and why.
    """
    shape = getattr(given, "shape", ())
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        raise ConfigError(f"mask is of shape {tuple(shape)}: a mask is gray, (H, W), and several are (N, H, W).")
    several = isinstance(given, (list, tuple)) or len(shape) == 3
    masks = [None if one is None else as_mask(one, f"mask {i}") for i, one in enumerate(given if several else [given])]
    for i, mask in enumerate(masks):
        if mask is not None:
            check_size(mask.shape, size, f"mask {i}")
    if not masks:
        raise ConfigError("mask: the list is empty. Give at least one mask, or leave it out.")
    return masks


def as_mask(picture: Any, name: str) -> Mask:
    """A picture (H, W) of 0 and one other value as a mask. Raises ConfigError for any other, and for one all inside."""
    values = np.asarray(picture)
    if values.ndim != 2:
        raise ConfigError(f"{name} is of shape {values.shape}: a mask is gray, (H, W).")
    levels = np.unique(values)
    if values.dtype.kind == "f" and not np.isfinite(levels).all():
        raise ConfigError(f"{name} has values that are not finite. A mask has two: 0 outside, and another inside.")
    if len(levels) > 2 or (len(levels) == 2 and levels[0] != 0):
        said = f"{len(levels)} different values, {levels[0]} to {levels[-1]}"
        raise ConfigError(f"{name} has {said}. A mask has two: 0 outside, and another inside.")
    if levels.all():
        raise ConfigError(f"{name} covers the whole image, so it outlines nothing. Is inside 0 there, and outside not?")
    return values != 0


def check_size(shape: tuple[int, ...], size: int, name: str) -> None:
    """Raise ConfigError for a mask of another (height, width) than the model's images."""
    if shape != (size, size):
        height, width = shape
        raise ConfigError(
            f"{name} is {width}×{height}, and the model draws {size}×{size}. Resize it to that, without smoothing."
        )
