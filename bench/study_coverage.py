"""How often the reader study's 95 % intervals cover the truth: simulated studies, truths by numerical integration.

    python -m bench study_coverage --studies 1000 --out coverage.csv [--parts patients drop-outs agreement …]

Every study has new cases and new readers (d' drawn anew), and answers as `phonybrains study simulate` gives them. The
truth of single readers, of these readers and of readers in general follows from the model by quadrature, so that the
only error left is that of counting studies: ± 1.4 points (two standard errors) for 95 % of 1000.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from phonybrains.readerstudy.findings.agreement import among_all
from phonybrains.readerstudy.findings.shares import pooled_share
from phonybrains.readerstudy.simulate import Skill, answer_evidence, half_width
from phonybrains.statistics.mrmc import Contrast
from phonybrains.statistics.multireader import areas, in_general, shares, these_readers
from phonybrains.statistics.proportions import clopper_pearson, wilson

from .options import chosen, measurement, write_rows

Floats = NDArray[np.float64]
Interval = tuple[float, float, float, float]  # value, low, high, truth
NODES, WEIGHTS = hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def draw_evidence(truth: NDArray[np.bool_], d_prime: Floats, skill: Skill, rng: np.random.Generator) -> Floats:
    """How phony each case looks to each reader: (R, C), from truth (C,), True for phony, and d_prime (R,) or (R, C)."""
    readers, cases = len(d_prime), len(truth)
    own = max(0.0, 1 - skill.shared - skill.retest)
    noise = math.sqrt(skill.shared) * rng.standard_normal(cases)
    noise = noise + math.sqrt(own) * rng.standard_normal((readers, cases))
    noise = noise + math.sqrt(skill.retest) * rng.standard_normal((readers, cases))
    return signal(truth, d_prime) + noise


def signal(truth: NDArray[np.bool_], d_prime: Floats) -> Floats:
    """± d'/2: (R, C)."""
    return np.where(truth, 0.5, -0.5) * (d_prime[:, None] if d_prime.ndim == 1 else d_prime)


def scores_of(calls: NDArray[np.int64], confidences: NDArray[np.int64]) -> Floats:
    """The ROC scores of answers: phony 100 + c, unclear 100, real 100 - c."""
    return 100.0 + np.choose(calls, [-1.0, 1.0, 0.0]).astype(np.float64) * confidences


@dataclass(frozen=True)
class Setting:
    """One kind of study: readers, cases of each truth, how readers see."""

    readers: int
    cases: int
    skill: Skill
    agreement: bool = False
    """Agreement alone."""
    images: int = 1
    """Images of each patient, who makes half of what all readers find odd about them."""
    drop_outs: float = 0.0
    """Share of readers who stop at some case, as likely the first as the last."""


def prevalent(shared: float = 0.8, unclear: float = 0.0) -> Skill:
    """Nine answers in ten are real; two readings go together by shared."""
    return Skill(0.5, 0.0, criterion=1.3, shared=shared, unclear=unclear, retest=0.0)


PARTS: dict[str, tuple[Setting, ...]] = {}
PARTS["patients"] = (
    *(Setting(r, 40, Skill(d, shared=0.5), images=4) for r in (1, 2, 5) for d in (0.0, 1.0)),
    *(Setting(r, 40, Skill(1.0, criterion=-0.8, shared=0.5), images=4) for r in (1, 2, 5)),
)
PARTS["drop-outs"] = tuple(Setting(r, 40, Skill(d), drop_outs=0.5) for r in (2, 3, 5, 10) for d in (0.0, 1.0))
PARTS["unclear"] = tuple(Setting(r, 40, Skill(1.0, unclear=u)) for r in (2, 5) for u in (0.1, 0.2))
PARTS["agreement"] = (
    Setting(2, 5, prevalent(), agreement=True),
    Setting(2, 5, prevalent(unclear=0.1), agreement=True),
    Setting(2, 20, prevalent(0.5), agreement=True),
    Setting(2, 20, Skill(1.0), agreement=True),
    Setting(5, 20, prevalent(0.5), agreement=True),
    Setting(2, 20, prevalent(0.5), agreement=True, images=4),
    Setting(5, 20, Skill(1.0), agreement=True, images=4),
)
PARTS["independent"] = (
    *(Setting(2, n, Skill(d)) for n in (20, 40, 100) for d in (0.0, 1.0, 2.0)),
    *(Setting(5, n, Skill(d)) for n in (20, 40, 100) for d in (0.0, 1.0, 2.0)),
    *(Setting(3, n, Skill(1.0)) for n in (20, 40, 100)),
    Setting(10, 40, Skill(1.0)),
    Setting(5, 40, Skill(1.0, criterion=-0.5)),
    Setting(2, 40, Skill(1.0, criterion=-0.5)),
    Setting(5, 40, Skill(1.0, shared=0.7)),
    Setting(2, 40, Skill(1.0, shared=0.7)),
    Setting(5, 40, Skill(1.0, spread=0.0)),
)


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


@dataclass(frozen=True)
class Simulated:
    """One study: d' (R,); calls and scores (R, C), NaN where not answered; truth and patients (C,)."""

    d_prime: Floats
    calls: Floats
    scores: Floats
    truth: NDArray[np.bool_]
    patients: NDArray[np.str_]


