"""Log-densities along the probability flow against closed forms, and against themselves in reverse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion import likelihood
from phonybrains.diffusion.likelihood import every_direction, log_likelihood, rademacher, rising_times, transport
from phonybrains.diffusion.process import Flow, Process, linear_schedule
from phonybrains.diffusion.sde import VarianceExploding, VariancePreserving
from tests.support.mixture import GAUSSIAN, TWO_PEAKS, Mixture, seeded

VP, VE, FLOW, CHAIN = VariancePreserving(last=30), VarianceExploding(last=2000), Flow(), linear_schedule(1000)
"""With ends so near pure noise that taking it for N(0, I) costs less than 1e-3 of a nat at three deviations."""
processes = pytest.mark.parametrize("process", [VP, VE, FLOW], ids=["VP", "VE", "flow"])


def rising(process: Process, steps: int) -> list[float]:
    """0 … 1, closer together near 0 where the process gathers its noise there."""
    return [(i / steps) ** (1 if process == VE else 2) for i in range(steps + 1)]


def log_density(data: Mixture, x: Tensor) -> Tensor:
    """The exact log-density of independent pixels, (B,)."""
    weights, means, variances = data._columns()
    each = -((x[..., None] - means) ** 2) / (2 * variances) - (2 * math.pi * variances).log() / 2
    return torch.logsumexp(weights.log() + each, dim=-1).sum((1, 2, 3))


def points() -> Tensor:
    """Pairs of pixels, (9, 1, 1, 2) float64, up to three deviations of GAUSSIAN from its mean."""
    x = torch.linspace(-1, 2, 9, dtype=torch.float64)
    return torch.stack([x, x.flip(0) * 0.5], dim=-1).reshape(9, 1, 1, 2)


class Ring:
    """Eight Gaussians of deviation .2 on a circle of radius 1 in the plane: its two pixels depend on each other."""

    angles = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = torch.stack([angles.cos(), angles.sin()], dim=-1)
    variance = 0.04

    def predict(self, process: Process):
        def exact(x_t: Tensor, t: Tensor) -> Tensor:
            a, s = process.signal(t)[:, 0], process.noise(t)[:, 0]
            away, total = x_t[:, 0] - a * self.means, a**2 * self.variance + s**2
            share = torch.softmax(-away.square().sum(-1, keepdim=True) / (2 * total), dim=1)
            return (share * (self.means + a * self.variance / total * away)).sum(1).reshape(x_t.shape)

        return exact

    def log_density(self, x: Tensor) -> Tensor:
        square = (x.reshape(-1, 1, 2) - self.means).square().sum(-1)
        return torch.logsumexp(-square / (2 * self.variance), dim=1) - math.log(8 * 2 * math.pi * self.variance)


@processes
def test_the_density_of_a_gaussian_is_exact(process: Process):
    """With the exact E[x_0|x_t] of N(.5, .25), log p is the closed form to 1e-3 nats, out to three deviations."""
    x = points()
    found = log_likelihood(GAUSSIAN.predict(process), x, rising(process, 400), process, every_direction(x))
    assert_close(found, log_density(GAUSSIAN, x), atol=1e-3, rtol=0)


def test_the_chain_that_networks_learn_has_it_too():
    """Of DDPM's chain, at whole steps; its last has .7 % of signal left, for which 1.2e-2 is allowed."""
    x = points()
    found = log_likelihood(GAUSSIAN.predict(CHAIN), x, rising_times(CHAIN, 300), CHAIN, every_direction(x))
    assert_close(found, log_density(GAUSSIAN, x), atol=1.2e-2, rtol=0)


@processes
def test_the_density_of_a_mixture_is_exact(process: Process):
    """Two narrow peaks in each pixel, and nothing between: the flow parts there, and log p is right to 5e-3."""
    x = points()
    found = log_likelihood(TWO_PEAKS.predict(process), x, rising(process, 300), process, every_direction(x))
    assert_close(found, log_density(TWO_PEAKS, x), atol=5e-3, rtol=0)


@processes
def test_the_density_of_a_ring_in_the_plane_is_exact(process: Process):
    """Eight Gaussians on a circle: both pixels at once, so that the whole trace counts, not that of each alone."""
    ring = Ring()
    x = torch.randn(20, 1, 1, 2, generator=seeded(3), dtype=torch.float64)
    found = log_likelihood(ring.predict(process), x, rising(process, 400), process, every_direction(x))
    assert_close(found, ring.log_density(x), atol=5e-3, rtol=0)


@processes
def test_forward_and_reverse_agree(process: Process):
    """From data to noise and back: the same points, and what the way stretches is undone."""
    predict, x, times = GAUSSIAN.predict(process), points(), rising(process, 150)
    y, there = transport(predict, x, times, process, every_direction(x))
    back, again = transport(predict, y, times[::-1], process, every_direction(x))
    assert_close(back, x, atol=1e-3, rtol=0)
    assert_close(there + again, torch.zeros_like(there), atol=1e-3, rtol=0)


def test_noise_that_is_led_to_data_has_their_density():
    """In reverse: of y ~ N(0, I), led down to x, log p(y) less the stretch of the way is the closed form at x."""
    y = torch.randn(9, 1, 1, 2, generator=seeded(), dtype=torch.float64)
    x, stretch = transport(GAUSSIAN.predict(FLOW), y, rising(FLOW, 200)[::-1], FLOW, every_direction(y))
    normal = -y.square().sum((1, 2, 3)) / 2 - math.log(2 * math.pi)
    assert_close(normal - stretch, log_density(GAUSSIAN, x), atol=1e-3, rtol=0)


def test_hutchinsons_trace_is_right_on_average():
    """Over all sixteen patterns of ±1 the mean of vᵀ J v is the trace; drawn ones are such patterns, an image each."""
    x = points().expand(9, 1, 2, 2).contiguous()
    weight = torch.randn(4, 4, generator=seeded(5), dtype=torch.float64)

    def mixing(x_t: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x_t.flatten(1) @ weight).reshape(x_t.shape)

    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4).reshape(16, 1, 1, 2, 2)
    times = [0, 0.2, 0.6, 1]
    exact = log_likelihood(mixing, x, times, FLOW, every_direction(x))
    each = [log_likelihood(mixing, x, times, FLOW, one[None].expand(1, *x.shape)) for one in signs]
    assert_close(torch.stack(each).mean(0), exact, rtol=1e-12, atol=1e-12)
    assert torch.stack(each).std(0).min() > 1e-3
    drawn = rademacher(x, 3, [seeded(i) for i in range(9)])
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(drawn[:, 4:5], rademacher(x[4:5], 3, [seeded(4)]))


def wrong_sign(y, stretch):
    return y, -stretch


def no_stretch(y, stretch):
    return y, 0 * stretch


@pytest.mark.parametrize("mistake", [wrong_sign, no_stretch])
def test_a_planted_mistake_of_the_trace_shows(mistake, monkeypatch: pytest.MonkeyPatch):
    """A trace of the wrong sign, and one that is left out, miss the closed form by more than a hundred tolerances."""
    right = transport
    monkeypatch.setattr(likelihood, "transport", lambda *given: mistake(*right(*given)))
    x = points()
    found = log_likelihood(GAUSSIAN.predict(FLOW), x, rising(FLOW, 300), FLOW, every_direction(x))
    assert (found - log_density(GAUSSIAN, x)).abs().min() > 0.1


def test_a_planted_prior_shows():
    """A VE whose noise ends at σ = 5, so that N(0, σ²) is not where the data are led, is off by a tenth."""
    short, x = VarianceExploding(last=5), points()
    found = log_likelihood(GAUSSIAN.predict(short), x, rising(short, 500), short, every_direction(x))
    assert (found - log_density(GAUSSIAN, x)).abs().max() > 0.1


def test_times_begin_clean_and_end_in_noise():
    """0, the first that a network is asked at, then so many steps to the end; of a chain no more than it has."""
    assert rising_times(FLOW, 2) == [0, 0.01, 0.505, 1]
    assert rising_times(CHAIN, 2) == [0, 1, 250, 1000]
    assert rising_times(linear_schedule(4), 100) == [0, 1, 2, 3, 4]
