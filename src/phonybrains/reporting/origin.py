"""The chain of records from a result back to its sources, and what a service refused on the way, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..wording import count_of
from .blocks import Block, Table

PROGRAMS = ("phonybrains", "torch", "diffusers")


def chain_of(record: Mapping[str, Any], depth: int = 0, name: str = "", sha256: str = "") -> Iterator[tuple[str, ...]]:
    """Step, name, SHA-256 and what determined it, of a record and all its inputs; deeper ones are indented."""
    if not record:
        if name:
            yield "\u2003" * depth + "source", name, sha256[:12], ""
        return
    config = record.get("config") or {}
    plain = {key: value for key, value in config.items() if key != "seed" and not isinstance(value, dict | list)}
    settings, seed = ", ".join(f"{key} = {value}" for key, value in plain.items()), record.get("seed")
    shown = f"seed {seed}; {settings}" if seed is not None and depth else settings
    made_with = {key: value for key, value in (record.get("versions") or {}).items() if key in PROGRAMS}
    versions = ", ".join(f"{key} {value}" for key, value in made_with.items())
    what = shown[:240] + ("…" if len(shown) > 240 else "")
    what = f"{what}; {versions}" if versions else what
    yield "\u2003" * depth + str(record.get("stage", "")), name, sha256[:12], what
    for item in record.get("inputs") or ():
        yield from chain_of(item.get("record") or {}, depth + 1, str(item.get("name", "")), str(item.get("sha256", "")))


def refusals(record: Mapping[str, Any]) -> list[Block]:
    """A table of the prompts that a text-to-image service refused, of a record and all its inputs; nothing if none."""
    answered = [results for results in _results(record) if "refusals" in results]
    counts = Counter((str(one["prompt"]), str(one["code"])) for results in answered for one in results["refusals"])
    if not counts:
        return []
    rows = tuple((prompt, code, str(count)) for (prompt, code), count in counts.most_common())
    caption = (
        f"Refused: {counts.total()} of {count_of(sum(results['asked'] for results in answered), 'request')} to the "
        "service. Their images are missing: the set shows what the service let through."
    )
    return [Table(("Prompt refused", "code", "requests"), rows, caption, (4, 1.6, 1), (0, 1))]


def _results(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What each step of a chain of records found."""
    yield record.get("results") or {}
    for item in record.get("inputs") or ():
        yield from _results(item.get("record") or {})
