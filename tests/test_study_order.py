"""Order of a reader: every case, at a fair distance, balanced, each reader's own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.errors import ConfigError
from phonybrains.readerstudy.config import StudyConfig
from phonybrains.readerstudy.order import draw_blocks, number_of_repeats, presentations
from phonybrains.readerstudy.study import Case, Study
from study_files import make_study, small_config


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.open(make_study(tmp_path_factory.mktemp("order")))


def made_up(config: StudyConfig, cells: dict[tuple[str, str], int], training: int, checks: int) -> Study:
    """A study of cases without images, to draw orders from."""
    kinds = [("test", truth, modality, n) for (modality, truth), n in cells.items()]
    kinds += [("training", "real", "MR", training), ("check", "phony", "MR", checks)]
    cases = [
        Case(f"{role}{modality}{truth}{i}", "", role, truth, truth, modality, 1, 0, "a.u.", "")
        for role, truth, modality, n in kinds
        for i in range(n)
    ]
    return Study(Path(), config, {case.case_id: case for case in cases}, 1, 1, {})


sizes = st.fixed_dictionaries({
    ("MR", "real"): st.integers(0, 25), ("MR", "phony"): st.integers(5, 25),
    ("CT", "real"): st.integers(0, 25), ("CT", "phony"): st.integers(5, 25),
})  # fmt: skip


@given(cells=sizes, seed=st.integers(0, 2**63 - 1), training=st.integers(0, 8), checks=st.integers(0, 6),
       gap=st.integers(0, 8), block=st.integers(2, 12))  # fmt: skip
def test_every_case_is_shown_and_repeats_lie_apart(
    cells: dict[tuple[str, str], int], seed: int, training: int, checks: int, gap: int, block: int
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


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=5), longest=st.integers(2, 12),
       seed=st.integers(0, 2**32))  # fmt: skip
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


def test_block_lengths_and_first_truths_are_random(study: Study) -> None:
    """Over 200 readers the first test case is real about as often as phony, so that a place tells nothing."""
    firsts = []
    for number in range(200):
        order = presentations(study, f"reader {number}")
        firsts.append(study.cases[next(p.case_id for p in order if p.kind == "test")].truth)
    assert 70 <= firsts.count("real") <= 130


def test_repeats_that_do_not_fit_are_refused() -> None:
    """Ten repeats 20 presentations apart need 29 test cases; the error names the settings."""
    config = StudyConfig()
    assert number_of_repeats(config, 29) == 10
    assert number_of_repeats(config, 0) == 0
    with pytest.raises(ConfigError, match=r"10 cases .* 20 presentations .* 28 test cases; 9 would.*repeats\.gap"):
        number_of_repeats(config, 28)
