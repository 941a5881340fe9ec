"""What an import did: counts for the record and the screen, and file by file a CSV beside the image set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..files import write_whole
from ..spreadsheet import sheet_text
from .slices import Notice, shown
from .values import in_lines

SHOWN = 8
"""Notices of one kind shown on the screen; the report file has them all."""
STYLES = {"skipped": "red", "duplicate": "", "near duplicate": "", "warning": "yellow", "note": ""}
"""Of the notices shown on the screen, in their order."""
COLUMNS = ("train", "validation", "test", "none")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class ImportReport:
    """The outcome of an import.

    results: counts, as in `record.json`; notices: what the report file lists; file: that report file, beside `out`.
    finished_before: the same command had finished earlier, and nothing was done now.
    """

    out: Path
    file: Path
    results: Mapping[str, Any]
    notices: tuple[Notice, ...] = ()
    finished_before: bool = False
    strict: bool = False

    @property
    def failed(self) -> bool:
        """Whether the caller shall exit with 1: strict was asked for, and a file was left out."""
        return self.strict and self.results.get("skipped", 0) > 0

    def __rich__(self) -> RenderableType:
        if self.finished_before:
            total = self.results.get("total", 0)
            return Text(f"{shown(str(self.out))} is finished already: {total} images. Nothing to do.")
        return Group(self._counts(), *map(Text, in_lines(self.results.get("values", {}))), *self._lines())

    def _counts(self) -> Table:
        table = Table(title=Text(shown(f"{self.out}: {self.results['total']} images")), title_justify="left")
        for name in ("modality", *COLUMNS, "split"):
            table.add_column(name, justify="left" if name in ("modality", "split") else "right")
        for modality, counts in self.results["images"].items():
            cells = [str(counts.get(name, 0)) for name in COLUMNS]
            table.add_row(modality, *cells, self.results["split"].get(modality, ""))
        return table

    def _lines(self) -> list[Text]:
        lines: list[Text] = []
        for kind, style in STYLES.items():
            found = [": ".join(filter(None, (each.file, each.reason))) for each in self.notices if each.kind == kind]
            more = [f"{len(found) - SHOWN} more in {shown(str(self.file))}"] if len(found) > SHOWN else []
            lines += [Text(f"{kind}: {line}", style=style) for line in found[:SHOWN] + more]
        return lines


def write_report(path: Path, notices: Iterable[Notice]) -> None:
    """Write the report as CSV with the columns file, kind and reason, for its owner alone."""
    write_for_owner(path, [("file", "kind", "reason"), *((each.file, each.kind, each.reason) for each in notices)])


def write_for_owner(path: Path, rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV that only its owner may read, whole or not at all.

    A cell that a spreadsheet would take for a formula (=, +, - or @ in front) gets an apostrophe, since names of
    files come from strangers.
    """
    content = sheet_text([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in row] for row in rows)
    write_whole(path, content, mode=0o600)


def count_by(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Images by modality and split; "none" are those in no split."""
    counts: dict[str, dict[str, int]] = {}
    for (modality, split), number in sorted(Counter(pairs).items()):
        counts.setdefault(modality, {})[split or "none"] = number
    return counts


def show(report: ImportReport) -> None:
    """Print the summary."""
    Console(soft_wrap=True).print(report)
