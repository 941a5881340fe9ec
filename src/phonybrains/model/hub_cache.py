"""The cache of the Hugging Face Hub on this machine: what lies in it damaged is fetched again.

The cache names each file by the hash of its content: SHA-256, or for small ones that of git.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from ..record import sha256_file


def fetched(repo: str, fetch: Callable[[], str | PathLike[str]]) -> Path:
    """What `fetch` brings of a repository, from the Hub or out of its cache: a file, or the folder of a snapshot.

    Files of the cache that are not what their names say are removed, said, and fetched again.
    """
    try:
        found = Path(fetch())
    except Exception:
        if not _forget_damaged(_cache_of(repo)):
            raise
        return Path(fetch())
    return Path(fetch()) if _forget_damaged(found) else found


def _cache_of(repo: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model") / "snapshots"


def _forget_damaged(place: Path) -> list[Path]:
    """Remove what is damaged among the cache's files at or below a place, and say so."""
    links = [path for path in (place, *place.rglob("*")) if path.is_symlink()]
    damaged = [path for path in links if not _is_sound(path.resolve())]
    for path in damaged:
        print(f"WARNING: {path.name} is damaged in the cache of the Hub. It is fetched again.", file=sys.stderr)
        path.resolve().unlink(missing_ok=True)
        path.unlink()
    return damaged


def _is_sound(blob: Path) -> bool:
    """Whether a file of the cache is there and is what its name says; another kind of name says nothing."""
    if not blob.is_file():
        return False
    if len(blob.name) == 64:
        return sha256_file(blob) == blob.name
    if len(blob.name) == 40:
        content = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == blob.name
    return True
