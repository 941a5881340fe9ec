"""Shortcuts: for Gaussian data the paths are known, so every jump and what is learnt from it is too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion.process import Flow
from phonybrains.diffusion.sampler import sample
from phonybrains.diffusion.shortcut import jump_times, jumps, path_points, pseudo_huber
from phonybrains.diffusion.times import flow_times
from tests.support.mixture import last, seeded

SIGMA = 0.5
FLOW = Flow()


def spread(t: Tensor) -> Tensor:
    """Standard deviation of x_t for data from N(0, σ²)."""
    return (FLOW.signal(t) ** 2 * SIGMA**2 + FLOW.noise(t) ** 2).sqrt()


def mean(x_t: Tensor, t: Tensor) -> Tensor:
    """E[x_0|x_t] for data from N(0, σ²)."""
    return FLOW.signal(t) * SIGMA**2 / spread(t) ** 2 * x_t


def noise(n: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 2, 2, generator=seeded(seed), dtype=torch.float64)


def test_each_count_of_steps_gives_jumps_that_join_noise_to_image() -> None:
    """With a shift of 3 too: the middle of two steps is then where three quarters are noise."""
    t, r = jump_times([1, 2, 4])
    assert t.tolist() == [1, 1, 0.5, 1, 0.75, 0.5, 0.25]
    assert r.tolist() == [0, 0.5, 0, 0.75, 0.5, 0.25, 0]
    t, r = jump_times([1, 2], shift=3.0)
    assert t.tolist() == pytest.approx([1, 1, 0.75])
    assert r.tolist() == pytest.approx([0, 0.75, 0])


@pytest.mark.parametrize(("steps", "tolerance"), [(16, 0.02), (64, 0.001)])
def test_paths_keep_a_gaussians_quantile(steps: int, tolerance: float) -> None:
    """x_t stays at the same multiple of its standard deviation; a method of second order comes close in few steps."""
    points = path_points(mean, noise(), flow_times(steps))
    assert len(points) == steps + 1
    for point, time in zip(points, flow_times(steps), strict=True):
        assert_close(point, noise() * spread(torch.tensor([time])), rtol=0, atol=tolerance * noise().abs().max().item())


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_jump_along_its_mean_velocity_ends_on_the_path(shift: float) -> None:
    """Euler's step with the target of the jump from t leads exactly to the point at r of its path, for every jump."""
    times = flow_times(12, shift)
    points = path_points(mean, noise(), times)
    t, r = jump_times([1, 2, 3, 4], shift)
    x_t, velocity = jumps(points, times, t, r)
    n, count = len(noise()), len(t)
    assert x_t.shape == velocity.shape == (n * count, 1, 2, 2)
    landed = (x_t - (t - r).repeat(n)[:, None, None, None] * velocity).unflatten(0, (n, count))
    for index, (start, end) in enumerate(zip(t.tolist(), r.tolist(), strict=True)):
        assert_close(x_t.unflatten(0, (n, count))[:, index], points[_place(times, start)])
        assert_close(landed[:, index], points[_place(times, end)])


def _place(times: list[float], wanted: float) -> int:
    return next(i for i, time in enumerate(times) if time == pytest.approx(wanted))


def test_no_gradient_flows_into_the_teacher() -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert not path_points(lambda x_t, t: weight * mean(x_t, t), noise(), flow_times(4)).requires_grad


def test_pseudo_huber_is_a_square_near_zero_and_a_distance_far_off() -> None:
    target = torch.zeros(2, 1, 4, 4)
    near, far = pseudo_huber(target + 1e-3, target, c=0.1), pseudo_huber(target + 50, target, c=0.1)
    assert_close(near, torch.full((2,), 1e-6 / 0.2), rtol=1e-3, atol=0)
    assert_close(far, torch.full((2,), 50 - 0.1), rtol=1e-5, atol=0)
    assert pseudo_huber(target.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_learnt_jumps_sample_in_few_steps_what_the_teacher_does_in_many() -> None:
    """A student x̂_0 = x_t - t·g(t, length) x_t with free g for each jump; the teacher in as many steps is far off."""
    counts = [1, 2, 4]
    t, r = jump_times(counts)
    keys = [(round(a * 12), round((a - b) * 12)) for a, b in zip(t.tolist(), r.tolist(), strict=True)]
    gains = torch.zeros(len(keys), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([gains], lr=0.02)
    x_t, velocity = jumps(path_points(mean, noise(32, seed=1), flow_times(12)), flow_times(12), t, r)
    for _ in range(400):
        optimizer.zero_grad()
        pseudo_huber(gains.repeat(32)[:, None, None, None] * x_t, velocity).mean().backward()
        optimizer.step()
    end = path_points(mean, noise(), flow_times(12))[-1]
    for count in counts:

        def student(x_t: Tensor, t: Tensor, length: float = 1 / count) -> Tensor:
            return x_t - t[0] * gains[keys.index((round(t[0].item() * 12), round(length * 12)))] * x_t

        few, euler = (last(sample(one, noise(), flow_times(count), FLOW, seeded())) for one in (student, mean))
        assert_close(few, end, rtol=0, atol=0.02)
        assert (euler - end).abs().max() > 0.15
