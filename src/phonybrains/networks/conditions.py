"""What an image can be asked to show: categories and numbers as one tensor, each of them allowed to be missing.

A category becomes one column a label plus one for «missing»; several labels joined by `;` are all set. A number
becomes its place in the range -1…1 plus a column for «missing».
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..spreadsheet import plain_name
from ..wording import count_of

if TYPE_CHECKING:  # asking what a model knows needs neither
    import numpy as np
    from torch import Tensor

Value = str | float | None


@dataclass(frozen=True)
class Withdrawn:
    """A value that training gave no condition to on the images of a modality, since too few patients show it."""

    attribute: str
    modality: str
    value: str
    images: int
    patients: int

    def __str__(self) -> str:
        return (
            f"{self.value} ({self.modality}: {count_of(self.images, 'image')} of {count_of(self.patients, 'patient')})"
        )


@dataclass(frozen=True)
class Category:
    """An attribute with labels, e.g. plane: axial, coronal, sagittal; `closed` ones have a column and cannot be had."""

    name: str
    labels: tuple[str, ...]
    closed: tuple[str, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()

    @property
    def width(self) -> int:
        return len(self.labels) + 1

    @property
    def offered(self) -> tuple[str, ...]:
        """The labels that can be asked for."""
        return tuple(label for label in self.labels if label not in self.closed)

    def columns(self, value: Value) -> list[float]:
        chosen = set[str]() if value is None else {*labels_of(value)} & {*self.offered}
        return [float(label in chosen) for label in self.labels] + [float(not chosen)]

    def check(self, value: Value, modality: Value = None) -> Value:
        """The value as it is stored, or ConfigError naming the known labels, or why a label is withdrawn."""
        known = (*self.labels, *(one.value for one in self.withdrawn))
        labels = list(dict.fromkeys(as_spelt(label, known) for label in labels_of(value)))
        for label in labels or [""]:
            gone = [one for one in self.withdrawn if one.value == label and modality in (None, one.modality)]
            if gone and (modality is not None or label not in self.offered):
                counts = " and ".join(count_of(one.images, f"{one.modality} training image") for one in gone)
                people = count_of(sum(one.patients for one in gone), "patient")
                others = near("", self.offered) if self.offered else " No value of it can be asked for."
                raise ConfigError(
                    f"{self.name} '{label}' is withdrawn: {counts} of {people} show it, so few that an "
                    f"image of it would redraw them.{others}"
                )
            if label not in self.offered:
                raise ConfigError(f"{self.name} '{label}' is not known to the model.{near(label, self.offered)}")
        return ";".join(labels)


@dataclass(frozen=True)
class Number:
    """An attribute with a range, e.g. age_years: 18…90; `seen` is the range that can be asked for, if narrower."""

    name: str
    low: float
    high: float
    seen: tuple[float, float] | None = None
    withdrawn: tuple[Withdrawn, ...] = ()
    width = 2

    @property
    def offered(self) -> tuple[float, float]:
        """The range that can be asked for."""
        return self.seen or (self.low, self.high)

    def columns(self, value: Value) -> list[float]:
        if value is None or not self.offered[0] <= float(value) <= self.offered[1]:
            return [0.0, 1.0]
        return [2 * (float(value) - self.low) / max(self.high - self.low, 1e-9) - 1, 0.0]

    def check(self, value: Value, modality: Value = None) -> Value:
        """The value as a number, or ConfigError naming the range the model has seen."""
        low, high = self.offered
        if low > high:
            raise ConfigError(f"{self.name} is withdrawn: too few patients have it to draw any other.")
        try:
            number = float(str(value))
        except ValueError:
            raise ConfigError(f"{self.name} '{value}' is not a number ({low:g} to {high:g}).") from None
        if not low <= number <= high:
            raise ConfigError(f"{self.name} {number:g} is outside what the model has seen: {low:g} to {high:g}.")
        return number


@dataclass(frozen=True)
class Conditions:
    """The schema of a model's conditions, and how often each combination of categories occurred in training.

    patients: for each combination, whom its images show, as numbers that mean nothing elsewhere, and how many images
    show nobody knows whom; empty where that was not counted. tenths: for each number and modality, "images/patients/
    images of unknown patients" in ten equal parts of its range. min_patients: values of fewer were withdrawn.
    """

    attributes: tuple[Category | Number, ...]
    combinations: tuple[tuple[tuple[Value, ...], int], ...]
    patients: tuple[tuple[frozenset[int], int], ...] = ()
    tenths: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    min_patients: int = 0

    @property
    def width(self) -> int:
        return sum(a.width for a in self.attributes)

    @property
    def categories(self) -> list[str]:
        """Their names, in the order of the values of a combination."""
        return [a.name for a in self.attributes if isinstance(a, Category)]

    def encode(self, rows: Sequence[Any]) -> Tensor:
        """Turn rows, or mappings from name to value, into (N, width) float32."""
        import torch

        return torch.tensor(self.table(rows), dtype=torch.float32).reshape(len(rows), self.width)

    def table(self, rows: Sequence[Any]) -> list[list[float]]:
        """`encode` as plain numbers."""
        return [[c for a in self.attributes for c in a.columns(value_in(row, a.name))] for row in rows]

    def null(self, n: int) -> Tensor:
        """(n, width): every attribute missing, the unconditional model."""
        return self.encode([{}] * n)

    def check(self, where: Mapping[str, Value]) -> dict[str, Value]:
        """Check what a user asks for. Raises ConfigError listing what is known."""
        if not isinstance(where, Mapping):
            raise ConfigError(f"where is {where!r}: it maps names to values, for instance {{'modality': 'CT'}}.")
        known = {a.name: a for a in self.attributes}
        asked: dict[str, Value] = {}
        for given, value in where.items():
            name = as_spelt(plain_name(str(given)), known)
            if name not in known:
                raise ConfigError(f"the model has no attribute '{name}'.{near(name, known)}")
            if name in asked:
                raise ConfigError(f"{name} is asked for twice. Say it once; labels that go together are joined by ';'.")
            asked[name] = value
        if "modality" in asked:
            asked["modality"] = known["modality"].check(asked["modality"])
            if len(labels_of(asked["modality"])) > 1:
                raise ConfigError(f"modality '{asked['modality']}': an image has one. Ask for each by itself.")
        return {name: known[name].check(value, asked.get("modality")) for name, value in asked.items()}

    def of(self, row: Any) -> dict[str, Value]:
        """What of a row, or of a mapping from name to value, can be asked for."""
        found = dict[str, Value]()
        modality = value_in(row, "modality")
        for attribute in self.attributes:
            if (value := value_in(row, attribute.name)) is not None:
                with suppress(ConfigError):
                    found[attribute.name] = attribute.check(value, modality)
        return found

    def draw(self, where: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
        """Fill up what is asked for: a combination of categories as frequent as in training; numbers stay missing.

        Where no training image matches all that is asked, the rest stays missing.
        """
        fits = [self.combinations[i] for i in self.matching(where)]
        drawn: dict[str, Value] = {}
        if fits:
            total = sum(n for _, n in fits)
            chosen = rng.choice(len(fits), p=[n / total for _, n in fits])
            drawn = dict(zip(self.categories, fits[chosen][0], strict=True))
        return {a.name: where.get(a.name, drawn.get(a.name)) for a in self.attributes}

    def matching(self, asked: Mapping[str, Value]) -> list[int]:
        """Which combinations of the training show all of the categories that are asked for."""
        wanted = {i: {*labels_of(asked[name])} for i, name in enumerate(self.categories) if name in asked}
        return [
            number
            for number, (values, _) in enumerate(self.combinations)
            if all(values[i] is not None and labels <= {*labels_of(values[i])} for i, labels in wanted.items())
        ]

    def to_json(self) -> str:
        """The schema as JSON text: `conditions.json` of a model folder."""
        attributes = [_plain(a) for a in self.attributes]
        content: dict[str, Any] = {"attributes": attributes, "combinations": self.combinations}
        if self.patients:
            content["patients"] = [(" ".join(map(str, sorted(who))), unknown) for who, unknown in self.patients]
            content["tenths"], content["min_patients"] = self.tenths, self.min_patients
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Conditions:
        """Read `conditions.json`. Raises KeyError, TypeError or ValueError if it is not one."""
        content = json.loads(text)
        combinations = tuple((tuple(c), int(n)) for c, n in content["combinations"])
        patients = tuple((frozenset(map(int, who.split())), int(n)) for who, n in content.get("patients", ()))
        return cls(
            tuple(map(_attribute_of, content["attributes"])),
            combinations,
            patients,
            content.get("tenths", {}),
            int(content.get("min_patients", 0)),
        )


UNSEEN = " ".join(["0/0/0"] * 10)
"""The tenths of a number that no image shows."""


def tenth_of(number: Number, value: float) -> int:
    """Which of ten equal parts of its range a value lies in, 0…9."""
    low, high = number.offered
    return min(9, max(0, int(10 * (value - low) / max(high - low, 1e-9))))


def _plain(attribute: Category | Number) -> dict[str, Any]:
    """An attribute for JSON: what it does not have is left out, as models from before have none of it."""
    content = {key: value for key, value in vars(attribute).items() if value not in ((), None) or key == "labels"}
    if attribute.withdrawn:
        content["withdrawn"] = [[one.modality, one.value, one.images, one.patients] for one in attribute.withdrawn]
    return content


def _attribute_of(a: Mapping[str, Any]) -> Category | Number:
    name = a["name"]
    withdrawn = tuple(Withdrawn(name, *one) for one in a.get("withdrawn", ()))
    if "labels" in a:
        return Category(name, tuple(a["labels"]), tuple(a.get("closed", ())), withdrawn)
    seen = (float(a["seen"][0]), float(a["seen"][1])) if a.get("seen") else None
    return Number(name, a["low"], a["high"], seen, withdrawn)


def value_in(row: Any, name: str) -> Value:
    """The value of an attribute in a row, or in a mapping from name to value; None where it is empty."""
    value = row.get(name) if isinstance(row, Mapping) else row[name]
    return None if value == "" else value


def as_spelt(word: str, known: Iterable[str]) -> str:
    """The one known word that a word is when upper and lower case are the same; the word itself where none is."""
    names = set(known)
    alike = [name for name in names if name.casefold() == word.casefold()]
    return alike[0] if word not in names and len(alike) == 1 else word


def labels_of(value: Value) -> list[str]:
    """The labels in a category's value: «a;b» has two; in a column with words too, the number 1 is the label «1»."""
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return [label for part in text.split(";") if (label := plain_name(part))]


def class_of(value: Value) -> str:
    """The class of an image with this value, for a classifier: its labels in alphabetical order; empty without any."""
    return "" if value is None else ";".join(sorted({*labels_of(value)}))


def near(wrong: str, known: Iterable[str]) -> str:
    """The end of an error: what is known, and which of it a wrong name may be meant for."""
    names = list(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f" Known: {', '.join(names) or 'none'}.{hint}"
