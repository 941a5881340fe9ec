"""Classifier-free guidance: push a prediction away from the one made without condition and mask."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .process import Predict

Denoise = Callable[..., Tensor]
"""denoise(x_t, t, condition, *mask) is the clean image a network expects behind x_t under a condition, (B, width)."""


def guide(denoise: Denoise, condition: Tensor, null: Tensor, scale: float = 1.0, *mask: Tensor) -> Predict:
    """x̂(∅) + scale · (x̂(c) - x̂(∅)); scale 1 is the plain conditional model, at half the cost.  [Ho 2022, eq. 6]

    condition, null: (B, width). x_0, noise and velocity are linear in one another: guiding one guides all.
    mask: (B, channels, h, w), hidden where the condition is, as zeros: what is pushed is all that was asked for.
    """
    if scale == 1:
        return lambda x_t, t: denoise(x_t, t, condition, *mask)
    both, masks = torch.cat([condition, null]), [torch.cat([one, torch.zeros_like(one)]) for one in mask]

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        with_condition, without = denoise(torch.cat([x_t, x_t]), torch.cat([t, t]), both, *masks).chunk(2)
        return without + scale * (with_condition - without)

    return predict
