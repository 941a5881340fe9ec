"""`study power`: what a plan can find, checked against known powers and by its monotonicity."""

from __future__ import annotations

import io
import math
from functools import partial

import numpy as np
import pytest
from rich.console import Console
from scipy.special import ndtri

from phonybrains.errors import ConfigError
from phonybrains.readerstudy.config import load_study_config
from phonybrains.readerstudy.design.power import Assumed, print_power, study_power
from phonybrains.readerstudy.findings.primary import PrimaryTable, figures_of
from phonybrains.readerstudy.findings.registered import run_test
from phonybrains.statistics.power import arm_power, auc_arm

controlled = partial(load_study_config, "controlled")


def test_the_papers_plan_cannot_answer_and_the_warnings_say_so() -> None:
    """Two readers and 40 synthetic images: little power, no readers in general, no specificity; exact figures."""
    found = study_power(load_study_config("paper"))
    text = " ".join([*found.one_reader, *found.warnings])
    assert (found.readers, found.phony, found.real) == (2, 40, 0)
    assert found.these < 0.5
    assert "it takes 27 to differ from half; power 21%" in text
    assert "power 0% with 40 answers; 80 % needs 227" in text
    assert "2 readers cannot stand for readers in general" in text
    assert "there is no specificity" in text
    assert found.needed[0].in_general is None, "no number of cases makes up for two readers"


def test_the_cases_needed_are_the_fewest_that_reach_the_power() -> None:
    """The number in the table reaches 80 %, half as many do not; more readers need fewer cases."""
    found = study_power(controlled(readers=[f"R{i}" for i in range(6)]))
    six = next(row for row in found.needed if row.readers == 6)
    assert six.in_general is not None

    def power(cases: int) -> float:
        on_scale = math.log(0.6 / 0.4) * 0.6 * 0.4  # the effect as the analysis sees it, on the logit scale
        return arm_power(auc_arm(0.6, cases // 2, cases - cases // 2, 0.4, 0.05), 6, on_scale)

    assert power(six.in_general) >= 0.8 > power(six.in_general - 2)
    general = [row.in_general for row in found.needed if row.in_general]
    assert general == sorted(general, reverse=True)
    assert all(row.these <= row.in_general for row in found.needed if row.these and row.in_general)


def test_equivalence_asks_for_more_than_forty_cases() -> None:
    """A plan that registers equivalence is judged on it, and more cases give more power."""
    few, many = (
        study_power(controlled(plan={"hypothesis": "equivalence"}, synthetic={"MR": n}, real={"MR": n}))
        for n in (20, 300)
    )
    assert few.question == "equivalence"
    assert few.these < 0.1
    assert many.these > 0.9
    assert any("equivalence would be shown for these readers in" in text for text in few.warnings)


def test_one_reader_has_no_result_for_readers_in_general() -> None:
    """Nothing is said of readers in general where there are one or two, however many cases."""
    for readers, words in ((["A"], "this reader alone"), (["A", "B"], "these two alone")):
        found = study_power(controlled(readers=readers))
        assert found.in_general is None
        assert found.half_width_in_general is None
        assert words in found.warnings[0]
        assert found.needed[0].in_general is None


def test_wider_intervals_for_readers_in_general() -> None:
    """Readers as a sample widen the interval; it shrinks with their number."""
    few, ten = (study_power(controlled(readers=[f"R{i}" for i in range(n)])) for n in (3, 10))
    assert few.half_width_in_general is not None
    assert ten.half_width_in_general is not None
    assert few.half_width_in_general > few.half_width_these > ten.half_width_these
    assert few.half_width_in_general > ten.half_width_in_general > ten.half_width_these


def test_the_table_prints_every_number_of_readers() -> None:
    """The printed table has a row for each number of readers, and the notes."""
    file = io.StringIO()
    print_power(study_power(load_study_config("paper")), Console(file=file, width=100, highlight=False))
    text = file.getvalue()
    assert all(f"│ {n} " in text for n in (2, 3, 4, 5, 6, 8, 10, 15, 20))
    assert "none to 5000" in text
    assert "note: 2 readers cannot" in text


@pytest.mark.parametrize(
    ("assumed", "power", "named"),
    [
        (Assumed(effect=0.6), 0.8, "effect"),
        (Assumed(correlation=2), 0.8, "correlation"),
        (Assumed(reader_sd=-1), 0.8, "reader_sd"),
        (Assumed(), 1.5, "power"),
    ],
)
def test_an_assumption_that_cannot_be_is_named(assumed: Assumed, power: float, named: str) -> None:
    """The error names the assumption and its limits."""
    with pytest.raises(ConfigError, match=rf"^{named} = .* lies between"):
        study_power(load_study_config("paper"), power=power, assumed=assumed)


def test_a_plan_without_controls_has_no_figure_of_skill() -> None:
    """AUC and balanced accuracy need real controls; a configuration of before that asks for plain accuracy is told why
    not, and what to take."""
    for primary in ("auc", "balanced_accuracy"):
        with pytest.raises(ConfigError, match="needs real controls"):
            study_power(load_study_config("paper", plan={"primary": primary}))
    with pytest.raises(ConfigError, match=r"'accuracy' was withdrawn: a reader who guesses .* 'balanced_accuracy'"):
        controlled(plan={"primary": "accuracy"})


def test_planned_power_is_that_of_the_analysis() -> None:
    """Of 400 studies drawn as assumed, the registered test finds as many as planned, within two standard errors."""
    config = load_study_config(
        "controlled", readers=["A", "B"], synthetic={"MR": 40}, real={"MR": 40}, plan={"hypothesis": "difference"}
    )
    rng = np.random.default_rng(0)
    truth, found, correlations = np.arange(80) < 40, 0, []
    for _ in range(400):
        scores = math.sqrt(2) * ndtri(0.65) * truth + 0.65 * rng.standard_normal(80)
        scores = scores + math.sqrt(1 - 0.65**2) * rng.standard_normal((2, 80))
        whose = np.arange(80).astype(str)
        table = PrimaryTable("auc", ("A", "B"), scores, truth, np.full(80, "MR"), whose)
        covariance = figures_of(table).covariance
        correlations.append(covariance[0, 1] / covariance.trace() * 2)
        test = run_test(table, config.plan, "these readers", draws=199)
        found += test is not None and test.shown is True
    assumed = Assumed(effect=0.15, correlation=float(np.mean(correlations)), reader_sd=0.0)
    planned = study_power(config, assumed=assumed).these
    assert abs(found / 400 - planned) < 2 * math.sqrt(planned * (1 - planned) / 400) + 0.01
