"""The verdict: what was found, in one paragraph of plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...imageset import ImageSet
from ...reporting.wording import count_of, listed
from ..config import Part
from ..score import Findings, Score
from ..sets import Sides
from .names import figure, judged, named, null_words


def verdict_text(sides: Sides, found: Mapping[Part, Findings]) -> str:
    """The whole paragraph: who was compared with whom, then a sentence or two for each part."""
    parts = [f"{_counted(sides.samples, 'synthetic')} against {_counted(sides.real, 'held-out real')}."]
    for part, findings in found.items():
        said = str(findings.facts.get("sentence") or _sentence(part, findings.scores, sides.modalities))
        parts.append(f"{part.capitalize()}: {said[0].lower() + said[1:] if said[:2].istitle() else said}")
    return " ".join(parts)


def status_of(found: Mapping[Part, Findings]) -> str:
    """What the memorisation audit says: passed, failed, undecided; not audited if it did not run."""
    return str(found["memorisation"].facts.get("status", "not audited")) if "memorisation" in found else "not audited"


def farthest(scores: Sequence[Score]) -> Score | None:
    """The score that lies farthest from what real images score, in half-widths of the null's range."""
    apart = [score for score in scores if judged(score) == "apart"]
    return max(apart, key=lambda score: abs(distance(score) or 0), default=None)


def distance(score: Score) -> float | None:
    """How far from the null's median, in half-widths of its range on that side: beyond ±1 is not as real."""
    if score.value is None or score.null is None:
        return None
    apart = score.value - score.null.value
    half = score.null.high - score.null.value if apart > 0 else score.null.value - score.null.low
    return apart / half if half > 0 else None


def _counted(images: ImageSet, kind: str) -> str:
    counts = Counter(row.modality for row in images.rows)
    shown = listed([f"{counts[name]} {name}" for name in sorted(counts, reverse=True)])
    return f"{count_of(len(images), f'{kind} image')} ({shown})"


def _sentence(part: Part, scores: Sequence[Score], modalities: Sequence[str]) -> str:
    """What the scores of a part come to, where the part says nothing itself."""
    measured = [score for score in scores if score.value is not None]
    if not measured:
        return f"not measured ({_reasons(scores) or 'nothing came of it'})."
    said = [_of_modality(modality, measured) for modality in modalities]
    return " ".join(text for text in said if text) or f"{count_of(len(measured), 'score')}, none with a null beside it."


def _reasons(scores: Sequence[Score]) -> str:
    """Why nothing could be measured: of the images if anything is said of them, not of features that nobody gave."""
    of_images = [score.note for score in scores if score.note and score.modality]
    notes = of_images or [score.note for score in scores if score.note]
    return "; ".join(list(dict.fromkeys(notes))[:3])


def _of_modality(modality: str, scores: Sequence[Score]) -> str:
    own = [score for score in scores if score.modality == modality and not score.group and judged(score)]
    if not own:
        return ""
    counts, worst = Counter(map(judged, own)), farthest(own)
    text = (f"{modality}: {counts['as real']} of {count_of(len(own), 'score')} as real, {counts['apart']} apart, "
            f"{counts['unclear']} unclear")  # fmt: skip
    told = max((s for s in own if s.name.startswith("c2st") and s.name.endswith("auc")), key=_value, default=None)
    if told is not None:
        can = {"apart": "can", "as real": "cannot"}.get(judged(told), "cannot be shown to")
        text += (f"; a classifier {can} tell them from real ones (AUC {figure(told.value)}, real from real "
                 f"{null_words(told.null)})")  # fmt: skip
    if worst is not None and worst is not told:
        text += (f"; farthest off is {named(worst)}: {figure(worst.value)} where real images give "
                 f"{null_words(worst.null)}")  # fmt: skip
    return f"{text}."


def _value(score: Score) -> float:
    return score.value or 0.0
