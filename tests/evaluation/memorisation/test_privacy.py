"""What a model's loss gives away, with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from phonybrains.errors import ConfigError
from phonybrains.evaluation.config import EvaluateConfig, MemorisationConfig
from phonybrains.evaluation.memorisation.privacy import found_at, member_losses, membership_scores
from phonybrains.evaluation.outcomes import outcome_of
from phonybrains.evaluation.stage import evaluate
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.statistics.roc import roc_curve

from .conftest import Audit


def test_member_losses_tell_members_by_their_lower_loss() -> None:
    """Apart: AUC 1 and all found at 1 % false positives. Of one kind: AUC about 0.5, its interval around it."""
    rng = default_rng(0)
    low, high = rng.normal(0, 1, 300), rng.normal(0, 1, 300) + 20
    area, found = membership_scores(low, high)
    assert (area.name, area.value) == ("member_loss_auc", 1)
    assert (found.name, found.value) == ("member_loss_tpr_at_1pct", 1)
    area, found = membership_scores(low, high - 20)
    assert area.low < 0.5 < area.high  # type: ignore[operator]
    assert (found.value or 0) < 0.05


@pytest.mark.parametrize("slices", [1, 20])
def test_without_memory_members_are_told_no_oftener_than_chance(slices: int) -> None:
    """200 images a side, half of the loss the person's: over 60 sets at most 10 % are apart, where images taken for
    independent gave 26 % (of 20 slices a person); of 40 held-out images, 1 % cannot be had (it was apart in 29 %)."""
    apart, units = [0, 0], 200 // slices
    owners = [f"{side} {i}" for side in "mo" for i in range(units) for _ in range(slices)]
    for i in range(60):
        rng = default_rng([slices, i])
        members, others = (np.repeat(rng.normal(size=units), slices) + rng.normal(size=200) for _ in range(2))
        scores = membership_scores(members, others, owners, seed=i)
        apart = [count + (outcome_of(score) == "apart") for count, score in zip(apart, scores, strict=True)]
    assert max(apart) / 60 <= 0.1
    area, few = membership_scores(members, others[:40])
    assert area.value is not None
    assert few.value is None
    assert few.note == "1 % of 40 held-out images is less than one: 100 are needed"


def test_true_positives_are_those_of_the_roc_curve() -> None:
    """Of tied scores the highest point at or below the rate, as roc_curve has it."""
    rng = default_rng(0)
    scores, truth = np.round(rng.normal(size=500), 1), rng.random(500) < 0.4
    curve = roc_curve(scores, truth)
    for rate in (0.01, 0.1, 0.5):
        wanted = curve.true_positive_rate[curve.false_positive_rate <= rate].max()
        assert found_at(scores, truth, np.ones((1, 500)), rate)[0] == pytest.approx(wanted)


def test_the_loss_of_an_image_is_always_the_same(tiny_model: Path, phantom_corpus: Path) -> None:
    """Finite, positive, and equal when asked again."""
    images = ImageSet.open(phantom_corpus).where(split="train")
    one, two = member_losses(tiny_model, images, 1), member_losses(tiny_model, images, 1)
    assert one.shape == (len(images),)
    assert np.isfinite(one).all()
    assert (one > 0).all()
    np.testing.assert_allclose(one, two)


def test_the_loss_of_a_model_tells_members_only_if_it_is_asked(
    tiny_model: Path, phantom_corpus: Path, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With member_loss and a model its AUC stands among the scores; images of another size are said; no model is an
    error before anything is measured."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.MOST_TURNS", 4)

    def halved(images: ImageSet) -> ImageSet:
        """Its MR images, every other one held out, of a patient each."""
        rows = images.where(modality="MR").rows
        splits = [replace(row, split="train" if i % 2 else "test", patient_id=str(i)) for i, row in enumerate(rows)]
        return replace(images, rows=tuple(splits))

    asked = {"model": tiny_model, "memorisation": {"member_loss": True}}
    real = halved(ImageSet.open(phantom_corpus))
    samples = replace(real, rows=real.rows[:2])
    (area,) = [score for score in audit(samples, real, **asked).scores if score.name == "member_loss_auc"]
    assert (area.modality, area.n) == ("MR", 12)
    assert 0.2 < (area.value or 0) < 0.8
    assert not [score for score in audit(samples, real).scores if score.name == "member_loss_auc"]
    small = halved(ImageSet.open(make_phantoms(24, tmp_path / "small", size=32, modalities=("MR",))))
    noted = audit(replace(small, rows=small.rows[:2]), small, **asked).scores
    note = next(score.note for score in noted if score.name == "member_loss_auc")
    assert note.endswith("pixels a side, the corpus has 32×32")
    config = EvaluateConfig(memorisation=MemorisationConfig(member_loss=True))
    with pytest.raises(ConfigError, match="--model"):
        evaluate(phantom_corpus, phantom_corpus, tmp_path / "out", config, show=False)
