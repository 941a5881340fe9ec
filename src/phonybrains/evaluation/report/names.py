"""What each score is called in the report, what it means, and how a figure of it is written."""

from __future__ import annotations

from ...reporting.wording import NONE, number
from ..config import Part
from ..nulls import Better, judge
from ..score import Null, Score

PART_QUESTIONS: dict[Part, str] = {"quality": "Is it good?", "memorisation": "Is it new?", "bias": "Is it fair?",
                  "utility": "Is it useful?"}  # fmt: skip

MEANINGS: dict[str, tuple[str, str, Better]] = {
    "kid": ("KID", "kernel distance of features; 0 for one and the same source", "low"),
    "mmd_rbf": ("MMD (RBF)", "kernel distance of features, Gaussian kernel; 0 for one and the same source", "low"),
    "fid": ("FID", "Fréchet distance of Inception features; grows as n falls", "low"),
    "fd": ("Fréchet distance", "of features; grows as n falls, so that only its null makes it readable", "low"),
    "fd_handcrafted": ("Fréchet distance, handcrafted", "of histogram, spectrum, texture and layout; never FID", "low"),
    "precision": ("Precision", "share of synthetic images that lie among the real ones", "high"),
    "recall": ("Recall", "share of real images that lie among the synthetic ones", "high"),
    "density": ("Density", "how densely synthetic images lie among the real ones", "high"),
    "coverage": ("Coverage", "share of real images with a synthetic one nearby", "high"),
    "ms_ssim": ("MS-SSIM of pairs", "likeness of the images of a set to one another; 1 if all are equal", "near"),
    "c2st_accuracy": ("Told apart, share right", "a classifier tells synthetic from real; chance is 0.5", "low"),
    "c2st_auc": ("Told apart, AUC", "the same as area under the ROC curve; chance is 0.5", "low"),
    "prevalence": ("Share of images", "with this value of the attribute, beside the real images' share", "near"),
}
"""Score → its name, its meaning, and what is good: low, high, or near what real images score."""


def label_of(name: str) -> str:
    """The score's name in words."""
    return MEANINGS[name][0] if name in MEANINGS else name.replace("_", " ")


def meaning_of(name: str) -> str:
    return MEANINGS[name][1] if name in MEANINGS else ""


def images_of(score: Score) -> str:
    """Which images a score concerns: `MR, plane = axial`."""
    return ", ".join(part for part in (score.modality or "all", score.group.replace("=", " = ", 1)) if part)


def figure(value: float | None, digits: int | None = None) -> str:
    """A number with two or three digits that count, at most four places: `0.012`, `1.65`, `153`, `−0.20`."""
    if value is None:
        return NONE
    return number(value, _digits(value) if digits is None else digits).replace("-", "−")


def _digits(*values: float) -> int:
    size = max(map(abs, values))
    return next((places for least, places in ((100, 0), (10, 1), (0.1, 2), (0.01, 3)) if size >= least), 4)


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """`0.63 (0.46 to 0.77)`, or the number alone; it breaks only before the bracket."""
    if value is None or low is None or high is None:
        return figure(value)
    digits = _digits(value, low, high)
    shown = [figure(one, digits) for one in (value, low, high)]
    return f"{shown[0]} ({shown[1]}\u00a0to\u00a0{shown[2]})"


def null_words(null: Null | None) -> str:
    """What real against real gives: `0.002 (-0.01 to 0.02)`."""
    if null is None:
        return NONE
    return figure(null.value, 2) if null.low == null.high else with_interval(null.value, null.low, null.high)


def judged(score: Score) -> str:
    """Whether a score is as real images score against real ones at the same n (`judge`); '' where no range is known."""
    if score.value is None or score.null is None or score.null.low == score.null.high:
        return ""
    return judge(score, MEANINGS[score.name][2] if score.name in MEANINGS else "near")
