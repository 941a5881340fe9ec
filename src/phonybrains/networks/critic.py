"""The critic of a GAN: a convolutional network that says how real latents look under their conditions."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .condition_embedding import ConditionEmbedding

SLOPE = 0.2


class Critic(nn.Module):
    """forward(latents (B, channels, size, size), condition, extra) → (B,), higher for what looks more real.

    Residual blocks without normalisation, which would tie the images of a batch together; each width after the first
    halves the sides. What is left is weighed place by place, and judged by itself and by its projection on what was
    asked for.  [Miyato 2018, eq. 3; Huang 2024, sec. 4]
    """

    def __init__(
        self, channels: int, size: int, condition_width: int, extra_width: int, widths: Sequence[int], layers: int
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, width, 1), *(_Residual(width) for _ in range(layers)))
            for before, width in zip((widths[0], *widths), widths, strict=False)
        )
        side = size // 2 ** (len(widths) - 1)
        self.gather = nn.Conv2d(widths[-1], widths[-1], side, groups=widths[-1], bias=False)
        self.judge = nn.Linear(widths[-1], 1)
        self.embed = ConditionEmbedding(condition_width, extra_width, widths[-1])

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        x = self.first(x)
        for i, step in enumerate(self.steps):
            x = step(F.avg_pool2d(x, 2) if i else x)
        found = self.gather(F.leaky_relu(x, SLOPE)).flatten(1)
        return self.judge(found)[:, 0] + (found * self.embed(told)).mean(dim=1)


class _Residual(nn.Module):
    """x + what two convolutions add to it, at the start nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, SLOPE)), SLOPE))
