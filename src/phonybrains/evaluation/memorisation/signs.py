"""One rule for the whole audit: each look at the images ends in a sign with a word; the gravest word is the verdict.

passed: no more than chance gives. look: more than chance gives, so that a person has to look. undecided: it could not
be judged, and why is said. failed: more than chance gives, and it concerns most of the images, or a copy is beyond
doubt. The order is that of gravity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...wording import count_of
from ..findings import Sign, Word

GRAVER: tuple[Word, ...] = ("passed", "look", "undecided", "failed")
LEVEL = 0.05
"""Chance that an innocent set gets more than "passed" from one kind of look at one modality."""
MOST_SAID = 4
ALWAYS_SAID = ("copies", "edits")
ENDS: Mapping[Word, str] = {
    "passed": "The audit passed; flagged pairs are for a person to judge.",
    "look": "The audit asks for a look: more than chance gives, in less than most of the images.",
    "undecided": "The audit is undecided.",
    "failed": "The audit failed: look at the pairs.",
}


def graded(p: float, most: bool) -> Word:
    """The word of a test: within chance it passes; beyond chance it fails if it concerns most of the images."""
    if p >= LEVEL:
        return "passed"
    return "failed" if most else "look"


def verdict_of(signs: Iterable[Sign]) -> Word:
    """The gravest word; "undecided" where nothing was looked at."""
    words = {sign.word for sign in signs} or {"undecided"}
    return next(word for word in reversed(GRAVER) if word in words)


def sentence_of(signs: Sequence[Sign]) -> str:
    """The verdict in words: copies, edits, and whatever did not pass, the gravest first, and what all comes to."""
    if not signs:
        return "No modality could be searched."
    shown = [sign for sign in signs if sign.look in ALWAYS_SAID or sign.word != "passed"]
    shown.sort(key=lambda sign: (-GRAVER.index(sign.word), sign.look in ALWAYS_SAID))
    said = list(dict.fromkeys(sign.text for sign in shown if sign.look in ALWAYS_SAID or sign in shown[:MOST_SAID]))
    more = sum(sign.word != "passed" for sign in shown if sign.text not in said)
    tail = [f"{count_of(more, 'more such finding is', 'more such findings are')} in audit.json"] if more else []
    return f"{'; '.join([*said, *tail])}. {ENDS[verdict_of(signs)]}"
