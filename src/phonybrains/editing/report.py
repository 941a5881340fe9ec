"""The report of an edit: one page of what was made of what, with what nobody measured said beside every picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..files import write_whole
from ..imageset import ImageSet
from ..record import read_record
from ..reporting.blocks import Block, Bullets, Gallery, Heading, Note, Paragraph, Table
from ..reporting.closing import origin_table
from ..reporting.html import render_html
from ..reporting.pdf import render_pdf
from ..reporting.pictures import picture
from ..reporting.wording import count_of, number
from .config import Edit, Explain
from .grid import BRIGHTER, as_seen

ROWS, SIDE, QUARTER = 12, 256, 4
SUFFIXES = (".html", ".pdf")
WHITE = 255 // (QUARTER * BRIGHTER)
"""Grey levels that are white in a map."""
SPREAD = (
    "The spread is the standard deviation of {n} answers, pixel by pixel: black is none, white {white} of 255 grey "
    "levels or more. Where it is bright the model does not know what is there, and nothing may be read from one "
    "answer. Where it is dark the answers agree; that is no proof, since they come from one model and may all be wrong "
    "alike."
)
ALONE = (
    "One answer was drawn of each image: there is no spread, and nobody can tell from it what the model was sure of. "
    "Ask for several, with -n 4."
)
EXPECTED = (
    "Bright is where the model would draw another image if it were told otherwise; white is {white} of 255 grey levels "
    "or more. The map shows what this model has learnt to expect, not what made a patient ill or a reader decide."
)
LIMITS = (
    "Everything that the source does not hold is the model's: a lesion that appears may not exist, one that is missing "
    "may be there. No edited image is fit for a diagnosis, a measurement of anatomy, or a count of findings.",
    "An edited image still shows its patient. It is as confidential as its source, and stays in its source's split.",
    "In the table each image is marked: synthetic, edit, edit_of and edit_of_sha256. evaluate, the audit and study "
    "design take it for synthetic; the audit calls it an edit of its patient, neither new nor a copy.",
)


def check_report(path: Path, out: Path) -> None:
    """Raise ConfigError for a report that cannot be written: before the images are made, not after."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: the report is a page, {' or '.join(SUFFIXES)}.")
    if path.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{path} lies inside {out}, which holds the images alone. Put it beside it.")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Name a file for the report.")


def write_report(
    path: Path, out: Path, how: Edit, lines: Sequence[Mapping[str, NDArray[np.uint8]]], day: date | None = None
) -> Path:
    """Write the report of an edited set `out` as HTML or PDF, by the file's suffix.

    lines: what there is to see of its first source images, by label, as the grid draws it. day: today if none is given.
    """
    record, images = read_record(out), ImageSet.open(out)
    made = {float(str(row["index"])) for row in images.rows}
    by = next((str(row["generator"]) for row in images.rows), "")
    title, subtitle = f"Edit of {_source(record)}: {how.name}", f"{count_of(len(made), 'image')} edited by {by}"
    blocks = [*_opening(how, record, images), *_pictures(how, images, lines, len(made)), *_closing(how, record)]
    footer = f"{title}; edit {str(record.get('identity', ''))[:16]}; phonybrains"
    day = day or datetime.now(UTC).date()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".pdf":
        write_whole(path, render_pdf(title, subtitle, blocks, footer, day))
    else:
        write_whole(path, render_html(title, subtitle, blocks, footer).encode())
    return path


def _source(record: Mapping[str, Any]) -> str:
    return str((record.get("inputs") or [{}])[0].get("name", ""))


def _opening(how: Edit, record: Mapping[str, Any], images: ImageSet) -> Iterator[Block]:
    """What must not be missed, and what was done to what."""
    yield Note(how.invented, "banner")
    yield Heading("What was edited")
    patients = {row.patient_id for row in images.rows} - {""}
    who = count_of(len(patients), "patient") if patients else "patients not named"
    inputs = [f"{one.get('name')} ({str(one.get('sha256'))[:12]})" for one in record.get("inputs") or ()]
    settings = {name: value for name, value in how.model_dump(mode="json").items() if value not in (None, {}, False)}
    rows = [("edit", how.name), ("of", f"{inputs[0]}: {who}"), ("by, or like", ", ".join(inputs[1:]))]
    rows += [("images made", str(len(images))), *((name, str(value)) for name, value in settings.items())]
    yield Table(("What", "value"), tuple(rows), "", (1, 3), (0, 1))
    if "psnr_db" in (results := record.get("results") or {}):
        yield Paragraph(
            f"The source was taken for the truth and spoilt first: PSNR against it {number(results['psnr_db'], 1)} dB, "
            f"the mean over {count_of(len(images), 'edited image')}."
        )


def _pictures(how: Edit, images: ImageSet, lines: Sequence[Mapping[str, NDArray[np.uint8]]], n: int) -> Iterator[Block]:
    """The first rows: before, after, map and spread, truth."""
    yield Heading("Before and after")
    order = "the mean of its answers" if how.mean and how.n > 1 else "the first of its answers" if how.n > 1 else "it"
    yield Paragraph(f"The first {min(len(lines), ROWS)} of {count_of(n, 'image')}, not chosen; after: {order}.")
    names = list(dict.fromkeys(str(row["edit_of"]) for row in images.rows))
    for place, line in enumerate(lines[:ROWS]):
        shown = as_seen(line)
        pictures = tuple(picture(image, f"{label} of {names[place]}", SIDE) for label, image in shown.items())
        caption = f"{names[place]}. {how.invented}{_measured(line)}"
        yield Gallery(f"edit_{place}", pictures, tuple(shown), caption, len(pictures))
    yield Heading("How to read the maps")
    if isinstance(how, Explain):
        yield Paragraph(EXPECTED.format(white=WHITE))
    yield Paragraph(SPREAD.format(n=how.n, white=WHITE)) if how.n > 1 else Note(ALONE)


def _measured(line: Mapping[str, NDArray[np.uint8]]) -> str:
    """What can be said in numbers of one row: how far the answers lie apart, and how far from the truth."""
    said, after = "", next(image for label, image in line.items() if label.endswith("not measured"))
    if "spread" in line:
        spread = line["spread"].astype(float) / QUARTER
        said += f" Spread: {number(spread.mean(), 1)} grey levels in the mean, {number(spread.max(), 0)} at most."
    if "truth" in line:
        error = np.mean((after.astype(float) - line["truth"]) ** 2)
        said += f" PSNR against the truth: {number(float(10 * np.log10(255**2 / max(error, 1e-3))), 1)} dB."
    return said


def _closing(how: Edit, record: Mapping[str, Any]) -> Iterator[Block]:
    """What an edit does not say, and the chain of records."""
    yield Heading("What is not measured")
    yield Bullets((how.invented, *LIMITS))
    yield Heading("Where the images come from")
    yield from origin_table(record, "this edit")
