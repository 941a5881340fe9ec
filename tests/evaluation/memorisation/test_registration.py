"""The registered search: planted copies are found, strangers stay below, whatever an image's depth, size or edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.ndimage import gaussian_filter

from bench.planted_copies import EDITS, moved, plant
from phonybrains.evaluation.inputs.thumbnails import EDGES, blurred, close_ups, contents, is_small, local, thumbnails
from phonybrains.evaluation.memorisation.registration import CopySearch, Matches, refine, weighed
from phonybrains.evaluation.memorisation.search import ByRegistration
from phonybrains.evaluation.memorisation.threshold import calibrate
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import draw_phantom
from tests.support.image_files import drawn_small, written

Pixels = np.ndarray


def heads(n: int, seed: int) -> Pixels:
    """Axial MR phantoms of 96×96 pixels, each of another patient, without much noise."""
    return np.stack([draw_phantom(default_rng([seed, i]), "MR", size=96, noise=0.5)[0] for i in range(n)])


@pytest.fixture(scope="module")
def images() -> Pixels:
    return heads(80, 1)


@pytest.fixture(scope="module")
def search(images: Pixels) -> CopySearch:
    return CopySearch(thumbnails(images))


@pytest.fixture(scope="module")
def strangers(search: CopySearch) -> Matches:
    return search.nearest(thumbnails(heads(60, 2)))


@pytest.mark.parametrize("edit", EDITS)
def test_planted_copies_are_found(search: CopySearch, strangers: Matches, images: Pixels, edit: str) -> None:
    """At 1 % false positives: all of the simple edits, mirrored and inverted ones too, most of the mixed ones."""
    copies, chosen = plant(images, edit, 8)
    found = search.nearest(thumbnails(copies))
    threshold = calibrate(strangers.score, list(map(str, range(60)))).threshold
    right = (found.score > threshold) & (found.index == chosen)
    assert right.sum() >= {"crop 80 %": 6, "all edits": 7, "all edits of a blend": 2}.get(edit, 8)
    if edit in ("exact", "flip", "inversion"):
        assert found.score.min() > 0.999


def test_strangers_stay_below(strangers: Matches) -> None:
    """Half of the unseen heads set a threshold that few of the other half exceed; none is taken for a copy."""
    threshold = calibrate(strangers.score[:30], list(map(str, range(30)))).threshold
    assert (strangers.score[30:] > threshold).mean() <= 0.1
    assert strangers.score.max() < 0.95
    assert np.abs(strangers.correlation).max() <= 1 + 1e-5


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (0.6, 0.1), (0.35, -0.2)])
def test_copies_drawn_small_are_found(
    training: ImageSet, new_heads: ImageSet, kept: Path, tmp_path: Path, scale: float, shift: float
) -> None:
    """All but one at most are nearest to their own training image, and nearer than any head of other people."""
    search, chosen = ByRegistration.of(training, kept), np.arange(0, len(training), 15)
    copies = written(tmp_path / "copies", [drawn_small(training.pixels(i), scale, shift) for i in chosen])
    found, others = (search.found(one, range(len(one))) for one in (copies, new_heads))
    right = (found.index == chosen) & (found.score > others.score.max())
    assert right.sum() >= len(chosen) - 1


def test_close_ups_are_the_same_however_large_a_head_is_drawn(images: Pixels) -> None:
    """What an image shows fills ten elevenths of its close-up; only what is drawn small is looked at so."""
    small = drawn_small(images[0], 0.5, 0.15)
    assert is_small(thumbnails(np.stack([images[0], small, 0 * small]))).tolist() == [False, True, False]
    (_, _), (top, bottom) = contents(close_ups(np.stack([images[0], small])))
    assert ((bottom - top) / 2).tolist() == pytest.approx([10 / 11] * 2, abs=2 / 64)


def test_registration_recovers_a_known_move(images: Pixels) -> None:
    """A head turned by 5°, scaled by 1.04 and shifted: the pose says where each of its places went."""
    image = moved(images[0].astype(float), degrees=5, scale=1.04, down=6, right=-4)
    query, target = (local(thumbnails(x[None].clip(0, 255).astype(np.uint8)), EDGES) for x in (image, images[0]))
    affine, alike = refine(query, target, torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]), 25)
    matrix = affine[0, :, :2].numpy()
    turn = np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    assert alike.item() > 0.9
    assert np.sqrt(np.linalg.det(matrix)) == pytest.approx(1.04, abs=0.01)
    assert turn == pytest.approx(-5, abs=0.5)
    assert affine[0, :, 2].tolist() == pytest.approx([-8 / 256, 12 / 256], abs=0.006)


@pytest.mark.parametrize("grey", [lambda i: 0, lambda i: 40 * i], ids=["black", "grey"])
def test_empty_images_are_like_nothing(search: CopySearch, grey: Callable[[int], int]) -> None:
    """Images without any structure score next to nothing, as queries and as training images."""
    blank = thumbnails(np.stack([np.full((96, 96), grey(i), np.uint8) for i in range(4)]))
    assert search.nearest(blank).score.max() < 0.1
    assert CopySearch(blank).nearest(search.images[:2]).score.max() < 0.1


def test_the_search_does_not_depend_on_the_depth(search: CopySearch, images: Pixels) -> None:
    """The same images in 16 bits give the same scores."""
    found = search.nearest(thumbnails(images[:3].astype(np.uint16) * 257))
    assert found.index.tolist() == [0, 1, 2]
    assert found.score.min() > 0.999


@pytest.mark.parametrize("blocks", [1, 8, 32, 64])
def test_a_correlation_is_worth_as_much_as_half_of_the_image_would_make_it(blocks: int) -> None:
    """Fisher's z grows with the square root of how many of the 64 blocks carry the energy; in 32 nothing changes."""
    carried = (torch.arange(64) < blocks).view(1, 1, 8, 8).float()
    image = carried.repeat_interleave(8, 2).repeat_interleave(8, 3).flatten(1)
    worth = weighed(torch.tensor([0.6]), image, -3 * image).item()
    assert worth == pytest.approx(np.tanh(np.arctanh(0.6) * np.sqrt(blocks / 32)), abs=1e-6)


def test_the_blur_is_that_of_scipy() -> None:
    """Also of images that are not square; the border goes on outwards."""
    image = default_rng(4).random((40, 64)).astype(np.float32)
    found = blurred(torch.from_numpy(image)[None, None], 2.0)[0, 0].numpy()
    assert found == pytest.approx(gaussian_filter(image, 2.0, mode="nearest", truncate=3), abs=1e-6)
