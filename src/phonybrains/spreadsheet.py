"""Tables as CSV, read as spreadsheets write them: any of their separators, encodings, line ends and decimal marks.

One reader and one writer for every `metadata.csv` and import report.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SEPARATORS = (",", ";", "\t")
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
HEAD = 65536
DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Sheet:
    """A table: columns that have a name, and rows by their number as a spreadsheet counts, the header being row 1.

    uneven: the key of the rows whose cells are not as many as the header's; commas: how many cells held numbers with a
    decimal comma, which are points now.
    """

    columns: tuple[str, ...]
    rows: dict[int, dict[str, str]]
    uneven: dict[int, str]
    commas: int = 0


def read_sheet(path: Path, key: str) -> Sheet:
    """Read a table whose column `key` tells how it is separated: by commas, semicolons or tabs.

    UTF-8, or UTF-16 and UTF-32 with their mark; any line ends; blanks around cells mean nothing; columns without a
    name and empty rows are passed over; a line `sep=;` in front is obeyed. Where commas do not separate and no cell
    has a decimal point, 0,5 is read as 0.5.

    Raises OSError, UnicodeDecodeError, or csv.Error where it is no such table or a column's name stands twice.
    """
    separator, text = _parts(_text(path.read_bytes()), key)
    records = _records(text, separator)
    header = [plain_name(name) for name in next(records, [])]
    named = {place: name for place, name in enumerate(header) if name}
    if twice := [name for name, count in Counter(named.values()).items() if count > 1]:
        raise csv.Error(f"the column {twice[0]} stands twice")
    rows: dict[int, dict[str, str]] = {}
    uneven: dict[int, str] = {}
    for number, cells in enumerate(records, start=2):
        if any(cells[len(header) :]) or (len(cells) < len(header) and any(cells)):
            uneven[number] = dict(zip(header, cells, strict=False)).get(key, "")
        elif any(cells):
            rows[number] = {name: cells[place] for place, name in named.items()}
    commas = 0 if separator == "," else _points_for_commas(rows, key)
    return Sheet(tuple(named.values()), rows, uneven, commas)


def read_columns(path: Path, key: str) -> tuple[str, ...]:
    """The names of a table's columns, from its beginning alone; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            separator, text = _parts(_text(file.read(HEAD), errors="ignore"), key)
        return tuple(filter(None, map(plain_name, next(_records(text, separator), []))))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def sheet_text(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows as CSV in UTF-8: commas, new lines as line ends, quotes only where needed.

    Line ends within a cell become new lines, for a lone carriage return would end the row in some readers; what is
    not text (a lone surrogate) becomes a backslash escape.
    """
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in rows)
    return file.getvalue().encode("utf-8", "backslashreplace")


def plain_name(text: str) -> str:
    """A name or label as it looks: composed (NFC), without characters that do not show and blanks at its ends."""
    shown = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return " ".join(shown.split())


def value_of(text: str) -> str | float | None:
    """Numbers come back as float, an empty cell, nan and inf as None, all else as text."""
    if "_" in text:  # Python would take 1_2 for 12
        return text
    try:
        number = float(text or "nan")
    except ValueError:
        return text
    return number if math.isfinite(number) else None


def cell_of(value: object) -> str:
    """What `value_of` reads as the value: numbers in full, true and false, nothing for None."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return float.__repr__(value).removesuffix(".0")
    return "" if value is None else str(value)


def _cell(value: object) -> str:
    return str(value).replace("\r\n", "\n").replace("\r", "\n").strip()


def _text(content: bytes, errors: str = "strict") -> str:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            text = content[len(mark) :].decode(encoding, errors)
            break
    else:
        text = content.decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parts(text: str, key: str) -> tuple[str, str]:
    """The separator, and the text without a line that names it."""
    said = re.match(r'"?sep=(.)"?\n', text)
    if said:
        return said[1], text[said.end() :]
    headers = {separator: next(_records(text[:HEAD], separator, strict=False), []) for separator in SEPARATORS}
    return max(SEPARATORS, key=lambda separator: (key in headers[separator], len(headers[separator]))), text


def _records(text: str, separator: str, strict: bool = True) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=strict)
    return ([cell.strip() for cell in cells] for cells in reader)


def _points_for_commas(rows: dict[int, dict[str, str]], key: str) -> int:
    """Write 0,5 as 0.5 in place, and count; nothing is done where some number has a point."""
    places = [(row, name) for row in rows.values() for name in row if name not in (key, "patient_id", "sha256")]
    if any(DECIMAL_POINT.fullmatch(row[name]) for row, name in places):
        return 0
    found = [(row, name) for row, name in places if DECIMAL_COMMA.fullmatch(row[name])]
    for row, name in found:
        row[name] = row[name].replace(".", "").replace(",", ".")
    return len(found)
