"""How often the reader study's 95 % intervals cover the truth: simulated studies, truths by numerical integration.

    python bench/study_coverage.py --studies 1000 --out coverage.csv

Every study has new cases and new readers (d' drawn anew), and answers as `phonybrains study simulate` gives them. The
truth of single readers, of these readers and of readers in general follows from the model by quadrature, so that the
only error left is that of counting studies: ± 1.4 points (two standard errors) for 95 % of 1000.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from phonybrains.readerstudy.findings.concord import among_all, of_two
from phonybrains.readerstudy.findings.pooled import in_general, pooled_share, share_covariance
from phonybrains.readerstudy.findings.rating import mean_auc
from phonybrains.readerstudy.findings.reads import Finding
from phonybrains.readerstudy.simulate import Skill, answer_evidence, draw_evidence, half_width, scores_of
from phonybrains.statistics.proportions import clopper_pearson, wilson
from phonybrains.statistics.roc import auc_interval

Floats = NDArray[np.float64]
Interval = tuple[float, float, float, float]  # value, low, high, truth
NODES, WEIGHTS = hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Setting:
    """One kind of study: readers, cases of each truth, how readers see."""

    readers: int
    cases: int
    skill: Skill
    alpha: bool = False
    """Also the bootstrap of Krippendorff's α and Fleiss' κ, which is slow."""


SETTINGS = (
    *(Setting(2, n, Skill(d)) for n in (20, 40, 100) for d in (0.0, 1.0, 2.0)),
    *(Setting(5, n, Skill(d)) for n in (20, 40, 100) for d in (0.0, 1.0, 2.0)),
    *(Setting(3, n, Skill(1.0)) for n in (20, 40, 100)), Setting(10, 40, Skill(1.0)),
    Setting(5, 40, Skill(1.0, criterion=-0.5)), Setting(2, 40, Skill(1.0, criterion=-0.5)),
    Setting(5, 40, Skill(1.0, shared=0.7)), Setting(2, 40, Skill(1.0, shared=0.7)),
    Setting(5, 40, Skill(1.0, spread=0.0)),
    Setting(2, 40, Skill(1.0), alpha=True), Setting(5, 40, Skill(1.0), alpha=True),
)  # fmt: skip


# --- Truths ----------------------------------------------------------------------------------------------------------


def score_probabilities(mean: Floats, skill: Skill, width: float) -> Floats:
    """P(score = 0…200) of evidence N(mean, 1): (…, 201)."""
    upper = ndtri((1 + np.append((np.arange(100) + 0.5) / 100, 1.0)) / 2)  # distance at which confidence k ends
    edges = np.maximum(np.concatenate([[0.0], upper]), width)
    below = ndtr(skill.criterion + np.concatenate([-edges[::-1], edges]) - mean[..., None])
    steps = np.diff(below)  # real 100…0 away from the criterion, the unclear zone, phony 0…100
    return np.concatenate([steps[..., :100], steps[..., 100:103].sum(-1, keepdims=True), steps[..., 103:]], axis=-1)


def true_auc(d_prime: Floats, skill: Skill, width: float) -> Floats:
    """The AUC of readers with these d', for scores as they are given, ties and all."""
    phony, real = (score_probabilities(sign * np.asarray(d_prime) / 2, skill, width) for sign in (1, -1))
    return (phony * (np.cumsum(real, axis=-1) - real / 2)).sum(axis=-1)


def true_sensitivity(d_prime: Floats, skill: Skill, width: float) -> Floats:
    """P(phony said | phony)."""
    return ndtr(np.asarray(d_prime) / 2 - skill.criterion - width)


def over_readers(truth: Floats) -> float:
    """The mean over the population of readers, from the values at `reader_nodes`."""
    return float(WEIGHTS @ truth)


def reader_nodes(skill: Skill) -> Floats:
    return skill.d_prime + skill.spread * NODES


def call_tables(d_prime: Floats, skill: Skill, width: float) -> Floats:
    """Joint probabilities of calls (real, phony, unclear) of each two readers: (pairs, 3, 3), as many phony as real."""
    shared = np.sqrt(skill.shared) * NODES
    rest = np.sqrt(1 - skill.shared)
    tables = np.zeros((len(list(combinations(d_prime, 2))), 3, 3))
    for sign in (1, -1):
        means = sign * d_prime[:, None] / 2 + shared  # (R, nodes)
        low, high = (ndtr((skill.criterion + side * width - means) / rest) for side in (-1, 1))
        calls = np.stack([low, 1 - high, high - low])  # (3, R, nodes)
        for k, (i, j) in enumerate(combinations(range(len(d_prime)), 2)):
            tables[k] += 0.5 * np.einsum("an,bn,n->ab", calls[:, i], calls[:, j], WEIGHTS)
    return tables


