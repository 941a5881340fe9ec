"""bench/pinaya.py: the ruler that measures ventricles and brain."""

from __future__ import annotations

import numpy as np

from bench.pinaya import AREAS, OTHERS, agreement, areas, phantom


def test_the_ruler_measures_phantoms():
    """Of 60 phantoms whose areas are known, thresholds find r ≥ .95 for both, and no relation to those of others."""
    slices = [phantom(OTHERS + number, 0) for number in range(60)]
    images = np.stack([image for image, _ in slices])
    known = np.array([[told[name] for name in AREAS] for _, told in slices], np.float64)
    found, other = agreement(known, images), agreement(np.roll(known, 1, axis=0), images)
    for name in AREAS:
        assert found[name]["r"] >= 0.95
        assert abs(other[name]["r"]) < 0.4


def test_an_image_without_a_head_has_no_areas():
    """Air alone is no head."""
    assert areas(np.zeros((128, 128), np.uint8)) == (0.0, 0.0)
