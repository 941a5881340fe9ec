"""Nulls of real against real: people stay on one side, tests keep their level, and equivalence has to be shown."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from phonybrains.evaluation.outcomes import outcome_of
from phonybrains.evaluation.quality.nulls import deal_like, null_of, p_of, real_against_real
from phonybrains.evaluation.quality.scores import Against, frechet_score, kernel_scores, neighbour_scores
from phonybrains.evaluation.score import Null


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def people(n: int, each: int) -> list[str]:
    return [f"patient {i // each}" for i in range(n)]


def test_no_person_is_on_both_sides(rng: Generator):
    """Draws of the sizes asked for: whole patients stand for the held-out side, images of others for the made."""
    groups = rng.permutation(people(300, 10)).tolist()
    seen = set()
    for made, held in real_against_real(groups, 100, 45, 20):
        assert (len(made), len(held), len(set(made.tolist()))) == (100, 45, 100)
        mine, others = {groups[i] for i in held}, {groups[i] for i in made}
        assert not mine & others
        assert len(mine) == 5
        assert len(others) > 20
        seen |= mine
    assert len(seen) > 25


def test_equal_seeds_draw_alike_and_others_do_not():
    """The draws follow from the seed."""
    first, again, other = (
        [tuple(pair[1].tolist()) for pair in real_against_real(people(90, 3), 30, 30, 5, seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert not set(first) & set(other)
    assert len(set(first)) == 5


def test_too_few_people_are_an_error():
    """One patient cannot be on two sides; fewer images than asked for are all taken."""
    with pytest.raises(ValueError, match="too few to divide"):
        list(real_against_real(["one"] * 50, 10, 10, 1))
    ((made, held),) = real_against_real(people(40, 10), 100, 15, 1)
    assert (len(made), len(held)) == (20, 15)


def test_folds_without_people_follow_the_others(rng: Generator):
    """Each fold's share is that of the folds with people, whatever the number."""
    folds = np.repeat([0, 1, 2], [50, 30, 20])
    assert np.bincount(deal_like(folds, 1000, rng)).tolist() == [500, 300, 200]
    assert len(deal_like(folds, 7, rng)) == 7


def test_p_counts_what_is_as_bad():
    """(1 + draws as bad) / (1 + draws), in the direction that is bad; two-sided where neither is good."""
    drawn = list(range(1, 20))
    assert p_of(19, drawn) == pytest.approx(2 / 20)
    assert p_of(20, drawn) == pytest.approx(1 / 20)
    assert p_of(1, drawn, "high") == pytest.approx(2 / 20)
    assert p_of(20, drawn, "near") == pytest.approx(2 / 20)
    assert p_of(10, drawn, "near") == 1
    assert null_of([3.0, 1.0, 2.0]) == Null(2, 1.05, 2.95, 3)


def simulated(rng: Generator, shift: float = 0.0, draws: int = 39) -> Against:
    """200 real feature vectors of 100 people who look alike, 40 held out, and 40 made ones of the same source."""
    real, made = rng.normal(size=(200, 8)), rng.normal(shift, 1, (40, 8))
    groups = people(200, 2)
    pairs = list(real_against_real(groups, 40, 40, draws, int(rng.integers(2**31))))
    return Against(made, real, groups, np.arange(40), pairs, {"modality": "MR"}, 0)


def test_perfect_generators_are_rejected_at_the_level(rng: Generator):
    """Of 200 perfect sets about 5 % lie beyond 95 % of real against real, by KID, Fréchet distance and precision.

    bench/evaluation_level.py does the same with 1000.
    """
    found = []
    for _ in range(200):
        x = simulated(rng, draws=19)  # the least with which p can be 0.05
        scores = [*kernel_scores(x, 19), frechet_score(x, "fd"), *neighbour_scores(x, 5)[:2]]
        found.append([score.p for score in scores] + [p_of(scores[0].value or 0, drawn_of(x))])
    shares = (np.array(found, dtype=float) <= 0.05).mean(axis=0)
    assert (shares < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 200)).all()
    assert (shares[[0, 1, 2, 5]] > 0.05 - 2.6 * np.sqrt(0.05 * 0.95 / 200)).all()  # precision comes in steps


def drawn_of(x: Against) -> list[float]:
    from phonybrains.evaluation.quality.distances import kid

    return [kid(x.real[a], x.real[b])[0] for a, b in x.draws]


def test_the_null_of_kid_is_kid_of_the_draws(rng: Generator):
    """What is cut out of one large kernel equals KID computed draw by draw, and the value is KID of the two sides."""
    x = simulated(rng, draws=10)
    score = kernel_scores(x, 9)[0]
    drawn = drawn_of(x)
    assert score.null is not None
    assert [score.null.low, score.null.value, score.null.high] == pytest.approx(np.quantile(drawn, [0.025, 0.5, 0.975]))
    assert (score.n, score.modality, score.null.draws) == (40, "MR", 10)


def test_a_shifted_set_is_apart_by_every_distance(rng: Generator):
    """A shift of one deviation: the smallest p there is, beyond the null, judged apart."""
    x = simulated(rng, shift=1.0)
    for score in [*kernel_scores(x, 39), frechet_score(x, "fd")]:
        assert score.p == pytest.approx(1 / 40)
        assert outcome_of(score) == "apart"
    coverage = neighbour_scores(x, 5)[3]
    assert outcome_of(coverage) == "apart"
