"""Scores of adherence: what was asked of each image against what is found in it, beside the same on real images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...statistics.estimate import Estimate
from ..findings import Confusion
from ..inputs.labels import WORST_RATE, telling
from ..inputs.real import Compared
from ..score import Null, Score, unavailable
from .adherence import BOX, Gauge, agreement, boxes_found, correlation, numbers_of

LEAST_R = 0.2
"""A gauge whose r on unseen real people may be lower than this is not used."""


def adherence_scores(side: Compared, tables: dict[str, Confusion]) -> Iterator[Score]:
    """κ and share of each asked label found, r of each asked number, and whether lesions lie in their boxes.

    The null is what the same classifier, gauge or measurement scores on real people that it did not learn from: images
    that show what was asked as well as real ones do cannot score more. `tables` takes confusion matrices to draw.
    """
    for attribute in side.attributes:
        numeric = bool(np.isfinite(numbers_of(side.made.rows, attribute)).any())
        try:
            if numeric and _varies(side, attribute):
                yield from _of_numbers(side, attribute)
            else:
                yield from _of_labels(side, attribute, tables)
        except ValueError as error:
            yield unavailable("adherence", str(error), group=attribute, extractor=side.extractor.identity)
    if set(BOX) <= set(side.attributes):
        try:
            yield _of_boxes(side)
        except ValueError as error:
            yield unavailable("adherence_box", str(error), group="lesion box")


def _varies(side: Compared, attribute: str) -> bool:
    """Whether real images give the attribute as a number with many values."""
    values = numbers_of(side.real.rows, attribute)
    return len(np.unique(values[np.isfinite(values)])) > 5


def _of_labels(side: Compared, attribute: str, tables: dict[str, Confusion]) -> Iterator[Score]:
    known = side.real.readable(attribute)
    if telling(known.reader.confusion) < WORST_RATE:
        raise ValueError("a classifier that real images taught cannot tell the labels of other real people apart")
    k, extractor = len(known.scale.names), side.extractor.identity
    made = agreement(known.scale.codes(side.made.rows), known.reader.calls(side.features), k)
    real = agreement(known.reader.truth, known.reader.found, k)
    tables[f"{side.made.rows[0].modality} {attribute}"] = Confusion(
        list(known.scale.names), made.table.tolist(), real.table.tolist()
    )
    note = "asked against found by a classifier; null: real people it did not learn from"
    yield _score("adherence_share", made.share, real.share, attribute, note, extractor)
    if made.kappa is None or real.kappa is None:
        yield unavailable("adherence_kappa", "one label only: κ is not defined", group=attribute, extractor=extractor)
    else:
        yield _score("adherence_kappa", made.kappa, real.kappa, attribute, note, extractor)


def _of_numbers(side: Compared, attribute: str) -> Iterator[Score]:
    truth = numbers_of(side.real.rows, attribute)
    kept = np.flatnonzero(np.isfinite(truth))
    gauge = Gauge.learn(side.real.features[kept], truth[kept], [side.real.people[i] for i in kept], side.config.seed)
    real = correlation(gauge.truth, gauge.found)
    if real.low < LEAST_R:
        raise ValueError(
            f"it cannot be measured: on real people r is {real.value:.2f} ({real.low:.2f} to {real.high:.2f})"
        )
    made = correlation(numbers_of(side.made.rows, attribute), gauge.read(side.features))
    note = "r of asked and measured (ridge regression on features); null: real people it did not learn from"
    yield _score("adherence_r", made, real, attribute, note, side.extractor.identity)


def _of_boxes(side: Compared) -> Score:
    made = boxes_found(side.made, range(len(side.made)), side.rng(53)).share
    real = boxes_found(side.real.images, side.reference, side.rng(59)).share
    if real.low <= 0.55:
        raise ValueError(f"on real images lesions do not stand out in their boxes either ({real.value:.2f})")
    against = "than boxes of other images; chance is 0.5; null: real images"
    note = f"how often the asked box is brighter, against its ring, {against}"
    return _score("adherence_box", made, real, "lesion box", note, "")


def _score(name: str, made: Estimate, real: Estimate, group: str, note: str, extractor: str) -> Score:
    return Score.of(name, made, null=Null.of(real), group=group, note=note, extractor=extractor)