def simulate(setting: Setting, rng: np.random.Generator) -> Simulated:
    """Draw readers, patients, cases and answers."""
    skill, width = setting.skill, half_width(setting.skill, 0.5)
    truth = np.arange(2 * setting.cases) < setting.cases
    d_prime = skill.d_prime + skill.spread * rng.standard_normal(setting.readers)
    patients = np.arange(len(truth)) // setting.images
    evidence = draw_evidence(truth, d_prime, skill, rng)
    if setting.images > 1:
        common = np.sqrt(0.5) * rng.standard_normal(patients.max() + 1)[patients]
        common = common + np.sqrt(0.5) * rng.standard_normal(len(truth))
        own = np.sqrt(1 - skill.shared) * rng.standard_normal((setting.readers, len(truth)))
        evidence = signal(truth, d_prime) + np.sqrt(skill.shared) * common + own
    calls, confidences = answer_evidence(evidence, skill, width)
    answered = np.ones(calls.shape, dtype=bool)
    for row in answered[rng.random(setting.readers) < setting.drop_outs]:
        row[rng.permutation(len(truth))[rng.integers(1, len(truth)) :]] = False
    kept = np.where(answered, 1.0, np.nan)
    scores = scores_of(calls, confidences) * kept
    return Simulated(d_prime, calls.astype(float) * kept, scores, truth, patients.astype(str))


def intervals(setting: Setting, rng: np.random.Generator) -> Iterator[tuple[str, Interval | None]]:
    """Every interval of one study with its truth."""
    skill, width = setting.skill, half_width(setting.skill, 0.5)
    study = simulate(setting, rng)
    if setting.agreement:
        yield from _agreement(setting, study, width)
        return
    truth, patients = study.truth, study.patients
    said = np.where(np.isnan(study.calls), np.nan, study.calls == 1)[:, truth]
    own, population = (true_sensitivity(d, skill, width) for d in (study.d_prime, reader_nodes(skill)))
    everyone = shares(said, patients[truth])
    yield "sensitivity, these readers", _limits(these_readers(everyone), float(everyone.weights @ own))
    yield "sensitivity, readers in general", _limits(in_general(everyone), over_readers(population))
    one = said[0, ~np.isnan(said[0])]
    if len(one) and setting.images == 1:
        for name, interval in (("Wilson", wilson), ("exact", clopper_pearson)):
            found = interval(int(one.sum()), len(one))
            yield f"sensitivity, one reader, {name}", (found.value, found.low, found.high, own[0])
    groups: dict[str, list[bool]] = {}
    for patient, answers in zip(patients[truth], said.T, strict=True):
        groups.setdefault(patient, []).extend(bool(one) for one in answers if not np.isnan(one))
    pooled = pooled_share(groups)
    mean = float(everyone.weights @ own)
    answers = said[~np.isnan(said)]
    binomial = wilson(int(answers.sum()), len(answers))
    for name, found in (("as reported", pooled), ("answers taken for independent", binomial)):
        yield f"sensitivity, these readers, {name}", (found.value, found.low, found.high, mean)
    each, population = (true_auc(d, skill, width) for d in (study.d_prime, reader_nodes(skill)))
    figures = areas(study.scores, truth, patients)
    yield "AUC, these readers", _limits(these_readers(figures), float(figures.weights @ each))
    yield "AUC, readers in general", _limits(in_general(figures), over_readers(population))


def _limits(found: Contrast | None, truth: float) -> Interval | None:
    return None if found is None else (found.estimate.value, found.estimate.low, found.estimate.high, truth)


def _agreement(setting: Setting, study: Simulated, width: float) -> Iterator[tuple[str, Interval | None]]:
    truths = true_agreement(call_tables(study.d_prime, setting.skill, width))
    for finding in among_all(study.calls.T, 0.95, study.patients):
        truth = truths[finding.quantity]
        if finding.value is None or finding.low is None or finding.high is None:
            yield finding.quantity, None
        else:
            yield finding.quantity, (finding.value, finding.low, finding.high, truth)


app = measurement(__name__, __doc__)


@app.default
def main(*, studies: int = 1000, seed: int = 0, out: Path, parts: tuple[str, ...] = ()) -> None:
    """Simulate the studies of every setting and write how often each interval covers.

    Args:
        studies: Of each setting.
        seed: Start of the random numbers.
        out: CSV file.
        parts: Which settings: patients, drop-outs, unclear, agreement, independent; all if none are given.
    """
    names = chosen(parts, PARTS, "part")
    write_rows(out, (row for part in names for row in measured(part, studies, seed)))


def measured(part: str, studies: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of every interval in each setting of a part."""
    for number, setting in enumerate(PARTS[part]):
        rng = np.random.default_rng([seed, list(PARTS).index(part), number])
        found: dict[str, list[Interval]] = {}
        for _ in range(studies):
            for name, interval in intervals(setting, rng):
                if interval is not None:
                    found.setdefault(name, []).append(interval)
        for name, rows in found.items():
            yield {"part": part, "interval": name} | kind_of(setting) | coverage(np.array(rows))


def kind_of(setting: Setting) -> dict[str, Any]:
    kind = {"readers": setting.readers, "cases of each truth": setting.cases, "images of a patient": setting.images}
    skill = {"drop-outs": setting.drop_outs, "d'": setting.skill.d_prime}
    return kind | skill | {name: getattr(setting.skill, name) for name in ("criterion", "unclear", "shared", "spread")}


def coverage(rows: Floats) -> dict[str, Any]:
    """How often intervals, (studies, 4), hold their truth."""
    _, low, high, truth = rows.T
    covered = ((low <= truth) & (truth <= high)).mean()
    figures = {"covered": covered, "standard error": (covered * (1 - covered) / len(rows)) ** 0.5}
    figures |= {"truth below": (truth < low).mean(), "truth above": (truth > high).mean()}
    figures |= {"mean width": (high - low).mean()}
    return {"studies": len(rows)} | {name: round(float(figure), 4) for name, figure in figures.items()}
