"""Imports in tests, and what readers found."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from phonybrains.importing import ImportConfig, ImportReport, import_images
from phonybrains.importing.slices import Notice, Slice


def run(sources: Path | Sequence[Path], out: Path, config: ImportConfig, **options: Any) -> ImportReport:
    """Import one source, or several, without a word."""
    return import_images([sources] if isinstance(sources, Path) else sources, out, config, progress=False, **options)


def parted(found: Iterable[Slice | Notice]) -> tuple[list[Slice], list[Notice]]:
    """The slices and the notices that a reader gives."""
    items = list(found)
    slices = [item for item in items if isinstance(item, Slice)]
    return slices, [item for item in items if isinstance(item, Notice)]


def told(notices: Iterable[Notice]) -> list[tuple[str, str]]:
    """Kind and base name of what notices are about, sorted."""
    return sorted((notice.kind, Path(notice.file).name) for notice in notices)


def reasons(report: ImportReport, kind: str = "skipped") -> dict[str, str]:
    """The reasons of one kind by the file's name."""
    return {notice.file: notice.reason for notice in report.notices if notice.kind == kind}


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
