"""The chains: which times suit which sampler, and what a clip and an error of the network do to them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from phonybrains.diffusion.objective import PredictNoise, PredictV
from phonybrains.diffusion.process import Schedule
from phonybrains.diffusion.sampler import SAMPLERS
from phonybrains.model.chains import CHAINS, Chain, chain_of

DDPM, ERROR = CHAINS["ddpm"], 0.07
NOISE = replace(DDPM, clip=math.inf)
"""Without the clip, as the first models were."""
V = replace(DDPM, objective=PredictV())


def shift(chain: Chain, steps: int, sampler: str, n: int = 2000) -> float:
    """The mean of what is sampled of N(0, 1) by a network that is right but for one ERROR everywhere."""
    assert isinstance(chain.process, Schedule)
    rng = torch.Generator().manual_seed(0)
    x, exact = torch.randn(n, 1, 1, 1, generator=rng, dtype=torch.float64), isinstance(chain.objective, PredictNoise)

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return chain.predicted(exact * chain.process.noise(t) * x_t + ERROR, x_t, t)  # E[ε|x_t] = s x_t, E[v|x_t] = 0

    *_, end = SAMPLERS[sampler](predict, x, chain.times(steps, sampler), chain.process, rng)
    return end.mean().item()


def exact_shift(chain: Chain, times: list[float], ancestral: bool) -> float:
    """The same, by the recursion of the mean that a linear network has: no noise is drawn."""
    mean, process = 0.0, chain.process
    a, s = (f(torch.tensor(times).long()).flatten().tolist() for f in (process.signal, process.noise))
    for i in range(len(times) - 1):
        x_0 = a[i] * mean - ERROR * (s[i] if isinstance(chain.objective, PredictV) else s[i] / a[i])
        fresh = s[i + 1] / s[i] * math.sqrt(max(0.0, s[i] ** 2 - (a[i] / a[i + 1] * s[i + 1]) ** 2)) * ancestral
        kept = math.sqrt(s[i + 1] ** 2 - fresh**2) / s[i]
        mean = (a[i + 1] - kept * a[i]) * x_0 + kept * mean
    return mean


@pytest.mark.parametrize(
    ("chain", "steps", "sampler", "expected"),
    [(NOISE, 16, "ddim", -0.534), (NOISE, 250, "ddpm", -0.216), (replace(V, clip=math.inf), 250, "ddpm", -0.136)],
    ids=["noise, DDIM", "noise, the chain", "v, the chain"],
)
def test_what_an_error_of_the_network_becomes(chain: Chain, steps: int, sampler: str, expected: float):
    """Off by .07 everywhere: DDIM on noise ends .53 deviations too dark, the chain forgets more than half, v more.

    Sampled, and by the recursion of the mean; 2000 draws of a unit deviation know it to .022, three of which are given.
    """
    exact = exact_shift(chain, list(chain.times(steps, sampler)), ancestral=sampler == "ddpm")
    assert exact == pytest.approx(expected, abs=0.002)
    assert shift(chain, steps, sampler) == pytest.approx(exact, abs=0.07)


def test_at_the_noisy_end_only_v_knows_the_clean_image():
    """At t = T an error of .07 in the noise is one of 11 in the clean image, in v one of .07; a clip bounds either."""
    x, t = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.tensor([1000])
    error = torch.full_like(x, ERROR)
    assert NOISE.predicted(error, x, t).item() == pytest.approx(-11.0, abs=0.1)
    assert V.predicted(error, x, t).item() == pytest.approx(-0.07, abs=0.001)
    assert DDPM.predicted(error, x, t).item() == -DDPM.clip
    assert V.predicted(100 * error, x, t).item() == -DDPM.clip


def test_a_chain_is_walked_as_it_was_learnt():
    """With its own noise at even times; other samplers, which need it, have them closer together near 0."""
    assert (DDPM.sampler, CHAINS["flow"].sampler) == ("ddpm", "adams")
    assert DDPM.times(250, DDPM.sampler) == list(range(1000, -1, -4))
    few = DDPM.times(10, "ddim")
    assert few[0] - few[1] > few[-2] - few[-1]


def test_a_chain_of_before_is_what_it_was():
    """Without a clip, as the schedulers of the first models say it; v where one says so; the flow with its shift."""
    before = {"prediction_type": "epsilon", "clip_sample": False, "clip_sample_range": 1.0}
    assert chain_of("ddpm", before) == NOISE
    now = {"prediction_type": "v_prediction", "clip_sample": True, "clip_sample_range": DDPM.clip}
    assert chain_of("ddpm", now) == V
    assert chain_of("flow", {"shift": 2.0}) == replace(CHAINS["flow"], shift=2.0)
