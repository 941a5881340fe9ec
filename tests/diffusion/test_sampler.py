"""Every sampler against algebra, against diffusers, and against data whose E[x_0|x_t] is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion.process import (
    Flow,
    Predict,
    Process,
    Schedule,
    cosine_schedule,
    linear_schedule,
    p_step,
    q_posterior,
    q_sample,
)
from phonybrains.diffusion.sampler import (
    SAMPLERS,
    FreshNoise,
    adams,
    ancestral,
    deterministic,
    heun,
    heun_step,
    quadratic_times,
    renewed,
    sample,
    schedule_times,
    step,
)
from phonybrains.diffusion.times import flow_times
from phonybrains.model.sampling import SAMPLER_NAMES
from tests.support.mixture import GAUSSIAN, TWO_PEAKS, last, normal_quantiles, seeded

EXACT = {"rtol": 1e-12, "atol": 1e-12}
SAME = {"rtol": 1e-10, "atol": 1e-10}
LINEAR, COSINE, FLOW = linear_schedule(1000), cosine_schedule(1000), Flow()
processes = pytest.mark.parametrize("process", [LINEAR, COSINE, FLOW], ids=["linear", "cosine", "flow"])
every_fresh = pytest.mark.parametrize("fresh", [deterministic, ancestral, renewed])
two_steps = st.lists(st.integers(1, 999), min_size=2, max_size=2, unique=True).map(lambda pair: sorted(pair)[::-1])
any_steps = st.integers(1, 1000).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T)))
Method = Callable[[Predict, Tensor, Sequence[float], Process], Iterator[Tensor]]
few = settings(max_examples=25)  # an identity that is wrong fails at the first


def euler(predict: Predict, x: Tensor, times: Sequence[float], process: Process) -> Iterator[Tensor]:
    """DDIM, which for the flow is Euler's method."""
    return sample(predict, x, times, process, seeded())


def images(n: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 3, 4, 4, generator=seeded(seed), dtype=dtype)


def times_of(process: Process, steps: int) -> Sequence[float]:
    return schedule_times(process, steps) if isinstance(process, Schedule) else flow_times(steps)


def moments(process: Process, *thousandths: int) -> Iterator[Tensor]:
    """Times of a process as a batch of two, given in thousandths of its length."""
    for t in thousandths:
        yield torch.full((2,), t) if isinstance(process, Schedule) else torch.full((2,), t / 1000, dtype=torch.float64)


def crooked(x_t: Tensor, t: Tensor | float) -> Tensor:
    """A network's output that depends on every channel and on the time: nothing a sampler could get right by luck."""
    weight = torch.randn(3, 3, generator=seeded(7), dtype=torch.float64).to(x_t)
    return torch.tanh(torch.einsum("ij,bjhw->bihw", weight, x_t) + t / 300)


# --- One step --------------------------------------------------------------------------------------------------------


@every_fresh
@processes
@few
@given(pair=two_steps)
def test_a_step_redraws_part_of_the_noise_and_keeps_the_rest(
    process: Process, fresh: FreshNoise, pair: list[int]
) -> None:
    """From x_t = a_t x_0 + s_t ε, a step goes to a_r x_0 + √(s_r² - σ²) ε + σ z: the level of noise is always s_r."""
    t, r = moments(process, *pair)
    x_0, noise, renewal = images(), images(seed=1), images(seed=2)
    a_t, s_t, a_r, s_r = process.signal(t), process.noise(t), process.signal(r), process.noise(r)
    sigma = fresh(a_t, s_t, a_r, s_r)
    assert (sigma >= 0).all()
    assert (sigma <= s_r).all()
    found = step(q_sample(x_0, t, process, noise), x_0, t, r, process, fresh, seeded(2))
    assert_close(found, a_r * x_0 + (s_r**2 - sigma**2).sqrt() * noise + sigma * renewal, rtol=0, atol=1e-10)


