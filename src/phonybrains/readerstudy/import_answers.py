"""`phonybrains study import-answers`: answers from paper forms or another tool, and published counts to check."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote

from ..errors import StudyError
from ..statistics.counts import Claim, inconsistencies
from ..wording import count_of
from .design.order import presentations
from .study import CALLS, Answer, Call, Presentation, Study

SPELLINGS: Mapping[Call, tuple[str, ...]] = {
    "real": ("real", "authentic", "genuine", "true", "r"),
    "phony": ("phony", "fake", "synthetic", "generated", "false", "p"),
    "unclear": ("unclear", "unsure", "uncertain", "undecided", "u", "?"),
}
SYNONYMS: Mapping[str, Call] = {word: call for call, words in SPELLINGS.items() for word in words}
"""What a call may be written as, in any case."""
COLUMNS = {
    "reader": ("reader", "rater", "specialist", "observer"),
    "case": ("case", "case_id", "image", "file", "file_name", "number", "position"),
    "call": ("call", "answer", "judgement", "judgment", "opinion"),
    "confidence": ("confidence",),
    "description": ("description", "note", "notes", "comment", "comments"),
}
NEEDED = ("reader", "case", "call")
MOST_SHOWN, LONGEST, READER = 10, 2000, re.compile(r"[\w .-]{1,40}")
SHOWN_NAMES, ALL_MODALITIES = ("", "shown", "images"), ("", "all", "total")


def import_answers(
    study: str | Path,
    table: str | Path,
    *,
    database: str | None = None,
    synonyms: Mapping[str, Call] = SYNONYMS,
    show: bool = True,
) -> list[str]:
    """Take in answers collected elsewhere, as those of imported readers. Returns the readers' names.

    table: CSV with the columns reader, case, call and, where known, confidence (0…100) and description. A case is a
    case id, the file name it had in its set, or the number on the reader's form, which is the position in his or her
    order. A second answer to a case counts as a repeat where that reader's order has one.
    Raises StudyError listing the rows that cannot be, or a reader who is already there; nothing is changed then.
    """
    from .store import open_store

    opened = Study.open(study)
    answers = read_answers(opened, table, synonyms)
    names = list(dict.fromkeys(answer.reader for answer in answers))
    with open_store(opened, database) as store:
        known = {reader.name: reader for reader in store.readers()}
        taken = [
            f"'{name}' ({known[name].source}, {count_of(known[name].answered, 'answer')})"
            for name in names
            if name in known
        ]
        if taken:
            raise StudyError(
                f"{table}: this study already has reader {', '.join(taken)}. Rename the readers in the table, so that "
                "nobody's answers are mixed."
            )
        store.import_readers(answers, source="imported")
    if show:
        taken = f"{count_of(len(answers), 'answer')} of {', '.join(names)}"
        print(f"{table}: {taken}. Next: phonybrains study analyse {quote(str(study))}")
    return names


def read_answers(study: Study, table: str | Path, synonyms: Mapping[str, Call] = SYNONYMS) -> list[Answer]:
    """The answers of a table, by reader and position. Raises StudyError listing every row that cannot be."""
    finder = CaseFinder(study)
    problems: list[str] = []
    answers: list[Answer] = []
    for number, cells in _read_lines(table):
        try:
            answers.append(_as_answer(cells, number, finder, synonyms))
        except ValueError as reason:
            problems.append(f"row {number}: {reason}")
    if problems:
        rest = f"; and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
        raise StudyError(f"{table}: {'; '.join(problems[:MOST_SHOWN])}{rest}. Nothing was imported.")
    return sorted(answers, key=lambda answer: (answer.reader, answer.position))


class CaseFinder:
    """Which presentation a row is about; each is given out once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._orders: dict[str, list[Presentation]] = {}
        self._taken: dict[tuple[str, int], int] = {}
        self._by_source: dict[str, list[str]] = {}
        for case in study.cases.values():
            for name in {case.source, Path(case.source).name}:
                self._by_source.setdefault(name, []).append(case.case_id)

    def find(self, reader: str, text: str, row: int) -> Presentation:
        """The presentation of this reader. Raises ValueError saying what is wrong with the case."""
        order = self._orders.setdefault(reader, presentations(self.study, reader))
        own = self._candidates(order, text)
        free = [one for one in own if (reader, one.position) not in self._taken]
        if not free:
            earlier = self._taken[reader, own[-1].position]
            twice = "a case twice" if len(own) == 1 else f"a case more often than the {len(own)} times it is shown"
            raise ValueError(f"'{reader}' answers {twice}: '{text}' is already in row {earlier}")
        self._taken[reader, free[0].position] = row
        return free[0]

    def _candidates(self, order: Sequence[Presentation], text: str) -> list[Presentation]:
        ids = [text] if text in self.study.cases else self._by_source.get(text, [])
        if len(ids) > 1:
            raise ValueError(
                f"'{text}' is the file name of {len(ids)} cases: give one of the case ids {', '.join(ids)}"
            )
        if ids:
            shown = [one for one in order if one.case_id == ids[0]]
            if not shown:
                raise ValueError(f"case '{text}' is a filler that this reader was not shown")
            return shown
        if text.isdecimal() and 1 <= int(text) <= len(order):
            return [order[int(text) - 1]]
        raise ValueError(
            f"case '{text}' is not in the study: neither a case id, nor a file name, nor a number from 1 "
            f"to {len(order)}"
        )


