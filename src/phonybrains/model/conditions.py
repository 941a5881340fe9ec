"""What an image can be asked to show: categories and numbers as one tensor, each of them allowed to be missing.

A category becomes one column a label plus one for «missing»; several labels joined by `;` are all set. A number
becomes its place in the range -1…1 plus a column for «missing».
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError

Value = str | float | None


@dataclass(frozen=True)
class Category:
    """An attribute with labels, e.g. plane: axial, coronal, sagittal."""

    name: str
    labels: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.labels) + 1

    def columns(self, value: Value) -> list[float]:
        if value is None:
            return [0.0] * len(self.labels) + [1.0]
        chosen = set(labels_of(value))
        return [float(label in chosen) for label in self.labels] + [0.0]

    def check(self, value: Value) -> Value:
        """The value as it is stored, or ConfigError naming the known labels."""
        for label in labels_of(value) or [""]:
            if label not in self.labels:
                raise ConfigError(f"{self.name} '{label}' is not known to the model.{_near(label, self.labels)}")
        return ";".join(labels_of(value))


@dataclass(frozen=True)
class Number:
    """An attribute with a range, e.g. age_years: 18…90."""

    name: str
    low: float
    high: float
    width = 2

    def columns(self, value: Value) -> list[float]:
        if value is None:
            return [0.0, 1.0]
        return [2 * (float(value) - self.low) / max(self.high - self.low, 1e-9) - 1, 0.0]

    def check(self, value: Value) -> Value:
        """The value as a number, or ConfigError naming the range the model has seen."""
        try:
            number = float(str(value))
        except ValueError:
            raise ConfigError(f"{self.name} '{value}' is not a number ({self.low:g} to {self.high:g}).") from None
        if not self.low <= number <= self.high:
            raise ConfigError(
                f"{self.name} {number:g} is outside what the model has seen: {self.low:g} to {self.high:g}."
            )
        return number


@dataclass(frozen=True)
class Conditions:
    """The schema of a model's conditions, and how often each combination of categories occurred in training."""

    attributes: tuple[Category | Number, ...]
    combinations: tuple[tuple[tuple[Value, ...], int], ...]

    @classmethod
    def fit(cls, rows: Iterable[Any], names: Sequence[str]) -> Conditions:
        """Read labels and ranges of the named columns from rows. Raises ConfigError for a column no row has."""
        rows = list(rows)
        attributes = tuple(
            _fit(name, [row[name] for row in rows], rows) for name in dict.fromkeys(["modality", *names])
        )
        categories = [a for a in attributes if isinstance(a, Category)]
        counts = Counter(tuple(_text(row[a.name]) for a in categories) for row in rows)
        return cls(attributes, tuple(sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))))

    @property
    def width(self) -> int:
        return sum(a.width for a in self.attributes)

    @property
    def groups(self) -> Tensor:
        """(width,) the attribute that each column belongs to."""
        return torch.repeat_interleave(torch.tensor([a.width for a in self.attributes]))

    @property
    def is_number(self) -> Tensor:
        """(attributes,) whether each is a number."""
        return torch.tensor([isinstance(a, Number) for a in self.attributes])

    def encode(self, rows: Sequence[Any]) -> Tensor:
        """Turn rows, or mappings from name to value, into (N, width) float32."""
        table = [[c for a in self.attributes for c in a.columns(_get(row, a.name))] for row in rows]
        return torch.tensor(table, dtype=torch.float32).reshape(len(rows), self.width)

    def null(self, n: int) -> Tensor:
        """(n, width): every attribute missing, the unconditional model."""
        return self.encode([{}] * n)

    def check(self, where: Mapping[str, Value]) -> dict[str, Value]:
        """Check what a user asks for. Raises ConfigError listing what is known."""
        known = {a.name: a for a in self.attributes}
        for name in where:
            if name not in known:
                raise ConfigError(f"the model has no attribute '{name}'.{_near(name, known)}")
        return {name: known[name].check(value) for name, value in where.items()}

    def draw(self, where: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
        """Fill up what is asked for: a combination of categories as frequent as in training; numbers stay missing.

        Where no training image matches all that is asked, the rest stays missing.
        """
        names = [a.name for a in self.attributes if isinstance(a, Category)]
        fixed = {name: value for name, value in where.items() if name in names}
        fits = [(c, n) for c, n in self.combinations if all(_matches(c[names.index(k)], v) for k, v in fixed.items())]
        drawn: dict[str, Value] = {}
        if fits:
            weights = np.array([n for _, n in fits], dtype=float)
            drawn = dict(zip(names, fits[rng.choice(len(fits), p=weights / weights.sum())][0], strict=True))
        return {a.name: where.get(a.name, drawn.get(a.name)) for a in self.attributes}

    def to_json(self) -> str:
        """The schema as JSON text: `conditions.json` of a model folder."""
        attributes = [asdict(a) for a in self.attributes]
        return json.dumps({"attributes": attributes, "combinations": self.combinations}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Conditions:
        """Read `conditions.json`. Raises KeyError, TypeError or ValueError if it is not one."""
        content = json.loads(text)
        attributes = tuple(
            Category(a["name"], tuple(a["labels"])) if "labels" in a else Number(a["name"], a["low"], a["high"])
            for a in content["attributes"]
        )
        return cls(attributes, tuple((tuple(c), int(n)) for c, n in content["combinations"]))


def drop(encoded: Tensor, conditions: Conditions, rng: torch.Generator, everything: float = 0.1, numbers: float = 0.3,
         each: float = 0.1) -> Tensor:  # fmt: skip
    """Make attributes missing at random, so that a model learns to do without: all, all numbers, or some.

    encoded: (B, width). The three shares are probabilities for an image.  [Ho 2022, alg. 1]
    """
    n, count = len(encoded), len(conditions.attributes)
    chance = torch.rand(n, count + 2, generator=rng, device=rng.device).to(encoded.device)
    gone = chance[:, 2:] < each
    gone |= chance[:, :1] < everything
    gone |= (chance[:, 1:2] < numbers) & conditions.is_number.to(encoded.device)
    null = conditions.null(1).to(encoded)
    return torch.where(gone[:, conditions.groups.to(encoded.device)], null, encoded)


def _fit(name: str, values: list[Value], rows: Sequence[Any]) -> Category | Number:
    present = [value for value in values if value is not None and value != ""]
    if not present:
        known = sorted({key for row in rows for key in row.attributes})
        raise ConfigError(f"no image of the corpus has the attribute '{name}'.{_near(name, known)}")
    if all(isinstance(value, (int, float)) for value in present):
        numbers = [float(value) for value in present]
        return Number(name, min(numbers), max(numbers))
    return Category(name, tuple(sorted({label for value in present for label in labels_of(value)})))


def _get(row: Any, name: str) -> Value:
    value = row.get(name) if isinstance(row, Mapping) else row[name]
    return None if value == "" else value


def labels_of(value: Value) -> list[str]:
    """The labels in a category's value: «a;b» has two; in a column with words too, the number 1 is the label «1»."""
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return [label.strip() for label in text.split(";") if label.strip()]


def _text(value: Value) -> Value:
    return None if value is None else ";".join(labels_of(value)) or None


def _matches(value: Value, wanted: Value) -> bool:
    return value is not None and set(labels_of(wanted)) <= set(labels_of(value))


def _near(wrong: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f" Known: {', '.join(names) or 'none'}.{hint}"
