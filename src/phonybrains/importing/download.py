"""Downloads that go on where they stopped: a `.part` file continued by HTTP Range, its hash checked by pooch."""

from __future__ import annotations

import stat
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pooch
import requests

from ..errors import SourceError

CHUNK_BYTES = 1 << 18
TIMEOUT_S = (15, 60)  # to connect, between two pieces
RETRY_AFTER_S = (1.0, 2.0, 4.0, 8.0)
WORTH_A_RETRY = (408, 425, 429, 500, 502, 503, 504)

Show = Callable[[int, int | None], None]
Refused = Callable[[str, int], str]
"""From a file's name and the HTTP status that refused it, what to tell the person."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its place below the folder, its address, its hash as pooch writes it (`md5:…`)."""

    name: str
    url: str
    known_hash: str
    size: int | None = None


def refused(name: str, status: int) -> str:
    """What to tell the person of a status that needs no special advice."""
    return f"{name}: the server answered HTTP {status}. Try again later; if it stays so, the file has been moved."


def download(
    file: RemoteFile,
    folder: Path,
    session: requests.Session,
    *,
    show: Show = lambda done, total: None,
    refuse: Refused = refused,
) -> Path:
    """Download a file into a folder, or only check its hash if it is there already.

    A download that was cut goes on in `<name>.part`, at the latest when the same command is given again. `show` gets
    the bytes that have come and the whole number (None: not known). Raises SourceError if the server refuses, stays
    away after five attempts, or the content has another hash: that is removed.
    """
    target = folder / safe_name(file.name)

    def resume(url: str, output_file: str, _: object) -> None:
        part = target.with_name(f"{target.name}.part")
        _continue(url, part, session, show, refuse)
        part.replace(output_file)

    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(file.url, file.known_hash, fname=file.name, path=folder, downloader=cast(Any, resume))
    except ValueError:
        algorithm = file.known_hash.partition(":")[0].upper()
        raise SourceError(
            f"{file.name}: what was downloaded has another {algorithm} than its publisher gives, so it was removed. "
            "Give the command again; if it happens twice, the file or the connection has been tampered with."
        ) from None
    return target


def _continue(url: str, part: Path, session: requests.Session, show: Show, refuse: Refused) -> None:
    """Add to `part` until it is whole. A lost connection and a busy server are tried again, after longer and longer."""
    part.parent.mkdir(parents=True, exist_ok=True)
    name, reason = part.name.removesuffix(".part"), ""
    for wait in (*RETRY_AFTER_S, None):
        try:
            if _request(url, part, session, show, refuse):
                return
            reason = "the server is busy, or sent only a part"
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            reason = type(error).__name__
        except requests.RequestException as error:
            raise SourceError(f"{name}: cannot be downloaded from its address ({type(error).__name__}).") from None
        if wait is not None:
            time.sleep(wait)
    raise SourceError(
        f"{name}: the connection was lost {len(RETRY_AFTER_S) + 1} times ({reason}). What has come is kept: "
        "give the command again to go on."
    )


def _request(url: str, part: Path, session: requests.Session, show: Show, refuse: Refused) -> bool:
    """Ask for what is missing of `part` and append it. False: try again."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        start, total = _range(answer)
        if answer.status_code == 416 and have and total == have:
            return True
        if answer.status_code == 416 or (answer.status_code == 206 and start != have):
            part.unlink(missing_ok=True)
            return False
        if answer.status_code in WORTH_A_RETRY:
            return False
        if answer.status_code not in (200, 206):
            raise SourceError(refuse(part.name.removesuffix(".part"), answer.status_code))
        with part.open("ab" if answer.status_code == 206 else "wb") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
                show(file.tell(), total)
    return total is None or part.stat().st_size >= total


def _range(answer: requests.Response) -> tuple[int, int | None]:
    """Where the answer begins and how long the whole file is (None: not said)."""
    given = answer.headers.get("Content-Range", "")  # bytes 100-199/200, or bytes */200
    if given.startswith("bytes ") and "/" in given:
        span, _, total = given.removeprefix("bytes ").partition("/")
        start = span.partition("-")[0]
        return int(start) if start.isdigit() else 0, int(total) if total.isdigit() else None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def safe_name(name: str) -> str:
    """The name of a file below a folder. Raises SourceError if it leads out of it."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise SourceError(f"'{name}' would be written outside of the folder: refused. Nothing of it was unpacked.")
    return name


def unzip(archive: Path, folder: Path) -> None:
    """Unpack a ZIP file into a folder.

    Raises SourceError if it is damaged; before anything is written, if a name leads out of the folder or is a link.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            for member in members:
                safe_name(member.filename)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise SourceError(f"{archive.name}: '{member.filename}' is a link: refused. Nothing was unpacked.")
            content.extractall(folder, members)
    except zipfile.BadZipFile as error:
        what = f"a damaged ZIP file ({error}). Remove it and give the command again."
        raise SourceError(f"{archive.name}: {what}") from None