@processes
@few
@given(pair=two_steps)
def test_ancestral_draws_the_deviation_that_bayes_rule_leaves(process: Process, pair: list[int]) -> None:
    """σ² is the variance of q(x_r|x_t, x_0): the precisions of q(x_r|x_0) and of x_t as a measure of x_r add up."""
    t, r = moments(process, *pair)
    a_t, s_t, a_r, s_r = process.signal(t), process.noise(t), process.signal(r), process.noise(r)
    ratio = a_t / a_r
    precision = 1 / s_r**2 + ratio**2 / (s_t**2 - ratio**2 * s_r**2)
    assert_close(ancestral(a_t, s_t, a_r, s_r), precision.rsqrt(), rtol=1e-9, atol=0)


def test_deterministic_draws_nothing_and_renewed_everything() -> None:
    """The two ends of the family: σ = 0, which leaves the generator alone, and σ = s_r."""
    t, r = moments(LINEAR, 700, 300)
    coefficients = (LINEAR.signal(t), LINEAR.noise(t), LINEAR.signal(r), LINEAR.noise(r))
    assert (deterministic(*coefficients) == 0).all()
    assert torch.equal(renewed(*coefficients), LINEAR.noise(r))
    rng = seeded()
    step(images(), images(), t, r, LINEAR, deterministic, rng)
    assert torch.equal(rng.get_state(), seeded().get_state())


@pytest.mark.parametrize("s", [linear_schedule(100), cosine_schedule(100)], ids=["linear", "cosine"])
def test_ancestral_sampling_of_all_steps_is_the_reverse_process(s: Schedule) -> None:
    """With no step left out, sample(ancestral) is p_step after p_step, image for image."""
    ours, expected, rng = images(), images(), seeded(1)

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return crooked(x_t, float(t[0]))

    walk = sample(predict, ours, schedule_times(s, 100), s, seeded(1), ancestral)
    for x, t in zip(walk, range(100, 0, -1), strict=True):
        expected = p_step(expected, torch.full((2,), t), s, predict, rng)
        assert_close(x, expected, **SAME)
    t, r = torch.tensor([40]), torch.tensor([39])
    sigma = ancestral(s.signal(t), s.noise(t), s.signal(r), s.noise(r))
    assert_close(sigma**2, q_posterior(images(1), images(1), t, s)[1], **EXACT)


@every_fresh
@processes
def test_the_last_step_returns_the_prediction(process: Process, fresh: FreshNoise) -> None:
    """At t = 0 no noise is left, old or new: x is what the network expects there."""
    found = last(sample(lambda x_t, t: crooked(x_t, 3.0), images(), times_of(process, 1), process, seeded(), fresh))
    assert_close(found, crooked(images(), 3.0), **EXACT)
    for method in (heun, adams):
        end = last(method(lambda x_t, t: crooked(x_t, 3.0), images(), times_of(process, 1), process))
        assert_close(end, found, **EXACT)


@processes
def test_a_step_of_heun_takes_each_image_from_its_own_time_to_its_own(process: Process) -> None:
    """Images that end at 0 beside others that do not: each goes where it goes alone, and the former to x_0."""
    pairs = [(900, 500), (300, 0), (700, 200), (500, 0)]
    t, r = (torch.cat([next(moments(process, time))[:1] for time in times]) for times in zip(*pairs, strict=True))
    x = images(4)

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x_t * (1 + process.fraction(t).reshape(-1, 1, 1, 1)))

    found = heun_step(predict, x, t, r, process)
    for i in range(4):
        one = slice(i, i + 1)
        assert_close(found[one], heun_step(predict, x[one], t[one], r[one], process), **EXACT)
        if r[i] == 0:
            assert_close(found[one], predict(x[one], t[one]), **EXACT)


# --- A walk ----------------------------------------------------------------------------------------------------------


def test_samplers_are_named_where_settings_are_checked() -> None:
    """What is asked for by name is checked without torch, so the names stand there too."""
    assert set(SAMPLER_NAMES) == set(SAMPLERS)


@processes
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_yields_each_step_and_ends_in_what_is_predicted(name: str, process: Process) -> None:
    """One x for each step; the last is the image that the network sees everywhere; the start is not overwritten."""
    start, image = images(), torch.linspace(-1, 1, images().numel(), dtype=torch.float64).reshape(images().shape)
    walked = list(SAMPLERS[name](lambda x_t, t: image, start, times_of(process, 4), process, seeded()))
    assert len(walked) == 4
    assert_close(walked[-1], image, **EXACT)
    assert_close(start, images(), rtol=0, atol=0)


