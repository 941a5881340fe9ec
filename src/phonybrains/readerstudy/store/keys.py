"""What of a study's log lies outside its database: the key of its events, and its heads so far.

    log.key            32 random bytes as hex; whoever has it can forge the log, whoever lost it can verify nothing
    log-ID.head        which log of which database, then for each commit the number and the HMAC of its last event

Both lie beside the protocol, for their owner alone. A head is written after the commit and before anyone is told of it:
a crash in between leaves the database ahead of its heads, which fits; a database behind them was cut off.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import StudyError
from ...files import write_whole
from ...wording import count_of
from .audit import Fault, LogEntry
from .errors import DiskFullError
from .failures import FULL

KEY_NAME = "log.key"
HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{16,64})")
RESTORE = "Restore it from your backup."
_TITLE = "phonybrains log of "


def load_key(folder: Path) -> bytes:
    """The key of a study's logs. Raises StudyError if it is missing, not a key, or open to others."""
    path = folder / KEY_NAME
    text = _read(path, "key", "without the key of the log its answers cannot be verified, nor taken").strip()
    mode = path.stat().st_mode
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise StudyError(f"{path}: is not the key of a log. {RESTORE}")
    if mode & 0o077:
        raise StudyError(f"{path} is open to other users (mode {mode & 0o777:04o}). Run: chmod 600 {path}")
    return bytes.fromhex(text)


def make_key(folder: Path) -> bytes:
    """The key of a study, made now unless there is one. Raises StudyError if it was lost, or cannot be written."""
    path = folder / KEY_NAME
    if not path.exists() and not any(folder.glob("log-*.head")):
        _new_file(path, f"{secrets.token_hex(32)}\n")
    return load_key(folder)


def fingerprint(key: bytes) -> str:
    """What tells one key from another, and nothing else about it."""
    return hmac.new(key, b"phonybrains log key", hashlib.sha256).hexdigest()[:16]


def heads_of(folder: Path, location: str) -> list[Heads]:
    """The heads, with an event at least, that were kept for a database at this place."""
    found = (Heads.read(path) for path in sorted(folder.glob("log-*.head")))
    return [heads for heads in found if heads.location == location and heads.kept]


@dataclass
class Heads:
    """The heads of one log, in the order in which they were written."""

    path: Path
    location: str
    kept: list[tuple[int, str]]
    last: int = 0

    @classmethod
    def make(cls, folder: Path, log: str, location: str) -> Heads:
        """Begin the file of a new log."""
        path = folder / f"log-{log}.head"
        _new_file(path, f"{_TITLE}{location}\n")
        return cls(path, location, [])

    @classmethod
    def read(cls, path: Path) -> Heads:
        """Raises StudyError if the file is missing or is none; a last line that was torn by a crash does not count."""
        lines = _read(path, "heads", "it says how far the log had come").split("\n")[:-1]
        found = [HEAD.fullmatch(line) for line in lines[1:]]
        bad = next((number for number, match in enumerate(found, start=2) if not match), None)
        if bad or not lines or not lines[0].startswith(_TITLE):
            raise StudyError(f"{path}, line {bad or 1}: was changed outside phonybrains. {RESTORE}")
        return cls(path, lines[0].removeprefix(_TITLE), [(int(match[1]), match[2]) for match in found if match])

    def __post_init__(self) -> None:
        self.last = max((number for number, _ in self.kept), default=0)

    def append(self, entry: LogEntry) -> None:
        """Keep an entry as the newest head; it is on the disk when this returns. What is kept already stays."""
        if entry.id <= self.last:
            return
        try:
            file = os.open(self.path, os.O_RDWR)
            fcntl.flock(file, fcntl.LOCK_EX)  # an analysis may add its look while a server runs
        except OSError as error:
            raise StudyError(f"{self.path}: cannot be written ({error.strerror}).") from None
        try:
            self._write(file, f"{entry.head}\n".encode())
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise DiskFullError(FULL) if full else StudyError(f"{self.path}: {error.strerror}.") from None
        finally:
            os.close(file)
        self.kept.append((entry.id, entry.hash))
        self.last = entry.id

    @staticmethod
    def _write(file: int, line: bytes) -> None:
        end = os.lseek(file, 0, os.SEEK_END)
        if os.pread(file, 1, max(0, end - 1)) != b"\n":  # a line torn by a crash
            end = os.pread(file, end, 0).rfind(b"\n") + 1
        if os.pwrite(file, line, end) < len(line):
            os.ftruncate(file, end)
            raise OSError(errno.ENOSPC, "no room")
        os.ftruncate(file, end + len(line))
        os.fdatasync(file)


@dataclass(frozen=True)
class Log:
    """What of a log lies outside its database."""

    key: bytes
    heads: Heads


def head_faults(log: Sequence[LogEntry], heads: Sequence[tuple[int, str]], whose: str) -> list[Fault]:
    """The heads that are not those of a log: it was cut off, replaced by an older copy, or went another way."""
    found, known = [], {entry.id: entry for entry in log}
    last = max(known, default=0)
    for number, digest in heads:
        if number > last:
            missing = f"event {last + 1} is missing: {whose} knows {count_of(number, 'event')}, the database {last}"
            found.append(Fault(last + 1, f"{missing}; it was cut off or replaced by an older copy."))
        elif number not in known or not str(known[number].hash).startswith(digest):
            where = known.get(number, f"event {number}")
            found.append(Fault(number, f"{where}: is missing, or another one than {whose} knows."))
    return found


def _read(path: Path, what: str, why: str) -> str:
    """The text of a file. Raises StudyError if it is missing, with what it is good for, or cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"{path} is missing: {why}. {RESTORE}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not the {what} of a log"
        raise StudyError(f"{path}: cannot be read ({reason}). {RESTORE}") from None


def _new_file(path: Path, text: str) -> None:
    """Write a file for its owner alone, so that it survives a crash."""
    try:
        write_whole(path, text.encode(), mode=0o600)
    except OSError as error:
        kept = "The key of the log and its heads are kept beside the protocol."
        raise StudyError(f"{path}: cannot be written ({error.strerror}). {kept}") from None
