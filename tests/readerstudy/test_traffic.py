"""The test for leaks in the traffic of a study: false alarms are as rare as stated, and leaks are found."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom

from tests.support.study_traffic import groups_of, leak_p_value


class Shown(NamedTuple):
    """As much of a case as the order looks at: its stratum."""

    modality: str
    truth: str


CASES = [Shown(modality, truth) for modality in ("MR", "CT") for truth in ("real", "phony") for _ in range(20)]


def readings() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Tables of pure noise with truth and groups of a design: even, drifting, in runs, rare, and telling modality."""
    for number in range(10**6):
        rng = np.random.default_rng([7, number])
        shown: list[Any] = [CASES[i] for i in rng.permutation(len(CASES))]
        columns = [
            rng.lognormal(size=80),
            rng.lognormal(size=80) + np.linspace(0, 5, 80),
            np.cumsum(rng.normal(size=80)),
            rng.random(80) < 0.1,
            rng.integers(0, 6, 80) + 3 * np.array([case.modality == "CT" for case in shown]),
        ]
        yield np.column_stack(columns), np.array([case.truth == "phony" for case in shown]), groups_of(shown)


def test_false_alarms_are_as_rare_as_stated():
    """Of 400 tables of noise, as many lie below 1, 5, 20 and 50 % as there would be in 998 of 1000 such trials."""
    p_values = np.array([leak_p_value(*reading, draws=199) for reading in islice(readings(), 400)])
    for level in (0.01, 0.05, 0.2, 0.5):
        low, high = binom.ppf([0.001, 0.999], 400, level)
        assert low <= (p_values <= level).sum() <= high, level


def test_leaks_of_either_kind_are_found():
    """A feature that is larger for real, and one that varies more, in all of 20 tables; five of noise beside it."""
    for table, truth, groups in islice(readings(), 20):
        rng = np.random.default_rng(1)
        for leak in (rng.normal(size=80) - 2.5 * truth, rng.normal(size=80) * np.where(truth, 1, 20)):
            assert leak_p_value(np.column_stack([table, leak]), truth, groups, draws=1999) <= 0.001


def test_a_share_that_differs_between_modalities_is_no_leak():
    """What changes with the modality alone tells nothing of truth."""
    _, truth, groups = next(readings())
    assert leak_p_value(groups[:, None], truth, groups) == 1
