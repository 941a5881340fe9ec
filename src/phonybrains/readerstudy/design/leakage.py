"""The leakage gate: what tells real from phony by the way an image was stored may not reach a reader.

Everything that a window could show outside the anatomy, and how grey levels were stored, is compared between real and
phony within a modality, for all arms together and for each. The study is refused if any of it differs by more than
chance, the level kept over all comparisons of the study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ...errors import StudyError
from ..config import StudyConfig
from .encode import EncodedCase, image_bytes
from .leakage_comparison import FeatureComparison, FeatureTable, compare, rounded_auc
from .leakage_features import Features, encoding_features, image_statistics, missing_levels
from .leakage_windows import Image, Values, rim_crops, window_features
from .order import keyed_generator

LEVEL, WARNED, FEWEST = 0.01, 0.05, 8
POSITION = "position in the order of files"
IMPORT = "Import both sets the same way."


class LeakError(StudyError):
    """A trace that tells phony from real; `first` is the comparison that shows it best."""

    def __init__(self, failed: Sequence[FeatureComparison], remedy: str) -> None:
        self.first = first = failed[0]
        others = list(dict.fromkeys(f"{c.modality} {c.feature}" for c in failed[1:]))[:5]
        super().__init__(
            f"{first.modality}: '{first.feature}' tells phony from real (arm {first.arm}): AUC {first.auc:.2f} "
            f"({first.low:.2f}-{first.high:.2f}), {first.phony} phony and {first.real} real cases. That is how the "
            f"images were stored, not what they show. {remedy}" + (f" Also: {', '.join(others)}." if others else "")
        )


def check_leakage(
    cases: Sequence[EncodedCase], config: StudyConfig, remedy: Callable[[], str] = lambda: IMPORT
) -> dict[str, Any]:
    """Compare real with phony cases; return all comparisons, the machine's benchmark and warnings.

    Raises LeakError naming the encoding feature that tells them apart, its AUC, and the remedy.
    """
    encoding = compare_encoding(cases, config)
    found: dict[str, Any] = {"gate": "not applicable", "level": LEVEL, "encoding": [], "statistics": []}
    if not encoding:
        reason = "There are no real controls, so that it could not be tested what tells them from phony cases."
        return found | {"benchmark": [], "warnings": [reason]}
    if failed := traces(encoding, config.same_history or ()):
        raise LeakError(failed, remedy())
    tables = _tables(cases, lambda shown: [image_statistics(encoded.image) for encoded in shown])
    statistics = compare(tables, keyed_generator(config.seed or 0, "image statistics"))
    few = ((table, min(len(set(table.units[side])) for side in (table.phony, ~table.phony))) for table in tables)
    small = [
        f"{table.modality}: with {number} cases or patients on a side the leakage gate sees next to nothing; it needs "
        f"{FEWEST}."
        for table, number in few
        if number < FEWEST
    ]
    return found | {
        "gate": "passed",
        "encoding": [asdict(c) for c in encoding],
        "statistics": [asdict(c) for c in statistics],
        "benchmark": [benchmark_of(table) for table in tables],
        "warnings": [*_differences(statistics), *small],
    }


def compare_encoding(cases: Sequence[EncodedCase], config: StudyConfig) -> list[FeatureComparison]:
    """How everything that tells how images were stored differs between phony and real; none without both sides."""
    return compare(encoding_tables(cases), keyed_generator(config.seed or 0, "leakage"))


def encoding_tables(cases: Sequence[EncodedCase]) -> list[FeatureTable]:
    """What tells how images were stored, a table for each modality and arm that has both sides."""
    return _tables(cases, _encoding_of, rim_crops)


def traces(
    encoding: Sequence[FeatureComparison], history: Sequence[str], level: float = LEVEL
) -> list[FeatureComparison]:
    """The comparisons that tell phony from real at a level, the clearest first."""
    failed = sorted((c for c in encoding if c.p <= level), key=lambda c: (c.p, -abs(c.auc - 0.5)))
    jpeg = any(step.startswith("jpeg") for step in history)  # then its strength is the image's own
    return [c for c in failed if not (jpeg and c.feature == "blocking")]


def _encoding_of(shown: Sequence[EncodedCase]) -> list[Features]:
    """What tells how an image was stored, pixels and all around them; a missing level counts where another has it."""
    gaps = [missing_levels(encoded.image) for encoded in shown]
    times = Counter(level for gap in gaps for level in gap)
    common = sorted(level for level, number in times.items() if number > 1)
    ordered = sorted(encoded.case.case_id for encoded in shown)
    return [
        {
            "size of the file": float(len(image_bytes(encoded.image))),
            "height": float(encoded.image.shape[0]),
            "width": float(encoded.image.shape[1]),
            "slope": encoded.case.slope,
            "intercept": encoded.case.intercept,
            POSITION: float(ordered.index(encoded.case.case_id)),
        }
        | encoding_features(encoded.image)
        | window_features(encoded.image)
        | {f"missing grey level {level}": float(level in gap) for level in common}
        for encoded, gap in zip(shown, gaps, strict=True)
    ]


def _tables(
    cases: Sequence[EncodedCase],
    measure: Callable[[Sequence[EncodedCase]], Sequence[Features]],
    crop: Callable[[Image], Values] | None = None,
) -> list[FeatureTable]:
    """One table for all phony cases of a modality, and where there are several arms one for each; checks left out."""
    shown = [encoded for encoded in cases if encoded.case.role != "check"]
    features = measure(shown)
    crops = [crop(encoded.image) for encoded in shown] if crop else None
    tables = []
    for modality in sorted({encoded.case.modality for encoded in shown}):
        own = [i for i, encoded in enumerate(shown) if encoded.case.modality == modality]
        arms = sorted({shown[i].case.arm for i in own if shown[i].case.truth == "phony"})
        for arm in ["all", *(arms if len(arms) > 1 else [])]:
            chosen = [i for i in own if arm == "all" or shown[i].case.arm in (arm, "real")]
            phony = np.array([shown[i].case.truth == "phony" for i in chosen])
            if not phony.any() or phony.all():
                continue
            names = tuple(name for name in features[chosen[0]] if arm == "all" or name != POSITION)
            values = np.array([[features[i][name] for i in chosen] for name in names])
            rims = [crops[i] for i in chosen] if crops else []
            alike = np.array(rims) if len({len(rim) for rim in rims}) == 1 else None
            # a patient is one of each arm; an image whose patient is not known stands for itself
            people = [(c.arm, c.patient_id or f"image {c.case_id}") for c in (shown[i].case for i in chosen)]
            numbers = {person: i for i, person in enumerate(dict.fromkeys(people))}
            units = np.array([numbers[person] for person in people])
            tables.append(FeatureTable(modality, arm, names, values, phony, units, alike))
    return tables


def benchmark_of(table: FeatureTable, ridge: float = 0.5) -> dict[str, Any]:
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
    return {"modality": table.modality, "arm": table.arm, **rounded_auc(scores, table.phony), "cases": len(values)}


def _differences(statistics: Sequence[FeatureComparison]) -> list[str]:
    """One sentence a modality and arm about what differs in the images themselves."""
    groups: dict[tuple[str, str], list[FeatureComparison]] = {}
    for comparison in statistics:
        if comparison.p <= WARNED:
            groups.setdefault((comparison.modality, comparison.arm), []).append(comparison)
    return [
        f"{modality}, {'all arms' if arm == 'all' else f'arm {arm}'}: phony and real images differ in "
        + ", ".join(f"{c.feature} (AUC {c.auc:.2f})" for c in sorted(found, key=lambda c: -abs(c.auc - 0.5))[:6])
        + ": what a reader may see, and a machine can."
        for (modality, arm), found in groups.items()
    ]
