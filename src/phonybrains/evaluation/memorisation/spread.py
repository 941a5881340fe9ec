"""Over how many training patients do generated images spread, in all and for each value that they were asked for?

Each image lies nearest to one training patient. Of unseen people's images this is known too, and it is what chance
gives: some patients are nearest to many, and slices of one person lie nearest to few. So as many images as were
generated are drawn from as many unseen people as show the value, again and again. A set counts by its effective number
of patients, 1/Σ(share²): N if N patients take equal shares, less than 4 if one takes half of the images or more.
[inverse Simpson index: Hill 1973; one more person, as narrow as the narrowest: conformal, Vovk 2005, sec. 2.2]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import Row
from ...reporting.wording import as_p
from ..findings import PatientsSign, Sign
from ..inputs.labels import CUTS
from ..inputs.sets import NOT_ATTRIBUTES
from ..score import Null, Score
from .closeness import Closeness
from .signs import LEVEL, graded

Array = NDArray[Any]
FEWEST, LEAST_PEOPLE, FEW, DRAWS = 5, 5, 4.0, 4000
"""Images of a value below which nothing is said; unseen people that a null is drawn from, at the least; the effective
number of patients below which one of them, or two or three, take most of the images; draws of a null."""


@dataclass(frozen=True)
class Landed:
    """The training patient nearest to each image, by its number: of generated images (n,), of unseen people's (m,).

    who: whom the unseen images show; rows: theirs in the corpus.
    """

    search: str
    made: Array
    unseen: Array
    who: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Group:
    """Images of one value: numbers of the generated ones and of unseen ones; training patients and the null's people.

    people: of so many unseen people the null's sets are made.
    """

    name: str
    made: tuple[int, ...]
    label: str
    attribute: str
    patients: int
    people: int


@dataclass(frozen=True)
class Spread:
    """How the images of a group spread over training patients, by the search that finds them narrowest.

    share: of the images, that nearest to `patient`. takers: the fewest patients who take more than half of them.
    effective: number of patients; expected: the median of what unseen people give; least, most_expected: where it is
    beyond chance. p: pays for all searches and groups of the modality.
    """

    group: Group
    search: str
    patient: str
    share: float
    takers: int
    effective: float
    expected: float
    least: float
    most_expected: float
    p: float


def landed_by_features(close: Closeness, rows: Sequence[Row]) -> Landed:
    """By features: every real image lands on the nearest training person other than its own."""
    columns = np.flatnonzero(close.trained)
    real = np.where(columns == close.owner[:, None], -2, close.real[:, columns])
    return Landed(
        close.features,
        close.made[:, columns].argmax(axis=1),
        real.argmax(axis=1),
        [close.names[int(i)] for i in close.owner],
        [rows[i] for i in close.numbers],
    )


def groups_of(made: Sequence[Row], real: Sequence[Row], people: Sequence[str]) -> list[Group]:
    """The modality, and each value of each attribute of the generated images that at least FEWEST of them have.

    Numbers with many values are thirds of the training images' values; an image with "a;b" shows both. Values that the
    very same images have are one group, that of the fewest training patients.
    """
    training = [row for row in real if row.split == "train"]
    given = (name for row in made for name, value in row.attributes.items() if value not in (None, ""))
    found: dict[tuple[int, ...], Group] = {}
    for name in ("", *(name for name in dict.fromkeys(given) if name not in NOT_ATTRIBUTES)):
        scale = Labels.of(name, training)
        for label in sorted({label for row in made for label in scale(row)}):
            numbers = tuple(i for i, row in enumerate(made) if label in scale(row))
            if len(numbers) < FEWEST:
                continue
            shown: dict[bool, set[str]] = {True: set(), False: set()}
            for row, who in zip(real, people, strict=True):
                if row.split and label in scale(row):
                    shown[row.split == "train"].add(who)
            held_out = len(shown[False] - shown[True])
            count = _named([made[i] for i in numbers], training) or max(LEAST_PEOPLE, min(len(shown[True]), held_out))
            group = Group(f"{name}={label}" if name else "", numbers, label, name, len(shown[True]), count)
            if numbers not in found or 0 < group.patients < found[numbers].patients:
                found[numbers] = group
    return list(found.values())


def _named(rows: Sequence[Row], training: Sequence[Row]) -> int:
    """How many people the images show, where they are real ones of people who are not in the training split; else 0."""
    shown, known = {row.patient_id for row in rows}, {row.patient_id for row in training}
    return 0 if "" in shown or shown & known or any(row.synthetic for row in rows) else len(shown)


@dataclass(frozen=True)
class Labels:
    """The labels of an image for an attribute; the modality, of no name, gives every image the same."""

    attribute: str
    edges: tuple[float, float] | None

    @classmethod
    def of(cls, attribute: str, training: Sequence[Row]) -> Labels:
        """Thirds of the training images' values, where these are more than five numbers."""
        values = [row[attribute] for row in training if attribute and row[attribute] not in (None, "")]
        if not all(isinstance(value, float) for value in values) or len(set(values)) <= len(CUTS) + 2:
            return cls(attribute, None)
        low, high = np.quantile(np.array(values), [1 / 3, 2 / 3]).tolist()
        return cls(attribute, (low, high))

    def __call__(self, row: Row) -> set[str]:
        if not self.attribute:
            return {""}
        value = row[self.attribute]
        if value in (None, ""):
            return set()
        if self.edges and isinstance(value, float):
            return {CUTS[int(np.searchsorted(self.edges, value))]}
        text = f"{value:.15g}" if isinstance(value, float) else str(value)
        return {part.strip() for part in text.split(";")} - {""}


