"""Simulated readers: their answers follow the model they are drawn from, and the truths the coverage rests on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.study_coverage import (
    Setting,
    call_tables,
    draw_evidence,
    intervals,
    score_probabilities,
    scores_of,
    true_agreement,
    true_auc,
    true_sensitivity,
)
from phonybrains.errors import ConfigError, StudyError
from phonybrains.readerstudy.simulate import Skill, answer_evidence, half_width, simulate_answers, simulate_study
from phonybrains.readerstudy.store import open_store
from phonybrains.readerstudy.study import Study
from phonybrains.statistics.agreement import cohen_kappa
from phonybrains.statistics.roc import auc


def test_simulated_readers_finish_and_are_marked_as_simulated(study_folder: Path, tmp_path: Path):
    """Every presentation is answered, the store says who is simulated, and the audit log holds."""
    database = f"sqlite:///{tmp_path / 'answers.db'}"
    names = simulate_study(study_folder, readers=2, database=database, show=False)
    with open_store(Study.open(study_folder), database, read_only=True) as store:
        store.verify_audit()
        readers, answers = store.readers(), store.answers()
    assert [(reader.name, reader.source, reader.state) for reader in readers] == [
        (name, "simulated", "finished") for name in names
    ]
    assert len(answers) == 2 * 34
    with pytest.raises(StudyError):
        simulate_study(study_folder, readers=1, database=database, show=False)


def test_equal_seeds_give_equal_answers(study_folder: Path):
    """The answers depend on the seed and on nothing else."""
    opened = Study.open(study_folder)
    first, again, other = (simulate_answers(opened, ["x"], Skill(), seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_large_samples_agree_with_the_truths_by_quadrature():
    """AUC, sensitivity, share of unclear and κ of 200,000 answers are those that quadrature gives."""
    skill, n = Skill(1.0, criterion=-0.2, unclear=0.08), 200_000
    width, truth, d_prime = half_width(skill, 0.5), np.arange(n) < n // 2, np.array([0.7, 1.3])
    calls, confidences = answer_evidence(draw_evidence(truth, d_prime, skill, np.random.default_rng(0)), skill, width)
    scores = scores_of(calls, confidences)
    assert [auc(own, truth) for own in scores] == pytest.approx(true_auc(d_prime, skill, width), abs=0.004)
    assert (calls[:, truth] == 1).mean(axis=1) == pytest.approx(true_sensitivity(d_prime, skill, width), abs=0.005)
    assert (calls == 2).mean() == pytest.approx(0.08, abs=0.004)
    table = np.zeros((3, 3))
    np.add.at(table, (calls[0], calls[1]), 1)
    tables = call_tables(d_prime, skill, width)
    assert table / n == pytest.approx(tables[0], abs=0.004)
    assert cohen_kappa(table).value == pytest.approx(true_agreement(tables)["Cohen's κ"], abs=0.008)
    assert score_probabilities(d_prime, skill, width).sum(axis=-1) == pytest.approx([1, 1])


def test_a_guessing_reader_has_an_area_of_one_half():
    """With d' = 0 the true AUC is 1/2 whatever the leaning and the share of unclear."""
    for skill in (Skill(0.0), Skill(0.0, criterion=-1.0, unclear=0.3)):
        assert true_auc(np.zeros(1), skill, half_width(skill, 0.5)) == pytest.approx([0.5])


def test_fatigue_makes_late_answers_worse(study_folder: Path):
    """A reader whose d' falls from 4 to 0 is right early and guesses late."""
    opened, early, late = Study.open(study_folder), [], []
    for seed in range(300):
        for answer in simulate_answers(opened, ["x"], Skill(4.0, spread=0.0, unclear=0.0, fatigue=4.0), seed):
            if answer.kind == "test":
                right = answer.call == opened.cases[answer.case_id].truth
                (early if answer.position <= 17 else late).append(right)
    assert np.mean(early) - np.mean(late) > 0.15


def test_case_difficulty_is_shared_and_retest_noise_is_not():
    """The correlation of two readers' evidence within one truth is the shared share of variance."""
    skill = Skill(0.0, shared=0.6, retest=0.1)
    evidence = draw_evidence(np.zeros(100_000, dtype=bool), np.zeros(2), skill, np.random.default_rng(0))
    assert np.corrcoef(evidence)[0, 1] == pytest.approx(0.6, abs=0.01)
    assert evidence.var(axis=1) == pytest.approx([1, 1], abs=0.02)


def test_shares_of_variance_cannot_exceed_the_whole():
    """A skill whose parts add up to more than 1 is refused."""
    with pytest.raises(ConfigError, match="add up to 1"):
        Skill(shared=0.7, retest=0.5)


def test_pooled_intervals_cover_where_answers_taken_for_independent_do_not():
    """Over 200 studies with hard and easy cases, the interval by patient covers near 95 %, a binomial one far less."""
    rng, covered = np.random.default_rng(3), {"as reported": 0, "independent": 0}
    for _ in range(200):
        for name, interval in intervals(Setting(5, 40, Skill(1.0, shared=0.7)), rng):
            assert interval is not None
            _, low, high, truth = interval
            for key in covered:
                covered[key] += name.endswith(key) and "these readers" in name and low <= truth <= high
    assert covered["as reported"] >= 180
    assert covered["independent"] <= 165
