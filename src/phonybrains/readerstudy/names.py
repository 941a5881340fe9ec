"""Names of readers: as people write them, the same in every place they go to, and no two that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST = 80
MARKS = " .,'’ʼ_@+()·・‧-‐‑–\u200c\u200d"  # the last two join letters, in Persian and in Indian scripts
LOOKALIKES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'", "‐": "-", "‑": "-", "–": "-", "・": "·", "‧": "·"})
BLANKS = re.compile(r"[^\S\r\n\t\v\f\x1c-\x1f\x85\u2028\u2029]+")


def clean_name(text: str) -> str:
    """A reader's name, composed (NFC) and with single plain blanks. Raises ValueError saying what a name can be.

    Letters, marks and digits of any script, blanks, and . , ' - _ @ + ( ) ·; at most 80 characters, not beginning as a
    formula of a spreadsheet does.
    """
    name = BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")
    fits = all(letter in MARKS or unicodedata.category(letter)[0] in "LMN" for letter in name)
    if not fits or not 1 <= len(name) <= LONGEST or name[0] in "+-@" or not any(map(str.isalnum, name)):
        shown = ascii(text[:60])[1:-1] if not text.isprintable() else text[:60]
        raise ValueError(
            f"'{shown}' cannot be a reader's name: 1 to {LONGEST} letters, digits, blanks and "
            ". , ' - _ @ + ( ), beginning with none of + - @."
        )
    return name


def name_key(name: str) -> str:
    """Equal for names that differ in case, width, composition, or in blanks and marks that look alike."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).translate(LOOKALIKES)
    seen = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    return " ".join(seen.split())


def clean_names(names: Iterable[str]) -> tuple[str, ...]:
    """Clean names. Raises ValueError for one that cannot be, or for two that look alike."""
    cleaned, seen = [], dict[str, str]()
    for name in map(clean_name, names):
        if other := seen.get(name_key(name)):
            raise ValueError(f"'{other}' and '{name}' cannot be told apart: give each reader a name of their own.")
        seen[name_key(name)] = name
        cleaned.append(name)
    return tuple(cleaned)
