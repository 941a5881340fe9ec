"""The verdict: what was found, in one paragraph of plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...imageset import ImageSet
from ...reporting.wording import count_of, listed
from ..config import Part
from ..findings import Findings
from ..inputs.sets import Sides
from ..score import Score
from .names import figure, named, null_words
from .outcomes import outcome_of

WORDS = {
    "apart": "apart from real images",
    "as real": "as real within the margin",
    "better": "better than real images",
    "not shown": "not shown either way",
}
"""Outcome → how it is said of scores, in this order."""


def verdict_text(sides: Sides, found: Mapping[Part, Findings]) -> str:
    """The whole paragraph: who was compared with whom; of each part, what it says itself and what its scores say.

    A part that comes to a verdict of its own (the audit: `status`) has the only word on its scores.
    """
    parts = [f"{_counted(sides.samples, 'synthetic')} against {_counted(sides.real, 'held-out real')}."]
    rulers = rulers_that_tell(found)
    for part, findings in found.items():
        own = findings.facts.sentence or ""
        final = own and findings.facts.status
        counted = "" if final else scores_text(findings.scores, sides.modalities, rulers, optional=bool(own))
        said = " ".join(filter(None, (own, counted)))
        parts.append(f"{part.capitalize()}: {said[0].lower() + said[1:] if said[:2].istitle() else said}")
    return " ".join(parts)


def status_of(found: Mapping[Part, Findings]) -> str:
    """What the memorisation audit says: passed, failed, undecided; not audited if it did not run."""
    return found["memorisation"].facts.status or "not audited" if "memorisation" in found else "not audited"


def rulers_that_tell(found: Mapping[Part, Findings]) -> dict[str, Score]:
    """By modality the worst single feature of the images' texture, where it is apart: none of these images are as real,
    whatever other scores say."""
    scores = found["texture"].scores if "texture" in found else ()
    return {s.modality: s for s in scores if s.name == "texture_worst_auc" and outcome_of(s) == "apart"}


def ruler_text(ruler: Score) -> str:
    """Which feature tells, and how well."""
    return f"a single feature tells them from real ones ({ruler.note.partition(';')[0]}; {_beside(ruler)})"


def farthest(scores: Sequence[Score]) -> Score | None:
    """Of the scores that are apart, the one farthest from what real images score, in half-widths of the null's range.

    Where chance is the null there is no range; None if no other score is apart.
    """
    apart = [score for score in scores if outcome_of(score) == "apart" and distance(score) is not None]
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


def scores_text(
    scores: Sequence[Score],
    modalities: Sequence[str],
    rulers: Mapping[str, Score] | None = None,
    *,
    optional: bool = False,
) -> str:
    """What the scores over whole modalities come to, each by `outcome_of` alone.

    rulers: by modality the single feature that tells, where one does; nothing is then called as real. optional:
    something else is said already, so that nothing need be where there is nothing to say.
    """
    measured = [score for score in scores if score.value is not None]
    texts = (_of_modality(modality, measured, (rulers or {}).get(modality)) for modality in modalities)
    said = " ".join(text for text in texts if text)
    if said or optional:
        return said
    if not measured:
        return f"not measured ({_reasons(scores) or 'nothing came of it'})."
    return f"{count_of(len(measured), 'score')}, none with a null beside it."


def _reasons(scores: Sequence[Score]) -> str:
    """Why nothing could be measured: of the images if anything is said of them, not of features that nobody gave."""
    of_images = [score.note for score in scores if score.note and score.modality]
    notes = of_images or [score.note for score in scores if score.note]
    return "; ".join(list(dict.fromkeys(notes))[:3])


def _of_modality(modality: str, scores: Sequence[Score], ruler: Score | None) -> str:
    """Counts of outcomes, what classifiers or a single feature say, and the score farthest off."""
    own = [score for score in scores if score.modality == modality and not score.group and outcome_of(score)]
    if not own:
        return ""
    sorted_out = {outcome: [score for score in own if outcome_of(score) == outcome] for outcome in WORDS}
    counts = [f"{len(sorted_out['apart'])} of {count_of(len(own), 'score')} {WORDS['apart']}"]
    words = WORDS | ({"as real": "within the margin"} if ruler else {})
    counts += [f"{len(some)} {words[outcome]}" for outcome, some in sorted_out.items() if some and outcome != "apart"]
    text = f"{modality}: {', '.join(counts)}"
    if sorted_out["not shown"]:
        text += f" at n = {_range([score.n for score in sorted_out['not shown']])}"
    classifiers = [score for score in own if score.name.startswith("c2st")]
    if ruler in own:
        text += f"; {ruler_text(ruler)}"
    if classifiers and (not ruler or any(outcome_of(score) == "apart" for score in classifiers)):
        text += f"; {_told(classifiers)}"
    worst = farthest([score for score in own if score not in classifiers and score != ruler])
    if worst is not None:
        text += f"; farthest off is {_beside(worst)}"
    return f"{text}."


def _told(classifiers: Sequence[Score]) -> str:
    """Whether classifiers tell synthetic from real: one that does settles it, "none can" needs all of them."""
    highest = max(classifiers, key=_value)
    apart = [score for score in classifiers if outcome_of(score) == "apart"]
    if apart:
        return f"a classifier tells them from real ones ({_beside(max(apart, key=_value))})"
    if all(outcome_of(score) == "as real" for score in classifiers):
        return f"no classifier tells them from real ones by more than the margin ({_beside(highest)})"
    return f"whether a classifier can tell them from real ones is not shown ({_beside(highest)})"


def _beside(score: Score) -> str:
    """`KID: 0.21 where real images give 0.01 (−0.02 to 0.05)`."""
    chance = score.null is not None and not score.null.draws and score.null.low == score.null.high
    usual = "chance gives" if chance else "real images give"
    return f"{named(score)}: {figure(score.value)} where {usual} {null_words(score.null)}"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _value(score: Score) -> float:
    return score.value or 0.0
