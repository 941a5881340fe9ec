"""Order of a reader: every case, at a fair distance, balanced, each reader's own."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from phonybrains.errors import ConfigError
from phonybrains.readerstudy.config import StudyConfig
from phonybrains.readerstudy.design.order import draw_blocks, fillers_for, foresight, number_of_repeats, presentations
from phonybrains.readerstudy.study import Case, Study
from tests.support.study_files import small_config

FROZEN = "34a4568b9d4536348d3ad4abe5fd8e81cc267a57ace412bb095fe3c4cbab6bd3"


def made_up(
    config: StudyConfig, cells: dict[tuple[str, str], int], training: int, checks: int, fillers: int = 0
) -> Study:
    """A study of cases without images, to draw orders from."""
    kinds = [("test", truth, modality, n) for (modality, truth), n in cells.items()]
    kinds += [("training", "real", "MR", training), ("check", "phony", "MR", checks)]
    kinds += [("filler", truth, modality, fillers) for modality, truth in cells]
    cases = [
        Case(f"{role}{modality}{truth}{i}", "", role, truth, truth, modality, 1, 0, "a.u.", "")
        for role, truth, modality, n in kinds
        for i in range(n)
    ]
    return Study(Path(), config, {case.case_id: case for case in cases}, 1, 1, {})


LEAST = {"real": 0, "phony": 5}
sizes = st.fixed_dictionaries({(m, t): st.integers(least, 25) for m in ("MR", "CT") for t, least in LEAST.items()})


@given(
    cells=sizes,
    seed=st.integers(0, 2**63 - 1),
    training=st.integers(0, 8),
    checks=st.integers(0, 6),
    gap=st.integers(0, 8),
    block=st.one_of(st.none(), st.integers(2, 12)),
)
def test_every_case_is_shown_and_repeats_lie_apart(
    cells: dict[tuple[str, str], int], seed: int, training: int, checks: int, gap: int, block: int | None
) -> None:
    """Whatever the sizes: positions 1, 2, …; training first; each case once; repeats twice, at least `gap` later."""
    config = small_config(seed=seed, block=block, repeats={"share": 0.1, "least": 3, "gap": gap})
    study = made_up(config, cells, training, checks)
    order = presentations(study, "reader 1")
    assert [p.position for p in order] == list(range(1, len(order) + 1))
    assert [p.kind for p in order[:training]] == ["training"] * training
    assert {p.case_id for p in order} == set(study.cases)
    first = {p.case_id: p.position for p in order if p.kind != "repeat"}
    assert len(first) == len(study.cases)
    repeats = [p for p in order if p.kind == "repeat"]
    assert len(repeats) == number_of_repeats(config, sum(cells.values())) == len({p.case_id for p in repeats})
    assert all(study.cases[p.case_id].role == "test" for p in repeats)
    assert all(p.position - first[p.case_id] >= gap for p in repeats)


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5), longest=st.integers(2, 12), seed=st.integers(0, 2**32)
)
def test_blocks_keep_each_stratum_in_balance(counts: list[int], longest: int, seed: int) -> None:
    """No block is longer than asked; at each block's end every stratum is within two cases of its share."""
    items = [(name, i) for name, n in enumerate(counts) for i in range(n)]
    blocks = draw_blocks(items, lambda item: item[0], longest, np.random.default_rng(seed))
    assert sorted(item for block in blocks for item in block) == items
    assert all(1 <= len(block) <= longest for block in blocks)
    shown: Counter[int] = Counter()
    for block in blocks:
        shown.update(name for name, _ in block)
        done = shown.total()
        assert all(abs(shown[name] - done * n / len(items)) <= 2 for name, n in enumerate(counts))


def test_an_order_depends_on_seed_and_reader_alone(study: Study) -> None:
    """The same reader gets the same order again; another reader or another seed gets another."""
    other = replace(study, config=study.config.model_copy(update={"seed": 8}))
    assert presentations(study, "reader 1") == presentations(study, "reader 1")
    assert presentations(study, "reader 1") != presentations(study, "reader 2")
    assert presentations(study, "reader 1") != presentations(other, "reader 1")


def test_a_study_frozen_with_blocks_keeps_its_order() -> None:
    """The order of a protocol that holds a block is what it was before blocks were given up: its hash is pinned."""
    config = small_config(seed=7, block=8, repeats={"share": 0.1, "least": 4, "gap": 6})
    study = made_up(config, {(m, t): 10 for m in ("MR", "CT") for t in ("real", "phony")}, 4, 2)
    order = " ".join(f"{p.case_id}:{p.kind}" for p in presentations(study, "reader 1"))
    assert hashlib.sha256(order.encode()).hexdigest() == FROZEN


