"""Words such as modality=CT, as options take them."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from .options import MODALITIES


def pairs(words: list[str], option: str) -> dict[str, Any]:
    """The `name=value` words of an option as a mapping. Raises ConfigError for others, and for a name given twice."""
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = (part.strip() for part in word.partition("="))
        if not name or not value:
            raise ConfigError(f"{option} takes name=value, for instance modality=CT, not '{word}'.")
        if name in found:
            raise ConfigError(
                f"{option}: {name} is asked for twice, as {found[name]} and as {value}. Say it once; "
                "labels that one image has together are joined by ';'."
            )
        found[name] = MODALITIES.get(value.casefold(), value) if name.casefold() == "modality" else value
    return found
