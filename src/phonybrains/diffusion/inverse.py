"""Questions to a prior: which images fit a measurement y = A x + n, where a diffusion model knows what x are likely.

x: pixels (B, 1, H, W). z: what the diffusion runs on, (B, C, h, w); a codec leads from one to the other and back.
n ~ N(0, σ²I). Nothing here needs a gradient: a step costs one prediction, one decoding and two encodings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .process import Flow, Predict, Process, as_times
from .sampler import heun_step

Spread = Callable[[Tensor], Tensor]
"""spread(t): the variance of what is not yet known of x at time t, for each frequency or pixel as its operator says."""


class Operator(Protocol):
    """What a measurement tells of an image: A, and how an image is moved to fit it."""

    def apply(self, x: Tensor) -> Tensor:
        """A x."""
        ...

    def correct(self, residual: Tensor, variance: Tensor, sigma: float = 0.0) -> Tensor:
        """V Aᵀ (A V Aᵀ + σ²I)⁻¹ (y - A x): the change of x that its uncertainty V and y together ask for.

        For σ = 0 the scale of V does not matter, and A x = y afterwards.  [Song 2023, ΠGDM, eq. 7, with V for r_t²I]
        """
        ...


@dataclass(frozen=True)
class BlockMean:
    """Mean over blocks of `factor`² pixels; the variance is one for each frequency of the cosine transform, (H, W).

    In that basis A only folds `factor`² frequencies onto one, so that its inverse is exact and costs two products.
    """

    factor: int

    def apply(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.factor)

    def correct(self, residual: Tensor, variance: Tensor, sigma: float = 0.0) -> Tensor:
        m = residual.shape[-1]
        low, high = cosines(m).to(residual), cosines(m * self.factor).to(residual)
        folds = low @ avg_pool2d(high[:, None], (1, self.factor))[:, 0].T  # (m, H): what of each frequency shows
        shown = folds.square() @ variance.to(residual) @ folds.square().T
        known = (low @ residual @ low.T) / (shown + sigma**2)
        return high.T @ (variance.to(residual) * (folds.T @ known @ folds)) @ high


@dataclass(frozen=True)
class Masked:
    """The pixels where `known` is 1, (B or 1, 1, H, W), and 0 elsewhere; the variance is one for each pixel."""

    known: Tensor

    def apply(self, x: Tensor) -> Tensor:
        return self.known * x

    def correct(self, residual: Tensor, variance: Tensor, sigma: float = 0.0) -> Tensor:
        return self.known * (variance / (variance + sigma**2)).to(residual) * residual


@dataclass(frozen=True)
class Identity:
    """All of x; the variance is one for each frequency of the cosine transform, (H, W)."""

    def apply(self, x: Tensor) -> Tensor:
        return x

    def correct(self, residual: Tensor, variance: Tensor, sigma: float = 0.0) -> Tensor:
        basis = cosines(residual.shape[-1]).to(residual)
        return basis.T @ ((variance / (variance + sigma**2)).to(residual) * (basis @ residual @ basis.T)) @ basis


@dataclass(frozen=True)
class Measurement:
    """A measurement y of an operator, with noise of deviation σ, and what is uncertain of x while it is not found."""

    y: Tensor
    operator: Operator
    spread: Spread
    sigma: float = 0.0

    def fit(self, x: Tensor, t: Tensor) -> Tensor:
        """x, moved to fit y."""
        return x + self.operator.correct(self.y - self.operator.apply(x), self.spread(t), self.sigma)


@dataclass(frozen=True)
class Codec:
    """Pixels to what the diffusion runs on, and back."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def given(predict: Predict, measured: Measurement, codec: Codec, times: Collection[float] | None = None) -> Predict:
    """E[x_0 | x_t, y] in place of E[x_0 | x_t]: with it, any sampler draws what fits the measurement.

    What is predicted is decoded, moved to fit, and encoded again; as a difference of two encodings, so that what the
    codec itself loses cancels.  [Wang 2023, DDNM, eq. 17-18, in the latents of a codec]
    times: at which that is done, all if not given.
    """

    def fitted(z: Tensor, t: Tensor) -> Tensor:
        z_0 = predict(z, t)
        if times is not None and t[0].item() not in times:
            return z_0
        x = codec.decode(z_0)
        return z_0 + codec.encode(measured.fit(x, t)) - codec.encode(x)

    return fitted


def invert(predict: Predict, z: Tensor, times: Sequence[float], process: Process) -> Tensor:
    """The noise that clean z would be drawn from: up the rising times by Heun's method, two evaluations a step.

    times: from near 0, where there is no noise to tell a direction from, to the end. Downwards again, with other
    conditions, it is a translation.  [Su 2023, DDIB, alg. 1]
    """
    for t, r in pairwise(as_times(times, process, z)):
        z = heun_step(predict, z, t.expand(len(z)), r.expand(len(z)), process)
    return z


def time_of_noise(level: float, process: Process) -> float:
    """The time at which s(t) / a(t) is this level: there y = x + σ n, scaled by a(t), is an x_t."""
    if isinstance(process, Flow):
        return level / (1 + level)
    steps = torch.arange(1, process.fraction(torch.ones(1)).reciprocal().round().int().item() + 1)
    ratio = (process.noise(steps) / process.signal(steps)).flatten()
    return int(steps[(ratio - level).abs().argmin()])


def power_law(side: int, power: float = 3.0) -> Tensor:
    """Variance for each frequency of the cosine transform, (side, side), falling as images' do: 1 / (1 + k²)^(p/2).

    [Ruderman 1994: natural images, p = 2; heads are smoother]
    """
    k = torch.arange(side, dtype=torch.float64)
    return (1 + k[:, None] ** 2 + k**2) ** (-power / 2)


def cosines(n: int) -> Tensor:
    """The orthonormal cosine transform, type II, as a matrix (n, n) float64: rows are frequencies."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(torch.pi / n * (i + 0.5) * k) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis
