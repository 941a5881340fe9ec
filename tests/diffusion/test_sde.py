"""VP, VE and the reverse SDE against their own equations, DDPM's chain, and data whose density is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion.process import Flow, Predict, Process, linear_schedule, normal_like
from phonybrains.diffusion.sampler import SAMPLERS
from phonybrains.diffusion.sde import Sde, VarianceExploding, VariancePreserving, reverse_sde, score
from tests.support.mixture import GAUSSIAN, TWO_PEAKS, Mixture, last, normal_quantiles, seeded

VP, VE = VariancePreserving(), VarianceExploding()
sdes = pytest.mark.parametrize("sde", [VP, VE], ids=["VP", "VE"])


def falling(steps: int, power: float = 1.0) -> list[float]:
    """1 … 0, closer together near 0 for a power above 1."""
    return [(1 - i / steps) ** power for i in range(steps + 1)]


def noise_of(sde: Process, x: Tensor) -> Tensor:
    """x, scaled to pure noise of the process."""
    return sde.noise(torch.ones(1)) * x


def derivative(function: Callable[[Tensor], Tensor], t: Tensor, h: float = 1e-5) -> Tensor:
    return (function(t + h) - function(t - h)) / (2 * h)


@sdes
def test_shares_and_coefficients_are_one_process(sde: Sde):
    """a' = f a, and (s²)' = 2 f s² + g²: the moments of dx = f x dt + g dw.  [Särkkä 2019, eq. 5.50 and 5.51]"""
    t = torch.linspace(0.05, 1, 20, dtype=torch.float64)
    f, g, a, s = sde.drift(t), sde.diffusion(t), sde.signal(t), sde.noise(t)
    assert_close(derivative(sde.signal, t), f * a, rtol=1e-6, atol=1e-9)
    assert_close(derivative(lambda t: sde.noise(t) ** 2, t), 2 * f * s**2 + g**2, rtol=1e-6, atol=1e-9)


@sdes
def test_data_begin_clean_and_end_in_noise(sde: Sde):
    """At t = 0 nothing is mixed in; at t = 1 the signal is below 2 % of the noise."""
    clean, end = torch.zeros(1), torch.ones(1)
    assert (sde.signal(clean).item(), sde.noise(clean).item()) == (1, 0)
    assert sde.signal(end) / sde.noise(end) <= 0.0201
    assert sde.fraction(end) == 1


def test_vp_is_the_chain_of_ddpm_in_continuous_time():
    """ᾱ of the linear chain at t = n / T tends to a(t)² as T grows: at T = 100000 it is within .1 %.  [Song 2021, B]"""
    chain, n = linear_schedule(100_000), torch.arange(10_000, 100_001, 10_000)
    assert_close(chain.signal(n) ** 2, VP.signal(n / 100_000) ** 2, rtol=1e-3, atol=0)


@pytest.mark.parametrize("process", [VP, VE, Flow(), linear_schedule(1000)], ids=["VP", "VE", "flow", "chain"])
@pytest.mark.parametrize("data", [GAUSSIAN, TWO_PEAKS], ids=["Gaussian", "two peaks"])
def test_score_is_the_slope_of_the_log_density(process: Process, data: Mixture):
    """(a x̂_0 - x) / s² is the derivative, by autograd, of the density of a x_0 + s ε in closed form."""
    t = torch.tensor([1, 300, 700]) if not hasattr(process, "drift") and process != Flow() else None
    t = torch.tensor([0.05, 0.3, 0.7], dtype=torch.float64) if t is None else t
    a, s = process.signal(t)[..., None], process.noise(t)[..., None]
    weights, means, variances = data._columns()
    x = torch.randn(3, 1, 2, 2, generator=seeded(), dtype=torch.float64).requires_grad_()
    total = a**2 * variances + s**2
    density = torch.logsumexp(weights.log() - total.log() / 2 - (x[..., None] - a * means) ** 2 / (2 * total), dim=-1)
    slope = torch.autograd.grad(density.sum(), x)[0]
    assert_close(score(data.predict(process), x.detach(), t, process), slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["heun", "adams", "ddim", "ddpm"])
@sdes
def test_every_sampler_walks_them(sde: Sde, name: str):
    """One protocol: from equally likely noise each of the samplers ends in N(.5, .25), closer than 1 % of KS distance.

    ddpm draws anew, and is told apart from chance by 2.5 % of 4000 draws.
    """
    start = noise_of(sde, normal_quantiles(4000))
    drawn = last(SAMPLERS[name](GAUSSIAN.predict(sde), start, falling(300, 2), sde, seeded()))
    assert GAUSSIAN.distance(drawn) < (0.025 if name == "ddpm" else 0.01)


@pytest.mark.parametrize("data", [GAUSSIAN, TWO_PEAKS], ids=["Gaussian", "two peaks"])
@sdes
def test_the_reverse_sde_draws_the_data(sde: Sde, data: Mixture):
    """Euler and Maruyama with the exact prediction: 4000 draws within 2.5 % of the distribution (99 % by chance)."""
    start = noise_of(sde, torch.randn(4000, 1, 1, 1, generator=seeded(1), dtype=torch.float64))
    drawn = last(reverse_sde(data.predict(sde), start, falling(600, 2 if sde == VP else 1), sde, seeded(2)))
    assert data.distance(drawn) < 0.025


def test_corrections_repair_what_large_steps_leave():
    """Predictor and corrector: ten steps of VE leave a variance of 1.6 for .25; Langevin's halve the excess."""
    start = noise_of(VE, 1.3 * torch.randn(4000, 1, 1, 1, generator=seeded(1), dtype=torch.float64))
    walk = [last(reverse_sde(GAUSSIAN.predict(VE), start, falling(10), VE, seeded(2), n)) for n in (0, 3)]
    plain, corrected = (abs(float(x.var()) - 0.25) for x in walk)
    assert corrected < plain / 2


def test_draws_of_several_generators_do_not_depend_on_their_neighbours():
    """With a generator each, an image is the same alone and in a batch, corrections included."""
    start = torch.stack([normal_like(torch.empty(1, 1, 2, 2), seeded(i))[0] for i in range(3)])

    def drawn(x: Tensor, seeds: range) -> Tensor:
        return last(reverse_sde(GAUSSIAN.predict(VP), x, falling(10), VP, [seeded(i) for i in seeds], 1))

    assert torch.equal(drawn(start, range(3))[1:2], drawn(start[1:2], range(1, 2)))


@sdes
def test_a_planted_mistake_shows(sde: Sde):
    """The drift of the probability flow (half the score) together with noise draws too wide a distribution."""
    exact = GAUSSIAN.predict(sde)

    def halved(x: Tensor, t: Tensor) -> Tensor:
        a = sde.signal(t)
        return (x + a * exact(x, t)) / (2 * a)  # its score is half of the true one

    start = noise_of(sde, torch.randn(4000, 1, 1, 1, generator=seeded(1), dtype=torch.float64))
    wrong: Predict = halved
    assert GAUSSIAN.distance(last(reverse_sde(wrong, start, falling(300), sde, seeded(2)))) > 0.1
