"""Classifier-free guidance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.testing import assert_close

from phonybrains.diffusion.guidance import guide
from phonybrains.diffusion.objective import Objective, PredictNoise, PredictV, PredictVelocity
from phonybrains.diffusion.process import Flow, Process, linear_schedule

CONDITION = torch.tensor([[1.0, 0.5], [-0.4, 2.0], [0.3, 0.3]], dtype=torch.float64)
NULL = torch.tensor([[0.1, -0.2], [0.0, 0.0], [-1.0, 0.7]], dtype=torch.float64)
EXACT = {"rtol": 1e-12, "atol": 1e-12}
scales = st.floats(-3, 8)


def denoise(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    """A stand-in for a network, in which image, time and condition of a row all matter."""
    column = condition.sum(1).reshape(-1, 1, 1, 1)
    return torch.tanh(x_t * column + condition[:, :1].reshape(-1, 1, 1, 1)) * (1 + t.double().reshape(-1, 1, 1, 1))


def images(seed: int = 0) -> Tensor:
    return torch.randn(3, 2, 4, 4, generator=Generator().manual_seed(seed), dtype=torch.float64)


X, T = images(), torch.tensor([1, 4, 9])


def test_scale_1_is_the_conditional_model_at_half_the_cost() -> None:
    """At scale 1 the network sees each image once, with its condition, and its answer is not touched."""
    calls = []

    def counted(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        calls.append(len(x_t))
        return denoise(x_t, t, condition)

    assert torch.equal(guide(counted, CONDITION, NULL, 1)(X, T), denoise(X, T, CONDITION))
    assert torch.equal(guide(counted, CONDITION, NULL)(X, T), denoise(X, T, CONDITION))
    assert calls == [3, 3]


def test_scale_0_is_the_unconditional_model() -> None:
    """At scale 0 the condition has no say."""
    assert_close(guide(denoise, CONDITION, NULL, 0)(X, T), denoise(X, T, NULL), **EXACT)


def test_guidance_is_continuous_at_scale_1() -> None:
    """The shortcut at scale 1 and the two evaluations beside it give the same image."""
    assert_close(guide(denoise, CONDITION, NULL, 1 + 1e-9)(X, T), denoise(X, T, CONDITION), rtol=0, atol=1e-7)


@given(scales)
def test_guidance_is_linear_in_scale(scale: float) -> None:
    """x̂(∅) + scale · (x̂(c) - x̂(∅)), each image with its own time and its own two conditions."""
    without, conditional = denoise(X, T, NULL), denoise(X, T, CONDITION)
    guided = guide(denoise, CONDITION, NULL, scale)(X, T)
    assert_close(guided, (1 - scale) * without + scale * conditional, **EXACT)


def test_guidance_evaluates_both_in_one_call() -> None:
    """One call of the network with both halves, so that guidance costs one larger batch a step."""
    calls = []

    def counted(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        calls.append((len(x_t), len(t), len(condition)))
        return denoise(x_t, t, condition)

    guide(counted, CONDITION, NULL, 3)(X, T)
    assert calls == [(6, 6, 6)]


@pytest.mark.parametrize("objective", [PredictNoise(), PredictV(), PredictVelocity()], ids=repr)
@pytest.mark.parametrize("process", [linear_schedule(10), Flow()], ids=["schedule", "flow"])
@given(scale=scales)
def test_guiding_x0_is_guiding_the_networks_output(objective: Objective, process: Process, scale: float) -> None:
    """Guiding ε, v or the velocity and reading it as x_0 equals reading each as x_0 and guiding those."""
    times = T if not isinstance(process, Flow) else T.double() / 10

    def as_x0(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return objective.to_x0(denoise(x_t, t, condition), x_t, t, process)

    without, conditional = denoise(X, times, NULL), denoise(X, times, CONDITION)
    output = without + scale * (conditional - without)
    expected = objective.to_x0(output, X, times, process)
    assert_close(guide(as_x0, CONDITION, NULL, scale)(X, times), expected, rtol=1e-9, atol=1e-9)
