"""What cannot be said is refused with a sentence that says why: never a NaN, 0/0 or an interval of nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from phonybrains.statistics.agreement import cohen_kappa, fleiss_kappa, gwet_ac1
from phonybrains.statistics.counts import Claim, inconsistencies
from phonybrains.statistics.estimate import holm
from phonybrains.statistics.logistic import mixed_logistic, trend
from phonybrains.statistics.mrmc import jackknife_covariance, obuchowski_rockette
from phonybrains.statistics.multireader import areas, shares
from phonybrains.statistics.power import Components, arm_power, auc_arm, components, mrmc_power
from phonybrains.statistics.proportions import binomial_test, clopper_pearson, equivalence_test, mcnemar, wilson
from phonybrains.statistics.reliability import confusion_table, icc, krippendorff_alpha
from phonybrains.statistics.roc import auc, auc_interval, d_prime, delong_covariance, roc_curve
from tests.support.van_dyke import SCORES, TRUTH

N = np.nan
REFUSED: dict[str, tuple[Callable[..., Any], str, list[tuple[Any, ...]]]] = {
    # Agreement
    "κ of one category": (cohen_kappa, "same category", [([[9, 0], [0, 0]],)]),
    "κ of nothing": (cohen_kappa, "at least one unit", [([[0, 0], [0, 0]],)]),
    "an answer not on offer": (confusion_table, "maybe", [(["maybe"], ["real"], ["real"])]),
    "readers of other units": (confusion_table, "same length", [(["real"], ["real", "real"], ["real"])]),
    "AC1 of one unit, one category, one rater": (
        gwet_ac1,
        "AC1 needs",
        [([[1.0, 2.0]],), ([[1.0, 1.0], [1.0, 1.0]],), ([[1.0, N], [2.0, N]],)],
    ),
    "AC1 of an unknown category": (gwet_ac1, "not among the categories", [([[1.0, 3.0], [1.0, 2.0]], [1, 2])]),
    "Fleiss' κ of another number of raters each, of one": (
        fleiss_kappa,
        "same number of raters",
        [([[2, 1], [1, 1]],), ([[1, 0], [0, 1]],)],
    ),
    "Fleiss' κ of one category": (fleiss_kappa, "same category", [([[3, 0], [3, 0]],)]),
    "α of equal ratings, of units rated once": (
        krippendorff_alpha,
        "not defined",
        [([[1.0, 1.0], [1.0, 1.0]],), ([[1.0, N], [N, 2.0]],)],
    ),
    "a negative ratio": (krippendorff_alpha, "zero or more", [([[-1.0, 1.0], [2.0, 2.0]], "ratio")]),
    "an unknown metric": (krippendorff_alpha, "metric is", [([[1.0, 2.0], [2.0, 2.0]], "cardinal")]),
    "ICC with a rating missing, of one rater": (
        icc,
        "no missing rating",
        [([[1.0, N], [2.0, 3.0]],), ([[1.0], [2.0]],)],
    ),
    "ICC of raters who agree to the last digit": (icc, "raters who differ", [([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]],)]),
    "ICC of units with one mean": (
        icc,
        "all have the same mean",
        [([[1, 2], [2, 1]],), ([[1, 2, 3], [3, 2, 1], [2, 1, 3]],), ([[2, 2], [2, 2]],)],
    ),
    # Proportions
    "an exact test of no proportion": (binomial_test, "is no proportion", [(0, 0), (3, 2), (-1, 4)]),
    "an exact interval of no proportion": (clopper_pearson, "is no proportion", [(0, 0), (3, 2), (-1, 4)]),
    "a score interval of no proportion": (wilson, "is no proportion", [(0, 0), (3, 2), (-1, 4)]),
    "an exact interval at 95 for .95": (clopper_pearson, "between 0 and 1", [(1, 4, 0.0), (1, 4, 1.0), (1, 4, 95.0)]),
    "a score interval at 95 for .95": (wilson, "between 0 and 1", [(1, 4, 0.0), (1, 4, 1.0), (1, 4, 95.0)]),
    "a margin that leaves 0 to 1, or is nothing": (equivalence_test, "margin", [(5, 10, 0.5), (5, 10, 0.0)]),
    "pairs that are no 2 × 2 counts": (
        mcnemar,
        "2 × 2 table",
        [([[1, 2, 3], [4, 5, 6]],), ([[1, -2], [3, 4]],), ([[0.5, 1], [1, 1]],)],
    ),
    "1.2 as p": (holm, "between 0 and 1", [([1.2],)]),
    # Areas under curves
    **{
        f"{function.__name__} without {what}": (function, message, [arguments])
        for function in (roc_curve, auc, auc_interval, delong_covariance)
        for what, message, arguments in (
            ("a negative case", "one positive and one negative", ([1, 2], [True, True])),
            ("a positive case", "one positive and one negative", ([1, 2], [False, False])),
            ("a score", "missing", ([1, N], [True, False])),
            ("a truth", "a score and a truth", ([1, 2, 3], [True, False])),
        )
    },
    "d′ without a kind of case, of more hits than cases": (
        d_prime,
        "positive and negative",
        [(1, 2, 0, 0), (0, 0, 1, 2), (3, 2, 0, 1)],
    ),
    "a study without tests": (obuchowski_rockette, "tests × readers × cases", [(SCORES[0], TRUTH)]),
    "a study with a score missing": (obuchowski_rockette, "missing", [(np.where(SCORES == 4, N, SCORES), TRUTH)]),
    "a study with one positive case": (
        obuchowski_rockette,
        "at least two positive",
        [(SCORES[:, :, 68:], np.arange(46) < 1, each) for each in (jackknife_covariance, delong_covariance)],
    ),
    "areas without one kind of case": (areas, "positive and a negative", [(np.where(TRUTH, SCORES[0], N), TRUTH)]),
    "shares that nobody answered": (shares, "at least one answer", [(np.full((2, 3), N),)]),
    "shares with a patient missing": (shares, "as many patients", [(np.ones((2, 3)), [1, 2])]),
    # Power
    "a pilot of one test": (components, "two tests and two readers", [(obuchowski_rockette(SCORES[:1], TRUTH), 114)]),
    "one reader as a sample": (mrmc_power, "from two on", [(Components(1, 0, 0, 0, 0, 100), 1, 100, 0.05)]),
    "components without variance": (mrmc_power, "no variance", [(Components(0, 0, 0, 0, 0, 100), 3, 100, 0.05)]),
    "a correlation above 1, a negative spread, a certain result": (
        auc_arm,
        "An arm needs",
        [(0.5, 20, 20, 1.2, 0), (0.5, 20, 20, 0.3, -0.1), (1.0, 20, 20, 0.3, 0)],
    ),
    "one reader of an arm as a sample": (arm_power, "random_readers=False", [(auc_arm(0.6, 20, 20, 0.3, 0), 1, 0.1)]),
    # Regressions
    "a trend of all right, all wrong, wrong then right": (
        trend,
        "no finite slope",
        [(correct, [1, 2, 3, 4]) for correct in ([1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0])],
    ),
    "a trend of two reads, at one position": (
        trend,
        "more than one position",
        [([1, 0], [1, 2]), ([1, 0, 1], [4, 4, 4])],
    ),
    "a kind of case always answered rightly": (
        mixed_logistic,
        "right and wrong answers to both kinds",
        [([1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [True, True, False, False])],
    ),
    # Counts
    "a negative count, an answer of nobody, a reader without an answer": (
        inconsistencies,
        "no count of answers",
        [([Claim(-1)],), ([Claim(1, "real")],), ([Claim(1, None, ("A",))],)],
    ),
    "an unknown answer": (inconsistencies, "not one of the answers", [([Claim(1, "genuine", ("A",))],)]),
}


@pytest.mark.parametrize(("function", "message", "calls"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_said_is_refused(
    function: Callable[..., Any], message: str, calls: list[tuple[Any, ...]]
) -> None:
    """Each call ends with its sentence."""
    for arguments in calls:
        with pytest.raises(ValueError, match=message):
            function(*arguments)
