"""The threshold from unseen people, and the tests of an excess: by hand, by simulation, at their level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import betabinom, binom

from phonybrains.evaluation.inputs.patients import patients
from phonybrains.evaluation.memorisation import threshold
from phonybrains.evaluation.memorisation.threshold import (
    LEAST_POWER,
    SHARE,
    audit_p,
    calibrate,
    chances,
    divisions_of,
    excess_p,
    power,
)
from phonybrains.imageset import ImageSet, Row


def each(n: int) -> list[str]:
    """As many people as images."""
    return [str(i) for i in range(n)]


def test_the_excess_by_hand() -> None:
    """If each person has one image, it is exactly that of order statistics: n!m!/(n + m)! for all above all, and
    simulated ranks."""
    rng = default_rng(0)
    of_100 = chances(np.arange(97.0), np.arange(97), 96, rng)
    assert excess_p(3, 3, of_100) == pytest.approx(1 / 161_700, rel=0.25)  # 100 over 3
    of_300 = chances(np.arange(299.0), np.arange(299), 296, rng)
    assert excess_p(1, 1, of_300) == of_300.mean() == pytest.approx(3 / 300, rel=0.05)
    assert excess_p(0, 95, of_300) == 1
    assert excess_p(2, 95, of_300) == pytest.approx(betabinom.sf(1, 95, 3, 297), abs=0.02)
    scores = rng.random((20_000, 60))
    second = np.sort(scores[:, :40], axis=1)[:, -2]
    counts = (scores[:, 40:] > second[:, None]).sum(axis=1)
    of_40 = chances(np.arange(40.0), np.arange(40), 38, rng)
    assert excess_p(3, 20, of_40) == pytest.approx((counts >= 3).mean(), abs=0.015)


def test_new_people_pass_the_threshold_no_oftener_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a person are alike (ten each, most of the variance between people): of new people's images less than
    1 % pass on average; the plain 99th percentile lets more pass. Of few people, the threshold is the highest score."""
    monkeypatch.setattr(threshold, "DRAWS", 500)
    rng = default_rng(1)
    people = np.repeat(np.arange(43), 10)
    passed = {"calibrated": 0.0, "plain": 0.0}
    for draw in range(100):
        scores, new = (rng.normal(size=n)[:, None] + 0.5 * rng.normal(size=(n, 10)) for n in (43, 400))
        found = calibrate(scores.ravel(), people.astype(str).tolist(), seed=draw)
        passed["calibrated"] += (new > found.threshold).mean() / 100
        passed["plain"] += (new > np.quantile(scores, 0.99)).mean() / 100
    assert passed["calibrated"] < 0.01 < passed["plain"]
    few = calibrate(np.arange(20.0), each(20))
    assert (few.threshold, few.above, few.patients) == (19, 0, 20)
    assert few.rate == pytest.approx(1 / 21, rel=0.1)
    with pytest.raises(ValueError, match="no held-out"):
        calibrate(np.empty(0), [])


def test_patients_widen_the_interval_of_the_rate() -> None:
    """Where all images above a level are of one patient, the chance is less certain than with several."""
    scores, rng = np.arange(1000.0), default_rng(0)
    one, many = (chances(scores, who, 989, rng) for who in (np.arange(1000) // 100, np.arange(1000)))
    assert np.quantile(one, 0.975) > 2 * np.quantile(many, 0.975) > 0.02


@pytest.mark.parametrize("slices", [1, 8])
def test_the_audit_rejects_at_its_level(slices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 400 sets of 95 that copy nothing, about 5 % fail at most, with the calibration drawn anew each time; also
    where the slices of a person are alike."""
    monkeypatch.setattr(threshold, "DRAWS", 100)
    rng, n = default_rng(2), 240 // slices
    people = np.repeat(np.arange(n), slices).astype(str).tolist()

    def drawn(persons: int, of_each: int) -> np.ndarray:
        return (rng.normal(size=(persons, 1)) + (slices > 1) * rng.normal(size=(persons, of_each))).ravel()

    failed = [audit_p(drawn(95, 1), calibrate(drawn(n, slices), people)) < 0.05 for _ in range(400)]
    assert 0.003 < np.mean(failed) < 0.065


@pytest.mark.parametrize(("k", "least"), [(3, 0.6), (5, 0.95)])
def test_few_copies_among_95_are_enough(k: int, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies that lie above all held-out images, as most do: k among 95 fail the audit at least that often."""
    monkeypatch.setattr(threshold, "DRAWS", 100)
    rng, people = default_rng(3), each(240)
    sets = (np.concatenate([rng.random(95 - k), np.full(k, 2.0)]) for _ in range(300))
    assert np.mean([audit_p(one, calibrate(rng.random(240), people)) < 0.05 for one in sets]) >= least


def test_the_power_of_an_audit_by_hand() -> None:
    """One image: the chance that it is a copy, or flagged by chance. Of twelve, two must be flagged."""
    assert power(1, 0.01, 0.25, 0.05) == pytest.approx(0.25 + 0.75 * 0.01)
    assert power(12, 0.01, 0.25, 0.05) == pytest.approx(binom.sf(1, 12, 0.2575))
    assert power(1, 0.2, 0.25, 0.05) == 0  # by chance one is flagged too often
    assert power(200, 0.01, SHARE, 0.05) > 0.999
    assert LEAST_POWER == 0.8


@pytest.mark.parametrize("patient", ["p", ""], ids=["known", "unknown"])
def test_who_takes_turns_is_searched_for_among_others_only(patient: str) -> None:
    """Known patients are never on both sides; where they are unknown, nothing within 30 images in order is."""
    rows = [Row(f"{i}.png", "", "MR", patient and f"{patient}{i // 7}", "train") for i in range(400)]
    images = ImageSet(Path(), tuple(rows), 8, 8, 8)
    people, turns = np.array(patients(images.rows)), np.zeros(400, dtype=int)
    for fold, rest in divisions_of(images, people.tolist(), default_rng(0)):
        turns += fold
        assert rest.sum() > 200
        assert not set(people[fold]) & set(people[rest])
        if not patient:
            assert np.abs(np.flatnonzero(fold)[:, None] - np.flatnonzero(rest)).min() > 30
    assert (turns == 1).all()
