"""The bench of unusual images: its statistics by hand, and all of it on phantoms with random SqueezeNet weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import score
from phonybrains.imageset import ImageSet
from tests.support.feature_weights import squeezenet_file


def test_auc_counts_pairs():
    """The share of pairs in which the unusual figure is the higher, a tie half; bounds lie around it."""
    usual, unusual = np.array([1.0, 2, 3]), np.array([2.0, 4])
    assert score.auc(usual, unusual) == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    middle, low, high = score.interval(usual, np.array([2.0, 4, 0]), np.array([0, 1, 1]))
    assert low <= middle <= high


def test_images_are_of_as_many_people_as_there_are(phantom_corpus: Path):
    """The first of everybody come before anybody's second."""
    images = ImageSet.open(phantom_corpus)
    people = len({row.patient_id for row in images.rows})
    chosen = score.spread_out(images, range(len(images)), people)
    assert len({images.rows[i].patient_id for i in chosen}) == people


def test_the_whole_bench(phantom_corpus: Path, tiny_model: Path, tmp_path: Path):
    """Figures of every kind for a modality; what was scored is kept, and read again."""
    words = ["--corpus", phantom_corpus, "--features", squeezenet_file(tmp_path), "--model", tiny_model]
    out = tmp_path / "score.json"
    words += ["--n", 2, "--train", 4, "--steps", 1, "--modalities", "MR", "--out", out]
    score.app([str(word) for word in words])
    found = json.loads(out.read_bytes())["MR"]
    assert {"held out", "phantoms", "called CT", "inverted", "upside down"} <= set(found)
    assert found["inverted"]["AUC of bits"][0] in (0, 0.25, 0.5, 0.75, 1)
    kept = json.loads(out.with_suffix(".MR.json").read_bytes())
    kept["inverted"]["bits"] = [1e3, 1e3]
    out.with_suffix(".MR.json").write_text(json.dumps(kept))
    score.app([str(word) for word in words])
    assert json.loads(out.read_bytes())["MR"]["inverted"]["AUC of bits"][0] == 1
