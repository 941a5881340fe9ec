"""What an evaluation says: scores, each beside its null, and the four lines that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import PhonyBrainsError
from ..reporting.tables import finite
from ..statistics.estimate import Estimate
from .measures import measure_of

Answer = Literal["yes", "no", "not shown", "not measured"]
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
    def of(cls, found: Estimate, draws: int = 0) -> Null:
        """What real images score, with its interval."""
        return cls(found.value, found.low, found.high, draws)


@dataclass(frozen=True, slots=True)
class Score:
    """One number with what is needed to judge it; value None means that it could not be had, and `note` says why.

    `name`: that of a measure, of measures.csv; another one raises ValueError.
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

    def __post_init__(self) -> None:
        measure_of(self.name)

    @classmethod
    def of(cls, name: str, found: Estimate, **where: Any) -> Score:
        """The score of an estimate; where: the other fields, and n where it is another."""
        return cls(name, found.value, found.low, found.high, **{"n": found.n, **where})

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON; what is not finite becomes null."""
        return finite(asdict(self))


@dataclass(frozen=True, slots=True)
class Glance:
    """One of the four lines that an evaluation ends in, wherever it is shown; report/glance.py has the rules.

    text: the numbers that the answer rests on, in words, a line for each modality. scores: the same as data.
    """

    question: Literal["as real?", "new?", "fair?", "useful?"]
    answer: Answer
    text: str
    scores: Sequence[Score] = ()

    @property
    def said(self) -> str:
        """The text on one line."""
        return self.text.replace("\n", "; ")

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON; what is not finite becomes null."""
        return finite(asdict(self))


def unavailable(name: str, note: str, **where: Any) -> Score:
    """A score that could not be had, and why: shown in the tables, never replaced in silence."""
    return Score(name, None, note=note, **where)


def tried(name: str, scores: Iterable[Score], **where: Any) -> Iterator[Score]:
    """The scores, and if they end with an error one without a value that says why."""
    try:
        yield from scores
    except (ValueError, ArithmeticError, PhonyBrainsError) as error:
        yield unavailable(name, " ".join(str(error).split()), **where)
