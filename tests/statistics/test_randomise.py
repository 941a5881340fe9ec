"""Randomisation tests: by enumeration, and against leanings that are no skill."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from phonybrains.statistics.randomise import guessing_p, leaning_p


def test_the_sign_test_is_that_of_all_signs() -> None:
    """With 8 cases, p is twice the share of the 256 sign patterns that lie as far to the side found."""
    away = np.array([0.5, 0.5, -0.5, 0.5, 0.0, 0.5, 1.0, 0.5])
    sums = np.array([np.dot(signs, away) for signs in product((-1, 1), repeat=8)])
    exact = 2 * (sums >= away.sum()).mean()
    found = leaning_p(away[None], np.arange(8), np.random.default_rng(0), 40_000)
    assert found == pytest.approx(exact, abs=0.01)


def test_cases_of_one_patient_are_one_sign() -> None:
    """Ten images of one patient say as much as one: p is 1 with one patient, .002 with ten."""
    away, rng = np.full((1, 10), 0.5), np.random.default_rng(0)
    assert leaning_p(away, np.zeros(10), rng) == pytest.approx(1)
    assert leaning_p(away, np.arange(10), rng) == pytest.approx(2 / 1024, abs=0.002)


def test_no_answer_moves_nothing() -> None:
    """Who never answers, and who always says unclear, leave p as it is."""
    away = np.array([[0.5] * 6 + [-0.5] * 2, [np.nan] * 8, [0.0] * 8])
    alone, all_three = (leaning_p(a, np.arange(8), np.random.default_rng(1)) for a in (away[:1], away))
    assert alone == all_three


def test_a_leaning_in_one_modality_is_no_skill() -> None:
    """A reader who calls every MR phony is not told from a guesser where MR is more often phony, within modalities."""
    modality = np.repeat(["MR", "CT"], 60)
    truth = np.concatenate([np.arange(60) < 40, np.arange(60) < 20])
    said, patients = (modality == "MR").astype(float)[None], np.arange(120)
    assert guessing_p(said, truth, patients, np.random.default_rng(0)) < 0.01
    assert guessing_p(said, truth, patients, np.random.default_rng(0), strata=modality) == 1


def test_skill_is_found_within_modalities() -> None:
    """A reader who is right in four of five is told from a guesser, and p is never 0."""
    truth, modality = np.arange(80) % 2 == 0, np.repeat(["MR", "CT"], 40)
    right = np.where(np.arange(80) % 5 == 0, ~truth, truth).astype(float)[None]
    assert 0 < guessing_p(right, truth, np.arange(80), np.random.default_rng(0), 999, modality) <= 0.002
