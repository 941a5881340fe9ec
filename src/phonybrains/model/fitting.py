"""Reading a model's conditions off its training images: labels, ranges, and who stands behind each combination."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from ..errors import ConfigError
from ..held_out import real_rows
from ..imageset import METADATA_NAME, ImageSet, is_own_column
from ..networks.conditions import Category, Conditions, Number, Value, Withdrawn, labels_of, near, tenth_of

FARTHEST = 1e30
"""No measurement is larger: what is stands for a missing value in somebody's format."""
LEAST_SHARE = 1e-6
"""Of a number's range: where half of all values lie within less, a network sees no difference between them."""


def fit_conditions(
    rows: Iterable[Any], names: Sequence[str], withdrawn: Sequence[Withdrawn] = (), min_patients: int = 0
) -> Conditions:
    """Read labels and ranges of the named columns from rows, whose withdrawn values are missing already.

    People are counted on real images alone. Raises ConfigError for a column no row has, and for a name that no
    attribute can have.
    """
    rows = list(rows)
    people = [rows[i] for i in real_rows(rows)]
    check_names(names)
    attributes = tuple(
        _fit(name, [row[name] for row in rows], rows, tuple(one for one in withdrawn if one.attribute == name))
        for name in dict.fromkeys(["modality", *names])
    )
    categories = [a for a in attributes if isinstance(a, Category)]
    shown = [tuple(_text(row[a.name]) for a in categories) for row in rows]
    ordered = tuple(sorted(Counter(shown).items(), key=lambda item: (-item[1], str(item[0]))))
    numbers = {name: i for i, name in enumerate(sorted({row.patient_id for row in rows} - {""}))}
    who: defaultdict[Any, list[str]] = defaultdict(list)
    for row in people:
        who[tuple(_text(row[a.name]) for a in categories)].append(row.patient_id)
    patients = tuple((frozenset(numbers[p] for p in who[v] if p), who[v].count("")) for v, _ in ordered)
    tenths = {a.name: _tenths(a, people) for a in attributes if isinstance(a, Number)}
    return Conditions(attributes, ordered, patients, tenths, min_patients)


def check_names(names: Iterable[str]) -> None:
    """Raise ConfigError for a condition that is called as a column which every set has or gets when it is made."""
    for name in names:
        if name != "modality" and is_own_column(name):
            why = "every image set has or gets a column of that name for something else"
            raise ConfigError(f"no condition can be called '{name}': {why}. Rename the column, or leave it out.")


def check_numbers(images: ImageSet, names: Iterable[str]) -> None:
    """Raise ConfigError, naming the row, for a number that no measurement has, or beside which all others are alike."""
    rows = {n: row for n, row in enumerate(images.rows, start=2) if row.split in ("train", "validation")}
    for name in names:
        found = {n: float(row[name]) for n, row in rows.items() if isinstance(row[name], (int, float))}
        if not found or not is_number(row[name] for row in rows.values()):
            continue
        values, middle = sorted(found.values()), median(found.values())
        worst = max(found, key=lambda n: abs(found[n] - middle))
        half = values[3 * (len(values) - 1) // 4] - values[len(values) // 4]
        if abs(found[worst]) > FARTHEST or 0 < half < LEAST_SHARE * (values[-1] - values[0]):
            raise ConfigError(
                f"{images.folder / METADATA_NAME}, row {worst}: {name} is {found[worst]:g}, and {middle:g} in the "
                "middle of all rows. Correct the cell, or leave it empty where the value is not known."
            )


def constants(rows: Sequence[Any], names: Iterable[str]) -> dict[str, float]:
    """The columns of numbers in which all rows that have any have the same one, and that one."""
    found = {name: {row[name] for row in rows} - {None, ""} for name in names}
    return {name: float(*one) for name, one in found.items() if len(one) == 1 and is_number(one)}


def is_number(values: Iterable[Value]) -> bool:
    """Whether a column is a number: every value there is, is one."""
    return all(isinstance(value, (int, float)) for value in values if value not in (None, ""))


def _fit(name: str, values: list[Value], rows: Sequence[Any], withdrawn: tuple[Withdrawn, ...]) -> Category | Number:
    present = [value for value in values if value not in (None, "")]
    if not present and not withdrawn:
        known = sorted({key for row in rows for key in row.attributes})
        raise ConfigError(f"no image of the corpus has the attribute '{name}'.{near(name, known)}")
    if present and is_number(present):
        numbers = list(map(float, present))  # type: ignore[arg-type]
        return Number(name, min(numbers), max(numbers), withdrawn=withdrawn)
    labels = sorted({label for value in present for label in labels_of(value)})
    return Category(name, tuple(labels), withdrawn=withdrawn)


def _tenths(number: Number, rows: Sequence[Any]) -> dict[str, str]:
    who: dict[str, list[list[str]]] = {row.modality: [[] for _ in range(10)] for row in rows}
    for row in rows:
        if row[number.name] not in (None, ""):
            who[row.modality][tenth_of(number, float(row[number.name]))].append(row.patient_id)
    return {
        modality: " ".join(f"{len(part)}/{len({*part} - {''})}/{part.count('')}" for part in parts)
        for modality, parts in sorted(who.items())
    }


def _text(value: Value) -> Value:
    return None if value is None else ";".join(labels_of(value)) or None
