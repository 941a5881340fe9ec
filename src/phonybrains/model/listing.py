"""The models that are at hand: those of the package, and those in a folder, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError, PhonyBrainsError
from ..record import fingerprint
from .description import DESCRIPTION, conditions_of, read_description
from .finding import is_fine_tuned, shipped_models
from .lora_description import DESCRIPTION as LORA
from .lora_description import read_lora

DEPTH = 4
"""Folders below the one that is named, in which models are looked for."""
HEADER = ("name", "kind", "pixels", "size", "hash", "conditions")


def models_in_words(folder: Path | None = None) -> str:
    """A table: name, kind, side of the images, size on disk, hash, and what can be asked for.

    Raises ModelError for a folder that is not there.
    """
    if folder is not None and not folder.is_dir():
        raise ModelError(f"{folder} is no folder. Name one to look for models in, or none.")
    places = {**shipped_models(), **{str(path): path for path in _below(folder, DEPTH)}} if folder else shipped_models()
    rows = [HEADER, *(_row(name, path) for name, path in places.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER) - 1)]
    lines = ("  ".join([*(f"{cell:{n}}" for cell, n in zip(row, widths, strict=False)), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / DESCRIPTION).is_file() or (folder / LORA).is_file():
        yield folder
    elif depth:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                yield from _below(path, depth - 1)


def _row(name: str, folder: Path) -> tuple[str, ...]:
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    try:
        if is_fine_tuned(folder):
            facts, conditions = read_lora(folder)
            kind, side = f"LoRA on {facts.base}", facts.image_size
        else:
            content, conditions = read_description(folder), conditions_of(folder)
            kind, side = str(content["diffusion"]), content["size"]
    except PhonyBrainsError as error:
        return name, "damaged", "", f"{megabytes:.1f} MB", "", str(error)
    shown = " ".join(attribute.name for attribute in conditions.attributes)
    return name, kind, f"{side}×{side}", f"{megabytes:.1f} MB", fingerprint(folder)[:12], shown