@processes
def test_a_sampler_yields_after_every_step_and_can_be_stopped(process: Process) -> None:
    """The caller sees x at each time, in order, and the network is not called for steps that are not asked for."""
    seen: list[float] = []

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        assert t.shape == (2,)
        assert t.dtype == (torch.long if isinstance(process, Schedule) else torch.float64)
        seen.append(t[0].item())
        return 0.5 * x_t

    times = times_of(process, 4)
    walk = sample(predict, images(), times, process, seeded())
    assert seen == []
    next(walk)
    assert seen == times[:1]
    assert len(list(walk)) == 3
    assert seen == times[:4]


@processes
def test_heun_evaluates_twice_a_step_and_once_in_the_last_and_adams_once_a_step(process: Process) -> None:
    """Heun's looks at a step's start and end, but never at t = 0; Adams' at the start alone: the rest it remembers."""
    seen: list[float] = []

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(t[0].item())
        return 0.5 * x_t

    times = times_of(process, 3)
    for method, expected in ((heun, [times[0], times[1], times[1], times[2], times[2]]), (adams, times[:3])):
        seen.clear()
        assert len(list(method(predict, images(), times, process))) == 3
        assert seen == expected


@processes
def test_adams_begins_with_a_step_of_eulers_method(process: Process) -> None:
    """With nothing to remember its first step is the one of DDIM; the second is not."""
    times = times_of(process, 5)

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return crooked(x_t, 300 * process.fraction(t)[0].item())

    ours, plain = adams(predict, images(), times, process), sample(predict, images(), times, process, seeded())
    assert_close(next(ours), next(plain), **SAME)
    assert (next(ours) - next(plain)).abs().max() > 0.01


@pytest.mark.parametrize("times", [[], [0], [1], [1000, 500], [1000, 500, 500, 0], [500, 1000, 0], [1000, 500, 0, 0]])
def test_times_that_do_not_fall_to_0_are_refused(times: list[int]) -> None:
    """An image that is left with noise in it, or a step that goes nowhere, is an error and not a picture."""

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t

    walks = (
        sample(predict, images(), times, LINEAR, seeded()),
        heun(predict, images(), [t / 1000 for t in times], FLOW),
        adams(predict, images(), times, LINEAR),
    )
    for walk in walks:
        with pytest.raises(ValueError, match="times must fall strictly and end in 0"):
            next(walk)


def test_flow_times_are_equal_steps() -> None:
    """1 … 0, both ends exact."""
    assert flow_times(1) == [1, 0]
    assert flow_times(4) == [1, 0.75, 0.5, 0.25, 0]
    assert flow_times(49)[0] == 1
    assert flow_times(49)[-1] == 0


def test_shifted_flow_times_are_those_of_diffusers() -> None:
    """FlowMatchEulerDiscreteScheduler(shift=3) makes the same times of equal ones; the ends stay exact."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=flow_times(20)[:-1])
    assert scheduler.sigmas.tolist() == pytest.approx(flow_times(20, shift=3.0), abs=1e-6)
    assert flow_times(2, shift=3.0) == [1, 0.75, 0]


@given(any_steps)
def test_times_of_a_schedule_fall_from_T_to_0_whatever_their_number(drawn: tuple[int, int]) -> None:
    """`steps` + 1 whole numbers, no two the same: in equal gaps but for one, or in ever smaller ones but for that."""
    T, steps = drawn
    for times_with in (schedule_times, quadratic_times):
        times = times_with(linear_schedule(T), steps)
        gaps = [t - r for t, r in pairwise(times)]
        assert (times[0], times[-1], len(gaps)) == (T, 0, steps)
        assert min(gaps) >= 1
        if times_with is schedule_times:
            assert max(gaps) - min(gaps) <= 1
        else:
            assert all(later <= sooner + 1 for sooner, later in pairwise(gaps))


def test_images_keep_their_type_and_the_noise_it_started_from_is_not_overwritten() -> None:
    """float32 in, float32 out, and x stays usable for a second run."""
    for process in (LINEAR, FLOW):
        x = images(dtype=torch.float32)
        times = times_of(process, 5)
        runs = [sample(lambda x_t, t: 0.5 * x_t, x, times, process, seeded(), f) for f in (deterministic, ancestral)]
        for run in (*runs, *(method(lambda x_t, t: 0.5 * x_t, x, times, process) for method in (heun, adams))):
            assert last(run).dtype == torch.float32
        assert torch.equal(x, images(dtype=torch.float32))


@pytest.mark.parametrize("fresh", [ancestral, renewed])
@processes
def test_an_image_with_its_own_generator_does_not_depend_on_its_batch(process: Process, fresh: FreshNoise) -> None:
    """Alone, in another order, in a smaller batch: each image gets the same bits."""

    def run(chosen: list[int]) -> Tensor:
        rng = [seeded(seed) for seed in chosen]
        return last(sample(lambda x_t, t: 0.5 * x_t, images(4)[chosen], times_of(process, 5), process, rng, fresh))

    whole = run([0, 1, 2, 3])
    for chosen in ([0], [3], [3, 2, 1, 0], [2, 0]):
        assert torch.equal(run(chosen), whole[chosen])


def test_too_few_generators_are_refused() -> None:
    """Two images and three generators are a mistake of the caller's."""
    with pytest.raises(ValueError, match="3 generators for 2 images"):
        next(sample(lambda x_t, t: x_t, images(), [1000, 500, 0], LINEAR, [seeded(), seeded(), seeded()], ancestral))


