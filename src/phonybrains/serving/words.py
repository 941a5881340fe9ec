"""The words of the trade: which phrases mean the same, and which say nothing of what an image shows.

Nothing here belongs to one model: a group counts where a model has a label, or an attribute, that is in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Phrase = tuple[str, ...]

SAME_LABEL = (
    ("mr", "mri", "mrt", "magnetic resonance", "magnetic resonance imaging", "magnetic resonance tomography"),
    ("ct", "cat scan", "computed tomography", "computerized tomography", "computerised tomography"),
    ("axial", "transverse", "transaxial"),
    ("t1", "t1 weighted", "t1w"),
    ("t2", "t2 weighted", "t2w"),
    ("flair", "t2 flair", "fluid attenuated inversion recovery"),
    ("t1ce", "t1c", "t1gd", "t1 contrast enhanced", "contrast enhanced t1", "contrast enhanced t1 weighted"),
    ("pd", "proton density", "proton density weighted"),
    ("epidural", "extradural", "edh"),
    ("subdural", "sdh"),
    ("subarachnoid", "sah"),
    ("intraventricular", "ivh"),
    ("intraparenchymal", "intracerebral", "iph"),
    ("pituitary", "pituitary adenoma", "pituitary tumor", "hypophyseal adenoma"),
    ("male", "man", "m"),
    ("female", "woman", "f"),
)
SAME_ATTRIBUTE = (
    ("hemorrhage", "bleed", "bleeding", "hematoma"),
    ("diagnosis", "tumor", "mass", "disease", "finding"),
    ("plane", "view", "orientation"),
    ("sequence", "contrast", "weighting"),
    ("sex", "gender"),
    ("age", "aged"),
)
NOTHING = ("none", "no", "absent", "negative", "normal", "healthy")
"""Labels that say: not there."""
NEGATIONS = (
    *("no", "not", "non", "never", "without", "without any", "except", "excluding"),
    *("free of", "negative for", "absence of", "instead of", "rather than"),
    *("no evidence of", "no sign of", "no signs of", "without evidence of", "without signs of"),
)
UNITS = (
    *(("years", "year", "yr", "yrs", "y"), ("months", "month"), ("weeks", "week"), ("days", "day"), ("percent",)),
    *((short, f"{long}meters", f"{long}metres") for short, long in (("mm", "milli"), ("cm", "centi"))),
    ("ml", "milliliters", "millilitres"),
)
SPELLINGS = (("haem", "hem"), ("tumour", "tumor"), ("oedema", "edema"))
TOKEN = re.compile(r"(?<![\w.])-\d+(?:\.\d+)?|\d+(?:\.\d+)?|[^\W\d_]+")


@dataclass(frozen=True)
class Token:
    """A word or number of a text, as it is compared, and where it stands."""

    word: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """The words and numbers of a text; «T1» has two, so that labels and prompts are cut alike."""
    return [Token(_plain(m[0].casefold()), m.start(), m.end()) for m in TOKEN.finditer(text)]


def phrase_of(text: str) -> Phrase:
    """A label or a name as the words that it has in a prompt."""
    return tuple(token.word for token in tokens_of(text.replace("_", " ")))


def synonyms(phrase: Phrase, groups: tuple[tuple[str, ...], ...]) -> set[Phrase]:
    """All phrases that mean what this one does, itself among them."""
    same = {phrase}
    for group in groups:
        phrases = {phrase_of(text) for text in group}
        if phrase in phrases:
            same |= phrases
    return same


def plural(phrase: Phrase) -> Phrase:
    return (*phrase[:-1], f"{phrase[-1]}s")


def _plain(word: str) -> str:
    for british, american in SPELLINGS:
        word = word.replace(british, american)
    return word


BEFORE_A_NUMBER = frozenset(phrase_of("is of number no nr about at equals"))
FILLERS = frozenset(
    phrase_of(
        "a an the of in on with and at for from by as to through this that is are it its s showing shows show "
        "depicting displaying seen visible brain brains head heads cerebral cranial intracranial human patient "
        "patients person image images imaging picture scan scans slice slices section view plane generate create "
        "make draw give me please synthetic medical radiology radiological radiologic clinical modality o old"
    )
)
