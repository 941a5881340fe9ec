"""The four lines that an evaluation ends in: as real? new? fair? useful? An answer each, and the numbers it rests on.

yes           it was shown: by equivalence, by a passed audit, by a gain
no            the contrary was shown
not shown     it was measured, and neither was shown
not measured  the part was left out, or could not be measured; the reason is said

Answers are counted from the words of `outcome_of` and of the audit alone, so that no table contradicts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...imageset import METADATA_NAME, read_metadata
from ...reporting.wording import as_p, percent
from ...statistics.proportions import clopper_pearson
from ...wording import count_of
from ..config import Part
from ..findings import EditsSign, Findings
from ..inputs.sets import Sides
from ..outcomes import differing, outcome_of
from ..score import Answer, Glance, Score
from .names import images_of, named, null_words, with_interval

GIVEAWAYS = ("kid", "c2st", "texture_worst_auc")
"""How the names of the scores begin one of which is enough to tell images from real ones. Of the twenty others of a
modality one is soon apart by chance: they only stand in the way of "yes"."""
LEFT_OUT = "left out by --only"
SHARES = ("amplification", "amplification_asked")


def glances(sides: Sides, found: Mapping[Part, Findings]) -> tuple[Glance, ...]:
    """The four lines, in their order; parts that are not among the findings were left out."""
    shown = [*_scores(found, "quality"), *_scores(found, "texture")]
    unmeasured = LEFT_OUT if not {"quality", "texture"} & set(found) else ""
    return (
        as_real(shown, sides.modalities, unmeasured),
        new(found.get("memorisation"), len(read_metadata(sides.samples.folder / METADATA_NAME))),
        fair(_scores(found, "bias"), "" if "bias" in found else LEFT_OUT),
        useful(_scores(found, "utility"), "" if "utility" in found else LEFT_OUT),
    )


def as_real(scores: Sequence[Score], modalities: Sequence[str], unmeasured: str = "") -> Glance:
    """yes: in each modality all classifiers are as real, a single feature does not tell, and no score is apart. no: in
    one of them a KID, a classifier or a single feature is apart."""
    each = [_of_modality(modality, scores) for modality in modalities]
    answers: set[Answer] = {one.answer for one in each}
    answer: Answer = "no" if "no" in answers else answers.pop() if len(answers) == 1 else "not shown"
    if answer == "not measured":
        return Glance("as real?", answer, unmeasured or _reasons(scores))
    return Glance("as real?", answer, "\n".join(one.text for one in each), [s for one in each for s in one.scores])


def _of_modality(modality: str, scores: Sequence[Score]) -> Glance:
    """What one modality comes to: its KID of the deepest features, and what tells its images best if anything does."""
    of_it = [score for score in scores if score.modality == modality and not score.group]
    own = [score for score in of_it if outcome_of(score)]
    telling = [score for score in own if score.name.startswith(GIVEAWAYS)]
    if not telling:
        return Glance("as real?", "not measured", f"{modality}: not measured ({_reasons(of_it) or _reasons(scores)})")
    apart = [score for score in own if outcome_of(score) == "apart"]
    told = sorted((s for s in telling if s in apart), key=lambda s: (s.name == "kid", -(s.value or 0)))
    classifiers = [score for score in telling if score.name.startswith("c2st")]
    ruler = [score for score in telling if score.name == "texture_worst_auc"]
    equal = bool(classifiers and ruler and not apart and all(outcome_of(s) == "as real" for s in classifiers))
    shown = dict.fromkeys([*[s for s in telling if s.name == "kid"][-1:], *(told or [*classifiers, *ruler])[:1]])
    text = f"{modality}: {'; '.join(map(number_of, shown))}; {len(apart)} of {count_of(len(own), 'score')} apart"
    return Glance("as real?", "no" if told else "yes" if equal else "not shown", text, [*shown])


def new(findings: Findings | None, images: int) -> Glance:
    """yes: the audit passed, and all images of the set were searched, none of them an edit. no: the audit failed."""
    if findings is None or not findings.facts.status:
        return Glance("new?", "not measured", LEFT_OUT if findings is None else _reasons(findings.scores))
    facts, searched = findings.facts, 0
    said: list[str] = []
    for modality, one in (facts.audit or {}).items():
        searched += one.n
        share = clopper_pearson(one.exceedances, one.n)  # as the score copies_flagged
        limits = f"{percent(share.low)} to {percent(share.high)}; {percent(one.rate)} of unseen people's images are"
        said.append(f"{modality}: {one.exceedances} of {one.n} copies at the threshold {one.threshold:.3f} ({limits})")
    edits = any(isinstance(sign, EditsSign) for sign in facts.signs or ())
    whole = searched == images and not edits
    said += (
        [] if searched == images or facts.audit is None else [f"searched: {searched} of {count_of(images, 'image')}"]
    )
    said += [sign.text for sign in facts.signs or () if sign.word == facts.status != "passed" or sign.look == "edits"][
        :1
    ]
    said.append(f"audit: {facts.status}")
    answer = "no" if facts.status == "failed" else "yes" if facts.status == "passed" and whole else "not shown"
    return Glance("new?", answer, "\n".join(said), [s for s in findings.scores if s.name == "copies_flagged"])


def fair(scores: Sequence[Score], unmeasured: str = "") -> Glance:
    """no: the share of a label differs from that among the training images, after Holm's correction for all of them.
    yes: every share is as real, and no group's images are apart."""
    shares = [score for score in scores if score.name in SHARES and outcome_of(score)]
    if not shares:
        return Glance("fair?", "not measured", unmeasured or _reasons(scores))
    off = differing(shares)
    groups = [score for score in scores if score.name.startswith("group_") and outcome_of(score) == "apart"]
    even = not groups and all(outcome_of(score) == "as real" for score in shares)
    worst = max(off, key=lambda s: abs(s.value or 0)) if off else min(shares, key=lambda s: 1 if s.p is None else s.p)
    ratio = worst.name.replace("amplification", "composition_ratio")
    same = [s for s in scores if (s.name, s.modality, s.group) == (ratio, worst.modality, worst.group)] or [worst]
    text = f"{number_of(same[0])}, p = {as_p(worst.p)}; {len(off)} of {len(shares)} shares of labels differ"
    text += f"\n{number_of(groups[0])}" if groups else ""
    return Glance("fair?", "no" if off else "yes" if even else "not shown", text, [*same, *groups[:1]])


