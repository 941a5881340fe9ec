"""Searches for copies: kept and taken up again, by features too, of neighbouring slices, with one verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.memorisation.audit import audit_modality
from phonybrains.evaluation.memorisation.registration import CopySearch
from phonybrains.evaluation.memorisation.search import ByFeatures, ByRegistration
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import draw_patient, draw_slice
from tests.support.image_files import written
from tests.support.tiny_training import save_squeezenet

from .conftest import Audit


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet's form with random weights."""
    return save_squeezenet(tmp_path_factory.mktemp("weights") / "squeezenet.safetensors", 0)


def first(images: ImageSet, n: int) -> ImageSet:
    return replace(images, rows=images.rows[:n])


def volume(seed: int, shift_mm: float = 0.0) -> list[np.ndarray]:
    """Neighbouring axial MR slices of one head, 8 mm apart, all `shift_mm` higher; the noise is each slice's own."""
    patient = draw_patient(default_rng([seed, 0]), "MR", lesion="glioma")
    levels = [patient.centre[2] + up + shift_mm for up in (-8.0, 0.0, 8.0)]
    return [draw_slice(default_rng([seed, 1]), patient, "axial", level, size=96, noise=0.5)[0] for level in levels]


def test_neighbours_of_training_slices_are_flagged_with_their_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images half way between two slices of a training volume, which no training image shows: most are flagged, the
    patient is named rightly, and the audit fails."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.MOST_TURNS", 12)
    people, copied = [i for i in range(28) for _ in range(3)], range(0, 28, 4)
    splits = ["test" if i % 4 == 3 else "train" for i in people]
    slices = [image for i in range(28) for image in volume(i)]
    corpus = written(tmp_path / "volumes", slices, modality="MR", patient_id=[f"p{i}" for i in people], split=splits)
    between = written(tmp_path / "between", [volume(i, 4.0)[0] for i in copied], modality="MR")
    copies, _ = audit_modality(between, corpus, EvaluateConfig())
    (one,) = copies.searches
    named = [copies.training.rows[k].patient_id for k in one.found.index]
    right = [who == f"p{i}" for who, i in zip(named, copied, strict=True)]
    assert np.mean(copies.flagged & right) >= 0.7
    assert copies.status == "failed"


def test_a_search_goes_on_where_it_stopped(
    corpus: ImageSet, training: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of 2: a stop in the third leaves two, which are not searched again; other training images are."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.search.SHARD", 2)
    training, few, numbers = first(training, 24), corpus.where(split="test"), range(5)
    whole = ByRegistration.of(training).found(few, numbers)
    nearest, seen = CopySearch.nearest, [0]

    def counting(self: CopySearch, images: torch.Tensor, among: torch.Tensor | None = None):
        seen[0] += len(images)
        if seen[0] == 5:
            raise KeyboardInterrupt
        return nearest(self, images, among)

    def searched() -> int:
        """How many images a search that finds the same looks at."""
        before = seen[0]
        again = ByRegistration.of(training, tmp_path).found(few, numbers)
        np.testing.assert_array_equal(again.score, whole.score)
        np.testing.assert_array_equal(again.index, whole.index)
        return seen[0] - before

    monkeypatch.setattr(CopySearch, "nearest", counting)
    with pytest.raises(KeyboardInterrupt):
        searched()
    shards = sorted(tmp_path.glob("matches-*.npy"))
    assert len(shards) == 2
    seen[0] = 100
    assert searched() == 1
    shards[0].write_bytes(b"half")
    assert searched() == 2
    ByRegistration.of(training, tmp_path).part(np.arange(20)).found(few, numbers)
    assert seen[0] == 108


def test_features_find_mirrored_training_images(training: ImageSet, kept: Path, tmp_path: Path, weights: Path) -> None:
    """The search by features names training images in the mirror, and is certain; a part knows only its own images."""
    training = first(training, 40)
    search = ByFeatures.of(training, SqueezeNetFeatures(weights), kept)
    mirrored = written(tmp_path / "mirrored", [training.pixels(i)[:, ::-1] for i in range(5)])
    found = search.found(mirrored, range(5))
    assert found.index.tolist() == [0, 1, 2, 3, 4]
    assert (found.score > search.certain).all()
    others = search.part(np.arange(3, 40)).found(training, [0, 3])
    assert others.index[1] == 0
    assert others.score[0] < others.score[1] == pytest.approx(1, abs=1e-4)


def test_both_searches_share_one_verdict(
    corpus: ImageSet, new_heads: ImageSet, audit: Audit, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One count of both, what either flags is flagged, in score and audit alike; without weights the features are not
    there, and it is said; features alone without weights are no audit."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.MOST_TURNS", 8)
    copied = [corpus.pixels(i)[:, ::-1] for i in range(4)]
    samples = written(tmp_path / "s", [*copied, *(new_heads.pixels(i) for i in range(8))])
    corpus = replace(corpus, rows=(*corpus.rows[:24], *corpus.rows[-16:]))
    both = audit(samples, corpus, features=weights, memorisation={"search": "both"})
    (flagged,) = [score for score in both.scores if score.name == "copies_flagged"]
    registered, by_network = [score.extractor for score in both.scores if score.name == "likeness_to_training"]
    assert flagged.extractor == f"{registered}+{by_network}"
    assert (registered, by_network.partition(" ")[0]) == ("registration-3", "squeezenet1_1")
    authentic = {score.extractor for score in both.scores if score.name == "authentic_share"}
    assert authentic == {"structure-1", by_network}
    audited = both.facts.audit["CT"]
    assert (flagged.value, flagged.n, flagged.p) == (audited.exceedances / audited.n, audited.n, audited.p)
    assert flagged.null is not None
    assert flagged.null.value == audited.rate
    assert audited.status == "failed"
    assert audited.certain >= 4
    assert {"similarity/CT/synthetic", "similarity/CT, squeezenet1_1/held_out"} <= set(both.arrays)
    missing = audit(samples, corpus, memorisation={"search": "both"})
    notes = [score.note for score in missing.scores if score.value is None]
    assert notes == ["no weights: name their file or address with --features"]
    assert missing.facts.audit["CT"].searches == ["registration-3"]
    assert audit(samples, corpus, memorisation={"search": "features"}).facts.status == "undecided"
