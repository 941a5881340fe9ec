"""What an import did: counts for the record and the screen, and file by file a CSV beside the image set.

Counted are also the images and patients of each value of an attribute: what a model can be told without redrawing one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..files import write_whole
from ..imageset import OF_PLACE
from ..spreadsheet import sheet_text
from ..wording import count_of
from .slices import Notice, Slice, shown

SHOWN = 8
"""Notices of one kind shown on the screen; the report file has them all."""
STYLES = {"skipped": "red", "duplicate": "", "near duplicate": "", "warning": "yellow", "note": ""}
"""Of the notices shown on the screen, in their order."""
COLUMNS = ("train", "validation", "test", "none")
FEWEST = 5
"""Values of fewer patients are no conditions in training, unless it is told otherwise."""
MOST_LABELS = 12
"""An attribute with more labels is free text, a number or a name of the image, and is not counted."""

Values = Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]
"""By modality, attribute and label: images, patients, images of unknown patients, and patients in train."""
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
            return Text(f"{shown(str(self.out))} is finished already: {count_of(total, 'image')}. Nothing to do.")
        return Group(self._counts(), *map(Text, in_lines(self.results.get("values", {}))), *self._lines())

    def _counts(self) -> Table:
        table = Table(
            title=Text(shown(f"{self.out}: {count_of(self.results['total'], 'image')}")), title_justify="left"
        )
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


def count_values(found: Sequence[Slice], splits: Sequence[str]) -> Values:
    """Count the labels of all attributes that have few; a cell «a;b» counts for a and for b."""
    cells: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for item, split in zip(found, splits, strict=True):
        for name in item.attributes.keys() - {*OF_PLACE} if not item.synthetic else ():
            value = item.attributes[name]
            text = f"{value:g}" if isinstance(value, float) else str(value if value is not None else "")
            for label in filter(None, (part.strip() for part in text.split(";"))):
                cells[item.modality, name][label].append((item.patient, split))
    counted: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for (modality, name), labels in sorted(cells.items()):
        if len(labels) <= MOST_LABELS:
            counted.setdefault(modality, {})[name] = {label: _counts(labels[label]) for label in sorted(labels)}
    return counted


def _counts(images: Sequence[tuple[str, str]]) -> dict[str, int]:
    patients, taught = {patient for patient, _ in images}, {patient for patient, split in images if split == "train"}
    return {
        "images": len(images),
        "patients": len(patients - {""}),
        "unknown": sum(not p for p, _ in images),
        "in_train": len(taught - {""}),
    }


def _labels(values: Values) -> Iterator[tuple[str, str, Mapping[str, Mapping[str, int]]]]:
    """Each modality, attribute, and the counts of its labels."""
    for modality, attributes in values.items():
        for name, labels in attributes.items():
            yield modality, name, labels


def in_lines(values: Values) -> list[str]:
    """A line for each attribute and modality."""
    return [
        f"{name} ({modality}): " + ", ".join(f"{label} {_said(counts)}" for label, counts in labels.items())
        for modality, name, labels in _labels(values)
    ]


def of_values(values: Values) -> list[Notice]:
    """The same for the report file, a line for each label."""
    return [
        Notice("", "value", f"{modality}: {name} {label}: {_said(counts)}, {counts['in_train']} of them in train")
        for modality, name, labels in _labels(values)
        for label, counts in labels.items()
    ]


def few_patients(values: Values) -> list[str]:
    """What to warn of: each attribute of a modality with labels that too few patients have."""
    warnings, counted = [], [(modality, c) for modality, _, labels in _labels(values) for c in labels.values()]
    split = {modality for modality, counts in counted if counts["in_train"]}
    for modality, name, labels in _labels(values):
        of = "in_train" if modality in split else "patients"
        few = {label: c for label, c in labels.items() if c[of] + c["unknown"] < FEWEST}
        if said := ", ".join(f"{label} ({_said(c)}, {c['in_train']} in train)" for label, c in few.items()):
            what = f"{modality}: fewer than {FEWEST} patients have {name} {said}: train gives them no condition"
            warnings.append(what)
    return warnings


def _said(counts: Mapping[str, int]) -> str:
    images = count_of(counts["images"], "image")
    if counts["unknown"] == counts["images"]:
        return f"{images} of unknown patients"
    if counts["unknown"]:
        return f"{images} of {counts['patients']} or more patients"
    return f"{images} of {count_of(counts['patients'], 'patient')}"