# --- Against diffusers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [200, 50, 8])
@pytest.mark.parametrize(
    ("scheduler", "eta", "fresh"),
    [(DDIMScheduler, 0.0, deterministic), (DDIMScheduler, 1.0, ancestral), (DDPMScheduler, None, ancestral)],
    ids=["ddim, eta 0", "ddim, eta 1", "ddpm"],
)
def test_ddim_and_ddpm_equal_diffusers(scheduler: Any, eta: float | None, fresh: FreshNoise, steps: int) -> None:
    """Every step equals the scheduler's, of all or some of the times, from the same β, predictor and generator."""
    theirs = scheduler(200, clip_sample=False, timestep_spacing="trailing", beta_end=0.08)
    s, options = Schedule.from_beta(theirs.betas), {} if eta is None else {"eta": eta}
    theirs.alphas_cumprod = s.alpha_bar[1:]
    theirs.one = theirs.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    theirs.set_timesteps(steps)
    assert [t - 1 for t in schedule_times(s, steps)[:-1]] == theirs.timesteps.tolist()

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return (x_t - s.noise(t) * crooked(x_t, t[0])) / s.signal(t)

    x, rng = images(), seeded(1)
    walk = sample(predict, x, schedule_times(s, steps), s, seeded(1), fresh)
    for t, ours in zip(theirs.timesteps, walk, strict=True):
        expected = theirs.step(crooked(x, t + 1), int(t), x, generator=rng, **options).prev_sample
        assert_close(ours, expected, **SAME, msg=lambda text, t=t: f"t = {t}: {text}")
        x = ours


@pytest.mark.parametrize("fresh", [deterministic, renewed])
def test_flow_sampling_equals_diffusers(fresh: FreshNoise) -> None:
    """Euler steps, and those with all noise renewed, equal FlowMatchEulerDiscreteScheduler's at shift 1.

    It rounds x to float32 before each step, so each step starts from such an x; then they agree in float64.
    """
    theirs = FlowMatchEulerDiscreteScheduler(1000, shift=1.0, stochastic_sampling=fresh is renewed)
    theirs.set_timesteps(sigmas=flow_times(20)[:-1])
    theirs.sigmas = torch.tensor(flow_times(20), dtype=torch.float64)
    x = images(dtype=torch.float32)
    for i, t in enumerate(theirs.timesteps):
        velocity = crooked(x.double(), float(t))
        now, then = flow_times(20)[i : i + 2]
        t_batch, r_batch = torch.full((2,), now, dtype=torch.float64), torch.full((2,), then, dtype=torch.float64)
        x_0 = x.double() - now * velocity
        noise_type = torch.float32 if fresh is renewed else torch.float64  # theirs draws in float32
        ours = step(x.to(noise_type), x_0.to(noise_type), t_batch, r_batch, FLOW, fresh, seeded(i))
        expected = theirs.step(velocity, t, x.double(), generator=seeded(i)).prev_sample
        assert_close(ours.double(), expected, rtol=0, atol=1e-12 if noise_type == torch.float64 else 1e-6)
        x = ours.float()


