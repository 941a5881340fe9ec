"""Fréchet radiomics distance: known answers, what raises it, and a word where pyradiomics is not installed."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from phonybrains.evaluation.config import EvaluateConfig, QualityConfig
from phonybrains.evaluation.features.radiomics import Radiomics
from phonybrains.evaluation.quality.audit import quality_audit
from phonybrains.evaluation.quality.distances import frd
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet
from tests.support.evaluation_files import make_sides

pytestmark = pytest.mark.usefixtures("few_trees")
ASKED = EvaluateConfig(quality=QualityConfig(permutations=9, null_draws=4, frd=True))


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def test_a_shift_counts_in_deviations(rng: Generator):
    """Equal but for a shift of c: the log of Σ(c/σ)², whatever the units; features that the reference has
    alike, exactly or but for rounding, are left out; from itself a set lies at the least there is."""
    y = np.column_stack([rng.normal(5, (1e-3, 2, 1e6, 1e-15), (60, 4)), np.full(60, 7.0)])
    y[:, 3] -= 5
    c = np.array([2e-3, -1, 3e5])
    x = y + np.array([*c, 0, 4.0])
    x[:, 3] = rng.normal(0, 1e-3, 60)
    assert frd(x, y) == pytest.approx(math.log(((c / y[:, :3].std(axis=0)) ** 2).sum()), abs=1e-6)
    assert frd(y, y) == pytest.approx(math.log(1e-12))


def test_it_is_the_formula(rng: Generator):
    """Means and covariances in the reference's units, with the matrix root of SciPy."""
    x, y = rng.normal(0.3, 1.5, (90, 6)), rng.normal(0, (1, 2, 3, 4, 5, 6), (80, 6))
    a, b = ((side - y.mean(axis=0)) / y.std(axis=0) for side in (x, y))
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    assert frd(x, y) == pytest.approx(math.log(expected), abs=1e-9)
    assert frd(x, y) != pytest.approx(frd(y, x), abs=1e-3)


def of_radiomics(folder: Path) -> tuple[list[Score], list[Score]]:
    """The scores of a set of MR phantoms that radiomics gives, and the others."""
    made, real = make_sides(folder, corpus=240)
    scores = quality_audit(ImageSet.open(made).where(modality="MR"), ImageSet.open(real), ASKED).scores
    named = [[score for score in scores if score.extractor.startswith("radiomics") is of_it] for of_it in (True, False)]
    return named[0], named[1]


def test_without_pyradiomics_it_is_said_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """FRD without a value, with what to install; other distances are there."""
    monkeypatch.setitem(sys.modules, "radiomics", None)
    ((score,), others) = of_radiomics(tmp_path)
    assert (score.name, score.value) == ("frd", None)
    assert "pip install" in score.note
    assert {"kid", "fd_handcrafted"} <= {other.name for other in others if other.value is not None}


def slices(rng: Generator, n: int) -> np.ndarray:
    """Textures of 64 pixels a side within a disc, each unlike the others."""
    y, x = np.mgrid[:64, :64] / 64 - 0.5
    textures = np.stack([gaussian_filter(rng.normal(size=(64, 64)), rng.uniform(1, 2)) for _ in range(n)])
    level = rng.uniform(90, 110, (n, 1, 1)) + 30 * textures / textures.std()
    return (level * (np.hypot(x, y) < 0.4)).clip(0, 215).astype(np.uint8)


def test_it_grows_with_blur_and_brightness(rng: Generator):
    """Of 12 other images of the kind least; more for more blur, and more for more brightness."""
    pytest.importorskip("radiomics", reason="pyradiomics is not installed")
    extract, real, made = Radiomics(), slices(rng, 12), slices(rng, 12)
    known = extract(real)
    assert known.shape == (12, extract.width)
    assert np.isfinite(known).all()
    np.testing.assert_array_equal(extract(real[3:5]), known[3:5])
    blurred = [gaussian_filter(made, (0, sigma, sigma)) for sigma in (0, 0.7, 1.5)]
    brighter = [made + np.uint8(shift) for shift in (0, 15, 40)]
    for arms in (blurred, brighter):
        found = [frd(extract(arm), known) for arm in arms]
        assert found[0] < found[1] < found[2]


def test_a_constant_image_has_no_radiomics(rng: Generator):
    """Not numbers, which the caller counts, beside those of another image."""
    pytest.importorskip("radiomics", reason="pyradiomics is not installed")
    found = Radiomics()(np.stack([np.full((64, 64), 80, np.uint8), slices(rng, 1)[0]]))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_frd_stands_beside_its_null(tmp_path: Path):
    """One score a modality, with real against real and the version of pyradiomics; nothing else rests on radiomics."""
    pytest.importorskip("radiomics", reason="pyradiomics is not installed")
    ((score,), others) = of_radiomics(tmp_path)
    assert (score.name, score.modality) == ("frd", "MR")
    assert score.value is not None
    assert score.null is not None
    assert score.null.draws == 4
    assert score.extractor.startswith("radiomics pyradiomics-")
    assert {"kid", "fd_handcrafted"} <= {other.name for other in others if other.value is not None}
