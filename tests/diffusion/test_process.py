"""The forward process, its closed forms and the reverse step, against arithmetic, Bayes' rule and diffusers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.testing import assert_close

from phonybrains.diffusion.process import (
    Flow,
    Schedule,
    at,
    cosine_schedule,
    linear_schedule,
    normal_like,
    p_step,
    q_posterior,
    q_sample,
    q_step,
)
from tests.support.mixture import GAUSSIAN, TWO_PEAKS, seeded

EXACT = {"rtol": 1e-12, "atol": 1e-12}
betas = st.lists(st.floats(1e-4, 0.9), min_size=1, max_size=30)
few = settings(max_examples=25)  # an identity that is wrong fails at the first
beta_and_step = betas.flatmap(lambda beta: st.tuples(st.just(beta), st.integers(1, len(beta))))


def noise_like(x: Tensor, seed: int = 1) -> Tensor:
    return torch.randn(x.shape, generator=seeded(seed), dtype=x.dtype)


def schedule_of(beta: list[float]) -> Schedule:
    return Schedule.from_beta(torch.tensor(beta, dtype=torch.float64))


# --- Schedules -------------------------------------------------------------------------------------------------------


@few
@given(betas)
def test_a_schedule_keeps_the_variance_and_what_is_left_of_the_signal(beta: list[float]) -> None:
    """ᾱ_t = ∏(1 - β_i) with β_0 = 0 and ᾱ_0 = 1 in front; a² = ᾱ and s² = 1 - ᾱ at every step, as (B, 1, 1, 1)."""
    s = schedule_of(beta)
    t = torch.arange(s.T + 1)
    alpha_bar = torch.tensor([math.prod(1 - b for b in beta[:t]) for t in range(len(beta) + 1)], dtype=torch.float64)
    assert s.beta.tolist() == [0, *beta]
    assert s.signal(t).shape == s.noise(t).shape == (len(beta) + 1, 1, 1, 1)
    assert_close(s.alpha_bar, alpha_bar, **EXACT)
    assert_close((s.signal(t) ** 2).flatten(), alpha_bar, **EXACT)
    assert_close((s.noise(t) ** 2).flatten(), 1 - alpha_bar, **EXACT)


def test_time_0_is_clean_data() -> None:
    """At t = 0 every process is all signal and no noise, to the last bit."""
    for process in (linear_schedule(), cosine_schedule(), Flow()):
        zero = torch.zeros(1, dtype=torch.long)
        assert process.signal(zero).item() == 1
        assert process.noise(zero).item() == 0


def test_linear_schedule_is_the_one_of_ho_2020() -> None:
    """β rises evenly from 1e-4 to 0.02 over 1000 steps, which ends in the published ᾱ_T of 4.0358e-5."""
    s = linear_schedule()
    beta = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    assert_close(s.beta[1:], torch.tensor(beta, dtype=torch.float64), **EXACT)
    assert s.alpha_bar[-1].item() == pytest.approx(math.prod(1 - b for b in beta), rel=1e-12)
    assert s.alpha_bar[-1].item() == pytest.approx(4.0358e-5, rel=1e-4)


@pytest.mark.parametrize("T", [20, 50, 250, 1000, 4000])
def test_linear_schedule_of_any_length_ends_in_noise(T: int) -> None:
    """Fewer steps are larger steps: ᾱ falls strictly, and to less than 5e-5, whatever T."""
    s = linear_schedule(T)
    assert s.T == T
    assert (s.alpha_bar.diff() < 0).all()
    assert (s.beta < 1).all()
    assert s.alpha_bar[-1] < 5e-5


def test_cosine_schedule_is_the_one_of_nichol_2021() -> None:
    """ᾱ_t = f(t)/f(0), f = cos²(π/2 · (t/T + 0.008)/1.008), up to the last step, whose β is clipped at 0.999."""
    s, T = cosine_schedule(), 1000
    f = [math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(T + 1)]
    expected = torch.tensor([value / f[0] for value in f], dtype=torch.float64)
    assert_close(s.alpha_bar[:-1], expected[:-1], rtol=1e-9, atol=0)
    assert s.beta[-1].item() == 0.999
    assert s.alpha_bar[T // 2].item() == pytest.approx(0.4938, abs=1e-4)


@pytest.mark.parametrize(("name", "ours"), [("linear", linear_schedule()), ("squaredcos_cap_v2", cosine_schedule())])
def test_schedules_equal_those_of_diffusers(name: str, ours: Schedule) -> None:
    """Weights trained with diffusers meet the same noise here, as exactly as its float32 β allow."""
    theirs = DDPMScheduler(1000, beta_schedule=name)
    assert_close(ours.beta[1:], theirs.betas.double(), rtol=2e-5, atol=1e-8)
    assert_close(ours.alpha_bar[1:], theirs.alphas_cumprod.double(), rtol=2e-4, atol=1e-8)


def test_coefficients_do_not_pass_through_float32() -> None:
    """1 - ᾱ_1 is 1e-4: in float32 it would be wrong in the fourth digit, so s_1 is exact only in float64."""
    s, first = linear_schedule(), torch.tensor([1])
    assert s.beta.dtype == s.alpha_bar.dtype == torch.float64
    assert Schedule.from_beta(torch.full((3,), 0.1)).alpha_bar.dtype == torch.float64
    assert s.noise(first).item() == pytest.approx(0.01, rel=1e-11)
    for process in (s, Flow()):
        assert process.signal(first).dtype == process.noise(first).dtype == process.fraction(first).dtype
        assert process.noise(first).dtype == torch.float64
    x_1 = q_sample(torch.zeros(1, 1, 1, 1), first, s, torch.ones(1, 1, 1, 1))
    assert x_1.item() == torch.tensor(0.01).item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_keep_their_type(dtype: torch.dtype) -> None:
    """float64 coefficients never widen an image."""
    s, x, t = linear_schedule(10), torch.ones(2, 1, 4, 4, dtype=dtype), torch.tensor([3, 7])
    mean, variance = q_posterior(x, x, t, s)
    drawn = [q_step(x, t, s, seeded()), q_sample(x, t, s, x), p_step(x, t, s, lambda x_t, t: x_t, seeded())]
    assert {y.dtype for y in (mean, variance, normal_like(x, seeded()), *drawn)} == {dtype}


def test_fraction_runs_from_0_to_1() -> None:
    """A network may be told the time as a fraction of its end, whatever the process counts in."""
    assert linear_schedule(50).fraction(torch.tensor([0, 25, 50])).tolist() == [0, 0.5, 1]
    assert Flow().fraction(torch.tensor([0, 0.25, 1])).tolist() == [0, 0.25, 1]


# --- Forward ---------------------------------------------------------------------------------------------------------


@few
@given(st.floats(0, 1), st.floats(-3, 3), st.floats(-3, 3))
def test_flow_is_the_straight_path(time: float, data: float, noise: float) -> None:
    """x_t = (1 - t) x_0 + t ε."""
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    x_t = q_sample(data * one, torch.tensor([time], dtype=torch.float64), Flow(), noise * one)
    assert x_t.item() == pytest.approx((1 - time) * data + time * noise, abs=1e-12)


def test_q_sample_mixes_each_image_by_its_own_time() -> None:
    """x_t = √ᾱ_t x_0 + √(1-ᾱ_t) ε, with one t for each image of the batch."""
    s, x_0 = linear_schedule(100), torch.randn(3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    noise, steps = noise_like(x_0), [1, 40, 100]
    x_t = q_sample(x_0, torch.tensor(steps), s, noise)
    for i, t in enumerate(steps):
        alpha_bar = math.prod(1 - b for b in s.beta[1 : t + 1].tolist())
        assert_close(x_t[i], math.sqrt(alpha_bar) * x_0[i] + math.sqrt(1 - alpha_bar) * noise[i], **EXACT)


@few
@given(beta_and_step)
def test_q_step_shrinks_by_the_root_of_one_minus_beta_and_adds_the_root_of_beta(drawn: tuple[list[float], int]) -> None:
    """x_t = √(1-β_t) x_{t-1} + √β_t ε, with the ε that the generator gives."""
    beta, step = drawn
    s, x = schedule_of(beta), torch.randn(2, 1, 4, 4, generator=seeded(), dtype=torch.float64)
    b = beta[step - 1]
    expected = math.sqrt(1 - b) * x + math.sqrt(b) * noise_like(x, seed=1)
    assert_close(q_step(x, torch.full((2,), step), s, seeded(1)), expected, **EXACT)


def test_q_step_after_q_step_gives_the_closed_form() -> None:
    """Walking the chain from x_0 = 2 gives q(x_t|x_0): mean √ᾱ_t · 2 and variance 1 - ᾱ_t, at every t."""
    n, s, rng = 100_000, linear_schedule(30), seeded()
    x = torch.full((n, 1, 1, 1), 2.0)
    for t in range(1, s.T + 1):
        x = q_step(x, torch.full((n,), t), s, rng)
        mean, variance = 2 * s.alpha_bar[t].sqrt().item(), 1 - s.alpha_bar[t].item()
        assert x.mean().item() == pytest.approx(mean, abs=4.5 * math.sqrt(variance / n))
        assert x.var().item() == pytest.approx(variance, rel=4.5 * math.sqrt(2 / n))


# --- Reverse ---------------------------------------------------------------------------------------------------------


@few
@given(betas.filter(lambda b: len(b) > 1), st.data(), st.floats(-2, 2), st.floats(-2, 2))
def test_q_posterior_is_bayes_rule(beta: list[float], data: st.DataObject, x_0: float, x_t: float) -> None:
    """q(x_{t-1}|x_t, x_0) ∝ q(x_t|x_{t-1}) q(x_{t-1}|x_0), multiplied and integrated on a grid of x_{t-1}."""
    t = data.draw(st.integers(2, len(beta)))
    b, before = beta[t - 1], math.prod(1 - b for b in beta[: t - 1])
    width = min(math.sqrt(1 - before), math.sqrt(b / (1 - b)))
    centres = [math.sqrt(before) * x_0, x_t / math.sqrt(1 - b)]
    x = torch.linspace(min(centres) - 12 * width, max(centres) + 12 * width, 20_001, dtype=torch.float64)
    log_prior = -((x - math.sqrt(before) * x_0) ** 2) / (2 * (1 - before))
    log_likelihood = -((x_t - math.sqrt(1 - b) * x) ** 2) / (2 * b)
    density = torch.softmax(log_prior + log_likelihood, dim=0)
    mean = (density * x).sum()
    variance = (density * (x - mean) ** 2).sum()

    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found_mean, found_variance = q_posterior(x_t * one, x_0 * one, torch.tensor([t]), schedule_of(beta))
    assert found_mean.item() == pytest.approx(mean.item(), abs=1e-6 * width)
    assert found_variance.item() == pytest.approx(variance.item(), rel=1e-5)


@pytest.mark.parametrize("s", [linear_schedule(), cosine_schedule(), linear_schedule(20)])
def test_the_last_step_is_deterministic(s: Schedule) -> None:
    """At t = 1 the variance is 0 and the mean is x_0: p_step returns the prediction whatever the generator."""
    x = torch.randn(2, 1, 4, 4, generator=seeded(), dtype=torch.float64)
    t, x_0 = torch.ones(2, dtype=torch.long), noise_like(x)
    mean, variance = q_posterior(x, x_0, t, s)
    assert (variance == 0).all()
    assert_close(mean, x_0, **EXACT)
    first, second = (p_step(x, t, s, lambda x_t, t: x_0, seeded(seed)) for seed in (1, 2))
    assert torch.equal(first, second)
    assert torch.equal(first, mean)


@few
@given(beta_and_step, st.integers(0, 99))
def test_p_step_draws_from_the_posterior_of_the_prediction(drawn: tuple[list[float], int], seed: int) -> None:
    """x_{t-1} = mean + √variance · z of q(x_{t-1}|x_t, x̂_0), where predict saw x_t and t."""
    beta, step = drawn
    s, t = schedule_of(beta), torch.full((2,), step)
    x = torch.randn(2, 1, 4, 4, generator=seeded(seed), dtype=torch.float64)

    def predict(x_t: Tensor, at_t: Tensor) -> Tensor:
        assert torch.equal(x_t, x)
        assert torch.equal(at_t, t)
        return 0.5 * x_t + 0.1

    mean, variance = q_posterior(x, 0.5 * x + 0.1, t, s)
    expected = mean + variance.sqrt() * noise_like(x, seed=seed + 1)
    assert_close(p_step(x, t, s, predict, seeded(seed + 1)), expected, **EXACT)


def test_reverse_process_recovers_a_gaussian() -> None:
    """Each step is affine in x_t: mean and variance of the chain follow from two images. Twice the steps, half off."""
    off = []
    for s in (linear_schedule(250), linear_schedule(500)):
        predict, mean, variance = GAUSSIAN.predict(s), 0.0, 1.0
        for t in range(s.T, 0, -1):
            x, times = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1), torch.full((2,), t)
            means, added = q_posterior(x, predict(x, times), times, s)
            at_0, at_1 = means.flatten().tolist()
            mean, variance = at_0 + (at_1 - at_0) * mean, (at_1 - at_0) ** 2 * variance + added[0].item()
        assert mean == pytest.approx(0.5, abs=0.01)
        off.append(0.25 - variance)
    assert 0 < off[1] < 0.01
    assert off[0] / off[1] == pytest.approx(2, rel=0.1)


def test_reverse_process_recovers_two_peaks() -> None:
    """With data whose E[x_0|x_t] is known no network is needed: the chain must end in their distribution."""
    n, s, rng = 20_000, linear_schedule(500), seeded()
    predict, x = TWO_PEAKS.predict(s), torch.randn(n, 1, 1, 1, generator=rng)
    for t in range(s.T, 0, -1):
        x = p_step(x, torch.full((n,), t), s, predict, rng)
    assert TWO_PEAKS.distance(x) < 0.0115  # where a true sample of this size stays in 99 of 100 draws


def test_reverse_process_equals_the_chain_of_diffusers() -> None:
    """Every step equals DDPMScheduler's with variance 'fixed_small', from the same β, predictor and generator."""
    theirs = DDPMScheduler(200, variance_type="fixed_small", clip_sample=False, beta_end=0.08)
    s = Schedule.from_beta(theirs.betas)
    theirs.alphas_cumprod, theirs.one = s.alpha_bar[1:], torch.ones((), dtype=torch.float64)
    theirs.betas, theirs.alphas = s.beta[1:], 1 - s.beta[1:]
    weight = torch.randn(3, 3, generator=seeded(), dtype=torch.float64)

    def predict_noise(x_t: Tensor, t: int) -> Tensor:
        return torch.tanh(torch.einsum("ij,bjhw->bihw", weight, x_t) + t / 100)

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        step = int(t[0])
        return (x_t - s.noise(t) * predict_noise(x_t, step)) / s.signal(t)

    x = torch.randn(2, 3, 4, 4, generator=seeded(1), dtype=torch.float64)
    ours_rng, their_rng = seeded(2), seeded(2)
    for t in range(s.T, 0, -1):
        expected = theirs.step(predict_noise(x, t), t - 1, x, generator=their_rng).prev_sample
        x = p_step(x, torch.full((2,), t), s, predict, ours_rng)
        assert_close(x, expected, rtol=1e-10, atol=1e-10, msg=lambda text, t=t: f"t = {t}: {text}")