# --- Against data known exactly --------------------------------------------------------------------------------------


def assert_recovered(x: Tensor, distance: float) -> None:
    """x is a sample of the two peaks: their distribution, and each peak's weight, mean and deviation."""
    assert TWO_PEAKS.distance(x) < distance
    left = x < -0.35
    found = [[part.numel() / x.numel(), part.mean().item(), part.std().item()] for part in (x[left], x[~left])]
    columns = (TWO_PEAKS.weights, TWO_PEAKS.means, TWO_PEAKS.deviations)
    for ours, exact in zip(found, zip(*columns, strict=True), strict=True):
        assert ours == pytest.approx(exact, abs=distance)


@pytest.mark.parametrize("process", [COSINE, FLOW], ids=["a fifth of the steps", "flow"])
def test_ancestral_sampling_recovers_the_data(process: Process) -> None:
    """20 000 draws; a true sample of this size stays within 0.0115, the rest is for the finite number of steps.

    With all steps it is the reverse process of test_process.py, image for image.
    """
    x, predict = torch.randn(20_000, 1, 1, 1, generator=seeded(), dtype=torch.float64), TWO_PEAKS.predict(process)
    assert_recovered(last(sample(predict, x, times_of(process, 200), process, seeded(1), ancestral)), 0.02)


@pytest.mark.parametrize(
    ("method", "process", "times", "distance"),
    [
        (euler, COSINE, schedule_times(COSINE, 50), 0.02),
        (euler, COSINE, schedule_times(COSINE, 500), 0.0025),
        (euler, FLOW, flow_times(50), 0.02),
        (euler, FLOW, flow_times(400), 0.0025),
        (heun, COSINE, schedule_times(COSINE, 100), 0.0025),
        (heun, FLOW, flow_times(50), 0.002),
        (heun, FLOW, flow_times(100), 0.001),
        (adams, LINEAR, quadratic_times(LINEAR, 100), 0.0025),
        (adams, COSINE, schedule_times(COSINE, 100), 0.005),
        (adams, FLOW, flow_times(50), 0.002),
        (adams, FLOW, flow_times(100), 0.001),
    ],
)
def test_deterministic_sampling_recovers_the_data(
    method: Method, process: Process, times: Sequence[float], distance: float
) -> None:
    """Evenly spread noise leaves no sampling error: what remains falls with the steps, sooner with second-order ones.

    Heun's and Adams' steps reach in 50 what first-order steps do not in 400, Adams' with as many evaluations as steps.
    """
    assert_recovered(last(method(TWO_PEAKS.predict(process), normal_quantiles(2001), times, process)), distance)


@pytest.mark.parametrize("process", [LINEAR, FLOW], ids=["linear", "flow"])
def test_consistency_sampling_keeps_each_level_of_noise(process: Process) -> None:
    """Where the network knows x_0, as a distilled one should, x at time r has mean a_r x_0 and deviation s_r."""
    n, times, x_0 = 20_000, times_of(process, 4), torch.full((20_000, 1, 1, 1), 0.7, dtype=torch.float64)
    noise = torch.randn(n, 1, 1, 1, generator=seeded(), dtype=torch.float64)
    walk = sample(lambda x_t, t: x_0, noise, times, process, seeded(1), renewed)
    for x, time in zip(walk, times[1:], strict=True):
        (r, _) = next(moments(process, round(1000 * time) if process is FLOW else int(time)))
        a, s = process.signal(r).item(), process.noise(r).item()
        assert x.mean().item() == pytest.approx(0.7 * a, abs=3 * s / math.sqrt(n) + 1e-12)
        assert x.std().item() == pytest.approx(s, rel=3 / math.sqrt(2 * n), abs=1e-12)


# --- Accuracy --------------------------------------------------------------------------------------------------------


FINE = cosine_schedule(2**16)
walks = pytest.mark.parametrize(
    ("process", "times", "finer"),
    [
        pytest.param(FLOW, flow_times(64), flow_times(128), id="flow"),
        pytest.param(FINE, quadratic_times(FINE, 64), quadratic_times(FINE, 128), id="cosine"),
    ],
)


