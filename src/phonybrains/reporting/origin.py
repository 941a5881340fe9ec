"""The chain of records from a result back to its sources, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def chain_of(record: Mapping[str, Any], depth: int = 0, name: str = "", sha256: str = "") -> Iterator[tuple[str, ...]]:
    """Step, name, SHA-256 and what determined it, of a record and all its inputs; deeper ones are indented."""
    if not record:
        if name:
            yield "\u2003" * depth + "source", name, sha256[:12], ""
        return
    config = record.get("config") or {}
    settings = ", ".join(
        f"{key} = {value}" for key, value in config.items() if key != "seed" and not isinstance(value, dict | list)
    )
    seed = record.get("seed")
    shown = f"seed {seed}; {settings}" if seed is not None and depth else settings
    versions = ", ".join(f"{key} {value}" for key, value in (record.get("versions") or {}).items()
                         if key in ("phonybrains", "torch", "diffusers"))  # fmt: skip
    what = shown[:240] + ("…" if len(shown) > 240 else "")
    yield (
        "\u2003" * depth + str(record.get("stage", "")),
        name,
        sha256[:12],
        f"{what}; {versions}" if versions else what,
    )
    for item in record.get("inputs") or ():
        yield from chain_of(item.get("record") or {}, depth + 1, str(item.get("name", "")), str(item.get("sha256", "")))
