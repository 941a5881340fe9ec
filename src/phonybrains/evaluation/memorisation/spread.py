"""Over how many training patients do generated images spread, in all and for each value that they were asked for?

Each image lies nearest to one training patient. Of unseen people's images this is known too, and it is what chance
gives: some patients are nearest to many, and slices of one person lie nearest to few. So as many images as were
generated are drawn from as many unseen people as show the value, again and again. A set counts by its effective number
of patients, 1/Σ(share²): N if N patients take equal shares, less than 4 if one takes half of the images or more.
[inverse Simpson index: Hill 1973; one more person, as narrow as the narrowest: conformal, Vovk 2005, sec. 2.2]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import Row
from ...reporting.wording import as_p
from ...wording import count_of
from ..findings import PatientsSign, Sign
from ..inputs.labels import CUTS
from ..inputs.sets import NOT_ATTRIBUTES
from ..score import Null, Score
from .nearness import Closeness
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
    """Images of one value: numbers of the generated ones; training patients who show it; what says who shows it.

    people: of so many unseen people the null's sets are made.
    """

    name: str
    made: tuple[int, ...]
    patients: int
    people: int
    shows: Callable[[Row], bool] = lambda _: True


def landed_by_features(close: Closeness, rows: Sequence[Row]) -> Landed:
    """By features: every real image lands on the nearest training person other than its own."""
    columns = np.flatnonzero(close.trained)
    real = np.where(columns == close.owner[:, None], -2, close.real[:, columns]).argmax(axis=1)
    who, shown = [close.names[int(i)] for i in close.owner], [rows[i] for i in close.numbers]
    return Landed(close.features, close.made[:, columns].argmax(axis=1), real, who, shown)


def groups_of(made: Sequence[Row], real: Sequence[Row], people: Sequence[str]) -> list[Group]:
    """The modality, and each value of each attribute of the generated images that at least FEWEST of them have.

    Values that the very same images have are one group, that of the fewest training patients.
    """
    training = [row for row in real if row.split == "train"]
    given = (name for row in made for name, value in row.attributes.items() if value not in (None, ""))
    found: dict[tuple[int, ...], Group] = {}
    for name in ("", *(name for name in dict.fromkeys(given) if name not in NOT_ATTRIBUTES)):
        labels = labels_by(name, training)
        for label in sorted({label for row in made for label in labels(row)}):

            def shows(row: Row, labels: Callable[[Row], set[str]] = labels, label: str = label) -> bool:
                return label in labels(row)

            numbers = tuple(i for i, row in enumerate(made) if shows(row))
            if len(numbers) < FEWEST:
                continue
            shown: dict[bool, set[str]] = {True: set(), False: set()}
            for row, who in zip(real, people, strict=True):
                if row.split and shows(row):
                    shown[row.split == "train"].add(who)
            held_out = len(shown[False] - shown[True])
            count = _named([made[i] for i in numbers], training) or max(LEAST_PEOPLE, min(len(shown[True]), held_out))
            group = Group(f"{name}={label}" if name else "", numbers, len(shown[True]), count, shows)
            if numbers not in found or 0 < group.patients < found[numbers].patients:
                found[numbers] = group
    return list(found.values())


def _named(rows: Sequence[Row], training: Sequence[Row]) -> int:
    """How many people the images show, where they are real ones of people who are not in the training split; else 0."""
    shown, known = {row.patient_id for row in rows}, {row.patient_id for row in training}
    return 0 if "" in shown or shown & known or any(row.synthetic for row in rows) else len(shown)


def labels_by(attribute: str, training: Sequence[Row]) -> Callable[[Row], set[str]]:
    """What tells an image's labels for an attribute; the modality, of no name, gives every image the same.

    Numbers with more than five values are thirds of the training images' values; an image with "a;b" shows both.
    """
    values = [row[attribute] for row in training if attribute and row[attribute] not in (None, "")]
    many = all(isinstance(value, float) for value in values) and len(set(values)) > len(CUTS) + 2
    edges = np.quantile(np.array(values), [1 / 3, 2 / 3]) if many else None

    def labels(row: Row) -> set[str]:
        value = row[attribute] if attribute else None
        if value in (None, ""):
            return set() if attribute else {""}
        if edges is not None and isinstance(value, float):
            return {CUTS[int(np.searchsorted(edges, value))]}
        text = f"{value:.15g}" if isinstance(value, float) else str(value)
        return {part.strip() for part in text.split(";")} - {""}

    return labels


def spread_of(
    landed: Sequence[Landed], groups: Sequence[Group], names: Sequence[str], modality: str, seed: int = 0
) -> Iterator[tuple[PatientsSign, Score]]:
    """What the spread of each group says, by the search that finds it narrowest; names: of the training patients.

    p pays for all searches and groups of the modality.
    """
    rng, looks = np.random.default_rng([seed, 14]), len(landed) * len(groups)
    for group in groups:
        tried = [_spread(one, group, names, modality, looks, rng) for one in landed]
        yield min(tried, key=lambda found: (found[0].p, found[0].effective))


def _spread(
    landed: Landed, group: Group, names: Sequence[str], modality: str, looks: int, rng: np.random.Generator
) -> tuple[PatientsSign, Score]:
    """One group by one search. takers: the fewest patients who take more than half of the images."""
    n, counts = len(group.made), np.bincount(landed.made[list(group.made)], minlength=len(names))
    same = np.array([group.shows(row) for row in landed.rows])
    if len(set(np.array(landed.who)[same])) < LEAST_PEOPLE:
        same[:] = True
    who = np.unique(np.array(landed.who)[same], return_inverse=True)[1]
    drawn = unseen_sets(landed.unseen[same], who, len(names), group.people, n, max(DRAWS, 60 * looks), rng)
    null, effective, tail = effective_number(drawn), float(effective_number(counts)), LEVEL / looks
    p = min(1.0, looks * float(1 + (null <= effective + 1e-9).sum()) / (1 + len(null)))
    takers = int(np.searchsorted(np.cumsum(np.sort(counts)[::-1]), n / 2, "right")) + 1
    least, expected, most = np.quantile(null, [tail, 0.5, 1 - tail]).tolist()
    share, word = float(counts.max() / counts.sum()), graded(p, effective < FEW)
    taken = {1: "one patient takes", 2: "two patients take"}.get(takers, f"{takers} patients take")
    text = (
        f"{modality}{group.name and ', '}{group.name.replace('=', ' = ', 1)}: "
        f"{f'{taken} most of the ' if word == 'failed' else ''}{count_of(n, 'image')}; "
        f"{share:.0%} lie nearest to one training patient ({group.patients} show this); they spread over "
        f"{effective:.1f} patients in effect, where unseen people's images spread over {expected:.1f} (at least "
        f"{least:.1f}; p {as_p(p)})"
    )
    sign = PatientsSign(
        "patients",
        word,
        modality,
        text,
        group=group.name,
        n=n,
        training_patients=group.patients,
        patient=names[int(counts.argmax())],
        share=share,
        takers=takers,
        effective=effective,
        expected=expected,
        least=least,
        unseen_people=group.people,
        p=p,
        search=landed.search,
    )
    where: dict[str, Any] = {"versus": "train", "modality": modality, "group": group.name, "extractor": landed.search}
    beside_it = count_of(group.people, "unseen person", "unseen people")
    note = f"{share:.0%} lie nearest to one training patient; null: {beside_it}"
    beside = Null(expected, least, most, DRAWS)
    return sign, Score("effective_patients", effective, n=n, null=beside, p=p, note=note, **where)


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


def unjudged(unknown: int, training: int, modality: str) -> list[Sign]:
    """The sign where patients are unknown, of so many of the training images."""
    if not unknown:
        return []
    text = (
        f"{modality}: spread over patients cannot be judged: of {count_of(training, 'training image')}, "
        f"{count_of(unknown, 'names', 'name')} no patient, and neighbours in the corpus stood in for patients"
    )
    return [Sign("patients", "undecided", modality, text)]
