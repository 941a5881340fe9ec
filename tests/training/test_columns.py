"""The first layer of a denoiser's condition, carried over to other conditions."""

from __future__ import annotations

import pytest
import torch

from phonybrains.errors import ConfigError
from phonybrains.networks.conditions import Category, Conditions, Number, Value
from phonybrains.training.columns import carried

KNOWN = Conditions(
    (Category("modality", ("CT", "MR")), Category("plane", ("axial", "coronal")), Number("age", 20, 80)), ()
)
WANTED = Conditions((Category("modality", ("MR",)), Number("age", 5, 65), Category("sex", ("F", "M"))), ())


def layer(conditions: Conditions, weight: torch.Tensor, bias: torch.Tensor, **row: Value) -> torch.Tensor:
    return weight @ conditions.encode([row])[0] + bias


@pytest.mark.parametrize("shared", [{"modality": "MR", "age": 50.0}, {"age": 20.0}, {"modality": "MR"}, {}])
@pytest.mark.parametrize("new", [{}, {"sex": "F"}])
def test_what_both_know_says_what_it_said(shared: dict[str, Value], new: dict[str, Value]):
    """The same numbers on another scale, labels in other places, what is left out as missing, what is new unheard."""
    rng = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(7, KNOWN.width, generator=rng), torch.randn(7, generator=rng)
    found = layer(WANTED, *carried(weight, bias, KNOWN, WANTED), **shared, **new)
    torch.testing.assert_close(found, layer(KNOWN, weight, bias, **shared))


def test_a_new_label_of_a_known_attribute_is_heard_as_missing():
    """Nothing was learnt of it, so it says no more than that the attribute is not known."""
    more = Conditions((Category("plane", ("axial", "oblique")),), ())
    weight, bias = torch.randn(5, KNOWN.width), torch.randn(5)
    found = carried(weight, bias, KNOWN, more)
    torch.testing.assert_close(layer(more, *found, plane="oblique"), layer(KNOWN, weight, bias))
    torch.testing.assert_close(layer(more, *found, plane="axial"), layer(KNOWN, weight, bias, plane="axial"))


def test_a_number_far_off_its_scale_is_refused():
    """As a network would be told a huge one."""
    days = Conditions((Number("age", 7000, 30000),), ())
    with pytest.raises(ConfigError, match="age is 7000 to 30000 in this corpus, far off the 20 to 80"):
        carried(torch.zeros(2, KNOWN.width), torch.zeros(2), KNOWN, days)