def spread_of(
    landed: Sequence[Landed], groups: Sequence[Group], training: Sequence[Row], names: Sequence[str], seed: int = 0
) -> list[Spread]:
    """The spread of each group; names: of the training patients."""
    rng, looks, found = np.random.default_rng([seed, 14]), len(landed) * len(groups), []
    for group in groups:
        scale = Labels.of(group.attribute, training)
        tried = [_spread(one, group, scale, names, looks, rng) for one in landed]
        found.append(min(tried, key=lambda spread: (spread.p, spread.effective)))
    return found


def _spread(
    landed: Landed, group: Group, scale: Labels, names: Sequence[str], looks: int, rng: np.random.Generator
) -> Spread:
    counts = np.bincount(landed.made[list(group.made)], minlength=len(names))
    same = np.array([group.label in scale(row) for row in landed.rows])
    if len({who for who, kept in zip(landed.who, same, strict=True) if kept}) < LEAST_PEOPLE:
        same[:] = True
    who = np.unique(np.array(landed.who)[same], return_inverse=True)[1]
    size = len(names), group.people, len(group.made), max(DRAWS, 60 * looks)
    drawn = unseen_sets(landed.unseen[same], who, *size, rng)
    null, effective = effective_number(drawn), float(effective_number(counts))
    p = min(1.0, looks * float(1 + (null <= effective + 1e-9).sum()) / (1 + len(null)))
    half = int(np.searchsorted(np.cumsum(np.sort(counts)[::-1]), len(group.made) / 2, "right")) + 1
    low, middle, high = np.quantile(null, [LEVEL / looks, 0.5, 1 - LEVEL / looks]).tolist()
    patient, share = names[int(counts.argmax())], float(counts.max() / counts.sum())
    return Spread(group, landed.search, patient, share, half, effective, middle, low, high, p)


def effective_number(counts: Array) -> Array:
    """The effective number of patients, 1/Σ(share²), over the last axis of counts."""
    return counts.sum(axis=-1) ** 2 / np.maximum((counts.astype(float) ** 2).sum(axis=-1), 1e-12)


def unseen_sets(
    landing: Array, who: Array, width: int, people: int, n: int, draws: int, rng: np.random.Generator
) -> Array:
    """Counts by training patient, (draws, width), of n images of as many unseen people, images of each as they come.

    landing (m,): of each unseen image; who (m,): its person's number. The pool holds one person more, of average size
    and as narrow as the narrowest of those with at least FEWEST images: the next one may be like that.
    """
    pool = np.zeros((who.max() + 1, width))
    np.add.at(pool, (who, landing), 1)
    sizes = pool.sum(axis=1)
    known = np.flatnonzero(sizes >= FEWEST) if (sizes >= FEWEST).any() else np.arange(len(pool))
    narrowest = known[effective_number(pool[known]).argmin()]
    pool = np.vstack([pool, pool[narrowest] * sizes.mean() / sizes[narrowest]])
    chosen = np.argsort(rng.random((draws, len(pool))), axis=1) < min(people, len(pool))
    mixed = chosen @ pool
    return rng.multinomial(n, mixed / mixed.sum(axis=1, keepdims=True))


def scores_of(spreads: Sequence[Spread], **where: Any) -> Iterator[Score]:
    """The effective number of patients of each group, beside that of unseen people at the level of the audit."""
    for one in spreads:
        null = Null(one.expected, one.least, one.most_expected, DRAWS)
        note = f"{one.share:.0%} lie nearest to one training patient; null: {one.group.people} unseen people"
        yield Score(
            "effective_patients",
            one.effective,
            n=len(one.group.made),
            null=null,
            p=one.p,
            note=note,
            extractor=one.search,
            **where,
            group=one.group.name,
        )


def signs_of(spreads: Sequence[Spread], modality: str) -> Iterator[Sign]:
    """What the spread of each group says."""
    for one in spreads:
        word, n = graded(one.p, one.effective < FEW), len(one.group.made)
        where = f"{modality}, {one.group.name.replace('=', ' = ', 1)}" if one.group.name else modality
        taken = {1: "one patient takes", 2: "two patients take"}.get(one.takers, f"{one.takers} patients take")
        what = f"{taken} most of the {n} images" if word == "failed" else f"{n} images"
        text = (
            f"{where}: {what}; {one.share:.0%} lie nearest to one training patient ({one.group.patients} show this); "
            f"they spread over {one.effective:.1f} patients in effect, where unseen people's images spread over "
            f"{one.expected:.1f} (at least {one.least:.1f}; p {as_p(one.p)})"
        )
        yield PatientsSign(
            "patients",
            word,
            modality,
            text,
            group=one.group.name,
            n=n,
            training_patients=one.group.patients,
            patient=one.patient,
            share=one.share,
            takers=one.takers,
            effective=one.effective,
            expected=one.expected,
            least=one.least,
            unseen_people=one.group.people,
            p=one.p,
            search=one.search,
        )


def unjudged(unknown: int, training: int, modality: str) -> list[Sign]:
    """The sign where patients are unknown, of so many of the training images."""
    if not unknown:
        return []
    return [
        Sign(
            "patients",
            "undecided",
            modality,
            f"{modality}: spread over patients cannot be judged: {unknown} of {training} training images name no "
            "patient, and neighbours in the corpus stood in for patients",
        )
    ]
