"""What fits a measurement: against the posterior of a known Gaussian, which needs no network; and planted mistakes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from phonybrains.diffusion.inverse import (
    BlockMean,
    Codec,
    Identity,
    Masked,
    Measurement,
    Operator,
    cosines,
    given,
    invert,
    power_law,
    time_of_noise,
)
from phonybrains.diffusion.process import Flow, linear_schedule
from phonybrains.diffusion.sampler import SAMPLERS, ancestral, sample

SIDE, N, STEPS = 8, 20_000, 40
FLOW, F64 = Flow(), torch.float64
BASIS = cosines(SIDE)
TIMES = [(1 - i / STEPS) ** 2 for i in range(STEPS + 1)]
"""Finer near 0, where the variance of what is drawn is settled."""
MASK = (torch.arange(SIDE * SIDE).reshape(1, 1, SIDE, SIDE) % 3 > 0).to(F64)
SAME = Codec(lambda x: x, lambda x: x)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, Σ), of which Σ is diagonal in the cosine transform, or in pixels: `variance` (SIDE, SIDE) either way."""

    variance: Tensor
    in_pixels: bool = False

    @property
    def mean(self) -> Tensor:
        return torch.linspace(-1, 1, SIDE * SIDE, dtype=F64).reshape(SIDE, SIDE)

    @property
    def covariance(self) -> Tensor:
        turn = torch.eye(SIDE * SIDE, dtype=F64) if self.in_pixels else torch.kron(BASIS, BASIS)
        return turn.T @ torch.diag(self.variance.flatten()) @ turn

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        z = torch.randn(n, 1, SIDE, SIDE, generator=rng, dtype=F64) * self.variance.sqrt()
        return self.mean + (z if self.in_pixels else BASIS.T @ z @ BASIS)

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t], in closed form."""
        a, s = FLOW.signal(t), FLOW.noise(t)
        gain, away = a * self.variance / (a**2 * self.variance + s**2), x_t - a * self.mean
        return self.mean + (gain * away if self.in_pixels else BASIS.T @ (gain * (BASIS @ away @ BASIS.T)) @ BASIS)

    def spread(self, t: Tensor) -> Tensor:
        """Var[x_0 | x_t]."""
        a, s = FLOW.signal(t)[0], FLOW.noise(t)[0]
        return self.variance * s**2 / (a**2 * self.variance + s**2)

    def posterior(self, operator: Operator, y: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """Mean and covariance of x given y: A as a matrix, and the textbook's formula."""
        unit = torch.eye(SIDE * SIDE, dtype=F64).reshape(-1, 1, SIDE, SIDE)
        a = operator.apply(unit).flatten(1).T
        a, y = a[a.any(dim=1)], y.flatten()[a.any(dim=1)]
        noisy = a @ self.covariance @ a.T + sigma**2 * torch.eye(len(a), dtype=F64)
        gain = self.covariance @ a.T @ torch.linalg.inv(noisy)
        return self.mean.flatten() + gain @ (y - a @ self.mean.flatten()), self.covariance - gain @ a @ self.covariance


SMOOTH = Gaussian(2 * power_law(SIDE, 2.0) + 0.05)
UNEVEN = Gaussian(torch.linspace(0.1, 2, SIDE * SIDE, dtype=F64).reshape(SIDE, SIDE), in_pixels=True)
CASES = [
    pytest.param(SMOOTH, BlockMean(2), 0.0, id="block means"),
    pytest.param(SMOOTH, BlockMean(2), 0.4, id="noisy block means"),
    pytest.param(SMOOTH, Identity(), 0.4, id="noise"),
    pytest.param(UNEVEN, Masked(MASK), 0.0, id="mask"),
    pytest.param(UNEVEN, Masked(MASK), 0.4, id="noisy mask"),
]


def far(x: Tensor, mean: Tensor, covariance: Tensor) -> tuple[float, float]:
    """How far samples (n, d) lie from N(mean, covariance), in standard errors: mean and variance, along its axes.

    Each is the root mean square over the axes that are not certain; 1 is expected.
    """
    values, axes = torch.linalg.eigh(covariance)
    kept = values > 1e-9
    along = (x - mean) @ axes[:, kept] / values[kept].sqrt()
    of_mean = along.mean(0) * len(x) ** 0.5
    of_variance = (along.square().mean(0) - 1) / (2 / len(x)) ** 0.5
    return float(of_mean.square().mean().sqrt()), float(of_variance.square().mean().sqrt())


def drawn(data: Gaussian, measured: Measurement, codec: Codec = SAME, n: int = N) -> Tensor:
    """Samples that fit a measurement, (n, d), from the exact denoiser of the data by Adams' method."""
    z = torch.randn(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=F64)
    *_, x = SAMPLERS["adams"](given(data.predict, measured, codec), z, TIMES, FLOW, [])
    return x.flatten(1)


def measurement(data: Gaussian, operator: Operator, sigma: float) -> Measurement:
    rng = torch.Generator().manual_seed(0)
    y = operator.apply(data.draw(1, rng))
    y = y + sigma * torch.randn(y.shape, generator=rng, dtype=F64)
    return Measurement(operator.apply(y) if isinstance(operator, Masked) else y, operator, data.spread, sigma)


@pytest.mark.parametrize(("data", "operator", "sigma"), CASES)
def test_samples_are_those_of_the_posterior(data: Gaussian, operator: Operator, sigma: float):
    """For Gaussian data the posterior is known: mean and variance along all its axes agree within standard errors."""
    measured = measurement(data, operator, sigma)
    x = drawn(data, measured)
    mean, variance = far(x, *data.posterior(operator, measured.y, sigma))
    assert mean < 1.5
    assert variance < 3
    if sigma == 0:
        assert torch.allclose(operator.apply(x.reshape(-1, 1, SIDE, SIDE)), measured.y.expand(N, -1, -1, -1), atol=1e-9)


