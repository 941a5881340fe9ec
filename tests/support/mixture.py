"""Data whose E[x_0|x_t] is known exactly, so that the diffusion mathematics is tested without a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from phonybrains.diffusion.process import Predict, Process


@dataclass(frozen=True)
class Mixture:
    """Every pixel is drawn, independently, from a mixture of Gaussians; one component is a plain Gaussian."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def predict(self, process: Process) -> Predict:
        """The exact E[x_0|x_t] under a process: each component's, weighted by its share of p(x_t)."""
        weights, means, variances = self._columns()

        def exact_x0(x_t: Tensor, t: Tensor) -> Tensor:
            a, s, x = process.signal(t)[..., None], process.noise(t)[..., None], x_t.double()[..., None]
            total = a**2 * variances + s**2
            share = torch.softmax(weights.log() - total.log() / 2 - (x - a * means) ** 2 / (2 * total), dim=-1)
            return (share * (means + a * variances / total * (x - a * means))).sum(-1).to(x_t)

        return exact_x0

    def distance(self, x: Tensor) -> float:
        """The Kolmogorov-Smirnov distance between the empirical distribution of x and this one, 0…1."""
        weights, means, variances = self._columns()
        x = x.double().flatten().sort().values
        return ks_distance((weights * torch.special.ndtr((x[:, None] - means) / variances.sqrt())).sum(-1))

    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        weights, means, deviations = torch.tensor([self.weights, self.means, self.deviations], dtype=torch.float64)
        return weights, means, deviations**2


GAUSSIAN = Mixture((1.0,), (0.5,), (0.5,))
"""N(0.5, 0.25)."""

TWO_PEAKS = Mixture((0.3, 0.7), (-1.0, 0.6), (0.15, 0.2))
"""Two peaks with nothing between them: a draw belongs to the left one when it lies below -0.35."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def ks_distance(cdf_of_sorted: Tensor) -> float:
    """max |F_n - F|, from F at the sorted draws."""
    n = len(cdf_of_sorted)
    upper = torch.arange(1, n + 1, dtype=torch.float64) / n
    return float(torch.maximum(upper - cdf_of_sorted, cdf_of_sorted - (upper - 1 / n)).max())


def normal_quantiles(n: int) -> Tensor:
    """n equally likely standard normal values in rising order, (n, 1, 1, 1) float64: noise without sampling error."""
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).reshape(-1, 1, 1, 1)


def last(steps: Iterable[Tensor]) -> Tensor:
    """The last of a sampler's steps."""
    return deque(steps, maxlen=1).pop()
