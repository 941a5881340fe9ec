"""What the words of a prompt mean to one model, read from its conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..networks.conditions import Category, Conditions, Number, Value
from .words import FILLERS, NEGATIONS, NOTHING, SAME_ATTRIBUTE, SAME_LABEL, UNITS, Phrase, phrase_of, plural, synonyms

Kind = Literal["label", "noun", "number", "nothing", "negation", "filler", "unknown"]


@dataclass(frozen=True)
class Meaning:
    """Labels by (attribute, label), or the attributes that a noun or the name of a number may stand for."""

    kind: Kind
    labels: tuple[tuple[str, str], ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass
class Vocabulary:
    """The phrases that a model understands, and what there is to say about its attributes."""

    conditions: Conditions
    meanings: dict[Phrase, Meaning] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    """Words for a unit, to the one number that is measured in it."""
    nothing: dict[str, str] = field(default_factory=dict)
    """The label of an attribute that says: not there."""

    def __post_init__(self) -> None:
        labels: defaultdict[Phrase, set[tuple[str, str]]] = defaultdict(set)
        nouns: defaultdict[Phrase, set[str]] = defaultdict(set)
        numbers: defaultdict[Phrase, set[str]] = defaultdict(set)
        units: defaultdict[str, set[str]] = defaultdict(set)
        for attribute in self.conditions.attributes:
            if isinstance(attribute, Number):
                self._learn_number(attribute, numbers, units)
            else:
                self._learn_category(attribute, labels, nouns)
        self.units = {word: names.pop() for word, names in units.items() if len(names) == 1}
        self.meanings = {(word,): Meaning("filler") for word in FILLERS}
        self.meanings |= {phrase_of(text): Meaning("nothing") for text in ("normal", "healthy")}
        self.meanings |= {phrase: Meaning("noun", attributes=tuple(sorted(names))) for phrase, names in nouns.items()}
        self.meanings |= {phrase: Meaning("number", attributes=tuple(sorted(n))) for phrase, n in numbers.items()}
        self.meanings |= {phrase_of(text): Meaning("negation") for text in NEGATIONS}
        self.meanings |= {phrase: Meaning("label", labels=tuple(sorted(found))) for phrase, found in labels.items()}
        self.longest = max(map(len, self.meanings))

    def _learn_category(
        self, attribute: Category, labels: dict[Phrase, set[tuple[str, str]]], nouns: dict[Phrase, set[str]]
    ) -> None:
        for label in (*attribute.offered, *dict.fromkeys(one.value for one in attribute.withdrawn)):
            phrase = phrase_of(label)
            if label.casefold() in NOTHING:
                self.nothing[attribute.name] = label
            if not phrase or label.casefold() == "no":
                continue
            for same in synonyms(phrase, SAME_LABEL):
                labels[same].add((attribute.name, label))
                if same[-1].isalpha() and len(same[-1]) > 2:
                    labels[plural(same)].add((attribute.name, label))
        for same in synonyms(phrase_of(attribute.name), SAME_ATTRIBUTE):
            nouns[same].add(attribute.name)
            nouns[plural(same)].add(attribute.name)

    def _learn_number(self, attribute: Number, numbers: dict[Phrase, set[str]], units: dict[str, set[str]]) -> None:
        words = phrase_of(attribute.name)
        forms = next((forms for forms in UNITS if words[-1] in forms), ())
        for stem in {words, words[:-1]} if forms and len(words) > 1 else {words}:
            for same in synonyms(stem, SAME_ATTRIBUTE):
                numbers[same].add(attribute.name)
        for word in forms:
            units[word].add(attribute.name)

    def go_together(self, name: str, labels: Iterable[str]) -> bool:
        """Whether it is one label, or an image of the training had all these labels of an attribute."""
        return len(list(labels)) < 2 or self.was_seen({name: ";".join(labels)})

    def was_seen(self, where: Mapping[str, Value]) -> bool:
        """Whether an image of the training matches all categories that are asked for."""
        return bool(self.conditions.matching(where))
