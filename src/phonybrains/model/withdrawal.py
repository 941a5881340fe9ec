"""Values of few patients are no conditions: asked for one, a model would redraw the patients who have it.

Patients are counted on the training images of each modality, as every image has one: a label that one patient has in CT
is withdrawn there, however many have it in MR. An image whose patient is not known may show anybody: it counts as a
patient of its own, so that only what certainly has too few is withdrawn. What a model drew shows nobody, and counts for
none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import compress, groupby

from ..errors import ConfigError
from ..held_out import real_rows
from ..imageset import Attribute, ImageSet, Row
from ..networks.conditions import UNSEEN, Category, Conditions, Number, Withdrawn, labels_of
from .fitting import is_number

REACH = 0.1
"""A number is backed by whoever has one at most this share of its range away."""
FAR = 5
"""How many ranges beyond its own a network can be told numbers."""
NOTHING = (1.0, 0.0)
"""The range of a number of which nothing can be asked for."""


def withdraw(images: ImageSet, names: Sequence[str], least: int) -> tuple[ImageSet, tuple[Withdrawn, ...]]:
    """Make the values that fewer than `least` patients of the training split have missing, in all rows; and say which.

    What no training image of a modality has becomes missing too, as nobody can have learnt it. least: 0 or 1 withdraws
    nothing.
    """
    rows = images.rows
    learnt = [row for row in rows if row.split == "train"]
    train = [learnt[i] for i in real_rows(learnt)]
    found: list[Withdrawn] = []
    changed: list[dict[str, Attribute]] = [dict(row.attributes) for row in rows]
    for name in dict.fromkeys(names):
        if name == "modality" or least <= 1:
            continue
        number = is_number(row[name] for row in train)
        for modality in sorted({row.modality for row in learnt}):
            carriers = _carriers([row for row in train if row.modality == modality], name, number)
            kept = {v for v, (_, people) in carriers.items() if not number and len(people) >= least}
            spans = _spans(carriers, least) if number else []
            found += _withdrawn(name, modality, carriers, kept, spans)
            for row, attributes in zip(rows, changed, strict=True):
                if row.modality == modality and name in attributes:
                    attributes[name] = _kept(attributes[name], kept, spans)
    kept_rows = tuple(replace(row, attributes=attributes) for row, attributes in zip(rows, changed, strict=True))
    return replace(images, rows=kept_rows), tuple(found)


def on_columns_of(network: Conditions, wanted: Conditions, learns: bool = True) -> Conditions | None:
    """Conditions for a network that has columns for more than is wanted; None where it lacks some.

    learns: whether its denoiser is trained on, and so learns numbers beyond those that it knows, on its own scale.
    Raises ConfigError for numbers that are far off that scale.
    """
    attributes: list[Category | Number] = []
    for ours, new in zip(network.attributes, wanted.attributes, strict=False):
        if isinstance(ours, Category) and isinstance(new, Category) and {*new.labels} <= {*ours.labels}:
            closed = tuple(label for label in ours.labels if label not in new.labels)
            attributes.append(replace(new, labels=ours.labels, closed=closed))
        elif isinstance(ours, Number) and isinstance(new, Category) and not new.labels:  # of too few patients
            attributes.append(replace(ours, seen=NOTHING, withdrawn=new.withdrawn))
        elif isinstance(ours, Number) and isinstance(new, Number) and (learns or _within(new, ours)):
            seen = None if (ours.low, ours.high) == (new.low, new.high) else (new.low, new.high)
            attributes.append(replace(new, low=ours.low, high=ours.high, seen=seen))
    names = [[a.name for a in of] for of in (attributes, network.attributes, wanted.attributes)]
    if not names[0] == names[1] == names[2]:
        return None
    for ours, new in zip(network.attributes, wanted.attributes, strict=True):
        if isinstance(ours, Number) and isinstance(new, Number):
            check_scale(ours, new)
    pairs = zip(attributes, wanted.attributes, strict=True)
    stay = [isinstance(ours, Category) for ours, new in pairs if isinstance(new, Category)]
    shown = tuple((tuple(compress(values, stay)), n) for values, n in wanted.combinations)
    unseen = {label: UNSEEN for a in wanted.attributes[:1] if isinstance(a, Category) for label in a.labels}
    tenths = {a.name: wanted.tenths.get(a.name, unseen) for a in attributes if isinstance(a, Number)}
    return replace(wanted, attributes=tuple(attributes), combinations=shown, tenths=tenths)


def check_scale(ours: Number, new: Number) -> None:
    """Raise ConfigError for a number that a network would be told as a huge one."""
    span = ours.high - ours.low
    if new.low < ours.low - FAR * span or new.high > ours.high + FAR * span:
        raise ConfigError(
            f"start: {new.name} is {new.low:g} to {new.high:g} in this corpus, far off the {ours.low:g} to "
            f"{ours.high:g} on whose scale the model reads it. Correct the corpus, or train without `start`."
        )


def _within(new: Number, ours: Number) -> bool:
    return ours.offered[0] <= new.low <= new.high <= ours.offered[1]


Carriers = dict[str | float, tuple[int, set[str]]]
"""By label or number, how many images have it, and which patients."""


def _carriers(train: Sequence[Row], name: str, number: bool) -> Carriers:
    people: defaultdict[str | float, list[str]] = defaultdict(list)
    for row in train:
        if (value := row[name]) not in (None, ""):
            for one in [float(value)] if number else labels_of(value):
                people[one].append(row.patient_id or row.file_name)
    return {value: (len(people[value]), {*people[value]}) for value in sorted(people)}


def _spans(carriers: Carriers, least: int) -> list[tuple[float, float]]:
    """The ranges of numbers that enough patients are near; without far-off ones, what is near is narrower."""
    values = [float(value) for value in carriers]
    enough = [False]
    while values and not all(enough):
        reach = REACH * (values[-1] - values[0]) + 1e-9
        near = [values[bisect_left(values, v - reach) : bisect_right(values, v + reach)] for v in values]
        enough = [len(set().union(*(carriers[w][1] for w in around))) >= least for around in near]
        values = [v for v, fits in zip(values, enough, strict=True) if fits]
    return [(run[0], run[-1]) for run in _runs(carriers, values)]


def _runs(carriers: Carriers, among: Iterable[float]) -> list[list[float]]:
    """The numbers that are among some, neighbours together."""
    wanted = set(among)
    return [[float(v) for v in run] for inside, run in groupby(carriers, wanted.__contains__) if inside]


def _withdrawn(
    name: str, modality: str, carriers: Carriers, kept: set[str | float], spans: Sequence[tuple[float, float]]
) -> list[Withdrawn]:
    """What is withdrawn of one attribute on the images of one modality; neighbouring numbers together."""
    gone = [v for v in carriers if v not in kept]
    numbers = [v for v in gone if isinstance(v, float) and not any(low <= v <= high for low, high in spans)]
    groups = [[v] for v in gone if isinstance(v, str)] + _runs(carriers, numbers)
    images = [sum(carriers[v][0] for v in group) for group in groups]
    people = [set[str]().union(*(carriers[v][1] for v in group)) for group in groups]
    return [Withdrawn(name, modality, _range(g), n, len(who)) for g, n, who in zip(groups, images, people, strict=True)]


def _range(values: Sequence[str | float]) -> str:
    first, last = (v if isinstance(v, str) else f"{v:g}" for v in (values[0], values[-1]))
    return first if first == last else f"{first} to {last}"


def _kept(value: Attribute, kept: set[str | float], spans: Sequence[tuple[float, float]]) -> Attribute:
    if value in (None, ""):
        return None
    if kept or not isinstance(value, (int, float)):
        return ";".join(label for label in labels_of(value) if label in kept) or None
    return value if any(low <= value <= high for low, high in spans) else None
