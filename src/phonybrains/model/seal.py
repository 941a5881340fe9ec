"""A model's description, model.json or finetune.json: JSON that has its own digest among those of its parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ModelError
from ..record import sha256_file


class FormatVersion(TypedDict, total=False):
    """What a description of any version may hold."""

    format_version: int


def read_sealed(
    path: Path, kind: Any, newest: int, remedy: str, parts: str = "sha256", free: Collection[str] = ()
) -> dict[str, Any]:
    """The content of a description, as it is written. Raises ModelError for a newer, a changed or another one.

    kind: what it is to hold; newest: format version; parts: where its digests are; free: what people may change.
    """
    version = read_json(path, FormatVersion, remedy, ModelError).get("format_version", 1)
    if version > newest:
        raise ModelError(
            f"{path}: format version {version} is newer than this phonybrains reads ({newest}). Upgrade phonybrains."
        )
    read_json(path, kind, remedy, ModelError)
    content = read_json(path, dict[str, Any], remedy, ModelError)
    if content[parts].get(path.name) not in (None, _digest(content, path.name, parts, free)):  # the first had none
        raise ModelError(f"{path} is damaged: it is not what its own SHA-256 says. {remedy}")
    return content


def check_part(path: Path, digest: object, description: str, remedy: str) -> None:
    """Raise ModelError for a part of a model that is missing, or is not the one that its description lists."""
    if not path.is_file():
        raise ModelError(f"{path} is missing. {remedy}")
    if sha256_file(path) != digest:
        raise ModelError(f"{path} is damaged: its SHA-256 is not the one in {description}. {remedy}")


def sealed(content: Mapping[str, Any], name: str, parts: str = "sha256", free: Collection[str] = ()) -> dict[str, Any]:
    """A description with its own digest; name: of its file; parts: where digests are; free: what people may change."""
    return {**content, parts: {**content[parts], name: _digest(content, name, parts, free)}}


def _digest(content: Mapping[str, Any], name: str, parts: str, free: Collection[str]) -> str:
    hashes = {part: digest for part, digest in content[parts].items() if part != name}
    said = {key: value for key, value in content.items() if key not in free} | {parts: hashes}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