def true_agreement(tables: Floats) -> dict[str, float]:
    """Agreement, κ of two readers, Fleiss' κ (α's limit for many cases) and AC1 from the joint probabilities."""
    observed = float(np.trace(tables, axis1=1, axis2=2).mean())
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    share = (rows + columns).mean(axis=0) / 2
    chance = {"Fleiss' κ": float((share**2).sum()), "Gwet's AC1": float((share * (1 - share)).sum() / 2)}
    chance |= {"Krippendorff's α": chance["Fleiss' κ"], "Cohen's κ": float((rows[0] * columns[0]).sum())}
    return {"agreement": observed} | {
        name: (observed - by_chance) / (1 - by_chance) for name, by_chance in chance.items()
    }


# --- Studies ---------------------------------------------------------------------------------------------------------


def simulate(setting: Setting, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """One study: d' (R,), calls (R, C), scores (R, C), truth (C,)."""
    skill, width = setting.skill, half_width(setting.skill, 0.5)
    truth = np.arange(2 * setting.cases) < setting.cases
    d_prime = skill.d_prime + skill.spread * rng.standard_normal(setting.readers)
    calls, confidences = answer_evidence(draw_evidence(truth, d_prime, skill, rng), skill, width)
    return d_prime, calls, scores_of(calls, confidences), truth


def intervals(setting: Setting, rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
    """Every interval of one study with its truth."""
    skill, width = setting.skill, half_width(setting.skill, 0.5)
    d_prime, calls, scores, truth = simulate(setting, rng)
    said = calls[:, truth] == 1
    own = true_sensitivity(d_prime, skill, width)
    k, n = int(said[0].sum()), said.shape[1]
    for name, one in (("Wilson", wilson(k, n)), ("Clopper-Pearson", clopper_pearson(k, n))):
        yield f"sensitivity, one reader, {name}", (one.value, one.low, one.high, own[0])
    pooled = pooled_share({str(i): said[:, i].tolist() for i in range(n)})
    yield "sensitivity, these readers, by case", (pooled.value, pooled.low, pooled.high, float(own.mean()))
    binomial = wilson(int(said.sum()), said.size)
    yield "sensitivity, these readers, answers taken for independent", (binomial.value, binomial.low, binomial.high,
                                                                        float(own.mean()))  # fmt: skip
    areas = true_auc(d_prime, skill, width)
    one = auc_interval(scores[0], truth)
    yield "AUC, one reader", (one.value, one.low, one.high, areas[0])
    fixed, *general = mean_auc(scores, truth, 0.95)
    yield "AUC, these readers", _interval(fixed, float(areas.mean()))
    if general:
        yield (
            "AUC, readers in general",
            _interval(general[0], over_readers(true_auc(reader_nodes(skill), skill, width))),
        )
        table = said.astype(float)
        mean, _ = in_general(table.mean(axis=1), share_covariance(table), n, 0.95)
        population = over_readers(true_sensitivity(reader_nodes(skill), skill, width))
        yield "sensitivity, readers in general", (mean.value, mean.low, mean.high, population)
    if setting.readers == 2 or setting.alpha:
        yield from _agreement(setting, d_prime, calls, width, rng)


def _interval(finding: Finding, truth: float) -> Interval:
    value, low, high = finding.value, finding.low, finding.high
    if value is None or low is None or high is None:
        raise ValueError(f"{finding.quantity} has no interval.")
    return value, low, high, truth


def _agreement(setting: Setting, d_prime: Floats, calls: NDArray[np.int64], width: float,
               rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:  # fmt: skip
    truths = true_agreement(call_tables(d_prime, setting.skill, width))
    table = calls.T.astype(float)
    found = among_all(table, 0.95, int(rng.integers(2**31))) if setting.alpha else of_two(table, 0.95)
    for finding in found:
        if finding.value is not None:
            yield finding.quantity, _interval(finding, truths[finding.quantity])


def main() -> None:
    """Simulate the studies of every setting and write how often each interval covers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with given.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["interval", "readers", "cases of each truth", "d'", "criterion", "shared", "spread", "studies",
                         "covered", "standard error", "truth below", "truth above", "mean width"])  # fmt: skip
        for number, setting in enumerate(SETTINGS):
            for row in measure(setting, given.studies, np.random.default_rng([given.seed, number])):
                writer.writerow(row)
            file.flush()
            print(f"{number + 1} of {len(SETTINGS)} settings", file=sys.stderr)


def measure(setting: Setting, studies: int, rng: np.random.Generator) -> Iterator[list[object]]:
    """Coverage of every interval in one setting."""
    found: dict[str, list[Interval]] = {}
    for _ in range(studies):
        for name, interval in intervals(setting, rng):
            found.setdefault(name, []).append(interval)
    skill = setting.skill
    for name, rows in found.items():
        if setting.alpha and name not in ("Fleiss' κ", "Krippendorff's α", "Gwet's AC1"):
            continue
        _, low, high, truth = np.array(rows).T
        covered = ((low <= truth) & (truth <= high)).mean()
        error = (covered * (1 - covered) / len(rows)) ** 0.5
        measured = (covered, error, (truth < low).mean(), (truth > high).mean(), (high - low).mean())
        yield [name, setting.readers, setting.cases, skill.d_prime, skill.criterion, skill.shared, skill.spread,
               len(rows), *(round(float(figure), 4) for figure in measured)]  # fmt: skip


if __name__ == "__main__":
    main()
