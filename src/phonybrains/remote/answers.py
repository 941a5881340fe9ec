"""Answers of a service, kept on the disk by what was asked: the same request is never paid for twice.

What a service sends is on the disk before anybody reads it, and stays there until the image in it is.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..documents import as_kind
from ..files import write_whole
from .config import Money

Suffix = Literal["", ".png", ".jpg", ".webp"]


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """How a request ended: with an image (suffix: of its format), or refused (code and message say why)."""

    image_sha256: str = ""
    suffix: Suffix = ""
    code: str = ""
    message: str = ""
    revised_prompt: str = ""
    request_id: str = ""
    cost: Money | None = None
    currency: str = ""
    number: int = 0
    """Of its line in the ledger."""
    paid: bool = False
    """Of a refusal: whether it may have been paid for."""

    @property
    def refused(self) -> bool:
        return not self.image_sha256


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a service sent with a status of success, as it came, and the number of its request in the ledger."""

    content: bytes
    request_id: str = ""
    number: int = 0


def printable(text: str) -> str:
    """A text that every file and terminal takes: control characters and lone surrogates as backslash escapes."""
    odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cs")}
    return "".join(c.encode("unicode_escape").decode() if c in odd else c for c in text)


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def request_key(base_url: str, parameters: Mapping[str, Any], occurrence: int) -> str:
    """The name of a request: a hash of where it goes and what it says, and how many like it come before."""
    text = json.dumps([base_url, parameters], sort_keys=True)
    return f"{sha256(text.encode())[:32]}-{occurrence:06d}"


@dataclass(frozen=True)
class Answers:
    """A folder of answers: KEY.json, and KEY.image with the bytes as they came; KEY.body until it has been read."""

    folder: Path

    def get(self, key: str) -> ServiceAnswer | None:
        """The answer to a request; None if there is none, or if it is damaged."""
        answer = self._read(self.folder / f"{key}.json")
        try:
            if answer is None or answer.refused or sha256(self.image(key).read_bytes()) == answer.image_sha256:
                return answer
        except OSError:
            pass
        return None

    def _read(self, path: Path) -> ServiceAnswer | None:
        try:
            said = json.loads(path.read_bytes())
            printed = {name: printable(value) if isinstance(value, str) else value for name, value in said.items()}
            return as_kind(printed, ServiceAnswer)
        except (OSError, ValueError, AttributeError, RecursionError):
            return None

    def image(self, key: str) -> Path:
        """Where the image of an answer lies."""
        return self.folder / f"{key}.image"

    def body_file(self, key: str) -> Path:
        """Where what a service sent lies until it has been read: a line about the request, then the bytes."""
        return self.folder / f"{key}.body"

    def body(self, key: str) -> RawAnswer | None:
        """What was sent, and paid for, but could not be read yet; None if there is nothing of that kind."""
        path = self.body_file(key)
        if not path.is_file():
            return None
        number, _, rest = path.read_bytes().partition(b" ")
        request_id, _, content = rest.partition(b"\n")
        return RawAnswer(content, request_id.decode("ascii", "replace"), int(number) if number.isdigit() else 0)

    def keep_body(self, key: str, body: RawAnswer) -> None:
        """Write what was sent, before it is read."""
        head = f"{body.number} {body.request_id.encode('ascii', 'backslashreplace').decode()}\n"
        write_whole(self.body_file(key), head.encode() + body.content)

    def keep(self, key: str, answer: ServiceAnswer, content: bytes = b"") -> None:
        """Write an answer: first its image, then, in one step, that it is there; then its body is not needed."""
        if content:
            write_whole(self.image(key), content)
        write_whole(self.folder / f"{key}.json", (json.dumps(asdict(answer), indent=1) + "\n").encode())
        self.body_file(key).unlink(missing_ok=True)

    def paid(self) -> dict[int, float]:
        """The cost of every image, by its number in the ledger."""
        found = (self.get(path.stem) for path in self.folder.glob("*.json"))
        return {answer.number: answer.cost or 0.0 for answer in found if answer and not answer.refused}

    def last_number(self) -> int:
        """The highest number in the ledger that anything here has."""
        answers = (self._read(path) for path in self.folder.glob("*.json"))
        bodies = (self.body(path.stem) for path in self.folder.glob("*.body"))
        return max((one.number for one in (*answers, *bodies) if one), default=0)