def _as_answer(cells: Mapping[str, str], row: int, finder: CaseFinder, synonyms: Mapping[str, Call]) -> Answer:
    reader, text, said = (cells[name] for name in NEEDED)
    if not READER.fullmatch(reader):
        form = "up to 40 letters, digits, blanks, dots and dashes"
        raise ValueError(f"'{reader[:60]}' cannot be a reader's name ({form})")
    call = synonyms.get(said.lower())
    if call is None:
        raise ValueError(f"call '{said[:60]}' is not known (real, phony, unclear, or a synonym)")
    confidence = _as_confidence(cells.get("confidence", ""))
    description = cells.get("description", "")
    if len(description) > LONGEST:
        raise ValueError(f"the description has {len(description)} characters, more than {LONGEST}")
    one = finder.find(reader, text, row)
    return Answer(reader, one.position, one.kind, one.case_id, call, confidence, description)


def _as_confidence(text: str) -> int | None:
    if not text:
        return None
    digits = text.removesuffix("%").strip()
    if not digits.isdecimal() or int(digits) > 100:
        raise ValueError(f"confidence '{text[:60]}' is not a whole number from 0 to 100")
    return int(digits)


def _read_lines(table: str | Path) -> list[tuple[int, dict[str, str]]]:
    """The rows that hold something, each with its number in the file, and the columns under our names."""
    header, rows = _read_csv(table)
    places = {}
    for name, spellings in COLUMNS.items():
        found = [column for column in header if column.strip().lower() in spellings]
        if len(found) > 1:
            raise StudyError(f"{table}: the columns {' and '.join(found)} both hold the {name}. Remove one.")
        places |= {name: found[0]} if found else {}
    missing = [name for name in NEEDED if name not in places]
    if missing:
        raise StudyError(
            f"{table}: the column {', '.join(missing)} is missing. It takes reader, case, call and, where "
            "known, confidence and description."
        )
    lines = [
        (number, {name: row[place].strip() for name, place in places.items()})
        for number, row in enumerate(rows, start=2)
        if any(map(str.strip, row.values()))
    ]
    if not lines:
        raise StudyError(f"{table}: it holds no answers.")
    return lines


def _read_csv(table: str | Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    """Header and rows of a CSV whose cells are parted by commas, semicolons or tabs."""
    try:
        text = Path(table).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StudyError(f"{table}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"{table}: not a UTF-8 CSV file ({error.reason}). Save it as CSV UTF-8.") from None
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise StudyError(f"{table}: not a CSV file ({error}).") from None
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise StudyError(f"{table}, row {number}: the number of cells differs from the header's.")
    return reader.fieldnames or (), rows


# --- Counts ----------------------------------------------------------------------------------------------------------


def check_counts(path: str | Path) -> list[str]:
    """What contradicts itself in a table of counts, in sentences; empty if nothing does.

    path: CSV with the columns reader, modality, real, phony, unclear, total; a cell may be empty, and any other column
    is a further answer. The reader is a name, several joined by `and`, `+` or `&`, or `both` or `all` (what all called
    alike), or empty (images shown, in total). The modality is empty for all together. Raises StudyError naming the row
    that is not of this form.
    """
    header, rows = _read_csv(path)
    names = {column.strip().lower(): column for column in header}
    calls = (*CALLS, *(name for name in names if name not in ("reader", "modality", *CALLS, "total")))
    wanted = ("reader", "modality", *calls, "total")
    missing = [column for column in ("reader", *CALLS) if column not in names]
    if missing:
        raise StudyError(f"{path}: these columns are missing: {', '.join(missing)}. It takes {', '.join(wanted)}.")
    table = [{column: row[names[column]].strip() if column in names else "" for column in wanted} for row in rows]
    single = list(dict.fromkeys(name for row in table for name in _readers(row["reader"], ())))
    claims: list[Claim] = []
    for number, row in enumerate(table, start=2):
        try:
            claims += _claims(row, single, calls)
        except ValueError as reason:
            raise StudyError(f"{path}, row {number}: {reason}.") from None
    if not claims:
        raise StudyError(f"{path}: it holds no counts.")
    try:
        return inconsistencies(dict.fromkeys(claims), calls)
    except ValueError as reason:
        raise StudyError(f"{path}: {reason}") from None


def _claims(row: Mapping[str, str], single: Sequence[str], calls: Sequence[str]) -> Iterable[Claim]:
    modality = "" if row["modality"].lower() in ALL_MODALITIES else row["modality"]
    readers = _readers(row["reader"], single)
    for call in calls:
        if row[call]:
            if not readers:
                raise ValueError(f"{row[call]} {call}, but the reader is not named")
            yield Claim(_count(row[call]), call, readers, modality)
    if row["total"]:
        yield Claim(_count(row["total"]), modality=modality)


def _readers(text: str, everybody: Sequence[str]) -> tuple[str, ...]:
    if text.lower() in ("both", "all"):
        return tuple(everybody)
    if text.lower() in SHOWN_NAMES:
        return ()
    return tuple(name.strip() for name in re.split(r"\s+and\s+|[+&,]", text) if name.strip())


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"'{text[:60]}' is not a count")
    return int(text)
