"""The chains: which times suit which sampler, and what a clip and an error of the network do to them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from phonybrains.diffusion.process import Schedule
from phonybrains.diffusion.sampler import SAMPLERS
from phonybrains.model.chains import CHAINS, Chain, chain_of

DDPM, ERROR = CHAINS["ddpm"], 0.07


def shift(chain: Chain, steps: int, sampler: str, n: int = 2000) -> float:
    """The mean of what is sampled of N(0, 1) by a network whose noise is right but for one ERROR everywhere."""
    assert isinstance(chain.process, Schedule)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 1, 1, generator=rng, dtype=torch.float64)

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return chain.predicted(chain.process.noise(t) * x_t + ERROR, x_t, t)  # E[ε|x_t] = s x_t

    *_, end = SAMPLERS[sampler](predict, x, chain.times(steps, sampler), chain.process, rng)
    return end.mean().item()


def exact_shift(chain: Chain, times: list[float], ancestral: bool) -> float:
    """The same, by the recursion of the mean that a linear network has: no noise is drawn."""
    mean, process = 0.0, chain.process
    a, s = (f(torch.tensor(times).long()).flatten().tolist() for f in (process.signal, process.noise))
    for i in range(len(times) - 1):
        x_0 = a[i] * mean - s[i] / a[i] * ERROR
        fresh = s[i + 1] / s[i] * math.sqrt(max(0.0, s[i] ** 2 - (a[i] / a[i + 1] * s[i + 1]) ** 2)) * ancestral
        kept = math.sqrt(s[i + 1] ** 2 - fresh**2) / s[i]
        mean = (a[i + 1] - kept * a[i]) * x_0 + kept * mean
    return mean


def test_the_whole_chain_forgets_half_of_what_ddim_keeps():
    """A network off by .07 everywhere: DDIM in 16 steps ends .53 deviations too dark, the chain in 250 steps .22.

    Sampled, and by the recursion of the mean; 2000 draws of a unit deviation know it to .022, three of which are given.
    """
    plain = replace(DDPM, clip=math.inf)
    for steps, sampler, expected in ((16, "ddim", -0.534), (250, "ddpm", -0.216)):
        exact = exact_shift(plain, list(plain.times(steps, sampler)), ancestral=sampler == "ddpm")
        assert exact == pytest.approx(expected, abs=0.006)
        assert shift(plain, steps, sampler) == pytest.approx(exact, abs=0.07)


def test_the_clip_bounds_what_an_error_becomes():
    """At t = T the error .07 of the noise is one of 11 in the clean image, and clipped no more than the clip."""
    x, t = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.tensor([1000])
    noise = torch.full_like(x, ERROR)
    assert replace(DDPM, clip=math.inf).predicted(noise, x, t).item() == pytest.approx(-11.0, abs=0.1)
    assert DDPM.predicted(noise, x, t).item() == -DDPM.clip
    clipped = abs(shift(DDPM, 16, "ddim"))
    assert clipped < 0.9 * abs(shift(replace(DDPM, clip=math.inf), 16, "ddim"))


def test_a_chain_is_walked_as_it_was_learnt():
    """With its own noise at even times; other samplers, which need it, have them closer together near 0."""
    assert (DDPM.sampler, CHAINS["flow"].sampler) == ("ddpm", "adams")
    assert DDPM.times(250, DDPM.sampler) == list(range(1000, -1, -4))
    few = DDPM.times(10, "ddim")
    assert few[0] - few[1] > few[-2] - few[-1]


def test_a_chain_of_before_the_clip_has_none():
    """A scheduler that says nothing, or clip_sample = false as the first models had it, is read as it was written."""
    assert chain_of("ddpm", {}).clip == math.inf
    assert chain_of("ddpm", {"clip_sample": False, "clip_sample_range": 1.0}).clip == math.inf
    assert chain_of("ddpm", {"clip_sample": True, "clip_sample_range": 3.0}).clip == 3.0
    assert chain_of("flow", {"shift": 2.0}) == replace(CHAINS["flow"], shift=2.0)
