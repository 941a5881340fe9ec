"""Masks as the denoiser is told them: the encoding in closed form, and a network that begins as it was without."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from phonybrains.networks.condition_dropout import hide
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.networks.masks import MASK_CHANNELS, encode_masks
from phonybrains.networks.shapes import DenoiserShape

SHAPE = DenoiserShape(widths=(16, 32), layers=1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stirred(masks: bool) -> Denoiser:
    """A small denoiser of 4-channel latents that listens to all it is told, but for a mask."""
    torch.manual_seed(0)
    unet = build_unet(SHAPE, 4, 8, masks)
    denoiser = Denoiser(unet, build_embedding(unet, 5, 6)).eval().requires_grad_(False)
    for name, parameter in denoiser.named_parameters():
        if name != "unet.conv_in.weight":
            parameter.add_(torch.randn(parameter.shape, generator=seeded(1)) * 0.05)
    return denoiser


def test_a_rectangle_is_told_by_the_shares_of_the_quarters_it_covers():
    """In closed form: 3 of 4 columns and 2 of 4 rows of the quarter at (4…7, 4…7) are 6 of its 16 pixels."""
    mask = torch.zeros(1, 1, 16, 24)
    mask[:, :, 2:14, 5:17] = 1
    told = encode_masks(mask)
    rows, columns = torch.tensor([2.0, 4, 4, 2]), torch.tensor([0.0, 3, 4, 4, 1, 0])
    shares = (rows[:, None] * columns / 16)[None]
    assert told.shape == (1, MASK_CHANNELS, 2, 3)
    for channel, (y, x) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert torch.equal(told[:, channel], shares[:, y::2, x::2])
    assert torch.equal(told[:, 4], torch.ones(1, 2, 3))


def test_what_is_told_has_the_area_of_the_mask():
    """Whatever a mask looks like: 16 pixels for each whole quarter."""
    masks = (torch.rand(5, 1, 64, 64, generator=seeded(0)) < torch.rand(5, 1, 1, 1, generator=seeded(1))).float()
    assert_close(16 * encode_masks(masks)[:, :4].sum((1, 2, 3)), masks.sum((1, 2, 3)))


def test_an_empty_mask_is_not_a_missing_one():
    """Given and empty it is zeros but for the last channel; missing is zeros in that, too."""
    empty = encode_masks(torch.zeros(1, 1, 16, 16))
    assert not empty[:, :4].any()
    assert bool((empty[:, 4] == 1).all())


@pytest.mark.parametrize("told", [lambda x: None, lambda x: torch.zeros(3, 5, 8, 8), lambda x: torch.rand(3, 5, 8, 8)])
def test_a_network_with_room_for_masks_begins_as_one_without(told: Callable[[Tensor], Tensor | None]):
    """With the same other weights it answers the same to the last digits, told no mask, a missing one or any."""
    without, with_room = stirred(False), stirred(True)
    weights = without.state_dict()
    first = torch.zeros_like(with_room.unet.conv_in.weight)
    first[:, :4] = weights["unet.conv_in.weight"]
    with_room.load_state_dict(weights | {"unet.conv_in.weight": first})
    x, t, condition = torch.randn(3, 4, 8, 8, generator=seeded(2)), torch.tensor([0.1, 0.5, 0.9]), torch.ones(3, 5)
    expected = without(x, t, condition)
    assert expected.std() > 0.01
    assert_close(with_room(x, t, condition, None, told(x)), expected, rtol=0, atol=1e-5)
    assert (without.takes_masks, with_room.takes_masks) == (False, True)


def test_new_columns_are_zero_and_learn():
    """A new network does not listen to a mask before its first step, and its columns have a gradient in it."""
    unet = build_unet(SHAPE, 4, 8, True)
    assert unet.config["in_channels"] == 9
    assert not unet.conv_in.weight[:, 4:].any()
    denoiser = stirred(True).requires_grad_(True)
    x, mask = torch.randn(2, 4, 8, 8, generator=seeded(0)), torch.rand(2, 5, 8, 8, generator=seeded(1))
    denoiser(x, torch.tensor([0.2, 0.8]), torch.ones(2, 5), None, mask).square().sum().backward()
    gradient = denoiser.unet.conv_in.weight.grad
    assert gradient is not None
    assert gradient[:, 4:].abs().min(0).values.max() > 0


def test_no_mask_is_a_missing_mask():
    """Who says nothing of a mask is answered as who says that it is missing, and not as who asks for none of it."""
    denoiser = stirred(True)
    denoiser.unet.conv_in.weight.add_(torch.randn(denoiser.unet.conv_in.weight.shape, generator=seeded(3)) * 0.1)
    x, t, condition = torch.randn(1, 4, 8, 8, generator=seeded(2)), torch.tensor([0.5]), torch.ones(1, 5)
    unsaid = denoiser(x, t, condition)
    assert torch.equal(denoiser(x, t, condition, None, torch.zeros(1, MASK_CHANNELS, 8, 8)), unsaid)
    empty = denoiser(x, t, condition, None, encode_masks(torch.zeros(1, 1, 64, 64)))
    assert (empty - unsaid).abs().max() > 1e-3


def test_masks_are_hidden_whole_and_as_often_as_asked():
    """Of 4000 masks a fifth is missing, the given channel with the shares; the others stay as they are."""
    masks = encode_masks(torch.ones(4000, 1, 8, 8))
    hidden = hide(masks, seeded(0))
    gone = (hidden == 0).flatten(1).all(1)
    assert torch.equal(hidden[~gone], masks[~gone])
    assert gone.float().mean().item() == pytest.approx(0.2, abs=0.02)
