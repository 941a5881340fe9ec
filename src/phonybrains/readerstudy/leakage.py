"""The leakage gate: what tells real from phony by the way an image was stored may not reach a reader.

Every encoding feature is compared between real and phony within a modality, for all arms together and for each. The
study is refused if any differs by more than chance, the level kept over all comparisons of the study by the
distribution of the largest difference under shuffled truth. [Westfall & Young 1993, max T]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..errors import StudyError
from ..statistics.roc import auc_interval
from .config import StudyConfig
from .encode import EncodedCase, image_bytes
from .leakage_features import Features, encoding_features, image_statistics, missing_levels
from .order import keyed_generator

LEVEL, SHUFFLES, FEWEST = 0.05, 9999, 6
POSITION = "position in the order of files"
SAME_IMPORT = "import both sets the same way"
REMEDIES = {
    "border": "--same-history frame:8",
    "thinnest border": "--same-history frame:8",
    "background": "--same-history floor:16",
    "darkest level": "--same-history floor:16",
    "blocking": "--same-history jpeg:75",
    "steps of JPEG": "--same-history jpeg:75",
    "grey levels": "--same-history blur:0.5",
    "comb of grey levels": "--same-history blur:0.5",
    "missing grey level": "--same-history blur:0.5",
    "copied rows": "--same-history resize:200",
    "resampling": "--same-history resize:200",
    POSITION: "--seed with another number",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One feature, real against phony: AUC above 0.5 where phony images have more of it; p over all comparisons."""

    feature: str
    modality: str
    arm: str
    auc: float
    low: float
    high: float
    p: float
    phony: int
    real: int


@dataclass(frozen=True, slots=True)
class Table:
    """Features of the cases of one modality and one arm (or all) beside the controls: (features, cases)."""

    modality: str
    arm: str
    names: tuple[str, ...]
    values: NDArray[np.float64]
    phony: NDArray[np.bool_]


def check_leakage(cases: Sequence[EncodedCase], config: StudyConfig) -> dict[str, Any]:
    """Compare real with phony cases; return all comparisons, the machine's benchmark and warnings.

    Raises StudyError naming the encoding feature that tells them apart, its AUC and the remedy.
    """
    shown = [encoded for encoded in cases if encoded.case.role != "check"]
    rng = keyed_generator(config.seed or 0, "leakage")
    tables = list(_tables(shown, _encoding_of(shown)))
    if not tables:
        reason = "There are no real controls, so that it could not be tested what tells them from phony cases."
        return {"gate": "not applicable", "level": LEVEL, "encoding": [], "statistics": [], "benchmark": [],
                "warnings": [reason]}  # fmt: skip
    encoding = compare(tables, rng)
    failed = sorted((c for c in encoding if c.p <= LEVEL), key=lambda c: (c.p, -abs(c.auc - 0.5)))
    if "jpeg" in " ".join(config.same_history):  # then its strength is the image's own
        failed = [c for c in failed if c.feature != "blocking"]
    if failed:
        raise StudyError(_refusal(failed))
    looks = list(_tables(shown, [image_statistics(encoded.image) for encoded in shown]))
    statistics = compare(looks, rng)
    benchmark = [benchmark_of(table) for table in looks]
    return {"gate": "passed", "level": LEVEL, "encoding": [asdict(c) for c in encoding],
            "statistics": [asdict(c) for c in statistics], "benchmark": benchmark,
            "warnings": [*_differences(statistics), *_small(tables)]}  # fmt: skip


def _encoding_of(shown: Sequence[EncodedCase]) -> list[Features]:
    """What tells how an image was stored, pixels and all around them; a missing level counts where another has it."""
    gaps = [missing_levels(encoded.image) for encoded in shown]
    every = set().union(*gaps)
    common = sorted(level for level in every if sum(level in gap for gap in gaps) > 1)
    darkest = _darkest_levels(shown)
    positions = {encoded.case.case_id: i for i, encoded in enumerate(sorted(shown, key=lambda e: e.case.case_id))}
    return [
        encoding_features(encoded.image)
        | {f"missing grey level {level}": float(level in gap) for level in common}
        | {
            "darkest level": dark,
            "size of the file": float(len(image_bytes(encoded.image))),
            "height": float(encoded.image.shape[0]),
            "width": float(encoded.image.shape[1]),
            "slope": encoded.case.slope,
            "intercept": encoded.case.intercept,
            POSITION: float(positions[encoded.case.case_id]),
        }
        for encoded, gap, dark in zip(shown, gaps, darkest, strict=True)
    ]


def _darkest_levels(shown: Sequence[EncodedCase]) -> list[float]:
    """Each image's darkest level where 95 % of its arm share it; else that of most of its modality.

    A level that all share comes from storing; where noise lies in the background it varies.
    """
    levels = [(encoded.case.modality, encoded.case.arm, int(encoded.image.min())) for encoded in shown]
    counts, sizes = Counter(levels), Counter((modality, arm) for modality, arm, _ in levels)
    by_modality = Counter((modality, level) for modality, _, level in levels)
    most = {modality: level for (modality, level), _ in reversed(by_modality.most_common())}
    return [
        float(level if counts[modality, arm, level] >= 0.95 * sizes[modality, arm] else most[modality])
        for modality, arm, level in levels
    ]