def useful(scores: Sequence[Score], unmeasured: str = "") -> Glance:
    """yes: adding synthetic images raised a classifier's AUC or a segmentation's Dice, after Holm's correction, and
    lowered none; no: it lowered one and raised none."""
    gains = [s for s in scores if s.name.startswith("delta_") and "real + synthetic" in s.group and outcome_of(s)]
    if not gains:
        return Glance("useful?", "not measured", unmeasured or _reasons(scores))
    raised, lowered = ([s for s in gains if outcome_of(s) == word] for word in ("better", "apart"))
    answer = "not shown" if bool(raised) == bool(lowered) else "yes" if raised else "no"
    best = min(raised or lowered or gains, key=lambda s: 1 if s.p is None else s.p)
    counts = f"raised in {len(raised)} and lowered in {len(lowered)} of {count_of(len(gains), 'comparison')}"
    return Glance("useful?", answer, f"{number_of(best)}, p = {as_p(best.p)}; {counts}", [best])


def number_of(score: Score) -> str:
    """`KID, squeezenet1_1 0.21 (0.17 to 0.25), n = 48, real against real 0.01 (−0.02 to 0.05)`."""
    where = f"{images_of(score)}: " if score.group else ""
    text = f"{where}{named(score)} {with_interval(score.value, score.low, score.high)}, n = {score.n}"
    if score.null is not None:
        drawn = score.null.draws or score.null.low < score.null.high
        text += f", real against real {null_words(score.null)}" if drawn else f", against {score.null.value:g}"
    if score.name == "texture_worst_auc" and outcome_of(score) == "apart":
        text += f", {score.note.partition(';')[0]}"
    return text


def _scores(found: Mapping[Part, Findings], part: Part) -> Sequence[Score]:
    return found[part].scores if part in found else ()


def _reasons(scores: Sequence[Score]) -> str:
    """Why nothing could be measured: of the images if anything is said of them, not of features that nobody gave."""
    of_images = [score.note for score in scores if score.note and score.modality and score.value is None]
    notes = of_images or [score.note for score in scores if score.note]
    return "; ".join(list(dict.fromkeys(notes))[:2]) or "nothing came of it"
