"""Classifier guidance, on Gaussians whose exact classifier is known."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion.classifier_guidance import LEAST_SIGNAL, LogDensity, lead
from phonybrains.diffusion.process import Flow, Predict, Process, linear_schedule, p_step, q_posterior
from phonybrains.diffusion.sampler import SAMPLERS, ancestral, quadratic_times, schedule_times, step
from phonybrains.diffusion.times import flow_times
from tests.support.mixture import Mixture, last, seeded

TWO = Mixture((0.3, 0.7), (-1.0, 0.6), (0.4, 0.5))
"""Two Gaussians that overlap; their classifier is uncertain for a long way down."""
CHAIN = linear_schedule(1000)
N = 4000


def exact(process: Process, c: int, at: float = 0.0) -> LogDensity:
    """log p(c | x_t) of the mixture; at: seen so far from where x_t is, which is a mistake."""
    weights, means, deviations = (
        torch.tensor(v, dtype=torch.float64) for v in (TWO.weights, TWO.means, TWO.deviations)
    )

    def log_density(x_t: Tensor, t: Tensor) -> Tensor:
        a, s, x = process.signal(t)[..., None], process.noise(t)[..., None], x_t.double()[..., None] + at
        total = a**2 * deviations**2 + s**2
        logits = weights.log() - total.log() / 2 - (x - a * means) ** 2 / (2 * total)
        return logits.log_softmax(-1)[..., c].flatten(1).sum(1)

    return log_density


def noise(n: int = N) -> Tensor:
    return torch.randn(n, 1, 1, 1, generator=seeded(), dtype=torch.float64)


def drawn(predict: Predict, sampler: str, process: Process, times: Sequence[float], n: int = N) -> Tensor:
    return last(SAMPLERS[sampler](predict, noise(n), times, process, seeded(1)))


def is_drawn_from(x: Tensor, c: int) -> bool:
    """Whether mean and deviation are those of a component, to four standard errors and 1 % of it for the steps."""
    mean, deviation, n = TWO.means[c], TWO.deviations[c], x.numel()
    near = abs(x.mean().item() - mean) < deviation * (4 / sqrt(n) + 0.01)
    return near and abs(x.std().item() / deviation - 1) < 4 / sqrt(2 * n) + 0.01


@pytest.mark.parametrize("c", [0, 1])
@pytest.mark.parametrize("t", [0.02, 0.3, 0.7, 0.95])
def test_guidance_1_is_the_conditional_expectation(t: float, c: int):
    """With the exact classifier the led prediction is E[x_0 | x_t, c] of the component alone, to rounding."""
    component = Mixture((1.0,), (TWO.means[c],), (TWO.deviations[c],))
    for process, time in ((Flow(), torch.full((64,), t)), (CHAIN, torch.full((64,), round(1000 * t)))):
        x = process.noise(time) * noise(64) + process.signal(time) * TWO.means[1 - c]
        led = lead(TWO.predict(process), exact(process, c), 1.0, process)
        assert_close(led(x, time), component.predict(process)(x, time), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("c", [0, 1])
@pytest.mark.parametrize(
    ("sampler", "process", "times"),
    [
        ("adams", Flow(), flow_times(96)),
        ("heun", Flow(), flow_times(48)),
        ("ddim", CHAIN, schedule_times(CHAIN, 250)),
        ("heun", CHAIN, quadratic_times(CHAIN, 48)),
        ("ddpm", CHAIN, schedule_times(CHAIN, 500)),
    ],
    ids=["adams", "heun", "ddim", "heun-ddpm", "ddpm"],
)
def test_any_sampler_draws_the_conditional_density(sampler: str, process: Process, times: Sequence[float], c: int):
    """Guidance 1 turns draws from the mixture into draws from the component that is asked for."""
    assert is_drawn_from(drawn(lead(TWO.predict(process), exact(process, c), 1.0, process), sampler, process, times), c)


def test_mistakes_are_noticed():
    """Without s² / a, with the wrong sign, or with the slope of another place, what is drawn is not the component."""
    times, process = flow_times(96), Flow()
    predict = TWO.predict(process)

    def mistaken(factor: float = 1.0, at: float = 0.0, weigh: bool = True) -> Tensor:
        led = lead(predict, exact(process, 0, at), factor, process)

        def without_weight(x: Tensor, t: Tensor) -> Tensor:
            weight = process.noise(t) ** 2 / process.signal(t).clamp(min=LEAST_SIGNAL)
            return predict(x, t) + (led(x, t) - predict(x, t)) / weight

        return drawn(led if weigh else without_weight, "adams", process, times)

    assert is_drawn_from(mistaken(), 0)
    assert not is_drawn_from(mistaken(weigh=False), 0)
    assert not is_drawn_from(mistaken(-1.0), 0)
    assert not is_drawn_from(mistaken(at=0.2), 0)


@pytest.mark.parametrize("t", [1, 2, 20, 400, 1000])
def test_an_ancestral_step_is_algorithm_1(t: int):
    """The mean of p(x_{t-1} | x_t) is shifted by scale · Σ ∇ log p, Σ the step's own variance, and nothing else."""
    time, process, scale = torch.full((16,), t), CHAIN, 2.5
    x = noise(16)
    log_density, predict = exact(process, 1), TWO.predict(process)
    led = lead(predict, log_density, scale, process, list(range(1000, -1, -1)))
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_density(leaf, time).sum(), leaf)
    mean, variance = q_posterior(x, predict(x, time), time, process)
    assert_close(q_posterior(x, led(x, time), time, process)[0], mean + scale * variance * slope, rtol=1e-9, atol=1e-12)
    assert (p_step(x, time, process, led, seeded()) == p_step(x, time, process, predict, seeded())).all() == (t == 1)


