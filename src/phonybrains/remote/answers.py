"""Answers of a service, kept on the disk by what was asked: the same request is never paid for twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: with an image (suffix: of its format), or refused (code and message say why)."""

    image_sha256: str = ""
    suffix: str = ""
    code: str = ""
    message: str = ""
    revised_prompt: str = ""
    request_id: str = ""
    cost: float | None = None
    currency: str = ""
    number: int = 0
    """Of its line in the ledger."""

    @property
    def refused(self) -> bool:
        return not self.image_sha256


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def request_key(base_url: str, parameters: Mapping[str, Any], occurrence: int) -> str:
    """The name of a request: a hash of where it goes and what it says, and how many like it come before."""
    text = json.dumps([base_url, parameters], sort_keys=True)
    return f"{sha256(text.encode())[:32]}-{occurrence:06d}"


@dataclass(frozen=True)
class Answers:
    """A folder of answers: KEY.json, and KEY.image with the bytes as they came."""

    folder: Path

    def get(self, key: str) -> Answer | None:
        """The answer to a request; None if there is none, or if its image is damaged."""
        try:
            answer = Answer(**json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8")))
            if answer.refused or sha256(self.image(key).read_bytes()) == answer.image_sha256:
                return answer
        except (OSError, ValueError, TypeError):
            pass
        return None

    def image(self, key: str) -> Path:
        """Where the image of an answer lies."""
        return self.folder / f"{key}.image"

    def keep(self, key: str, answer: Answer, content: bytes = b"") -> None:
        """Write an answer: first its image, then, in one step, that it is there."""
        if content:
            write_whole(self.image(key), content)
        write_whole(self.folder / f"{key}.json", (json.dumps(asdict(answer), indent=1) + "\n").encode())

    def paid(self) -> dict[int, float]:
        """The cost of every image, by its number in the ledger."""
        found = (self.get(path.stem) for path in self.folder.glob("*.json"))
        return {answer.number: answer.cost or 0.0 for answer in found if answer and not answer.refused}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and have it on the disk."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let no second process ask for the same folder meanwhile. Raises OutputError if one does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(f"{folder.parent}: another phonybrains imagine is at work here. Wait for it.") from None
        yield
