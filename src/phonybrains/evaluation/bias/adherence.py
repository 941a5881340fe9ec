"""Do images show what was asked for? Asked labels, numbers and boxes against what is found in the image.

What finds it was validated on real people that it did not learn from, and what it scores there stands beside: no
generator can be shown to do better than the measurement does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet, Row
from ...statistics.agreement import cohen_kappa
from ...statistics.bootstrap import drawn_again, share_again
from ...statistics.estimate import Estimate
from ...statistics.multireader import shares, these_readers
from ...statistics.proportions import clopper_pearson
from ...statistics.score_agreement import score_agreement
from ...wording import count_of
from ..findings import Confusion
from ..inputs.labels import WORST_RATE, telling
from ..inputs.real import Compared
from ..score import Null, Score, tried, unavailable
from .gauge import DRAWS, FEWEST, Gauge, numbers_of, reading
from .rates import found_rates

Array = NDArray[Any]
BOX = ("lesion_x", "lesion_y", "lesion_width", "lesion_height")
OTHERS = 20
LEAST_R = 0.2
"""A gauge whose r on unseen real people may be lower than this is not used."""


@dataclass(frozen=True)
class Agreement:
    """Asked label (row) by found label (column), (K, K) counts; κ, None where all are one label; the share found."""

    table: Array
    kappa: Estimate | None
    share: Estimate


def agreement(asked: Array, found: Array, k: int, people: Sequence[str] | None = None) -> Agreement:
    """Compare labels 0…k-1, each (n,); images that were asked for nothing (-1) do not count.

    people: whose each image is, kept together in the intervals; by default each image is of its own. Raises ValueError
    with fewer than FEWEST images. [κ: Cohen 1960]
    """
    told = asked >= 0
    asked, found = asked[told], found[told]
    if len(asked) < FEWEST:
        raise ValueError(
            f"only {count_of(len(asked), 'image was', 'images were')} asked for a label, {FEWEST} are needed"
        )
    table = np.zeros((k, k), dtype=int)
    np.add.at(table, (asked, found), 1)
    one_label = bool((table.sum(axis=0) + table.sum(axis=1) == 2 * table.sum()).any())
    if people is None:
        kappa = None if one_label else cohen_kappa(table)
        return Agreement(table, kappa, clopper_pearson(int(np.trace(table)), len(asked)))
    owners = np.asarray(people)[told]
    calls = np.column_stack([asked, found])
    kappa = None if one_label else score_agreement(calls, "Cohen", np.arange(k), owners)
    return Agreement(table, kappa, these_readers(shares((asked == found)[None], owners)).estimate)


def box_contrast(image: Array, box: Sequence[float]) -> float:
    """How much brighter a box is than the ring around it, in deviations of the ring; NaN for a box without either.

    box: centre x, y, width and height as fractions of the image. The ring is half as wide as the box on each side.
    """
    height, width = image.shape

    def cut(grow: float) -> tuple[slice, slice]:
        x, y, w, h = box
        ends = [(c - grow * s / 2, c + grow * s / 2) for c, s in ((y, h), (x, w))]
        down, across = (
            slice(max(round(a * n), 0), max(round(b * n), 0)) for (a, b), n in zip(ends, (height, width), strict=True)
        )
        return down, across

    inner, outer = image[cut(1)], image[cut(2)]
    if inner.size < 4 or outer.size - inner.size < 4:
        return float("nan")
    total, squares = outer.sum() - inner.sum(), (outer**2).sum() - (inner**2).sum()
    n = outer.size - inner.size
    mean = total / n
    return float((inner.mean() - mean) / np.sqrt(max(squares / n - mean**2, 1.0)))


def boxes_found(
    images: ImageSet, numbers: Sequence[int], rng: np.random.Generator, people: Sequence[str] | None = None
) -> Estimate:
    """How often the asked box stands out more than boxes that were asked of other images: chance is a half.

    Each image's own box against boxes of OTHERS other images, placed in it. people: whose each image of the set is,
    drawn again for the interval; by default each image is of its own. Raises ValueError with fewer than FEWEST images
    that have a box.
    """
    boxes = {i: box for i in numbers if (box := _box_of(images.rows[i])) is not None}
    if len(boxes) < FEWEST:
        raise ValueError(
            f"only {count_of(len(boxes), 'image was', 'images were')} asked for a box, {FEWEST} are needed"
        )
    each, owners = [], []
    for i, own in boxes.items():
        image = images.pixels(i).astype(np.float64)
        rest = [box for k, box in boxes.items() if k != i]
        others = [rest[k] for k in rng.choice(len(rest), min(OTHERS, len(rest)), replace=False)]
        mine = box_contrast(image, own)
        theirs = np.array([box_contrast(image, box) for box in others])
        theirs = theirs[np.isfinite(theirs)]
        if np.isfinite(mine) and len(theirs):
            each.append(((mine > theirs) + 0.5 * (mine == theirs)).mean())
            owners.append(str(i) if people is None else people[i])
    found = np.array(each)
    if len(found) < FEWEST:
        raise ValueError("the asked boxes are too small to measure")
    return share_again(found, np.array(owners), drawn_again(owners, DRAWS, rng), rng).estimate(len(found))


def _box_of(row: Row) -> list[float] | None:
    box = [row[name] for name in BOX]
    return box if all(isinstance(value, float) for value in box) else None


def adherence_scores(side: Compared, tables: dict[str, Confusion]) -> Iterator[Score]:
    """κ and share of asked labels found, the rate of each label, r, ρ, R² and error of each asked number, and whether
    lesions lie in their boxes.

    The null is what the same classifier, gauge or measurement scores on real people that it did not learn from: images
    that show what was asked as well as real ones do cannot score more. `tables` takes confusion matrices to draw.
    """
    for attribute in side.attributes:
        asked, true = (numbers_of(rows, attribute) for rows in (side.made.rows, side.real.rows))
        many = len(np.unique(true[np.isfinite(true)])) > 5 and np.isfinite(asked).any()
        where: dict[str, Any] = {"group": attribute, "extractor": side.extractor.identity}
        if many:
            yield from tried("adherence", _of_numbers(side, attribute), **where)
            continue
        yield from tried("adherence", _of_labels(side, attribute, tables), **where)
        yield from tried("found_rate", found_rates(side, attribute), **where)
    if set(BOX) <= set(side.attributes):
        yield from tried("adherence_box", _of_boxes(side), group="lesion box")


def _of_labels(side: Compared, attribute: str, tables: dict[str, Confusion]) -> Iterator[Score]:
    known = side.real.readable(attribute)
    if telling(known.reader.confusion) < WORST_RATE:
        raise ValueError("a classifier that real images taught cannot tell the labels of other real people apart")
    k, extractor = len(known.scale.names), side.extractor.identity
    made = agreement(known.scale.codes(side.made.rows), known.reader.calls(side.features), k)
    people = [side.real.people[i] for i in known.kept]
    real = agreement(known.reader.truth, known.reader.found, k, people)
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
    """r, ρ, R² and mean error of a number, each beside that of real people; where these cannot be read, no figure."""
    truth = numbers_of(side.real.rows, attribute)
    kept = np.flatnonzero(np.isfinite(truth))
    people = [side.real.people[i] for i in kept]
    gauge = Gauge.learn(side.real.features[kept], truth[kept], people, side.config.seed)
    real = reading(gauge.truth, gauge.found, side.rng(41), people)
    if real.r.low < LEAST_R:
        raise ValueError(f"it cannot be seen in single images: of real people it did not learn from, {real}")
    made = reading(numbers_of(side.made.rows, attribute), gauge.read(side.features), side.rng(43))
    note = "of asked and measured (ridge regression on features); null: real people it did not learn from"
    figures = {"adherence_r": "r", "adherence_rank": "rank", "adherence_r2": "explained", "adherence_mae": "error"}
    for name, figure in figures.items():
        one, usual = (getattr(each, figure) for each in (made, real))
        yield _score(name, one, usual, attribute, note, side.extractor.identity)


def _of_boxes(side: Compared) -> Iterator[Score]:
    made = boxes_found(side.made, range(len(side.made)), side.rng(53))
    real = boxes_found(side.real.images, side.reference, side.rng(59), side.real.people)
    if real.low <= 0.55:
        raise ValueError(f"on real images lesions do not stand out in their boxes either ({real.value:.2f})")
    against = "than boxes of other images; chance is 0.5; null: real images"
    note = f"how often the asked box is brighter, against its ring, {against}"
    yield _score("adherence_box", made, real, "lesion box", note, "")


def _score(name: str, made: Estimate, real: Estimate, group: str, note: str, extractor: str) -> Score:
    return Score.of(name, made, null=Null.of(real), group=group, note=note, extractor=extractor)
