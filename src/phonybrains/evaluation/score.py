"""What an evaluation says: scores, each beside its null, and findings, which are scores with what is drawn of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..documents import as_kind, read_json
from ..errors import OutputError
from ..files import write_whole
from ..reporting.tables import finite
from ..statistics.estimate import Estimate

# (what is being done, how much of it is done, how much there is); stages show it, tests pass `silent`.
Progress = Callable[[str, int, int], None]


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Null:
    """What real images score against real images at the same n: the median, the 2.5 % and the 97.5 % quantile.

    Where chance is known without drawing (an AUC of 0.5), the three are that value.
    """

    value: float
    low: float
    high: float
    draws: int = 0

    @classmethod
    def known(cls, value: float) -> Null:
        """What chance is known to give."""
        return cls(value, value, value)

    @classmethod
    def of(cls, found: Estimate) -> Null:
        """What real images score, with its interval."""
        return cls(found.value, found.low, found.high)


@dataclass(frozen=True, slots=True)
class Score:
    """One number with what is needed to judge it; value None means that it could not be had, and `note` says why.

    `low`, `high`: its 95 % interval. `n`: images it rests on (the smaller side). `null`: real against real at that n.
    `p`: of the null hypothesis, where it was tested. `versus`: what it is compared with ("test", "train", …).
    `modality` ("" = all) and `group` ("" = all, else "attribute=value"): the images it concerns.
    `extractor`: what made the features, with the start of its SHA-256 ("squeezenet1_1 sha256:0123456789ab").
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    null: Null | None = None
    p: float | None = None
    versus: str = ""
    modality: str = ""
    group: str = ""
    extractor: str = ""
    note: str = ""

    @classmethod
    def of(cls, name: str, found: Estimate, **where: Any) -> Score:
        """The score of an estimate; where: the other fields, and n where it is another."""
        return cls(name, found.value, found.low, found.high, **{"n": found.n, **where})

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON; what is not finite becomes null."""
        return finite(asdict(self))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Score:
        """The score that `to_json` wrote; what else stands in the entry is left out."""
        return as_kind(dict(entry), cls)


def unavailable(name: str, note: str, **where: Any) -> Score:
    """A score that could not be had, and why: shown in the tables, never replaced in silence."""
    return Score(name, None, note=note, **where)


@dataclass(frozen=True)
class Findings:
    """What one part of the evaluation found: scores, and what the report draws.

    `arrays`: numbers to draw (features, spectra, curves), named. `facts`: anything JSON holds (pairs of file names, a
    verdict). Kept on disk between a stopped run and the next.
    """

    scores: Sequence[Score]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write `scores.json`, `facts.json` and `arrays.npz` into a folder, the scores last."""
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(self.arrays))
        write_whole(folder / "arrays.npz", buffer.getbuffer())
        write_json(folder / "facts.json", finite(dict(self.facts)))
        write_json(folder / "scores.json", [score.to_json() for score in self.scores])

    @classmethod
    def load(cls, folder: Path) -> Findings:
        """The findings that `save` wrote. Raises OutputError, OSError or ValueError where they are not whole."""
        again = "Remove the folder, and evaluate again."
        scores = read_json(folder / "scores.json", list[Score], again, OutputError)
        facts = read_json(folder / "facts.json", dict[str, Any], again, OutputError)
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            return cls(scores, dict(arrays), facts)


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all, and have it on the disk."""
    write_whole(path, f"{json.dumps(content, indent=1, allow_nan=False)}\n".encode())
