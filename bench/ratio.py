"""The ratio of two densities of latents, those of real images over those of generated ones, learnt by a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor, nn

from phonybrains.diffusion.process import Process, column, q_sample

from .networks import Steer

BATCH, RATE, DECAY = 32, 1e-3, 0.05
CLEAN = 0.5
"""Share of clean latents among those that the classifier learns from; the rest is noisy, at all times alike."""


class Ratio(nn.Module):
    """log p(x_t) of real latents - log p(x_t) of generated ones: forward((B, C, h, w), times 0…1 (B,)) → (B,).

    A classifier that has learnt as many of each gives it as its logit.  [Kim 2023, discriminator guidance, eq. 6]
    Its normalisation hides much of level and contrast; of two shifted Gaussians it learns AUC .70 of .79.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        widths = (channels + 1, width, 2 * width, 4 * width)
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=1 + (number > 0), padding=1)
            for number, (before, after) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, after) for after in widths[1:])
        self.end = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * widths[-1], 1))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        x = torch.cat([x_t, column(t).expand(-1, 1, *x_t.shape[2:]).to(x_t)], dim=1)
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = F.silu(norm(stage(x)))
        return self.end(torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1))[:, 0]


def learn(
    real: Tensor, made: Tensor, people: Sequence[str], process: Process, steps: int, seed: int = 0
) -> tuple[Ratio, float]:
    """A ratio learnt from real and generated latents, and its AUC on clean ones of people and images left out, a fifth.

    people: whom each of the real latents shows.
    """
    torch.manual_seed(seed)
    rng, dealt = Generator().manual_seed(seed), np.random.default_rng(seed)
    names = np.unique(np.asarray(people))
    out = np.isin(np.asarray(people), dealt.permutation(names)[: max(1, len(names) // 5)])
    kept, apart = len(made) - len(made) // 5, torch.from_numpy(out)
    sides = real[~apart], made[:kept]
    ratio = Ratio(real.shape[1])
    optimizer = torch.optim.AdamW(ratio.parameters(), lr=RATE, weight_decay=DECAY)
    truth = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 2 * (steps - step) / steps)
        x_0 = torch.cat([side[torch.randint(len(side), (BATCH,), generator=rng)] for side in sides])
        t = torch.rand(BATCH, generator=rng) * (torch.rand(BATCH, generator=rng) > CLEAN)
        t = t.repeat(2)  # as noisy on both sides
        x_t = q_sample(x_0, t, process, torch.randn(x_0.shape, generator=rng))
        F.binary_cross_entropy_with_logits(ratio(x_t, t), truth).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    ratio.eval().requires_grad_(False)
    left = log_ratio(ratio, real[apart]), log_ratio(ratio, made[kept:])
    told = roc_auc_score(np.repeat([1, 0], [len(side) for side in left]), np.concatenate(left))
    return ratio, float(told)


@torch.no_grad()
def log_ratio(ratio: Ratio, latents: Tensor) -> NDArray[Any]:
    """The log ratio of clean latents, (n,)."""
    return torch.cat([ratio(part, part.new_zeros(len(part))) for part in latents.split(BATCH)]).numpy()


def accepted(scores: NDArray[Any], clip: float, rng: np.random.Generator) -> NDArray[Any]:
    """Rejection: of each column of log ratios (k, n) the first one taken, with probability ratio / clip, or the last.

    clip: the ratio from which all are taken, as a quantile of all ratios, so that no few images get all the weight.
    """
    chance = np.exp(np.minimum(scores - np.quantile(scores, clip), 0))
    taken = rng.random(scores.shape) < chance
    taken[-1] = True
    return taken.argmax(axis=0)


def pushed(ratio: Ratio, strength: float, process: Process, until: float = 0.8) -> Steer:
    """A step up the ratio for predictions below the time `until`: x̂_0 + strength · σ²/a · ∇ log r(x_t).

    The score of x_t is (a x̂_0 - x_t) / σ², a and σ being signal and noise at t.  [Kim 2023, eq. 8]
    """

    def steer(x_0: Tensor, x_t: Tensor, t: Tensor, *told: Tensor) -> Tensor:
        if float(t[0]) > until:
            return x_0
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x_t.clone().requires_grad_()
            (slope,) = torch.autograd.grad(ratio(leaf, t.clone()).sum(), leaf)
        return x_0 + strength * (process.noise(t) ** 2 / process.signal(t)).to(x_0) * slope

    return steer
