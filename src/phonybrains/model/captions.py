"""Captions: what an image shows, in words by a template; and back, which attributes a prompt names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..networks.conditions import Category, Conditions, Value, labels_of, value_in

if TYPE_CHECKING:
    import numpy as np

PROMPT = "prompt"
"""What a text-conditioned model is asked beside its attributes: the words themselves."""

CAPTION = "{plane} {modality} of the brain, {diagnosis}, {hemorrhage}"
KINDS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
WORDS = {
    "modality": {"MR": "MRI"},
    "diagnosis": {"none": "no tumor"},
    "hemorrhage": {"none": "no hemorrhage", **{kind: f"{kind} hemorrhage" for kind in KINDS}},
}


@dataclass(frozen=True)
class Captions:
    """A template such as "{plane} {modality} of the brain, {diagnosis}", and other words for some labels.

    A clause, from comma to comma, none of whose attributes an image has is left out. A format follows a colon, as in
    "{age_years:.0f} years". words: attribute → label → words. Raises ConfigError for a template that is none.
    """

    template: str
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            names, _ = _names(self.template), self.write({})
        except ValueError as error:
            raise ConfigError(f"caption: '{self.template}' is not a template ({error}).") from None
        if not names or not all(name.isidentifier() for name in names):
            how = "Write them as {plane} or {modality}."
            raise ConfigError(f"caption: '{self.template}' names no attributes. {how}")

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes in the template."""
        return tuple(_names(self.template))

    def only(self, known: set[str]) -> Captions:
        """The captions without the clauses that name none but attributes not known."""
        kept = [c for c in _clauses(self.template) if not (names := _names(c)) or known & {*names}]
        return Captions(",".join(kept), self.words)

    def write(self, row: Any) -> str:
        """The caption of a row, or of a mapping from name to value."""
        return ", ".join(filter(None, (self._fill(clause, row) for clause in _clauses(self.template))))

    def read(self, prompt: str, conditions: Conditions) -> dict[str, Value]:
        """The labels that a prompt names, as attributes; numbers are not read, and two modalities are none."""
        found: dict[str, Value] = {}
        for attribute in conditions.attributes:
            if isinstance(attribute, Category) and (labels := self._named(prompt, attribute)):
                found[attribute.name] = ";".join(labels)
        if ";" in str(found.get("modality", "")):
            del found["modality"]
        return found

    def _named(self, prompt: str, attribute: Category) -> list[str]:
        said = {self._words(attribute.name, label): label for label in attribute.offered}
        if attribute.name == "modality":
            said |= {label: label for label in attribute.offered}
        found = []
        for words in sorted(said, key=len, reverse=True):  # «no hemorrhage» before «hemorrhage»
            rest = re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", " ", prompt, flags=re.IGNORECASE)
            if rest != prompt:
                found.append(said[words])
            prompt = rest
        return sorted(set(found))

    def _fill(self, clause: str, row: Any) -> str:
        text, said = "", []
        for literal, name, form, _ in Formatter().parse(clause):
            if name is not None:
                said.append(self._say(name, value_in(row, name), form or ""))
            text += literal + (said[-1] if name is not None else "")
        return " ".join(text.split()) if any(said) or not said else ""

    def _say(self, name: str, value: Value, form: str) -> str:
        if value is None:
            return ""
        if isinstance(value, (int, float)) and name not in self.words:
            return format(value, form or "g")
        return " and ".join(self._words(name, label) for label in labels_of(value))

    def _words(self, name: str, label: str) -> str:
        return self.words.get(name, {}).get(label, label)


@dataclass(frozen=True)
class Described(Conditions):
    """The conditions of a model that reads words: its attributes, or a prompt, each telling the other."""

    captions: Captions = field(kw_only=True)

    def check(self, where: Mapping[str, Value]) -> dict[str, Value]:
        """As for any conditions; a prompt is any words. Raises ConfigError listing what is known."""
        checked = super().check({name: value for name, value in where.items() if name != PROMPT})
        if PROMPT in where:
            if not str(where[PROMPT] or "").strip():
                raise ConfigError("the prompt is empty. Say what the images show, or leave it out.")
            checked[PROMPT] = " ".join(str(where[PROMPT]).split())
        return checked

    def draw(self, where: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
        """What an image is asked for: its prompt as given, or the caption of attributes drawn as in training."""
        if prompt := where.get(PROMPT):
            empty: dict[str, Value] = {a.name: None for a in self.attributes}
            return empty | self.captions.read(str(prompt), self) | dict(where)
        drawn = super().draw(where, rng)
        return drawn | {PROMPT: self.captions.write(drawn)}


def _clauses(template: str) -> list[str]:
    return re.split(r",(?![^{}]*\})", template)


def _names(text: str) -> dict[str, None]:
    """The attributes in a template or a clause, in their order."""
    return {name: None for _, name, _, _ in Formatter().parse(text) if name is not None}
