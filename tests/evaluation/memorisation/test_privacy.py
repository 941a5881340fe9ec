"""What a model's loss gives away, with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from phonybrains.errors import ConfigError
from phonybrains.evaluation.config import EvaluateConfig, MemorisationConfig
from phonybrains.evaluation.memorisation.privacy import member_losses, membership_scores
from phonybrains.evaluation.stage import evaluate
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import make_phantoms

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
