"""Classifier-free guidance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from phonybrains.diffusion.guidance import guide
from phonybrains.diffusion.objective import Objective, PredictNoise, PredictV, PredictVelocity
from phonybrains.diffusion.process import Flow, Process, linear_schedule
from tests.support.mixture import seeded

few = settings(max_examples=25)
CONDITION = torch.tensor([[1.0, 0.5], [-0.4, 2.0], [0.3, 0.3]], dtype=torch.float64)
NULL = torch.tensor([[0.1, -0.2], [0.0, 0.0], [-1.0, 0.7]], dtype=torch.float64)
EXACT = {"rtol": 1e-12, "atol": 1e-12}
scales = st.floats(-3, 8)


def denoise(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    """A stand-in for a network, in which image, time and condition of a row all matter."""
    column = condition.sum(1).reshape(-1, 1, 1, 1)
    return torch.tanh(x_t * column + condition[:, :1].reshape(-1, 1, 1, 1)) * (1 + t.double().reshape(-1, 1, 1, 1))


X = torch.randn(3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
T = torch.tensor([1, 4, 9])


@pytest.mark.parametrize(
    ("scale", "expected", "rows"), [(0, NULL, 6), (1, CONDITION, 3)], ids=["unconditional", "conditional"]
)
def test_scales_0_and_1_are_the_models_themselves(scale: float, expected: Tensor, rows: int) -> None:
    """At 0 the condition has no say; at 1, the default, the network sees each image once, and answers as it does.

    Else it sees both halves in one call, so that guidance costs one larger batch a step.
    """
    calls = []

    def counted(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        calls.append((len(x_t), len(t), len(condition)))
        return denoise(x_t, t, condition)

    found = guide(counted, CONDITION, NULL, scale)(X, T)
    assert calls == [(rows, rows, rows)]
    assert_close(found, denoise(X, T, expected), **EXACT)
    if scale == 1:
        assert torch.equal(found, denoise(X, T, CONDITION))
        assert torch.equal(found, guide(denoise, CONDITION, NULL)(X, T))


def test_guidance_is_continuous_at_scale_1() -> None:
    """The shortcut at scale 1 and the two evaluations beside it give the same image."""
    assert_close(guide(denoise, CONDITION, NULL, 1 + 1e-9)(X, T), denoise(X, T, CONDITION), rtol=0, atol=1e-7)


@few
@given(scales)
def test_guidance_is_linear_in_scale(scale: float) -> None:
    """x̂(∅) + scale · (x̂(c) - x̂(∅)), each image with its own time and its own two conditions."""
    without, conditional = denoise(X, T, NULL), denoise(X, T, CONDITION)
    guided = guide(denoise, CONDITION, NULL, scale)(X, T)
    assert_close(guided, (1 - scale) * without + scale * conditional, **EXACT)


def test_a_mask_is_hidden_where_the_condition_is() -> None:
    """Guidance pushes what a mask adds: 1 with it and 0 without are 2 at scale 2, whatever the condition."""
    mask, told = torch.ones(3, 5, 4, 4, dtype=torch.float64), []

    def masked(x_t: Tensor, t: Tensor, condition: Tensor, mask: Tensor) -> Tensor:
        told.append(mask)
        return mask[:, :1].expand_as(x_t)

    assert torch.equal(guide(masked, CONDITION, NULL, 2.0, mask)(X, T), torch.full_like(X, 2))
    assert torch.equal(told[0], torch.cat([mask, torch.zeros_like(mask)]))
    assert torch.equal(guide(masked, CONDITION, NULL, 1.0, mask)(X, T), torch.ones_like(X))


@pytest.mark.parametrize("objective", [PredictNoise(), PredictV(), PredictVelocity()], ids=repr)
@pytest.mark.parametrize("process", [linear_schedule(10), Flow()], ids=["schedule", "flow"])
@few
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
