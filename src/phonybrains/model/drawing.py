"""What belongs to each image of a run: its seed, its noise, and what it shows, drawn as in training where not asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..networks.conditions import Category, Conditions, Value
from .backing import doubts


def image_seed(seed: int, *index: int) -> int:
    """The seed of the generator that image `index` of a run with this seed owns, or a draw of it: below 2⁶³."""
    state = np.random.SeedSequence([seed, *index]).generate_state(2, np.uint32)
    return int(state[0]) << 31 | int(state[1]) >> 1


class Noise:
    """What `torch.randn` draws from a generator of this seed, call after call, up to the last bits."""

    def __init__(self, seed: int) -> None:
        self._twister: Any = np.random.RandomState(seed & 0xFFFFFFFF)  # torch seeds its twister with 32 bits

    def clone_state(self) -> Noise:
        """Another that draws the same from here on, as of torch's generators."""
        return deepcopy(self)

    def normal(self, *shape: int) -> NDArray[np.float32]:
        """Standard normal numbers, a multiple of 16.

        Box and Muller's transform of the Mersenne Twister's numbers, of 24 bits each: of sixteen, eight are radii and
        eight are angles.  [ATen, DistributionTemplates.h, normal_fill]
        """
        bits = self._twister._bit_generator.random_raw(int(np.prod(shape))) & 0xFFFFFF
        uniform = (bits.astype(np.float32) * np.float32(2**-24)).reshape(-1, 2, 8)
        radius, angle = np.sqrt(-2 * np.log(1 - uniform[:, 0])), np.float32(2 * np.pi) * uniform[:, 1]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(shape)


def image_noise(seed: int, index: int) -> Noise:
    """The noise that image `index` of a run with this seed owns."""
    return Noise(image_seed(seed, index))


def drawn(
    conditions: Conditions, indices: Sequence[int], where: Mapping[str, Value], seed: int
) -> list[dict[str, Value]]:
    """All that the images with these indices show: what is asked for, the rest drawn as in training.

    Raises ConfigError for what the model does not know, and where nobody can tell the modality.
    """
    asked = conditions.check(where)
    rows = [conditions.draw(asked, np.random.default_rng([seed, i])) for i in indices]
    known = next(a.offered for a in conditions.attributes if isinstance(a, Category) and a.name == "modality")
    if len(known) == 1:
        return [row | {"modality": known[0]} for row in rows]
    if any(row["modality"] is None for row in rows):
        why = " ".join(doubts(conditions, asked)) or "The prompt names no modality that the model knows."
        how = f"add modality={known[0]}, or ask for something else."
        raise ConfigError(f"{why} So it is not known which modality the images have: {how}")
    return rows
