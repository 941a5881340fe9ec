"""`study power`: what a plan can find, checked against known powers and by its monotonicity."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from phonybrains.errors import ConfigError
from phonybrains.readerstudy.config import load_study_config
from phonybrains.readerstudy.power import Assumed, print_power, study_power
from phonybrains.statistics.power import arm_power, auc_arm


def test_the_papers_plan_cannot_answer_and_the_warnings_say_so() -> None:
    """Two readers and 40 synthetic images: little power, no readers in general, no specificity; exact figures."""
    found = study_power(load_study_config("paper"))
    text = " ".join([*found.one_reader, *found.warnings])
    assert (found.readers, found.phony, found.real) == (2, 40, 0)
    assert found.these < 0.5
    assert "it takes 27 to differ from chance; power 21%" in text
    assert "power 0% with 40 answers; 80 % needs 227" in text
    assert "2 readers cannot stand for readers in general" in text
    assert "there is no specificity" in text
    assert found.needed[0].in_general is None, "no number of cases makes up for two readers"


def test_the_cases_needed_are_the_fewest_that_reach_the_power() -> None:
    """The number in the table reaches 80 %, half as many do not; more readers need fewer cases."""
    found = study_power(load_study_config("controlled", readers=[f"R{i}" for i in range(6)]))
    six = next(row for row in found.needed if row.readers == 6)
    assert six.in_general is not None

    def power(cases: int) -> float:
        return arm_power(auc_arm(0.6, cases // 2, cases - cases // 2, 0.4, 0.05), 6, 0.1)

    assert power(six.in_general) >= 0.8 > power(six.in_general - 2)
    general = [row.in_general for row in found.needed if row.in_general]
    assert general == sorted(general, reverse=True)
    assert all(row.these <= row.in_general for row in found.needed if row.these and row.in_general)


def test_equivalence_asks_for_more_than_forty_cases() -> None:
    """A plan that registers equivalence is judged on it, and more cases give more power."""
    few, many = (
        study_power(load_study_config("controlled", plan={"hypothesis": "equivalence"},
                                      synthetic={"MR": n}, real={"MR": n}))
        for n in (20, 300)
    )  # fmt: skip
    assert few.question == "equivalence"
    assert few.these < 0.1
    assert many.these > 0.9
    assert any("equivalence would be shown for these readers in" in text for text in few.warnings)


def test_one_reader_has_no_result_for_readers_in_general() -> None:
    """Nothing is said of readers in general where there is one."""
    found = study_power(load_study_config("controlled", readers=["A"]))
    assert found.in_general is None
    assert found.half_width_in_general is None
    assert "this reader alone" in found.warnings[0]


def test_wider_intervals_for_readers_in_general() -> None:
    """Readers as a sample widen the interval; it shrinks with their number."""
    two, ten = (study_power(load_study_config("controlled", readers=[f"R{i}" for i in range(n)])) for n in (2, 10))
    assert two.half_width_in_general is not None
    assert ten.half_width_in_general is not None
    assert two.half_width_in_general > two.half_width_these > ten.half_width_these
    assert two.half_width_in_general > ten.half_width_in_general > ten.half_width_these


def test_the_table_prints_every_number_of_readers() -> None:
    """The printed table has a row for each number of readers, and the notes."""
    file = io.StringIO()
    print_power(study_power(load_study_config("paper")), Console(file=file, width=100, highlight=False))
    text = file.getvalue()
    assert all(f"│ {n} " in text for n in (2, 3, 4, 5, 6, 8, 10, 15, 20))
    assert "none to 5000" in text
    assert "note: 2 readers cannot" in text


@pytest.mark.parametrize(("assumed", "power", "named"), [
    (Assumed(effect=0.6), 0.8, "effect"), (Assumed(correlation=2), 0.8, "correlation"),
    (Assumed(reader_sd=-1), 0.8, "reader_sd"), (Assumed(), 1.5, "power"),
])  # fmt: skip
def test_an_assumption_that_cannot_be_is_named(assumed: Assumed, power: float, named: str) -> None:
    """The error names the assumption and its limits."""
    with pytest.raises(ConfigError, match=rf"^{named} = .* lies between"):
        study_power(load_study_config("paper"), power=power, assumed=assumed)


def test_a_plan_without_controls_has_no_auc() -> None:
    """AUC needs real controls."""
    with pytest.raises(ConfigError, match="needs real controls"):
        study_power(load_study_config("paper", plan={"primary": "auc"}))
