"""A prompt's words as conditions of a model: what is understood is asked for, what is not is reported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..networks.conditions import Value, labels_of
from .refusal import Refusal, invalid
from .vocabulary import Meaning, Vocabulary
from .words import BEFORE_A_NUMBER, FILLERS, tokens_of

OR = ("or", "nor")


@dataclass(frozen=True)
class Part:
    """Some words of a prompt and what they mean; `last` is the place of the last of them among all words."""

    meaning: Meaning
    first: int
    last: int


@dataclass
class PromptReader:
    """Reads one prompt, word by word."""

    text: str
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        self.tokens = tokens_of(self.text)
        self.labels: defaultdict[str, dict[str, None]] = defaultdict(dict)  # in the order of the prompt
        self.numbers: dict[str, float] = {}
        self.unknown: set[int] = set()

    def parts(self) -> list[Part]:
        """The prompt cut into the longest phrases that mean something."""
        found, at = [], 0
        words = tuple(token.word for token in self.tokens)
        while at < len(words):
            lengths = range(min(self.vocabulary.longest, len(words) - at), 0, -1)
            length = next((n for n in lengths if words[at : at + n] in self.vocabulary.meanings), 1)
            meaning = self.vocabulary.meanings.get(words[at : at + length], Meaning("unknown"))
            found.append(Part(meaning, at, at + length - 1))
            at += length
        return found

    def read(self) -> None:
        """Go through the parts once, then settle what hangs on all of them."""
        parts, at = self.parts(), 0
        unsettled: list[Part] = []
        while at < len(parts):
            part, taken = parts[at], 1
            if part.meaning.kind == "label":
                self._label(part, parts[max(0, at - 1) : at + 2])
            elif part.meaning.kind == "negation":
                taken = self._negation(parts, at)
            elif part.meaning.kind != "filler":
                taken = self._number(parts, at)
                if not taken:
                    unsettled.append(part)
                    taken = 1
            at += taken
        for part in unsettled:
            if part.meaning.kind == "nothing":
                self._nothing(part)
            elif not self._is_said(part):
                self._report(part)

    def _label(self, part: Part, around: list[Part]) -> None:
        """A label that several attributes have, or that is a number, needs the name of its attribute beside it."""
        choices = part.meaning.labels
        if len(choices) > 1 or _number(self._word(part)) is not None:
            named = {name for other in around if other.meaning.kind == "noun" for name in other.meaning.attributes}
            choices = tuple(choice for choice in choices if choice[0] in named)
        if len(choices) != 1:
            self._report(part)
            return
        self.labels[choices[0][0]][choices[0][1]] = None

    def _negation(self, parts: list[Part], at: int) -> int:
        """«no hemorrhage» asks for the label that says so; what no label can say is reported, never turned round.

        Returns how many parts that takes.
        """
        end = at + 1
        while end < len(parts) and self._is_denied(parts[end - 1], parts[end]):
            end += 1
        items = [part for part in parts[at + 1 : end] if self._word(part) not in OR and part.meaning.kind != "filler"]
        names = [self._deniable(part) for part in items]
        if not names or None in names:
            for part in parts[at:end]:
                self._report(part)
        else:
            self.labels |= {name: {self.vocabulary.nothing[name]: None} | self.labels[name] for name in names if name}
        return end - at

    def _is_denied(self, before: Part, part: Part) -> bool:
        """Whether a negation that holds for one part goes on to the next."""
        if not self._near(before, part):
            return False
        if before.meaning.kind in ("negation", "filler") or self._word(before) in OR or self._word(part) in OR:
            return True
        if part.meaning.kind == "noun":
            return before.meaning.kind != "noun"
        return part.meaning.kind == "label" == before.meaning.kind

    def _deniable(self, part: Part) -> str | None:
        """The attribute that a noun names and that has a label for «not there»."""
        names = part.meaning.attributes if part.meaning.kind == "noun" else ()
        return names[0] if len(names) == 1 and names[0] in self.vocabulary.nothing else None

    def _number(self, parts: list[Part], at: int) -> int:
        """«slice 12», «age: 63», «63 years»: how many parts that takes; 0 if there is no number in it."""
        part, names = parts[at], parts[at].meaning.attributes
        words = [self.tokens[p.first].word for p in parts[at : at + 4]]
        if part.meaning.kind == "number":
            skip = next((i for i, word in enumerate(words[1:], 1) if word not in BEFORE_A_NUMBER), len(words))
            value = _number(words[skip]) if skip < len(words) and self._runs_on(parts[at : at + skip + 1]) else None
            if value is None or len(names) != 1:
                return 0
            self._set(names[0], value)
            unit = self._word(parts[at + skip + 1]) if at + skip + 1 < len(parts) else ""
            return skip + 1 + (self.vocabulary.units.get(unit) == names[0])
        value = _number(words[0])
        if part.meaning.kind == "unknown" and value is not None and len(words) > 1:
            name = self.vocabulary.units.get(words[1])
            if name is not None and self._near(part, parts[at + 1]):
                self._set(name, value)
                return 2
        return 0

    def _nothing(self, part: Part) -> None:
        """«normal»: nothing where the model can say so, and where that goes with the rest of the prompt."""
        so_far: dict[str, Value] = {name: ";".join(labels) for name, labels in self.labels.items()}
        more = {name: label for name, label in self.vocabulary.nothing.items() if name not in so_far}
        fits = {name: label for name, label in more.items() if self.vocabulary.was_seen(so_far | {name: label})}
        if not fits:
            self._report(part)
        for name, label in fits.items():
            self.labels[name][label] = None

    def _set(self, name: str, value: float) -> None:
        if self.numbers.setdefault(name, value) != value:
            raise _contradiction(f"{name} {self.numbers[name]:g} and {value:g}; an image has one")

    def _is_said(self, part: Part) -> bool:
        """Whether a noun adds nothing: its attribute has a value, or it is one of those that any image has."""
        names = part.meaning.attributes
        said = any(name in self.labels or name in self.numbers for name in names)
        return said or (bool(names) and self._word(part) in FILLERS)

    def _runs_on(self, parts: list[Part]) -> bool:
        """Whether nothing stands between a name and its number that ends a sentence or a clause."""
        ends = (self.text[self.tokens[a.last].end : self.tokens[b.first].start].strip() for a, b in pairwise(parts))
        return all(
            end in ("", ":", "=", "#", "(") or (end == "." and self._word(a) in ("no", "nr"))
            for end, a in zip(ends, parts, strict=False)
        )

    def _near(self, one: Part, other: Part) -> bool:
        """Whether no punctuation but a hyphen parts them."""
        between = self.text[self.tokens[one.last].end : self.tokens[other.first].start]
        return not between.strip(" \t\n-–'’")

    def _word(self, part: Part) -> str:
        return self.tokens[part.first].word

    def _report(self, part: Part) -> None:
        self.unknown.update(range(part.first, part.last + 1))

    def unknown_phrases(self) -> list[str]:
        """What was not understood, as it stands in the prompt, words beside one another together."""
        spans: list[tuple[int, int]] = []
        for i in sorted(self.unknown):
            token = self.tokens[i]
            if spans and i - 1 in self.unknown and not self.text[spans[-1][1] : token.start].strip(" \t-–_='’/+.#"):
                spans[-1] = spans[-1][0], token.end
            else:
                spans.append((token.start, token.end))
        return list(dict.fromkeys(self.text[start:end] for start, end in spans))


def understand(prompt: str, vocabulary: Vocabulary) -> tuple[dict[str, Value], list[str]]:
    """What a prompt asks for, and the words in it that mean nothing to the model.

    Raises Refusal for one that contradicts itself; values out of range are left to `check`.
    """
    reader = PromptReader(prompt, vocabulary)
    reader.read()
    for name, labels in reader.labels.items():
        if not vocabulary.go_together(name, labels):
            *most, last = labels
            raise _contradiction(f"{name} {', '.join(most)} and {last}; no image has both")
    found = {name: ";".join(labels) for name, labels in reader.labels.items()} | reader.numbers
    names = [attribute.name for attribute in vocabulary.conditions.attributes]
    return {name: found[name] for name in names if name in found}, reader.unknown_phrases()


def in_words(conditions: Mapping[str, Value]) -> str:
    """Conditions as a prompt, which `understand` reads back as they are."""
    said = []
    for name, value in conditions.items():
        if isinstance(value, float):
            said.append(f"{name} {value:.15g}")
        elif value is not None:
            said.append(f"{name} {' and '.join(labels_of(value))}")
    return ", ".join(said)


def _contradiction(what: str) -> Refusal:
    return invalid("prompt", f"The prompt asks for {what}. Leave one of them out.", "contradictory_prompt")


def _number(word: str) -> float | None:
    return float(word) if word[-1].isdecimal() else None  # `float` takes "nan" and "infinity" as well
