"""JSON files that others may have written or changed: read as what they are to hold, or refused with a reason."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import PhonyBrainsError

LARGEST_MIB, DEEPEST = 256, 300
T = TypeVar("T")


def read_json(path: Path, kind: type[T], remedy: str, error: type[PhonyBrainsError] = PhonyBrainsError) -> T:
    """The content of a JSON file, checked against a type: a class, a TypedDict, dict[str, int], …

    Raises `error`, whatever the file holds: file, key, what is wrong, and the remedy, which is a sentence.
    """
    try:
        if path.stat().st_size > LARGEST_MIB * 2**20:
            raise ValueError(f"larger than {LARGEST_MIB} MiB")
        return as_kind(_parsed(path.read_text(encoding="utf-8")), kind)
    except ValidationError as wrong:
        raise error(f"{path}: {explained(wrong)}. {remedy}") from None
    except OSError as wrong:
        raise error(f"{path}: cannot be read ({wrong.strerror}). {remedy}") from None
    except (ValueError, RecursionError) as wrong:
        raise error(f"{path}: not valid JSON ({wrong}). {remedy}") from None


def as_kind(content: object, kind: type[T]) -> T:
    """Content as a type. Raises pydantic's ValidationError, which is a ValueError, where it is another."""
    return _adapter(kind).validate_python(content)


def explained(wrong: ValidationError) -> str:
    """The first thing that is wrong: key, and what is the matter with its value."""
    first = wrong.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), reason)))


def _parsed(text: str) -> Any:
    content = json.loads(text)
    level, depth = [content], 0
    while level := [child for one in level for child in _children(one)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")
    if "\\ud" in text.lower():  # half a character cannot be printed
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _children(one: object) -> list[Any]:
    if isinstance(one, Mapping):
        return list(one.values())
    return one if isinstance(one, list) else []


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
