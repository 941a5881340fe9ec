"""A small convolutional network that tells synthetic from real by crops of the pixels: texture, not only shape."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..arrays import Array

STEPS, BATCH, RATE = 250, 48, 3e-3
"""Steps of learning, whatever the number of images: the time of a fit is bounded and the result is always the same."""
SIDE, GRID = 64, 4
"""Pixels of a crop, and crops across and down an image that answer for it."""
FAINT = 0.02
"""Least level of what counts as variation, of grey in 0…1."""


def network() -> nn.Sequential:
    """Four strided convolutions, the mean over the crop, one answer: looks (B, 2, h, w) to (B, 1)."""
    layers: list[nn.Module] = []
    for before, after in ((2, 16), (16, 32), (32, 48), (48, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.GELU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


class Convolutional:
    """A classifier with scikit-learn's fit and predict_proba for images (n, H, W) uint8.

    It learns from random crops, mirrored or not, so that it cannot learn images by heart, and answers for an image by
    the mean over a grid of crops. Both sides are equally heavy. Images stay in 8 bits; only crops are widened.
    """

    def __init__(self, seed: int = 0, steps: int = STEPS) -> None:
        self.seed, self.steps = seed, steps

    def fit(self, x: Array, y: Array) -> Convolutional:
        """Learn which images (n, H, W) are made, (n,) 0 or 1."""
        rng = torch.Generator().manual_seed(self.seed)
        truth = torch.from_numpy(np.asarray(y, dtype=np.float32))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = network().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimiser = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=0.05)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=self.steps)
        heavier = ((1 - truth).sum() / truth.sum()).clamp(0.01, 100)
        for _ in range(self.steps):
            chosen = torch.randint(len(x), (BATCH,), generator=rng)
            answer = self.network(look(_drawn(x, chosen.tolist(), rng)))[:, 0]
            loss = F.binary_cross_entropy_with_logits(answer, truth[chosen], pos_weight=heavier)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
        self.share = float(truth.mean())
        return self

    @torch.inference_mode()
    def predict_proba(self, x: Array) -> Array:
        """Probabilities (n, 2) at the mixture that was learnt from, as scikit-learn's classifiers give them."""
        even = torch.stack([self.network(look(grid(image))).mean() for image in x]).double().sigmoid().numpy()
        made, real = even * self.share, (1 - even) * (1 - self.share)
        return np.stack([real, made], axis=1) / np.maximum(made + real, 1e-300)[:, None]


def look(crops: Tensor) -> Tensor:
    """Crops (B, 1, h, w) uint8 as the network sees them, (B, 2, h, w): the grey, and its finest detail over how much
    that varies nearby."""
    grey = crops.float() / 255
    detail = grey - _mean(_mean(grey, 3), 3)
    even = detail / (_mean(_mean(detail * detail, 5), 5) + FAINT**2).sqrt()
    return torch.cat([grey * 4 - 1, even], 1).contiguous(memory_format=torch.channels_last)


def _mean(x: Tensor, width: int) -> Tensor:
    """The mean of the square around each pixel; the border is mirrored."""
    return F.avg_pool2d(F.pad(x, (width // 2,) * 4, mode="reflect"), width, 1)


def _side(x: Array) -> int:
    """Pixels of a crop: of small images three quarters of their shorter side, so that crops differ."""
    return min(SIDE, 3 * min(x.shape[-2:]) // 4)


def _drawn(x: Array, numbers: list[int], rng: Generator) -> Tensor:
    """A random crop of each of these images, mirrored or not, (B, 1, h, w)."""
    side, n = _side(x), len(numbers)
    tops, lefts = (torch.randint(length - side + 1, (n,), generator=rng).tolist() for length in x.shape[1:])
    cut = np.stack([x[i, y : y + side, z : z + side] for i, y, z in zip(numbers, tops, lefts, strict=True)])
    crops = torch.from_numpy(cut)[:, None]
    mirrored = torch.rand(n, generator=rng) < 0.5
    return torch.where(mirrored[:, None, None, None], crops.flip(-1), crops)


def grid(image: Array) -> Tensor:
    """GRID × GRID crops of an image (H, W), evenly from edge to edge, (GRID², 1, h, w)."""
    side = _side(image)
    tops, lefts = (np.linspace(0, length - side, GRID).round().astype(int) for length in image.shape)
    return torch.from_numpy(np.stack([image[y : y + side, z : z + side] for y in tops for z in lefts]))[:, None]
