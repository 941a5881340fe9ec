"""Answers kept for a while, so that a URL leads to an image and a set can be fetched: bounded, and they expire."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from ..record import now
from .request import Commission


@dataclass(frozen=True)
class KeptAnswer:
    """The images of one answer as PNG, what they were commissioned as, until when they are kept, and since when."""

    commission: Commission
    pngs: tuple[bytes, ...]
    until: float
    created: str = field(default_factory=now)

    @property
    def size(self) -> int:
        return sum(map(len, self.pngs))


@dataclass
class AnswerCache:
    """Keeps up to `most_bytes`, the oldest go first, for `seconds` each; a key that nobody guesses leads to them."""

    seconds: float = 3600.0
    most_bytes: int = 256 * 2**20
    clock: Callable[[], float] = monotonic
    _kept: OrderedDict[str, KeptAnswer] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def put(self, commission: Commission, pngs: tuple[bytes, ...]) -> tuple[str, KeptAnswer]:
        """Keep an answer; the key to it, and the answer."""
        key, kept = secrets.token_urlsafe(16), KeptAnswer(commission, pngs, self.clock() + self.seconds)
        self._kept[key] = kept
        self._bytes += kept.size
        self._clear()
        return key, kept

    def get(self, key: str) -> KeptAnswer | None:
        """The answer with this key, unless it was never there or is no more."""
        self._clear()
        return self._kept.get(key)

    def _clear(self) -> None:
        now = self.clock()
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.until > now and (self._bytes <= self.most_bytes or len(self._kept) == 1):
                return
            self._bytes -= self._kept.popitem(last=False)[1].size
