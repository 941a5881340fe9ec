"""What a model's loss gives away, with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from numpy.testing import assert_allclose

from phonybrains.evaluation.memorisation.privacy import member_losses, membership_scores
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def by_name(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def test_member_losses_tell_members_by_their_lower_loss(rng: Generator) -> None:
    """Apart: AUC 1 and all found at 1 % false positives. Of one kind: AUC about 0.5, its interval around it."""
    low, high = rng.normal(0, 1, 300), rng.normal(0, 1, 300) + 20
    apart = by_name(membership_scores(low, high))
    assert apart["member_loss_auc"].value == 1
    assert apart["member_loss_tpr_at_1pct"].value == 1
    alike = by_name(membership_scores(low, high - 20))
    area = alike["member_loss_auc"]
    assert area.low is not None
    assert area.high is not None
    assert area.low < 0.5 < area.high
    assert (alike["member_loss_tpr_at_1pct"].value or 0) < 0.05


def test_the_loss_of_an_image_is_always_the_same(tiny_model: Path, phantom_corpus: Path) -> None:
    """Finite, positive, and equal when asked again."""
    images = ImageSet.open(phantom_corpus).where(split="train")
    one, two = member_losses(tiny_model, images, 1), member_losses(tiny_model, images, 1)
    assert one.shape == (len(images),)
    assert np.isfinite(one).all()
    assert (one > 0).all()
    assert_allclose(one, two)
