"""A perceptual distance from SqueezeNet 1.1's features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.squeezenet import MEAN, SqueezeNet

TAPS = (1, 4, 7, 12)
SMALLEST = 17
"""Side in pixels below which nothing is left for the last layers."""


class PerceptualDistance(SqueezeNet):
    """Mean squared distance of unit-length features at four depths, (B,) for images (B, 1, H, W) in -1…1.

    [Zhang 2018, eq. 1, without its learned weights]
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        distance = x.new_zeros(len(x))
        for z in self.taps(torch.cat([x, y])):
            a, b = F.normalize(z, dim=1, eps=1e-6).chunk(2)
            distance = distance + (a - b).square().sum(dim=1).mean(dim=(1, 2))
        return distance / len(TAPS)

    def pooled(self, x: Tensor) -> Tensor:
        """Mean over all places of each feature at the four depths, (B, 960)."""
        return torch.cat([z.mean(dim=(2, 3)) for z in self.taps(x)], dim=1)

    def taps(self, x: Tensor) -> Iterator[Tensor]:
        """The features at each of the four depths."""
        grey = x * 127.5 + 127.5
        z = grey - grey.new_tensor(MEAN).reshape(1, 3, 1, 1)
        for depth in range(max(TAPS) + 1):
            z = self.features[depth](z)
            if depth in TAPS:
                yield z
