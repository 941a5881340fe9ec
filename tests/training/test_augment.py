"""Augmentation: what each parameter does, by how much and which way, and how often it is drawn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import phonybrains.training.augment
from phonybrains.training.augment import FLIP, ROTATION, WIDTH, augment, draw_parameters

SIDE = 64
GRAY_LEVEL = 2 / 255


def parameters(n: int = 1, **values: float) -> Tensor:
    """(n, 6) zeros but for the named ones."""
    table = torch.zeros(n, WIDTH)
    for name, value in values.items():
        table[:, getattr(phonybrains.training.augment, name.upper())] = value
    return table


def smooth(n: int = 1) -> Tensor:
    """(n, 1, 64, 64) images in -1…1 without sharp edges, black at the border."""
    coarse = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)
    window = torch.hann_window(SIDE)
    return fine * window[:, None] * window * 2 - 1


def dot(x: float, y: float) -> Tensor:
    """(1, 1, 64, 64): a soft white dot at (x, y) in pixels from the image's centre, y down, on black."""
    along = torch.arange(SIDE) - (SIDE - 1) / 2
    distance = (along[None] - x) ** 2 + (along[:, None] - y) ** 2
    return (torch.exp(-distance / 8) * 2 - 1)[None, None]


def place(image: Tensor) -> tuple[float, float]:
    """Centre of brightness, in pixels from the image's centre."""
    light = (image[0, 0] + 1).clamp(min=0)
    along = torch.arange(SIDE) - (SIDE - 1) / 2
    return float((light.sum(0) * along).sum() / light.sum()), float((light.sum(1) * along).sum() / light.sum())


def test_no_parameters_no_change():
    """Zeros, of either sign, leave every bit of an image as it was, also beside images that do change."""
    images = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    table = torch.zeros(3, WIDTH)
    table[1] = -0.0
    table[2, ROTATION] = 1
    moved = augment(images, table)
    assert torch.equal(moved[:2], images[:2])
    assert not torch.equal(moved[2], images[2])


def test_flip_mirrors_left_and_right():
    """The image is its mirror image, noise and all, to a hundredth of a gray level."""
    images = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(augment(images, parameters(2, flip=1)), images.flip(3), rtol=0, atol=GRAY_LEVEL / 100)


@pytest.mark.parametrize("amount", [1.0, 0.5, -1.0])
def test_rotation_turns_by_ten_degrees_at_most(amount: float):
    """1 turns by 10° counterclockwise as one looks at it, around the centre; -1 clockwise."""
    angle = math.radians(10 * amount)
    x, y = place(augment(dot(15, -6), parameters(rotation=amount)))
    assert x == pytest.approx(15 * math.cos(angle) - 6 * math.sin(angle), abs=0.05)
    assert y == pytest.approx(-15 * math.sin(angle) - 6 * math.cos(angle), abs=0.05)
    assert place(augment(dot(0, 0), parameters(rotation=amount))) == pytest.approx((0, 0), abs=0.01)


@pytest.mark.parametrize("amount", [1.0, -1.0, 0.3])
def test_scale_enlarges_by_ten_percent_at_most(amount: float):
    """1 moves a point away from the centre by exp(0.1), -1 towards it; the dot grows or shrinks in area likewise."""
    factor = math.exp(0.1 * amount)
    moved = augment(dot(14, -9), parameters(scale=amount))
    assert place(moved) == pytest.approx((14 * factor, -9 * factor), abs=0.05)
    assert float((moved + 1).sum() / (dot(14, -9) + 1).sum()) == pytest.approx(factor**2, rel=0.01)


def test_shifts_move_by_a_thirty_second_of_the_side_at_most():
    """1 moves 2 of 64 pixels left or up, pixel for pixel, and what comes in is black; -1 the other way."""
    images = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    for name, axis in (("shift_x", 3), ("shift_y", 2)):
        for direction in (1, -1):
            moved, whole = augment(images, parameters(**{name: direction})).roll(2 * direction, axis), images.clone()
            coming = slice(0, 2) if direction > 0 else slice(-2, None)
            assert (moved.transpose(axis, 0)[coming] == -1).all()
            whole.transpose(axis, 0)[coming] = -1
            torch.testing.assert_close(moved, whole, rtol=0, atol=GRAY_LEVEL / 100)


@pytest.mark.parametrize("amount", [1.0, -1.0])
def test_gamma_bends_the_gray_scale(amount: float):
    """A gray g in 0…1 becomes g to the power exp(0.25·γ): black and white stay, 1 darkens."""
    images = smooth()
    moved = augment(images, parameters(gamma=amount))
    expected = ((images + 1) / 2) ** math.exp(0.25 * amount) * 2 - 1
    torch.testing.assert_close(moved, expected, rtol=0, atol=GRAY_LEVEL / 4)
    assert (moved.mean() < images.mean()) == (amount > 0)
    ends = torch.tensor([-1.0, 1.0]).repeat_interleave(SIDE // 2).expand(1, 1, SIDE, SIDE)
    torch.testing.assert_close(augment(ends, parameters(gamma=amount)), ends, rtol=0, atol=GRAY_LEVEL / 10)


def test_each_image_has_its_own_parameters():
    """In a batch, every image is moved as it would be alone."""
    images, table = smooth(8), draw_parameters(8, 0.7, torch.Generator().manual_seed(3))
    together = augment(images, table)
    for i in range(8):
        torch.testing.assert_close(together[i : i + 1], augment(images[i : i + 1], table[i : i + 1]))


def test_results_stay_in_range():
    """Bicubic overshoot and gamma never leave -1…1, and nothing is lost to NaN."""
    images = (torch.rand(16, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4)) > 0.5).float() * 2 - 1
    moved = augment(images, draw_parameters(16, 1.0, torch.Generator().manual_seed(5)))
    assert bool((moved.abs() <= 1).all())  # nor NaN


def test_parameters_are_drawn_as_often_as_told():
    """Each is there with the given chance, independently; there it is uniform in -1…1, a flip always 1."""
    n, chance = 20_000, 0.3
    table = draw_parameters(n, chance, torch.Generator().manual_seed(0))
    assert table.shape == (n, WIDTH)
    there = (table != 0).float()
    assert there.mean(0).tolist() == pytest.approx([chance] * WIDTH, abs=0.015)
    assert (torch.corrcoef(there.T) - torch.eye(WIDTH)).abs().max() < 0.03
    assert set(table[:, FLIP].tolist()) == {0.0, 1.0}
    for column in table[:, 1:].T:
        drawn = column[column != 0]
        assert -1 <= drawn.min() < -0.99
        assert 0.99 < drawn.max() <= 1
        assert drawn.mean().item() == pytest.approx(0, abs=0.03)
        assert drawn.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)


def test_parameters_come_from_the_generator_alone():
    """The same generator, the same parameters; chance 0 is none, chance 1 all."""
    first, again, other = (draw_parameters(50, 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not draw_parameters(50, 0.0, torch.Generator().manual_seed(1)).any()
    assert draw_parameters(50, 1.0, torch.Generator().manual_seed(1)).all()
