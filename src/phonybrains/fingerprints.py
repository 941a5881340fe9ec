"""What files and folders are known by: SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from .drafts import RECORD_NAME
from .errors import ConfigError


def beside_images(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of an image set that is named in no row of its table, and of the table, by its name."""
    own = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != RECORD_NAME)
    names = [path.relative_to(folder).as_posix() for path in own if ".partial" not in path.name]
    return {name: sha256_file(folder / name) for name in names if not name.startswith(("images/", "masks/", "."))}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_setting(name: str, path: Path | None) -> str | None:
    """That of a file which a setting names, if it does. Raises ConfigError for one that cannot be read."""
    try:
        return sha256_file(path) if path else None
    except OSError as error:
        raise ConfigError(f"{name}: {path} cannot be read ({error.strerror}).") from None


def fingerprint(folder: Path) -> str:
    """SHA-256 of a folder's content: of the file that has the hash of each part, else of all files.

    That is `metadata.csv` in an image set, `model.json` or `finetune.json` in a model folder, where a model.json may
    state another identity, without the code in its folder. Of a single file, that of its bytes.
    Raises FileNotFoundError where there is neither.
    """
    if not folder.is_dir():
        return sha256_file(folder)
    for name in ("metadata.csv", "model.json", "finetune.json"):
        if (folder / name).is_file():
            return _stated_identity(folder / name) or sha256_file(folder / name)
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD_NAME):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _stated_identity(path: Path) -> str:
    """The identity that a model.json states; empty where it states none, as did those of before."""
    with suppress(ValueError, AttributeError, RecursionError):
        return str(json.loads(path.read_bytes()).get("identity", "")) if path.name == "model.json" else ""
    return ""


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder, by its name there; image sets inside list their images themselves."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "images")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files if path.name != RECORD_NAME}