# --- Randomness ------------------------------------------------------------------------------------------------------

draws: list[Callable[[Tensor, Tensor, list[Generator]], Tensor]] = [
    lambda x, t, rng: normal_like(x, rng),
    lambda x, t, rng: q_step(x, t, linear_schedule(100), rng),
    lambda x, t, rng: p_step(x, t, linear_schedule(100), lambda x_t, t: 0.5 * x_t, rng),
]


@pytest.mark.parametrize("draw", draws, ids=["normal_like", "q_step", "p_step"])
def test_an_image_with_its_own_generator_does_not_depend_on_its_neighbours(draw: Callable[..., Tensor]) -> None:
    """Alone, in another order, in a smaller batch: each image gets the same bits."""
    x, t = torch.randn(4, 1, 5, 5, generator=seeded()), torch.tensor([9, 40, 70, 100])
    whole = draw(x, t, [seeded(seed) for seed in range(4)])
    for order in ([0], [3], [3, 2, 1, 0], [2, 0]):
        assert torch.equal(draw(x[order], t[order], [seeded(seed) for seed in order]), whole[order])
    assert not torch.equal(draw(x, t, [seeded(seed + 9) for seed in range(4)]), whole)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_or_too_many_generators_are_refused(count: int) -> None:
    """Two images need one generator for both or two: neither is left out or reused in silence."""
    with pytest.raises(ValueError, match=f"{count} generators for 2 images"):
        normal_like(torch.zeros(2, 1, 4, 4), [seeded(seed) for seed in range(count)])


def test_noise_is_standard_normal_and_moves_its_generator_on() -> None:
    """Mean 0 and variance 1, different for different images and in the next call."""
    rng = seeded()
    first, second = normal_like(torch.zeros(2, 1, 200, 250), rng), normal_like(torch.zeros(2, 1, 200, 250), rng)
    for noise in (first, second):
        assert noise.mean().item() == pytest.approx(0, abs=3 / math.sqrt(noise.numel()))
        assert noise.var().item() == pytest.approx(1, abs=3 * math.sqrt(2 / noise.numel()))
    independent = torch.stack([first[0], first[1], second[0], second[1]]).flatten(1)
    assert_close(torch.corrcoef(independent), torch.eye(4), atol=0.02, rtol=0)


def test_at_looks_a_value_up_for_each_image() -> None:
    """values[t] as a (B, 1, 1, 1) column to multiply images with."""
    found = at(torch.tensor([0.0, 0.5, 0.25]), torch.tensor([2, 0, 2]))
    assert found.shape == (3, 1, 1, 1)
    assert found.flatten().tolist() == [0.25, 0.0, 0.25]
