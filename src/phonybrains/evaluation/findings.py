"""What one part of an evaluation finds: scores, and what report and audit tell and draw beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..documents import read_json
from ..errors import OutputError
from ..files import write_whole
from ..reporting.tables import finite
from .arrays import Array
from .score import Score

Word = Literal["passed", "look", "undecided", "failed"]
"""How a look at the images ended, in the order of gravity; memorisation/signs.py says what each means."""


@dataclass(frozen=True)
class MapImages:
    """What a map of features shows: what made the features, and the file names of each side."""

    extractor: str
    synthetic: Sequence[str]
    real: Sequence[str]


@dataclass(frozen=True)
class Telling:
    """A synthetic image, and how sure the classifier of the two-sample test was that it is one, 0…1."""

    file_name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """A single number of an image's texture, and how well it tells synthetic from real images.

    real, synthetic: medians. auc: its distance from ½ is what it tells; above ½ it is larger in synthetic images.
    usual: the AUC that other real people's images give at the median, usual_low and usual_high the range of 95 of 100.
    """

    feature: str
    real: float
    synthetic: float
    auc: float
    low: float
    high: float
    usual: float
    usual_low: float
    usual_high: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A synthetic image beside its nearest training image, by file name, as one search found it.

    panel: what the search is called in figures. excess: the share of the way from the threshold to equality. edit: the
    synthetic image is an edit of an image of this patient, and no copy, however alike they are.
    """

    modality: str
    synthetic: str
    similarity: float
    correlation: float | None
    training: str
    patient: str
    threshold: float
    flagged: bool
    same_file: bool
    panel: str
    excess: float
    edit: bool = False


@dataclass(frozen=True, kw_only=True)
class Audited:
    """The search for copies in one modality, in numbers: of synthetic images first, then of unseen people's."""

    n: int
    exceedances: int
    certain: int
    threshold: float
    rate: float
    p: float
    status: Word
    held_out: int
    held_out_patients: int
    left_out: int
    training: int
    searches: Sequence[str]


@dataclass(frozen=True)
class Sign:
    """What one look at the images found, in plain words; group: attribute=value, "" for all images."""

    look: Literal["copies", "patients", "nearness", "corpus", "edits"]
    word: Word
    modality: str
    group: str = field(default="", kw_only=True)
    text: str


@dataclass(frozen=True, kw_only=True)
class CopiesSign(Audited, Sign):
    """What the search for copies of single images found."""


@dataclass(frozen=True, kw_only=True)
class EditsSign(Sign):
    """How many of n images are edits, of whom, and how many of those of training patients are still like them."""

    n: int
    edits: int
    of_training: int
    of_held_out: int
    of_others: int
    recognised: int


@dataclass(frozen=True, kw_only=True)
class PatientsSign(Sign):
    """How the images of a group spread over training patients, beside images of unseen people."""

    n: int
    training_patients: int
    patient: str
    share: float
    takers: int
    effective: float
    expected: float
    least: float
    unseen_people: int
    p: float
    search: str


@dataclass(frozen=True, kw_only=True)
class NearnessSign(Sign):
    """Whether the images lie nearer to training people than to others."""

    p: float
    nearest_share: float
    chance: float
    copying_z: float
    authentic_share: float
    n: int
    features: str
    training_people: int
    held_out_people: int


@dataclass(frozen=True)
class Confusion:
    """What was asked for (rows) by what a classifier finds (columns), counts of synthetic and of unseen real images."""

    labels: Sequence[str]
    made: Sequence[Sequence[int]]
    real: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Facts:
    """What a part says beside its scores; None where it is another part's to say.

    quality: `map` and `telling` by modality, what gives itself away most comes first. memorisation: the most suspicious
    `pairs` first, how many of each search are shown, the verdict and its signs, the numbers by modality. bias:
    `confusion` by modality and attribute. texture: `rulers` by modality, what tells most comes first. All: a `sentence`
    or two for the verdict.
    """

    map: Mapping[str, MapImages] | None = None
    telling: Mapping[str, Sequence[Telling]] | None = None
    pairs: Sequence[Pair] | None = None
    pairs_shown: int | None = None
    status: Word | None = None
    sentence: str | None = None
    signs: Sequence[CopiesSign | EditsSign | PatientsSign | NearnessSign | Sign] | None = None
    audit: Mapping[str, Audited] | None = None
    confusion: Mapping[str, Confusion] | None = None
    rulers: Mapping[str, Sequence[Ruler]] | None = None

    def to_json(self) -> dict[str, Any]:
        """What is said, as plain JSON; what is not finite becomes null."""
        return finite({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class Findings:
    """What one part of the evaluation found, kept on disk between a stopped run and the next.

    arrays: numbers to draw, by name:
    `map/MODALITY/{real,synthetic}`  features (n, d), of at most a few hundred images a side
    `spectrum/MODALITY/{frequency,real,synthetic}`  cycles per pixel, and power in dB
    `spectrum/MODALITY/{low,high}`  dB by which other real people's images lie apart from the real ones
    `similarity/MODALITY/{synthetic,held_out}`  (n,)
    """

    scores: Sequence[Score]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Facts = Facts()

    def save(self, folder: Path) -> None:
        """Write `scores.json`, `facts.json` and `arrays.npz` into a folder, the scores last."""
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(self.arrays))
        write_whole(folder / "arrays.npz", buffer.getbuffer())
        write_json(folder / "facts.json", self.facts.to_json())
        write_json(folder / "scores.json", [score.to_json() for score in self.scores])

    @classmethod
    def load(cls, folder: Path) -> Findings:
        """The findings that `save` wrote. Raises OutputError, OSError or ValueError where they are not whole."""
        again = "Remove the folder, and evaluate again."
        scores = read_json(folder / "scores.json", list[Score], again, OutputError)
        facts = read_json(folder / "facts.json", Facts, again, OutputError)
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            return cls(scores, dict(arrays), facts)


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all, and have it on the disk."""
    write_whole(path, f"{json.dumps(content, indent=1, allow_nan=False)}\n".encode())