# At 4000 samples, a right walk stays below 2.
@pytest.mark.parametrize("mistake", ["no weight", "half a weight", "a constant weight", "encodings swapped"])
def test_a_planted_mistake_is_found(mistake: str):
    """Wrong weights of the data, and a difference of encodings the wrong way round, miss the posterior by far."""
    operator, sigma, codec = Identity(), 0.4, SAME
    measured = measurement(SMOOTH, operator, sigma)
    wrong = {
        "no weight": replace(measured, sigma=0.0),
        "half a weight": replace(measured, sigma=sigma * 2**0.5),
        "a constant weight": replace(measured, spread=lambda t: SMOOTH.variance),
    }.get(mistake, measured)
    if mistake == "encodings swapped":
        codec = Codec(lambda x: -x, lambda x: x)
    mean, variance = far(drawn(SMOOTH, wrong, codec, 4000), *SMOOTH.posterior(operator, measured.y, sigma))
    assert max(mean, variance) > 6


def test_what_the_codec_loses_cancels():
    """With a codec that shifts all it encodes, samples fit the posterior as without: a difference knows no shift."""
    measured = measurement(SMOOTH, BlockMean(2), 0.0)
    shifted = drawn(SMOOTH, measured, Codec(lambda x: x + 5, lambda x: x), 100)
    assert torch.allclose(shifted, drawn(SMOOTH, measured, n=100), atol=1e-9)


@pytest.mark.parametrize(("renewed", "good"), [(1.0, True), (0.5, False), (0.0, False)])
def test_noise_is_a_time_of_the_diffusion(renewed: float, good: bool):
    """y = x + σ n is an x_t: from there, ancestral sampling draws from the posterior; less fresh noise does not."""
    rng, sigma = torch.Generator().manual_seed(2), 0.4
    measured = measurement(SMOOTH, Identity(), sigma)
    first = time_of_noise(sigma, FLOW)
    assert first / (1 - first) == pytest.approx(sigma)
    z = ((1 - first) * measured.y).expand(N, -1, -1, -1)
    times = [first * (1 - i / 150) for i in range(151)]
    *_, x = sample(SMOOTH.predict, z, times, FLOW, rng, lambda *of: renewed * ancestral(*of))
    mean, variance = far(x.flatten(1), *SMOOTH.posterior(Identity(), measured.y, sigma))
    assert (mean < 1.5 and variance < 8) is good


def test_the_time_of_noise_of_a_chain():
    """Of a chain that counts its steps, it is the step whose noise comes nearest."""
    chain = linear_schedule(1000)
    t = torch.tensor([int(time_of_noise(0.5, chain))])
    assert float(chain.noise(t) / chain.signal(t)) == pytest.approx(0.5, rel=0.02)


def test_an_inversion_leads_back():
    """Up to noise and down again is where one came from; the noise has the variance of noise."""
    x = SMOOTH.draw(2000, torch.Generator().manual_seed(3))
    times = [0.005 + 0.995 * (i / 40) ** 2 for i in range(41)]
    noise = invert(SMOOTH.predict, x, times, FLOW)
    *_, back = SAMPLERS["heun"](SMOOTH.predict, noise, [*times[::-1], 0.0], FLOW, [])
    assert float((back - x).square().mean().sqrt()) < 0.02 * float(x.std())
    assert far(noise.flatten(1), torch.zeros(SIDE**2, dtype=F64), torch.eye(SIDE**2, dtype=F64))[1] < 2


@pytest.mark.parametrize("factor", [2, 4])
def test_block_means_are_undone_exactly(factor: int):
    """A after its generalised inverse is the identity, whatever the variance: A x = y to the last bits."""
    y = torch.randn(3, 1, 16 // factor, 16 // factor, generator=torch.Generator().manual_seed(4), dtype=F64)
    for power in (0.0, 3.0):
        x = BlockMean(factor).correct(y, power_law(16, power))
        assert torch.allclose(BlockMean(factor).apply(x), y, atol=1e-12)


def test_without_preference_block_means_are_repeated():
    """With a variance alike for all frequencies the generalised inverse is Moore's and Penrose's: repetition."""
    y = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=F64)
    x = BlockMean(2).correct(y, torch.ones(8, 8, dtype=F64))
    assert torch.allclose(x, y.repeat_interleave(2, -1).repeat_interleave(2, -2), atol=1e-12)


def test_the_cosine_transform_is_orthonormal():
    """Its matrix times its transpose is the identity, and its first row is constant."""
    assert torch.allclose(cosines(7) @ cosines(7).T, torch.eye(7, dtype=F64), atol=1e-12)
    assert torch.allclose(cosines(7)[0], torch.full((7,), 7**-0.5, dtype=F64))


def test_at_other_times_nothing_is_made_to_fit():
    """`times` says when: there the prediction fits, elsewhere it is the plain one, and the codec is not asked."""
    asked: list[int] = []
    counting = Codec(lambda x: asked.append(1) or x, lambda x: x)  # type: ignore[func-returns-value]
    y = torch.ones(2, 1, SIDE, SIDE, dtype=F64)
    measured = Measurement(y, Masked(MASK), lambda t: torch.ones(1, dtype=F64))
    fitted = given(lambda z, t: torch.zeros_like(z), measured, counting, [0.5])
    elsewhere, there = (fitted(y, torch.full((2,), t, dtype=F64)) for t in (0.25, 0.5))
    assert (elsewhere.abs().max(), len(asked)) == (0, 2)
    torch.testing.assert_close(there, MASK.expand_as(y))
