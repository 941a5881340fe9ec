"""Made images of one modality (or group) against real ones, by one kind of features: each measure beside its null."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features.spectrum import ratio_db, worst_db
from ..inputs.patients import deal
from ..score import Null, Score
from . import c2st
from .distances import fid, frd, frechet_of, gaussian, median_distance, mmd_of, mmd_test, polynomial
from .neighbours import expected_coverage, neighbourhoods
from .nulls import Better, deal_like, null_of, p_of

Array = NDArray[Any]
Measure = Callable[[Array, Array], float]
Pairs = Sequence[tuple[Array, Array]]
FOLDS, SHARED_DRAWS = 5, 20
"""Folds of the two-sample test, and draws of its null: it is the slow one."""
CHANCE = Null(0.5, 0.35, 0.65)
"""Where none is drawn: chance, and what few people add to it, since real halves gave AUCs of up to 0.63."""
FAINT = 0.1  # grey levels
PERMUTED = "p by permutation, which takes images for independent"


@dataclass(frozen=True)
class Against:
    """Features of the made images (n, d) and of all real ones (N, d), which of these are held out, and the draws."""

    made: Array
    real: Array
    groups: Sequence[str]
    held: Array
    draws: Pairs
    where: dict[str, Any]
    seed: int = 0

    @property
    def n(self) -> int:
        """The images a score rests on: those of the smaller side."""
        return min(len(self.made), len(self.held))

    def score(
        self, name: str, value: float, measure: Measure, better: Better, *, count: int | None = None, **more: Any
    ) -> Score:
        """A value with the null that the measure, given numbers of real images, finds in the draws."""
        drawn = [found for a, b in self.draws[:count] if np.isfinite(found := measure(a, b))]
        null = null_of(drawn) if len(drawn) > 1 else None
        more = {"p": p_of(value, drawn, better) if null else None} | more
        return Score(name, value, n=self.n, null=null, **self.where, **more)


def kernel_scores(x: Against, permutations: int) -> list[Score]:
    """KID with its jackknife interval, and the MMD of a Gaussian kernel as wide as real images lie apart."""
    held = x.real[x.held]
    scores = []
    for name, kernel in (("kid", polynomial), ("mmd_rbf", gaussian(median_distance(held, seed=x.seed)))):
        gram = kernel(x.real, x.real)
        value, error = mmd_of(kernel(x.made, x.made), gram[np.ix_(x.held, x.held)], kernel(x.made, held))
        p = mmd_test(x.made, held, kernel, permutations, x.seed)[1]
        limits: dict[str, Any] = {"low": value - 1.96 * error, "high": value + 1.96 * error}

        def measure(a: Array, b: Array, gram: Array = gram) -> float:
            return mmd_of(gram[np.ix_(a, a)], gram[np.ix_(b, b)], gram[np.ix_(a, b)])[0]

        scores.append(x.score(name, value, measure, "low", p=p, note=PERMUTED, **limits))
    return scores


def frechet_score(x: Against, name: str) -> Score:
    """Fréchet distance: of networks' features as FID is defined, of handcrafted ones with shrunk covariances, of
    radiomic ones as FRD is defined."""
    distance = {"fd_handcrafted": frechet_of, "frd": frd}.get(name, fid)
    return x.score(name, distance(x.made, x.real[x.held]), lambda a, b: distance(x.real[a], x.real[b]), "low")


def neighbour_scores(x: Against, k: int) -> list[Score]:
    """Precision, recall, density and coverage; the draws' null of coverage stands beside what theory expects."""
    found = neighbourhoods(x.made, x.real[x.held], k)
    drawn = {id(pair): neighbourhoods(x.real[pair[0]], x.real[pair[1]], k) for pair in x.draws}
    expected = expected_coverage(len(x.made), len(x.held), k)
    notes = {"coverage": f"k = {k}; {expected:.3f} expected of independent images of one distribution"}
    scores = []
    for name in ("precision", "recall", "density", "coverage"):
        values = [getattr(each, name) for each in drawn.values()]
        better: Better = "near" if name == "density" else "high"
        null = null_of(values) if len(values) > 1 else None
        p = p_of(getattr(found, name), values, better) if null else None
        scores.append(
            Score(name, getattr(found, name), n=x.n, null=null, p=p, note=notes.get(name, f"k = {k}"), **x.where)
        )
    return scores


def two_sample_scores(
    x: Against, name: str, learner: c2st.Learner, draws: int = SHARED_DRAWS
) -> tuple[list[Score], c2st.TwoSample]:
    """Whether a classifier tells made from held-out images: AUC and accuracy, each beside its null.

    draws: of the null, at most. With none, CHANCE stands in its place. The accuracy's p is exact, but takes
    images for independent.
    """

    def test(made: Array, real: Array, groups: Sequence[str]) -> c2st.TwoSample:
        rng = np.random.default_rng(x.seed)
        folds = deal(groups, FOLDS, rng)
        return c2st.two_sample(real, made, folds, deal_like(folds, len(made), rng), learner, np.array(groups))

    drawn = []
    for a, b in x.draws[:draws]:
        with suppress(ValueError):  # a draw of one patient
            drawn.append(test(x.real[a], x.real[b], [x.groups[int(i)] for i in b]))
    found = test(x.made, x.real[x.held], [x.groups[int(i)] for i in x.held])
    auc, accuracy, aucs = found.auc, found.accuracy, [each.auc.value for each in drawn]
    known = len(drawn) > 1
    p = p_of(auc.value, aucs) if known else None
    scores = [
        Score(
            f"{name}_auc",
            auc.value,
            auc.low,
            auc.high,
            x.n,
            null_of(aucs) if known else CHANCE,
            p,
            note=f"{found.folds} folds by patient",
            **x.where,
        ),
        Score(
            f"{name}_accuracy",
            accuracy.value,
            accuracy.low,
            accuracy.high,
            accuracy.n // 2,
            null_of([each.accuracy.value for each in drawn]) if known else CHANCE,
            found.p,
            note=f"on {accuracy.n} images of patients not learnt from; exact",
            **x.where,
        ),
    ]
    return scores, found


def spectrum_score(x: Against, made: Array, real: Array) -> Score:
    """The largest deviation of the mean power spectrum, from powers (n, bands) and (N, bands), in dB."""

    def measure(a: Array, b: Array) -> float:
        return worst_db(ratio_db(real[a], real[b]))

    return x.score(
        "spectrum_worst_db",
        worst_db(ratio_db(made, real[x.held])),
        measure,
        "low",
        note="up to 80 % of the Nyquist frequency",
    )


def noise_score(x: Against, made: Array, real: Array) -> Score:
    """Median noise of the made images over that of the held-out ones, from grey levels (n,) and (N,)."""

    def ratio(a: Array, b: Array) -> float:
        return float((np.median(a) + FAINT) / (np.median(b) + FAINT))

    return x.score(
        "noise_ratio",
        ratio(made, real[x.held]),
        lambda a, b: ratio(real[a], real[b]),
        "near",
        note="finest wavelet detail; 1 is as real",
    )
