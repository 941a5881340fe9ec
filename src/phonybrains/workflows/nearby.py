"""Where what a set was made from may lie: folders around it, models that come along, the sources of an import."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import PhonyBrainsError
from ..imageset import METADATA_NAME
from ..importing.parallel import threads
from ..importing.scan import scan
from ..model.description import DESCRIPTION
from ..model.finding import shipped_models
from ..model.lora_description import DESCRIPTION as LORA


def candidates(places: Sequence[Path]) -> Iterator[Path]:
    """Folders with a table or a model, in some places and one level below, and the models that come along."""
    seen = set[Path]()
    for place in (*places, *shipped_models().values()):
        for path in (place, *_below(place)):
            if _is_ours(path) and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _below(place: Path) -> list[Path]:
    """The folders in a folder; none where it may not be looked into."""
    try:
        return sorted(path for path in place.iterdir() if path.is_dir())
    except OSError:
        return []


def _is_ours(folder: Path) -> bool:
    try:
        return any((folder / name).is_file() for name in (METADATA_NAME, DESCRIPTION, LORA))
    except OSError:
        return False


def listed_sources(folder: Path) -> Iterator[Path]:
    """Where the sources of a corpus lay, by the list that import left beside it for its owner."""
    path = folder.resolve().with_name(f"{folder.resolve().name}.sources.csv")
    if path.is_file():
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (Path(row["path"]) for row in csv.DictReader(file) if row.get("path"))


def scanned(source: Path) -> str:
    """The hash of a source, as import takes it; empty where it cannot be read."""
    with tempfile.TemporaryDirectory() as place, threads() as pool:
        try:
            return scan(source, pool, lambda: Path(place)).sha256
        except (PhonyBrainsError, OSError):
            return ""
