"""What each image of a run is to show: as asked, and the rest drawn as in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ConfigError
from ..networks.conditions import Category, Conditions, Value
from .backing import doubts


def image_seed(seed: int, index: int) -> int:
    """The seed of the generator that image `index` of a run with this seed owns: below 2⁶³."""
    state = np.random.SeedSequence([seed, index]).generate_state(2, np.uint32)
    return int(state[0]) << 31 | int(state[1]) >> 1


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
