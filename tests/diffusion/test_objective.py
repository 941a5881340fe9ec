"""Training targets, their inverses, the loss and the drawing of times."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion.objective import (
    Objective,
    PredictNoise,
    PredictV,
    PredictVelocity,
    denoising_loss,
    draw_steps,
    draw_times,
    steps_at,
)
from phonybrains.diffusion.process import Flow, Process, Schedule, cosine_schedule, linear_schedule, q_sample
from tests.support.mixture import ks_distance, seeded

OBJECTIVES = [PredictNoise(), PredictV(), PredictVelocity()]
PROCESSES = [linear_schedule(1000), cosine_schedule(1000), Flow()]
objectives = pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
processes = pytest.mark.parametrize("process", PROCESSES, ids=["linear", "cosine", "flow"])


def images(n: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, 2, 4, 4, generator=seeded(seed), dtype=torch.float64)


def times_of(process: Process, fraction: float) -> Tensor:
    """Four times of a process about a fraction of its length, the first at that fraction."""
    fractions = torch.tensor([fraction, 0.25, 0.5, 0.9], dtype=torch.float64)
    return (fractions * process.T).round().long() if isinstance(process, Schedule) else fractions


@objectives
@processes
@settings(max_examples=25)
@given(fraction=st.floats(1e-3, 0.99))
def test_to_x0_undoes_target(objective: Objective, process: Process, fraction: float) -> None:
    """A network that hits its target has found x_0, under every objective, process and time, each image at its own."""
    x_0, noise, t = images(), images(seed=1), times_of(process, fraction)
    x_t = q_sample(x_0, t, process, noise)
    assert_close(objective.to_x0(objective.target(x_0, noise, t, process), x_t, t, process), x_0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("objective", [PredictV(), PredictVelocity()], ids=repr)
def test_pure_noise_can_be_read_as_data(objective: Objective) -> None:
    """At t = 1 of the Flow, where sampling starts and x_t is all noise, v and the velocity still give x_0; ε cannot."""
    x_0, noise, t = images(), images(seed=1), torch.ones(4, dtype=torch.float64)
    assert_close(objective.to_x0(objective.target(x_0, noise, t, Flow()), noise, t, Flow()), x_0, rtol=0, atol=1e-12)


def test_targets_are_the_published_ones() -> None:
    """ε is the noise; v = √ᾱ ε - √(1-ᾱ) x_0, as in diffusers; the velocity is ε - x_0, the slope of the path."""
    x_0, noise, t = images(), images(seed=1), torch.tensor([1, 250, 600, 1000])
    theirs = DDPMScheduler(1000)
    s = Schedule.from_beta(theirs.betas)
    theirs.alphas_cumprod = s.alpha_bar[1:]
    assert torch.equal(PredictNoise().target(x_0, noise, t, s), noise)
    assert_close(PredictV().target(x_0, noise, t, s), theirs.get_velocity(x_0, noise, t - 1), rtol=1e-12, atol=1e-12)
    early, late = torch.full((4,), 0.3, dtype=torch.float64), torch.full((4,), 0.4, dtype=torch.float64)
    slope = (q_sample(x_0, late, Flow(), noise) - q_sample(x_0, early, Flow(), noise)) / 0.1
    assert_close(PredictVelocity().target(x_0, noise, early, Flow()), slope, rtol=0, atol=1e-12)


@objectives
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_objectives_keep_the_type_of_images(objective: Objective, dtype: torch.dtype) -> None:
    """float64 coefficients never widen a target or a prediction."""
    x, t = images().to(dtype), torch.tensor([1, 2, 3, 4])
    assert objective.target(x, x, t, PROCESSES[0]).dtype == dtype
    assert objective.to_x0(x, x, t, PROCESSES[0]).dtype == dtype


@objectives
@processes
def test_loss_is_the_mean_squared_error_of_each_image(objective: Objective, process: Process) -> None:
    """An output that misses its target by d costs d² for that image, and none for its neighbours."""
    x_0, noise, t = images(), images(seed=1), times_of(process, 0.5)
    missed_by = torch.tensor([0.0, 1.0, -2.0, 0.5], dtype=torch.float64).reshape(4, 1, 1, 1)
    output = objective.target(x_0, noise, t, process) + missed_by
    loss = denoising_loss(output, x_0, noise, t, objective, process)
    assert loss.dtype == torch.float32
    assert_close(loss, torch.tensor([0.0, 1.0, 4.0, 0.25]), rtol=1e-6, atol=1e-12)
    half = torch.tensor([1.0, 0.0]).repeat(8).reshape(4, 4)  # an error in half the pixels counts half
    loss = denoising_loss(output - missed_by + half, x_0, noise, t, objective, process)
    assert_close(loss, torch.full((4,), 0.5), rtol=1e-6, atol=0)


def test_loss_is_taken_in_float32() -> None:
    """bfloat16 keeps 8 bits: neither the difference, nor its square, nor the mean of squares may be taken in it."""
    output, noise = images().bfloat16(), images(seed=1).bfloat16()
    loss = denoising_loss(output, noise, noise, torch.ones(4).long(), PredictNoise(), PROCESSES[0])
    assert_close(loss, (output.double() - noise.double()).square().mean(dim=(1, 2, 3)).float(), rtol=1e-6, atol=0)


def test_gradient_points_from_the_target_to_the_output() -> None:
    """∂loss/∂output = 2 (output - target) / pixels, and the target asks for no gradient of its own."""
    x_0, noise, t = images(), images(seed=1), torch.tensor([1, 250, 600, 1000])
    output = images(seed=2).requires_grad_()
    denoising_loss(output, x_0, noise, t, PredictV(), PROCESSES[0]).sum().backward()
    target = PredictV().target(x_0, noise, t, PROCESSES[0])
    assert output.grad is not None
    assert_close(output.grad, 2 * (output.detach() - target) / x_0[0].numel(), rtol=1e-5, atol=1e-7)


def test_draw_steps_is_uniform_over_1_to_T() -> None:
    """Every step of 1…T, both ends and never 0, comes up equally often."""
    n, T = 100_000, 10
    steps = draw_steps(n, T, seeded())
    counts = torch.bincount(steps, minlength=T + 1)
    assert steps.shape == (n,)
    assert len(counts) == T + 1
    assert counts[0] == 0
    chi_squared = ((counts[1:] - n / T) ** 2 / (n / T)).sum()
    assert chi_squared < 21.7  # 9 degrees of freedom: 1 of 100 exceeds it


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_draw_times_is_logit_normal_with_a_uniform_share(share: float) -> None:
    """P(t ≤ τ) = share · τ + (1 - share) · Φ(logit τ), by the Kolmogorov-Smirnov distance."""
    n = 100_000
    t = draw_times(n, seeded(), uniform_share=share).double().sort().values
    assert ks_distance(share * t + (1 - share) * torch.special.ndtr(torch.logit(t))) < 1.63 / math.sqrt(n)


def test_draw_times_stays_off_both_ends_and_takes_a_fifth_uniformly() -> None:
    """Neither clean data nor pure noise is drawn: at both, ε or x_0 would be undefined. The default share is 0.2."""
    t = draw_times(200_000, seeded(), uniform_share=1.0)
    assert t.shape == (200_000,)
    assert (t.min().item(), t.max().item()) == (pytest.approx(1e-4, rel=1e-6), pytest.approx(1 - 1e-4, rel=1e-6))
    assert torch.equal(draw_times(1000, seeded()), draw_times(1000, seeded(), uniform_share=0.2))
    assert not torch.equal(draw_times(1000, seeded()), draw_times(1000, seeded(), uniform_share=0.0))


def test_draws_repeat_with_their_generator() -> None:
    """The same seed draws the same times, and a generator moves on."""
    for draw in (lambda rng: draw_times(50, rng), lambda rng: draw_steps(50, 100, rng)):
        rng = seeded(3)
        assert torch.equal(draw(rng), draw(seeded(3)))
        assert not torch.equal(draw(rng), draw(seeded(3)))


@pytest.mark.parametrize("schedule", [linear_schedule(1000), cosine_schedule(1000)], ids=["linear", "cosine"])
def test_a_chain_is_learnt_at_the_shares_of_noise_of_the_flow(schedule: Schedule) -> None:
    """What is drawn for the flow, as steps of a chain, has the same share s / (a + s) to within a step."""
    tau = draw_times(20_000, seeded()).double().clamp(0.02, 0.98)
    steps = steps_at(tau, schedule)
    here, before = (schedule.noise(t) / (schedule.signal(t) + schedule.noise(t)) for t in (steps, steps - 1))
    assert (here.flatten() >= tau - 1e-12).all()
    assert (before.flatten() < tau).all()
    assert steps_at(torch.tensor([0.0, 1.0]), schedule).tolist() == [1, 1000]
