"""What searches for copies found: scores, the suspicious pairs, the facts of the audit, and a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...imageset import ImageSet
from ...reporting.wording import count_of
from ...statistics.proportions import clopper_pearson
from ..findings import Audited, CopiesSign, Facts, Findings, Pair, Sign, Word
from ..score import Null, Score
from .edits import Recognised
from .registration import Matches
from .signs import LEVEL, sentence_of, verdict_of
from .threshold import LEAST_POWER, SHARE, Array, Calibration, Unseen, audit_p, excess_p, power

LEAST, LEAST_PATIENTS = 20, 5
"""With fewer held-out images or patients than this an audit decides nothing, unless a copy is beyond doubt."""


@dataclass(frozen=True)
class Searched:
    """One search: what it found for the synthetic images and for those of unseen people, and what chance gives.

    sure: likeness from which a pair counts as a copy by itself, if no held-out image comes as near.
    """

    extractor: str
    found: Matches
    unseen: Unseen
    calibration: Calibration
    sure: float

    @property
    def flagged(self) -> Array:
        return self.found.score > self.calibration.threshold

    @property
    def certain(self) -> Array:
        return self.found.score > max(self.sure, self.calibration.highest)

    @property
    def p(self) -> float:
        return audit_p(self.found.score, self.calibration)


@dataclass(frozen=True)
class CopiesResult:
    """The searches in one modality; what any of them flags is flagged. signs: of edits, patients and nearness.

    edits: of training patients, among whose own images no copy was searched for.
    """

    modality: str
    samples: ImageSet
    training: ImageSet
    searches: tuple[Searched, ...]
    same_files: Array
    signs: tuple[Sign, ...] = ()
    edits: Recognised | None = None

    @property
    def flagged(self) -> Array:
        """Which synthetic images a human must look at, (n,)."""
        return np.any([self.same_files, *(one.flagged for one in self.searches)], axis=0)

    @property
    def certain(self) -> Array:
        """Which are copies beyond doubt, (n,)."""
        return np.any([self.same_files, *(one.certain for one in self.searches)], axis=0)

    @property
    def p(self) -> float:
        """The least p of the searches, times their number."""
        return min(1.0, len(self.searches) * min(one.p for one in self.searches))

    @property
    def chance(self) -> float:
        """The share of further people's images that chance would flag, at most."""
        return min(1.0, sum(one.calibration.rate for one in self.searches))

    @property
    def status(self) -> Word:
        """The verdict on this modality."""
        return verdict_of([*self.signs, Sign("copies", self.copied, self.modality, "")])

    @property
    def copied(self) -> Word:
        """failed: more likeness than chance gives, or a copy beyond doubt; undecided: too few held-out images."""
        if self.certain.any() or self.p < LEVEL:
            return "failed"
        known = self.searches[0].calibration
        few = known.n < LEAST or known.patients < LEAST_PATIENTS or self.power < LEAST_POWER
        return "undecided" if few else "passed"

    def edit_pairs(self, most: int) -> list[Pair]:
        """Edits of training patients beside their own images."""
        return self.edits.pairs(self.samples, self.training, self.modality, most) if self.edits else []

    @property
    def power(self) -> float:
        """Chance that so many images would give away a set a share SHARE of which are copies."""
        return power(len(self.samples), self.searches[0].calibration.rate, SHARE, LEVEL / len(self.searches))


def findings_of(results: Sequence[CopiesResult], scores: Sequence[Score], signs: Sequence[Sign], most: int) -> Findings:
    """The findings of an audit; signs: of what is no result's own; most: suspicious pairs to show of each search."""
    arrays = {
        f"similarity/{_panel(result, one)}/{side}": values
        for result in results
        for one in result.searches
        for side, values in (("synthetic", one.found.score), ("held_out", one.unseen.score))
    }
    pairs = [pair for result in results for one in result.searches for pair in _pairs(result, one, most)]
    edited = [pair for result in results for pair in result.edit_pairs(most)]
    pairs.sort(key=lambda pair: (not pair.flagged, -pair.excess))
    own = [score for result in results for score in (_flagged(result), *_of_searches(result))]
    signs = [sign for result in results for sign in (_sign(result), *result.signs)] + [*signs]
    facts = Facts(
        pairs=[*pairs, *edited],
        pairs_shown=most,
        status=verdict_of(signs),
        sentence=sentence_of(signs),
        signs=signs,
        audit={result.modality: _audited(result) for result in results},
    )
    return Findings([*own, *scores], arrays, facts)