def error(method: Method, process: Process, times: Sequence[float]) -> float:
    """Largest distance from the flow's exact end: along it, (x_t - mean) / deviation never changes for a Gaussian."""
    z, t = normal_quantiles(101), torch.tensor(times[:1])
    a, s = process.signal(t), process.noise(t)
    begin = a * 0.5 + (a**2 * 0.25 + s**2).sqrt() * z
    return (last(method(GAUSSIAN.predict(process), begin, times, process)) - (0.5 + 0.5 * z)).abs().max().item()


@walks
@pytest.mark.parametrize(("method", "ratio"), [(heun, 4), (adams, 4), (euler, 2)])
def test_twice_the_steps_leave_a_quarter_of_the_error(
    process: Process, times: Sequence[float], finer: Sequence[float], method: Method, ratio: float
) -> None:
    """As Heun's and Adams' methods are of second order; of the first order of plain steps it is half."""
    coarse, fine = error(method, process, times), error(method, process, finer)
    assert ratio == 2 or coarse < 2e-3
    assert coarse / fine == pytest.approx(ratio, rel=0.1)


def end(method: Method, process: Process, times: Sequence[float]) -> Tensor:
    """Where noise that is spread evenly goes, between two peaks."""
    return last(method(TWO_PEAKS.predict(process), normal_quantiles(101), times, process))


@cache
def exact_end(process: Process) -> Tensor:
    """The same with many small steps of Heun's."""
    return end(heun, process, flow_times(1024) if process is FLOW else quadratic_times(FINE, 1024))


@walks
@pytest.mark.parametrize("method", [heun, adams])
def test_the_order_holds_where_paths_part(
    process: Process, times: Sequence[float], finer: Sequence[float], method: Method
) -> None:
    """Two peaks: twice the steps leave a quarter of the mean distance from the exact end."""
    coarse, fine = ((end(method, process, grid) - exact_end(process)).abs().mean() for grid in (times, finer))
    assert (coarse / fine).item() == pytest.approx(4, rel=0.12)


@pytest.mark.parametrize("evaluations", [5, 9, 15, 33])
def test_adams_is_nearer_than_heun_at_equal_cost(evaluations: int) -> None:
    """For the flow, where a step of Heun's costs two evaluations and the last one; for two peaks and for one."""
    grids = {adams: flow_times(evaluations), heun: flow_times((evaluations + 1) // 2)}
    parted = [(end(method, FLOW, times) - exact_end(FLOW)).abs().mean() for method, times in grids.items()]
    assert parted[0] < 0.9 * parted[1]
    alone = [error(method, FLOW, times) for method, times in grids.items()]
    assert alone[0] < 0.9 * alone[1]


@pytest.mark.parametrize("s", [LINEAR, COSINE], ids=["linear", "cosine"])
def test_a_schedule_is_the_flow_in_other_coordinates(s: Schedule) -> None:
    """Dividing x by a + s makes of any schedule the straight path at τ = s / (a + s), for every method."""
    times = schedule_times(s, 20)
    t = torch.tensor(times)
    span = (s.signal(t) + s.noise(t)).flatten()
    tau = (s.noise(t).flatten() / span).tolist()
    x, on_s, on_flow = normal_quantiles(101), TWO_PEAKS.predict(s), TWO_PEAKS.predict(FLOW)
    for method in (heun, adams, euler):
        on_schedule, on_path = method(on_s, x, times, s), method(on_flow, x / span[0], tau, FLOW)
        for scale, x_s, x_flow in zip(span[1:], on_schedule, on_path, strict=True):
            assert_close(x_s, scale * x_flow, **SAME)


@processes
def test_samplers_follow_a_straight_path_exactly(process: Process) -> None:
    """When the network names the one x_0 behind x_t, every method passes through a_r x_0 + s_r ε at every time."""
    x_0, noise, times = images(), images(seed=1), times_of(process, 5)
    grid = torch.tensor(times, dtype=torch.long if isinstance(process, Schedule) else torch.float64)
    x = q_sample(x_0, grid[:1], process, noise)
    for method in (heun, adams, euler):
        for x_r, r in zip(method(lambda x_t, t: x_0, x, times, process), grid[1:], strict=True):
            assert_close(x_r, q_sample(x_0, r[None], process, noise), **SAME)
