"""The figures that models are judged by: closed forms, other implementations, planted answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from bench import comparison, grey
from bench.networks import Cache
from phonybrains.evaluation.inputs.patients import deal, patients
from phonybrains.imageset import Row


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def test_folds_keep_groups_whole(rng: Generator):
    """A group is in one fold, folds are even, and there are no more folds than groups."""
    groups = [str(i // 7) for i in range(140)]
    folds = deal(groups, 5, rng)
    assert len({*zip(groups, folds.tolist(), strict=True)}) == 20
    assert np.bincount(folds).tolist() == [28] * 5
    assert set(deal(["a", "b", "b"], 5, rng)) == {0, 1}


def rows(*kinds: str, split: str = "train") -> list[Row]:
    return [Row(f"{i}.png", "", "MR", split=split, attributes={"plane": kind}) for i, kind in enumerate(kinds)]


def test_draws_have_the_composition_of_the_split(rng: Generator):
    """Each kind as often as wanted, no image twice; others fill up where a kind runs out."""
    stock = rows(*["axial"] * 6, *["sagittal"] * 4)
    drawn = comparison.matched(rows(*["axial"] * 2, *["sagittal"] * 3), stock, rng)
    assert sorted(stock[i]["plane"] for i in drawn) == ["axial"] * 2 + ["sagittal"] * 3
    assert len(set(comparison.matched(rows(*["sagittal"] * 6), stock, rng))) == 6


def test_unknown_patients_are_runs_of_neighbours():
    """A run ends where the split changes, and after thirty images."""
    found = patients([*rows(*["axial"] * 31), *rows(*["axial"] * 2, split="test")])
    assert len(set(found[:30])) == 1
    assert len(set(found)) == 3
    assert found[31] == found[32] != found[30]


def test_fidelity_of_known_errors(rng: Generator):
    """Five grey levels off are 34.15 dB; SSIM of two constants is its luminance term, of equals 1."""
    image = rng.integers(10, 200, (1, 64, 64)).astype(np.uint8)
    assert grey.psnr(image + np.uint8(5), image)[0] == pytest.approx(20 * math.log10(51), abs=1e-4)
    assert grey.ssim(image, image)[0] == pytest.approx(1)
    dark, light = (np.full((1, 32, 32), value, np.uint8) for value in (50, 60))
    assert grey.ssim(dark, light)[0] == pytest.approx((6000 + 6.5025) / (6100 + 6.5025))


def test_the_cache_knows_its_images(tmp_path: Path):
    """What was made of the same images is read; other images, or another name, are made anew."""
    made = []

    def double(images: np.ndarray) -> np.ndarray:
        made.append(len(images))
        return images * 2.0

    cache, images = Cache(tmp_path / "cache"), np.ones((2, 4, 4), np.uint8)
    for _ in range(2):
        np.testing.assert_array_equal(cache.of("double", [images], double), images * 2.0)
    assert made == [2]
    cache.of("double", [images + np.uint8(1)], double)
    cache.of("other", [images], double)
    assert made == [2, 2, 2]