def _tables(shown: Sequence[EncodedCase], features: Sequence[Features]) -> Iterator[Table]:
    """One table for all phony cases of a modality, and where there are several arms one for each."""
    for modality in sorted({encoded.case.modality for encoded in shown}):
        own = [i for i, encoded in enumerate(shown) if encoded.case.modality == modality]
        arms = sorted({shown[i].case.arm for i in own if shown[i].case.truth == "phony"})
        for arm in ["all", *(arms if len(arms) > 1 else [])]:
            chosen = [i for i in own if arm == "all" or shown[i].case.arm in (arm, "real")]
            phony = np.array([shown[i].case.truth == "phony" for i in chosen])
            if phony.any() and not phony.all():
                names = tuple(name for name in features[chosen[0]] if arm == "all" or name != POSITION)
                values = np.array([[features[i][name] for i in chosen] for name in names])
                yield Table(modality, arm, names, values, phony)


def compare(tables: Sequence[Table], rng: np.random.Generator, shuffles: int = SHUFFLES) -> list[Comparison]:
    """AUC, its interval and the adjusted p of every feature that is not the same for all."""
    largest = np.zeros(shuffles)
    found = []
    for table in tables:
        ranks = _standard_ranks(table)
        found.append(np.abs(ranks @ table.phony))
        shuffled = rng.permuted(np.tile(table.phony, (shuffles, 1)), axis=1).T
        if len(ranks):
            largest = np.maximum(largest, np.abs(ranks @ shuffled).max(axis=0))
    comparisons = []
    for table, observed in zip(tables, found, strict=True):
        varied = (row for row in range(len(table.names)) if np.ptp(table.values[row]))
        for row, z in zip(varied, observed, strict=True):
            p = (1 + int((largest >= z - 1e-9).sum())) / (1 + shuffles)
            comparisons.append(_comparison(table, row, p))
    return comparisons


def _standard_ranks(table: Table) -> NDArray[np.float64]:
    """Centred ranks of every feature that varies, so that their sum over phony cases has variance 1 by chance."""
    varied = table.values[np.ptp(table.values, axis=1) > 0]
    if not len(varied):
        return np.zeros((0, table.values.shape[1]))
    ranks = rankdata(varied, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    n, phony = ranks.shape[1], int(table.phony.sum())
    return ranks / np.sqrt((ranks**2).sum(axis=1, keepdims=True) * phony * (n - phony) / (n * (n - 1)))


def _comparison(table: Table, row: int, p: float) -> Comparison:
    estimate = auc_interval(table.values[row], table.phony)
    phony = int(table.phony.sum())
    return Comparison(table.names[row], table.modality, table.arm, round(estimate.value, 4), round(estimate.low, 4),
                      round(estimate.high, 4), p, phony, len(table.phony) - phony)  # fmt: skip


def benchmark_of(table: Table, ridge: float = 0.5) -> dict[str, Any]:
    """How well a machine tells phony from real by image statistics: a linear discriminant, each case left out once."""
    values = np.array([rankdata(row) for row in table.values]).T / table.values.shape[1] - 0.5
    scores = np.zeros(len(values))
    for i in range(len(values)):
        kept = np.arange(len(values)) != i
        one, two = values[kept & table.phony], values[kept & ~table.phony]
        if len(one) and len(two):
            within = np.concatenate([one - one.mean(axis=0), two - two.mean(axis=0)])
            spread = within.T @ within / len(within)
            spread += ridge * np.trace(spread) / len(spread) * np.eye(len(spread)) + 1e-9 * np.eye(len(spread))
            scores[i] = (values[i] - (one.mean(axis=0) + two.mean(axis=0)) / 2) @ np.linalg.solve(
                spread, one.mean(axis=0) - two.mean(axis=0)
            )
    estimate = auc_interval(scores, table.phony)
    return {"modality": table.modality, "arm": table.arm, "auc": round(estimate.value, 4),
            "low": round(estimate.low, 4), "high": round(estimate.high, 4), "cases": len(values)}  # fmt: skip


def _refusal(failed: Sequence[Comparison]) -> str:
    first = failed[0]
    name = "missing grey level" if first.feature.startswith("missing grey level") else first.feature
    remedy = REMEDIES.get(name, "")
    others = list(dict.fromkeys(f"{c.modality} {c.feature}" for c in failed[1:]))[:5]
    return (
        f"{first.modality}: '{first.feature}' tells phony from real (arm {first.arm}): AUC {first.auc:.2f} "
        f"({first.low:.2f}-{first.high:.2f}), {first.phony} phony and {first.real} real cases. That is how the images "
        f"were stored, not what they show. "
        f"{f'Try {remedy}, or {SAME_IMPORT}' if remedy else SAME_IMPORT.capitalize()}."
        + (f" Also: {', '.join(others)}." if others else "")
    )


def _differences(statistics: Sequence[Comparison]) -> list[str]:
    """One sentence a modality and arm about what differs in the images themselves."""
    groups: Mapping[tuple[str, str], list[Comparison]] = {}
    for comparison in statistics:
        if comparison.p <= LEVEL:
            groups.setdefault((comparison.modality, comparison.arm), []).append(comparison)
    return [
        f"{modality}, {'all arms' if arm == 'all' else f'arm {arm}'}: phony and real images differ in "
        + ", ".join(f"{c.feature} (AUC {c.auc:.2f})" for c in sorted(found, key=lambda c: -abs(c.auc - 0.5))[:6])
        + ": what a reader may see, and a machine can."
        for (modality, arm), found in groups.items()
    ]


def _small(tables: Sequence[Table]) -> list[str]:
    few = [t for t in tables if min(t.phony.sum(), (~t.phony).sum()) < FEWEST]
    return [f"{t.modality}: with fewer than {FEWEST} cases a side the leakage gate sees next to nothing." for t in few]