def reads(study: Study, reader: str) -> list[tuple[str, bool]]:
    """Modality and truth of what a reader sees for the first time, training and checks left out."""
    shown = [study.cases[p.case_id] for p in presentations(study, reader) if p.kind in ("test", "filler")]
    return [(case.modality, case.truth == "phony") for case in shown]


def points_above_chance(study: Study, readers: int, guess: Callable[[int, int], float]) -> float:
    """How often a guess from what was seen of the modality (phony, real) is right, minus one half, in points."""
    right = []
    for number in range(readers):
        seen: Counter[tuple[str, bool]] = Counter()
        for modality, phony in reads(study, f"reader {number}"):
            lean = guess(seen[modality, True], seen[modality, False])
            right.append(0.5 if lean == 0 else float((lean > 0) == phony))
            seen[modality, phony] += 1
    return 100 * (float(np.mean(right)) - 0.5)


def test_nobody_who_counts_guesses_the_next_truth() -> None:
    """With 20 + 20 cases of each modality and its fillers, the best guess from all past truths, and the gambler's and
    its opposite, gain 3 points at most over 500 readers of one study; without fillers the gambler's gains 8."""
    cells = {(m, t): 20 for m in ("MR", "CT") for t in ("real", "phony")}
    config, number = small_config(seed=1, repeats={"share": 0}), fillers_for(20, 20)

    @cache
    def best(phony: int, real: int) -> float:
        weights = [
            math.comb(20 + k, phony)
            * math.comb(20 + number - k, real)
            * np.array([20 + k - phony, 20 + number - k - real])
            for k in range(number + 1)
            if phony <= 20 + k and real <= 20 + number - k
        ]
        return float(np.subtract(*np.sum(weights, axis=0)))

    study = made_up(config, cells, 0, 0, number)
    assert points_above_chance(study, 500, best) < 3
    assert abs(points_above_chance(study, 500, lambda phony, real: real - phony)) < 3
    assert points_above_chance(made_up(config, cells, 0, 0), 200, lambda phony, real: real - phony) > 7.5


@pytest.mark.parametrize("sizes", [(20, 20), (12, 12), (40, 40), (20, 10), (80, 80), (60, 20)])
def test_fillers_keep_foresight_within_three_points(sizes: tuple[int, int]) -> None:
    """The exact gain of the best guess is below 3 points with the fillers that are chosen, for many sizes."""
    assert foresight(*sizes, fillers_for(*sizes)) < 0.03


def test_foresight_is_that_of_counting_cards() -> None:
    """Without fillers: n + 2^(2n-1)/C(2n, n) - 1/2 of 2n are guessed rightly, the known answer for a pack of two
    colours; where one side alone is shown there is nothing to guess."""
    for n in (2, 10, 20):
        assert foresight(n, n, 0) == pytest.approx((2 ** (2 * n - 1) / math.comb(2 * n, n) - 0.5) / (2 * n))
    assert foresight(5, 0, 0) == 0


def test_each_reader_draws_fillers_of_their_own() -> None:
    """Eight of sixteen a modality, each number of phony ones about as often; all test cases are shown to everybody."""
    cells = {("MR", "real"): 20, ("MR", "phony"): 20}
    study = made_up(small_config(seed=2, repeats={"share": 0}), cells, 0, 0, 8)
    numbers: Counter[int] = Counter()
    for number in range(450):
        order = presentations(study, f"reader {number}")
        assert Counter(p.kind for p in order) == {"test": 40, "filler": 8}
        assert len({p.case_id for p in order}) == 48
        numbers[sum(p.kind == "filler" and study.cases[p.case_id].truth == "phony" for p in order)] += 1
    assert sorted(numbers) == list(range(9))
    assert chisquare(list(numbers.values())).pvalue > 0.001


def test_no_place_in_the_order_tells_the_truth() -> None:
    """Over 400 readers every place is phony as often as chance has it, first and last among them."""
    cells = {("MR", "real"): 6, ("MR", "phony"): 6}
    study = made_up(small_config(seed=3, repeats={"share": 0}), cells, 0, 0, 6)
    shares = np.mean([[phony for _, phony in reads(study, f"reader {i}")] for i in range(400)], axis=0)
    assert np.abs(shares - 0.5).max() < 4.5 * 0.5 / 20


def test_repeats_that_do_not_fit_are_refused() -> None:
    """Ten repeats 20 presentations apart need 29 test cases; the error names the settings."""
    config = StudyConfig()
    assert number_of_repeats(config, 29) == 10
    assert number_of_repeats(config, 0) == 0
    with pytest.raises(ConfigError, match=r"10 cases .* 20 presentations .* 28 test cases; 9 would.*repeats\.gap"):
        number_of_repeats(config, 28)