def _pairs(result: CopiesResult, one: Searched, most: int) -> list[Pair]:
    """The most suspicious images with their nearest training images, all that this search flags among them."""
    found, flagged, threshold = one.found, one.flagged | result.same_files, one.calibration.threshold
    order = np.lexsort((-found.score, ~flagged))[: max(most, int(flagged.sum()))]
    return [
        Pair(
            modality=result.modality,
            synthetic=result.samples.rows[i].file_name,
            similarity=float(found.score[i]),
            correlation=float(found.correlation[i]),
            training=result.training.rows[found.index[i]].file_name,
            patient=result.training.rows[found.index[i]].patient_id,
            threshold=threshold,
            flagged=bool(flagged[i]),
            same_file=bool(result.same_files[i]),
            panel=_panel(result, one),
            excess=(float(found.score[i]) - threshold) / max(1 - threshold, 1e-9),
        )
        for i in order.tolist()
    ]


def _panel(result: CopiesResult, one: Searched) -> str:
    """What a search is called in figures: its modality, and its features where it is not the first."""
    return result.modality + ("" if one is result.searches[0] else f", {one.extractor.partition(' ')[0]}")


def _audited(result: CopiesResult) -> Audited:
    first = result.searches[0]
    calibration = first.calibration
    return Audited(
        n=len(result.samples),
        exceedances=int(result.flagged.sum()),
        certain=int(result.certain.sum()),
        threshold=calibration.threshold,
        rate=result.chance,
        p=result.p,
        status=result.status,
        held_out=calibration.n,
        held_out_patients=calibration.patients,
        left_out=first.unseen.left_out,
        training=len(result.training),
        searches=[one.extractor for one in result.searches],
    )


def _flagged(result: CopiesResult) -> Score:
    """The share of images that the audit counts: that any search flags, or that are a training image's very pixels."""
    first, n = result.searches[0], len(result.samples)
    ends = [one.calibration.interval for one in result.searches]
    chance = Null(
        result.chance,
        min(1.0, sum(one.low for one in ends)),
        min(1.0, sum(one.high for one in ends)),
        first.calibration.n,
    )
    thresholds = " or ".join(f"{one.calibration.threshold:.3f}" for one in result.searches)
    note = (
        f"threshold {thresholds} from {count_of(first.calibration.n, 'unseen image')} of "
        f"{count_of(first.calibration.patients, 'patient')}"
    )
    left = first.unseen.left_out
    note += f", {left} of them training images among other patients'" if left else ""
    found = clopper_pearson(int(result.flagged.sum()), n)
    by = "+".join(one.extractor for one in result.searches)
    where: dict[str, Any] = {"modality": result.modality, "versus": "train", "extractor": by}
    return Score.of("copies_flagged", found, null=chance, p=result.p, note=note, **where)


def _of_searches(result: CopiesResult) -> Iterator[Score]:
    """How near each search finds the images, beside single unseen ones."""
    n = len(result.samples)
    for one in result.searches:
        calibration = one.calibration
        where: dict[str, Any] = {"modality": result.modality, "versus": "train", "extractor": one.extractor}
        beyond = int((one.found.score > calibration.highest).sum())
        low, middle, high = np.quantile(one.unseen.score, [0.025, 0.5, 0.975]).tolist()
        unseen, likeness = Null(middle, low, high, calibration.n), float(np.median(one.found.score))
        p, said = excess_p(beyond, n, calibration.rates_beyond), "median; null: single unseen images"
        yield Score.of("copies_beyond_held_out", clopper_pearson(beyond, n), p=p, **where)
        yield Score("likeness_to_training", likeness, n=n, null=unseen, note=said, **where)


def _sign(result: CopiesResult) -> Sign:
    """What the search for copies of single images found, in plain words."""
    n, flagged, certain = len(result.samples), int(result.flagged.sum()), int(result.certain.sum())
    which = "a training image of another patient than the one edited" if result.edits else "a training image"
    text = (
        f"{result.modality}: {flagged} of {n} are nearer to {which} than "
        f"{1 - result.chance:.1%} of unseen patients' images are (chance gives "
        f"{n * result.chance:.1f}; p = {result.p:.2g})"
    )
    text += f"; {count_of(certain, 'copy', 'copies')} beyond doubt" if certain else ""
    text += "" if flagged else f"; 0 of {n} still allows {clopper_pearson(0, n).high:.1%}"
    if result.copied == "undecided" and result.power < LEAST_POWER:
        text += (
            f"; too few images to tell: if {SHARE:.0%} of the set were copies, {count_of(n, 'image')} would "
            f"show it with a chance of {result.power:.0%} only"
        )
    elif result.copied == "undecided":
        text += "; too few unseen images or patients to decide"
    return CopiesSign("copies", result.copied, result.modality, text, **vars(_audited(result)))
