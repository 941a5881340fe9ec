"""Conditions and masks hidden at random while a denoiser learns."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .conditions import Conditions, Number


def drop(
    encoded: Tensor,
    conditions: Conditions,
    rng: torch.Generator,
    everything: float = 0.1,
    numbers: float = 0.3,
    each: float = 0.1,
) -> Tensor:
    """Make attributes missing at random, so that a model learns to do without: all, all numbers, or some.

    encoded: (B, width), or wider by an embedding, which is one attribute more. The three shares are probabilities for
    an image.  [Ho 2022, alg. 1]
    """
    more = encoded.shape[1] - conditions.width
    widths = [a.width for a in conditions.attributes] + [more] * bool(more)
    n, count = len(encoded), len(widths)
    chance = torch.rand(n, count + 2, generator=rng, device=rng.device).to(encoded.device)
    gone = chance[:, 2:] < each
    gone |= chance[:, :1] < everything
    is_number = torch.tensor([isinstance(a, Number) for a in conditions.attributes] + [False] * bool(more))
    gone |= (chance[:, 1:2] < numbers) & is_number.to(encoded.device)
    attribute_of_column = torch.repeat_interleave(torch.tensor(widths))
    null = pad(conditions.null(1), (0, more)).to(encoded)
    return torch.where(gone[:, attribute_of_column.to(encoded.device)], null, encoded)


def hide(mask: Tensor, rng: torch.Generator, share: float = 0.2) -> Tensor:
    """Make masks, as `encode_masks` gives them, missing at random: each with the probability `share`."""
    kept = torch.rand(len(mask), generator=rng, device=rng.device) >= share
    return mask * kept.to(mask)[:, None, None, None]
