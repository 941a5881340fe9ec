"""The weights of a denoiser, carried over to other conditions than those it has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..model.withdrawal import check_scale
from ..networks.conditions import Category, Conditions, Number
from ..networks.denoiser import Denoiser
from ..networks.masks import MASK_CHANNELS

FIRST, TOLD = "unet.conv_in.weight", "embed.linear_1"


def weights_for(new: Denoiser, wanted: Conditions, old: Denoiser, known: Conditions) -> Mapping[str, Tensor]:
    """The weights of a denoiser for one of other conditions, masks or embeddings, to which it will not listen at first.

    It predicts what it did, as of what is new nothing is said: masks and embeddings in zeros, conditions as missing.
    Raises ConfigError for a number that is far off the scale it was learnt on.
    """
    weights = old.state_dict()
    weight, bias = weights[f"{TOLD}.weight"], weights[f"{TOLD}.bias"]
    shown, embedded, beside = weight.split([known.width, old.condition_width - known.width, old.extra_width], dim=1)
    alike = meanings(known) == meanings(wanted)
    if not alike:
        shown, bias = carried(shown, bias, known, wanted)
    if not alike or new.condition_width != old.condition_width:
        embedded = embedded.new_zeros(len(embedded), new.condition_width - wanted.width)
    more = MASK_CHANNELS * (new.takes_masks - old.takes_masks)
    return weights | {
        FIRST: pad(weights[FIRST], (0, 0, 0, 0, 0, more)),
        f"{TOLD}.weight": torch.cat([shown, embedded, beside], dim=1),
        f"{TOLD}.bias": bias,
    }


def meanings(conditions: Conditions) -> list[Any]:
    """What the columns of a network stand for."""
    return [(a.name, a.labels if isinstance(a, Category) else (a.low, a.high)) for a in conditions.attributes]


def carried(weight: Tensor, bias: Tensor, known: Conditions, wanted: Conditions) -> tuple[Tensor, Tensor]:
    """Weights (hidden, known.width) and bias (hidden,) of `known` as (hidden, wanted.width) and (hidden,) of `wanted`.

    The layer says what it said: labels and numbers that both know keep their meaning, numbers also on another scale;
    what is new is heard as missing; and what is no longer told is missing for good.
    Raises ConfigError for a number that is far off the scale it was learnt on.
    """
    widths = [attribute.width for attribute in known.attributes]
    learnt = {a.name: (a, columns) for a, columns in zip(known.attributes, weight.split(widths, dim=1), strict=True)}
    parts, bias = list[Tensor](), bias.clone()
    for new in wanted.attributes:
        old, columns = learnt.pop(new.name, (None, weight[:, :0]))
        if isinstance(new, Category) and isinstance(old, Category):
            places = [old.labels.index(label) if label in old.labels else -1 for label in new.labels]
            parts.append(columns[:, [*places, -1]])
        elif isinstance(new, Number) and isinstance(old, Number):
            check_scale(old, new)
            value, missing = columns.unbind(1)
            span = old.high - old.low
            stretch = (new.high - new.low) / span
            shift = (new.low + new.high - old.low - old.high) / span
            parts.append(torch.stack([stretch * value, missing - shift * value], dim=1))
            bias += shift * value
        else:
            parts.append(weight.new_zeros(len(weight), new.width))
            bias += columns[:, -1:].sum(dim=1)
    for _, columns in learnt.values():
        bias += columns[:, -1]
    return torch.cat(parts, dim=1), bias