def test_leaving_out_times_keeps_algorithm_1():
    """Where an ancestral step skips times, its mean is shifted by its own variance too."""
    t, r, process = torch.full((16,), 700), torch.full((16,), 500), CHAIN
    x, log_density, predict = noise(16), exact(process, 0), TWO.predict(process)
    a_t, s_t, a_r, s_r = process.signal(t), process.noise(t), process.signal(r), process.noise(r)
    led = lead(predict, log_density, 1.0, process, [1000, 700, 500, 0])
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_density(leaf, t).sum(), leaf)
    plain, shifted = (step(x, p(x, t), t, r, process, ancestral, seeded()) for p in (predict, led))
    assert_close(shifted - plain, ancestral(a_t, s_t, a_r, s_r) ** 2 * slope, rtol=1e-9, atol=1e-12)


def test_both_algorithms_agree_in_small_steps():
    """Halving the steps of an ancestral chain about halves how far the two draw apart from the same noise."""
    apart = []
    for steps in (125, 250, 500):
        times, log_density = schedule_times(CHAIN, steps), exact(CHAIN, 0)
        one, two = (lead(TWO.predict(CHAIN), log_density, 1.0, CHAIN, of) for of in (times, ()))
        gap = drawn(one, "ddpm", CHAIN, times, 500) - drawn(two, "ddpm", CHAIN, times, 500)
        apart.append(gap.square().mean().sqrt().item())
    assert apart[2] < 0.65 * apart[1] < 0.65**2 * apart[0]
    assert apart[2] < 0.05


def test_the_ends_of_time_are_finite():
    """At the Flow's t = 1, where a = 0, and next to t = 0 the led prediction is near E[x_0 | c] and x_t."""
    process, x = Flow(), noise(64)
    led = lead(TWO.predict(process), exact(process, 0), 1.0, process)
    assert_close(led(x, torch.ones(64)).mean(), torch.tensor(TWO.means[0], dtype=torch.float64), atol=0.01, rtol=0)
    assert_close(led(x, torch.full((64,), 1e-6)), x, atol=1e-4, rtol=1e-4)


def test_guiding_works_where_no_gradients_are_kept():
    """In inference mode, as sampling runs, the prediction is the same to the bit, and no graph stays behind."""
    process, x, t = Flow(), noise(8), torch.full((8,), 0.5)
    led = lead(TWO.predict(process), exact(process, 0), 2.0, process)
    with torch.inference_mode():
        inside = led(x.clone(), t.clone())
    outside = led(x, t)
    assert torch.equal(inside, outside)
    assert not outside.requires_grad
