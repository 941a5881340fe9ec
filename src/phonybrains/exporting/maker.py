"""What made the images of a set, as its record tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MODELS = ("train", "finetune")
"""Stages whose result is a model."""


@dataclass(frozen=True)
class Maker:
    """The model or program behind synthetic images: its name, and the SHA-256 of a model ("" for a program)."""

    name: str
    sha256: str = ""


def maker_of(record: Mapping[str, Any]) -> Maker:
    """The first model that a record or those of its inputs name; a set that no model made has its stage's name."""
    return next(_models(record), Maker(str(record.get("stage") or "unknown")))


def _models(record: Mapping[str, Any]) -> Iterator[Maker]:
    inputs = record.get("inputs") or ()
    for item in inputs:
        if (item.get("record") or {}).get("stage") in MODELS:
            yield Maker(str(item.get("name", "")), str(item.get("sha256", "")))
    for item in inputs:
        yield from _models(item.get("record") or {})


def stated(record: Mapping[str, Any], name: str, modality: str) -> float | None:
    """What a record, or else the first of its inputs that does, says under `results` of all images of a modality."""
    found = (record.get("results") or {}).get(name)
    if isinstance(found, Mapping) and isinstance(value := found.get(modality), int | float):
        return float(value)
    of_inputs = (stated(item.get("record") or {}, name, modality) for item in record.get("inputs") or ())
    return next((value for value in of_inputs if value is not None), None)
