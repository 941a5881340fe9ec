"""A small convolutional network that tells synthetic from real thumbnails: what no handcrafted feature was made for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from .thumbnails import SIDE

Array = NDArray[Any]
STEPS, BATCH, RATE = 250, 64, 3e-3
"""Steps of learning, whatever the number of images: the time of a fit is bounded and the result is always the same."""
SHIFT = 3


def network() -> nn.Sequential:
    """Four strided convolutions, the mean over the image, one answer: thumbnails (B, 1, SIDE, SIDE) to (B, 1)."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 48), (48, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.GELU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


class Convolutional:
    """A classifier with scikit-learn's fit and predict_proba for flattened thumbnails (n, SIDE²) in 0…1.

    Both sides are equally heavy; images are mirrored and shifted at random while it learns.
    """

    def __init__(self, seed: int = 0, steps: int = STEPS) -> None:
        self.seed, self.steps = seed, steps

    def fit(self, x: Array, y: Array) -> Convolutional:
        """Learn which images (n, SIDE²) are made, (n,) 0 or 1."""
        rng = torch.Generator().manual_seed(self.seed)
        images, truth = _as_images(x), torch.from_numpy(np.asarray(y, dtype=np.float32))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = network().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimiser = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=0.05)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=self.steps)
        heavier = ((1 - truth).sum() / truth.sum()).clamp(0.01, 100)
        for _ in range(self.steps):
            chosen = torch.randint(len(images), (BATCH,), generator=rng)
            answer = self.network(_moved(images[chosen], rng))[:, 0]
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
        even = torch.cat([self.network(part)[:, 0] for part in _as_images(x).split(256)]).double().sigmoid().numpy()
        made, real = even * self.share, (1 - even) * (1 - self.share)
        return np.stack([real, made], axis=1) / np.maximum(made + real, 1e-300)[:, None]


def _as_images(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).view(-1, 1, SIDE, SIDE) * 4 - 1


def _moved(images: Tensor, rng: Generator) -> Tensor:
    """Each image mirrored or not; all shifted alike by a few pixels."""
    mirrored = torch.rand(len(images), generator=rng) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=rng).tolist()
    return images.roll((down, right), (2, 3))
