"""The journal of requests: lines that are on the disk before anybody acts on them, each chained to all before it.

A line ends with `chain`, the SHA-256 of the chain before it and of what else it says, so that a line that was changed,
lost or put in shows. Lines from before there was a chain are taken as they are; the next line chains them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveInt, TypeAdapter

from ..errors import OutputError
from ..files import sync_path, write_whole
from .config import Money

Outcome = Literal["image", "refused", "refused_paid", "error", "unknown"]
CHAIN = re.compile(rb', "chain": "([0-9a-f]{64})"\}\Z')


class Entry(BaseModel, strict=True, extra="forbid", frozen=True):
    """What a line says of a request."""

    what: str
    number: PositiveInt


class Sent(Entry, frozen=True):
    """A request is about to be sent, at this cost at most."""

    what: Literal["sent"] = "sent"
    request: str
    reserved: Money


class Settled(Entry, frozen=True):
    """A request has ended, and has cost this much."""

    what: Literal["settled"] = "settled"
    outcome: Outcome
    cost: Money


Line = Sent | Settled
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="what")])


class Journal:
    """A file of lines, for one process."""

    def __init__(self, path: Path):
        self.path = path
        self._chain = ""
        self._whole: bytes | None = None
        """What the next line is to be written behind, in a file of its own: where there is none, or its end is torn."""

    def read(self) -> tuple[list[Line], bool]:
        """All lines, and whether a last one that is torn or damaged may have been of a request that was sent.

        Raises OutputError where a line before the last one is damaged.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        *whole, torn = content.split(b"\n")
        lines: list[Line] = []
        chained = False
        for raw in whole:
            try:
                line, chained = self._read_line(raw, chained)
            except ValueError:
                first_of_chain = lines and not chained and CHAIN.search(raw)  # then one before it may be damaged
                if torn or len(lines) + 1 < len(whole) or first_of_chain:
                    raise self.damaged(len(lines) + 1) from None
                torn = raw
                break
            lines.append(line)
        if torn or not content:
            self._whole = b"".join(raw + b"\n" for raw in whole[: len(lines)])
        settled = torn.startswith(b'{"what": "settled"') and torn.count(b"{") == 1
        return lines, bool(torn) and not settled

    def _read_line(self, raw: bytes, chained: bool) -> tuple[Line, bool]:
        found = CHAIN.search(raw)
        said = raw[: found.start()] + b"}" if found else raw
        line, chain = LINE.validate_json(said), self._next(said)
        if found[1].decode() != chain if found else chained:
            raise ValueError
        self._chain = chain
        return line, bool(found)

    def append(self, line: Line) -> None:
        """Add a line, and have it on the disk. Raises OSError, and then has added nothing."""
        said = json.dumps(line.model_dump()).encode()
        chain = self._next(said)
        raw = said[:-1] + f', "chain": "{chain}"}}\n'.encode()
        if self._whole is not None:
            write_whole(self.path, self._whole + raw)
        else:
            _append(self.path, raw)
        self._chain, self._whole = chain, None

    def damaged(self, number: int) -> OutputError:
        """The error for a line that cannot be what was written."""
        return OutputError(
            f"{self.path}: line {number} is damaged, so that what was spent is not known. Restore the "
            "file from a backup, or choose another --out; nothing was asked for."
        )

    def _next(self, said: bytes) -> str:
        return hashlib.sha256(self._chain.encode() + said).hexdigest()


def _append(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        start = file.tell()
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            sync_path(path)
        except OSError:
            file.truncate(start)
            raise
