"""Made images of one modality (or group) against real ones, by one kind of features: each measure beside its null."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..inputs.patients import deal
from ..score import Null, Score
from . import c2st
from .distances import fid, frd, frechet_of, gaussian, kid_interval, median_distance, mmd_of, mmd_test, polynomial
from .neighbours import expected_coverage, neighbourhoods
from .nulls import Better, deal_like, null_of, p_of

Pairs = Sequence[tuple[Array, Array]]
FOLDS, SHARED_DRAWS = 5, 20
"""Folds of the two-sample test, and draws of its null: it is the slow one."""
CHANCE = Null(0.5, 0.35, 0.65)
"""Where none is drawn: chance, and what few people add to it, since real halves gave AUCs of up to 0.63."""
FAINT = 0.1  # grey levels
PERMUTED = "p by permutation, which takes images for independent"
ALONE = "no interval, as held-out images show one patient"


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

    def beside(self, name: str, value: float, drawn: Sequence[float], better: Better = "low", **more: Any) -> Score:
        """A value beside what the same measure gives of the draws: two that are numbers make a null and a p."""
        drawn = [one for one in drawn if np.isfinite(one)]
        judged = {"null": null_of(drawn), "p": p_of(value, drawn, better)} if len(drawn) > 1 else {}
        return Score(name, value, **{"n": self.n, **judged, **self.where, **more})


def kernel_scores(x: Against, permutations: int) -> list[Score]:
    """KID with its jackknife interval by patient, and the MMD of a Gaussian kernel as wide as real images lie apart."""
    held, people = x.real[x.held], [x.groups[int(i)] for i in x.held]
    scores = []
    for name, kernel in (("kid", polynomial), ("mmd_rbf", gaussian(median_distance(held, seed=x.seed)))):
        gram = kernel(x.real, x.real)
        of_held = gram[np.ix_(x.held, x.held)]
        value, error = mmd_of(kernel(x.made, x.made), of_held, kernel(x.made, held), (None, people))
        p = mmd_test(x.made, held, kernel, permutations, x.seed)[1]
        drawn = [mmd_of(gram[np.ix_(a, a)], gram[np.ix_(b, b)], gram[np.ix_(a, b)])[0] for a, b in x.draws]
        own = kid_interval(value, error, x.n, people)
        limits: dict[str, Any] = {"low": own and own.low, "high": own and own.high}
        limits["note"] = PERMUTED if own else f"{PERMUTED}; {ALONE}"
        scores.append(x.beside(name, value, drawn, "low", p=p, **limits))
    return scores


def frechet_score(x: Against, name: str) -> Score:
    """Fréchet distance: of networks' features as FID is defined, of handcrafted ones with shrunk covariances, of
    radiomic ones as FRD is defined."""
    distance = {"fd_handcrafted": frechet_of, "frd": frd}.get(name, fid)
    return x.beside(name, distance(x.made, x.real[x.held]), [distance(x.real[a], x.real[b]) for a, b in x.draws])


def neighbour_scores(x: Against, k: int) -> list[Score]:
    """Precision, recall, density and coverage; the draws' null of coverage stands beside what theory expects."""
    found = neighbourhoods(x.made, x.real[x.held], k)
    drawn = [neighbourhoods(x.real[a], x.real[b], k) for a, b in x.draws]
    expected = expected_coverage(len(x.made), len(x.held), k)
    notes = {"coverage": f"k = {k}; {expected:.3f} expected of independent images of one distribution"}
    scores = []
    for name, value in asdict(found).items():
        better: Better = "near" if name == "density" else "high"
        values = [getattr(each, name) for each in drawn]
        scores.append(x.beside(name, value, values, better, note=notes.get(name, f"k = {k}")))
    return scores


def two_sample_scores(
    x: Against, name: str, learner: c2st.Learner, draws: int = SHARED_DRAWS
) -> tuple[list[Score], c2st.TwoSample]:
    """Whether a classifier tells made from held-out images: AUC and accuracy, each beside its null.

    draws: of the null, at most. With none, CHANCE stands in its place.
    """

    def test(made: Array, numbers: Array) -> c2st.TwoSample:
        rng, groups = np.random.default_rng(x.seed), [x.groups[int(i)] for i in numbers]
        folds = deal(groups, FOLDS, rng)
        return c2st.two_sample(
            x.real[numbers], made, folds, deal_like(folds, len(made), rng), learner, np.array(groups)
        )

    drawn = []
    for a, b in x.draws[:draws]:
        with suppress(ValueError):  # a draw of one patient
            drawn.append(test(x.real[a], b))
    found = test(x.made, x.held)
    auc, accuracy = found.auc, found.accuracy
    chance = {} if len(drawn) > 1 else {"null": CHANCE}
    whole = {"low": auc.low, "high": auc.high, "note": f"{found.folds} folds by patient", **chance}
    exact = {"low": accuracy.low, "high": accuracy.high, "n": accuracy.n // 2, "p": found.p, **chance}
    exact["note"] = f"on {accuracy.n} images of patients not learnt from; exact, and no surer than patients allow"
    scores = [
        x.beside(f"{name}_auc", auc.value, [each.auc.value for each in drawn], **whole),
        x.beside(f"{name}_accuracy", accuracy.value, [each.accuracy.value for each in drawn], **exact),
    ]
    return scores, found


def noise_score(x: Against, made: Array, real: Array) -> Score:
    """Median noise of the made images over that of the held-out ones, from grey levels (n,) and (N,)."""

    def ratio(a: Array, b: Array) -> float:
        return float((np.median(a) + FAINT) / (np.median(b) + FAINT))

    drawn = [ratio(real[a], real[b]) for a, b in x.draws]
    return x.beside("noise_ratio", ratio(made, real[x.held]), drawn, "near", note="finest wavelet detail; 1 is as real")
