"""Privacy figures with known answers: who is nearest to whom, and what a model's loss gives away."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from numpy.testing import assert_allclose

from phonybrains.evaluation.privacy import (
    authentic_share,
    copying_z,
    member_losses,
    membership_scores,
    nearest_distance,
    nearest_share,
    privacy_scores,
)
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def by_name(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def test_distances_are_those_of_the_plain_formula(rng: Generator) -> None:
    """Over more than one block; a point is not its own neighbour where the stock is searched in itself."""
    x, stock = rng.normal(size=(1100, 5)), rng.normal(size=(40, 5))
    every = np.sqrt(((x[:, None] - stock[None]) ** 2).sum(axis=2))
    distance, index = nearest_distance(x, stock)
    assert_allclose(distance, every.min(axis=1), atol=1e-7)
    assert (index == every.argmin(axis=1)).all()
    own = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2)) + np.where(np.eye(len(x)), np.inf, 0)
    distance, index = nearest_distance(x, x, itself=True)
    assert_allclose(distance, own.min(axis=1), atol=1e-6)
    assert (index == own.argmin(axis=1)).all()


def test_authentic_share_by_hand() -> None:
    """Training at 0, 10 and 30: their own neighbours are 10, 10 and 20 away. 4, 12 and 40 are nearer, 60 is not."""
    training = np.array([[0.0], [10.0], [30.0]])
    found = authentic_share(training, np.array([[4.0], [12.0], [40.0], [60.0]]))
    assert found.value == 1 / 4
    assert (found.low, found.high) == pytest.approx((0.0063, 0.8059), abs=1e-4)  # Clopper-Pearson of 1 in 4


def test_copies_give_the_lowest_z_there_is(rng: Generator) -> None:
    """Every copy is nearer than any held-out point: U = 0, z = -½ / √((n + m + 1) / 12nm); no copies: within chance."""
    training, held_out = rng.normal(size=(200, 8)), rng.normal(size=(60, 8))
    assert copying_z(training, held_out, training[:40]) == pytest.approx(-0.5 / math.sqrt(101 / (12 * 40 * 60)))
    drawn = [copying_z(training, held_out, rng.normal(size=(40, 8))) for _ in range(200)]
    assert abs(np.mean(drawn)) < 1
    assert 0.5 < np.std(drawn) < 1.1
    assert copying_z(training, held_out, rng.normal(5, 1, size=(40, 8))) > 3


def test_the_nearest_of_a_copy_is_a_training_image(rng: Generator) -> None:
    """Of exact copies always, if all training points take part; of new points in half of the cases."""
    training, held_out = rng.normal(size=(60, 8)), rng.normal(size=(60, 8))
    assert nearest_share(training, held_out, training[:20]).value == 1
    found = nearest_share(training, held_out, rng.normal(size=(2000, 8)))
    assert 0.4 < found.value < 0.6


def test_scores_stand_beside_held_out_images(rng: Generator) -> None:
    """Copies lie below what held-out images score in AuthPct, and C_T below -3; too few held-out images are said so."""
    training, held_out = rng.normal(size=(100, 8)), rng.normal(size=(50, 8))
    found = by_name(privacy_scores(training, held_out, training[:30] + 0.01, modality="MR", extractor="x"))
    share = found["authentic_share"]
    assert share.null is not None
    assert share.high is not None
    assert share.high < share.null.low
    assert (found["copying_z"].value or 0) < -3
    assert {score.modality for score in found.values()} == {"MR"}
    alone = by_name(privacy_scores(training, held_out[:3], training[:30]))
    assert alone["authentic_share"].value == 0
    assert alone["copying_z"].value is None
    assert "3 held-out" in alone["copying_z"].note


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
