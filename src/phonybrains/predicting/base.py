"""f: the plain network that CARD's answers lie around."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

SIDE, EMBEDDED = 64, 16
"""Pixels of what it sees of an image, and numbers that it makes of it."""
Labelled = tuple[Tensor, Tensor]
"""Inputs, (N, 1, SIDE, SIDE) or (N, width), and their labels: classes (N,), or numbers (N, 1)."""


class BaseNetwork(nn.Module):
    """f: images (B, 1, 64, 64), or vectors (B, width) where width is given, to (B, EMBEDDED) and to (B, outputs)."""

    def __init__(self, outputs: int, width: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.LayerNorm(width, elementwise_affine=False)] if width > 1 else []
        for before, after in () if width else ((1, 16), (16, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.GELU()]
        layers += [nn.Flatten(), nn.Linear(width or 64 * (SIDE // 16) ** 2, 128), nn.GELU(), nn.Dropout(0.2)]
        self.embed = nn.Sequential(*layers, nn.Linear(128, EMBEDDED), nn.GELU())
        self.head = nn.Linear(EMBEDDED, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


def shifted(x: Tensor, rng: Generator) -> Tensor:
    """Images moved by up to a sixteenth, up or down, left or right, all alike; vectors as they are."""
    if x.ndim != 4:
        return x
    return x.roll(torch.randint(-SIDE // 16, SIDE // 16 + 1, (2,), generator=rng).tolist(), dims=(2, 3))


@dataclass
class BaseTask:
    """f on labels: cross entropy for classes (N,), squared error for numbers (N, 1)."""

    network: nn.Module
    train: Labelled
    validation: Labelled
    batch_size: int
    name: str = "base"

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        rows = torch.randint(len(self.train[0]), (self.batch_size,), generator=rng)[share]
        x, y = (part[rows] for part in self.train)
        return self._error(network(shifted(x, rng)), y)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> float:
        return self._error(torch.cat([network(x) for x in self.validation[0].split(256)]), self.validation[1]).item()

    def _error(self, said: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(said, y) if y.ndim == 2 else F.cross_entropy(said, y)
