"""The digest that a model's description, model.json or finetune.json, has of itself among those of its parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any


def sealed(content: Mapping[str, Any], name: str, parts: str = "sha256", free: Collection[str] = ()) -> dict[str, Any]:
    """A description with its own digest; name: of its file; parts: where digests are; free: what people may change."""
    return {**content, parts: {**content[parts], name: _digest(content, name, parts, free)}}


def is_sound(content: Mapping[str, Any], name: str, parts: str = "sha256", free: Collection[str] = ()) -> bool:
    """Whether a description is as it was sealed, or was made before there were seals."""
    return content[parts].get(name) in (None, _digest(content, name, parts, free))


def _digest(content: Mapping[str, Any], name: str, parts: str, free: Collection[str]) -> str:
    hashes = {part: digest for part, digest in content[parts].items() if part != name}
    said = {key: value for key, value in content.items() if key not in free} | {parts: hashes}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
