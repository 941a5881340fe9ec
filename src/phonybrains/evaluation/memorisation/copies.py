"""What searches for copies found in one modality, and what that comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...imageset import ImageSet
from ..findings import Sign, Word
from .registration import Matches
from .signs import LEVEL, verdict_of
from .threshold import LEAST_POWER, SHARE, Array, Calibration, audit_p, power
from .unseen import Unseen

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
    """The searches in one modality; what any of them flags is flagged. signs: of patients and nearness."""

    modality: str
    samples: ImageSet
    training: ImageSet
    searches: tuple[Searched, ...]
    same_files: Array
    signs: tuple[Sign, ...] = ()

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

    @property
    def power(self) -> float:
        """Chance that so many images would give away a set a share SHARE of which are copies."""
        return power(len(self.samples), self.searches[0].calibration.rate, SHARE, LEVEL / len(self.searches))
