"""One way to read options: every measurement is an `app` whose help is the docstring of its module."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cyclopts import App, Parameter


def measurement(name: str, doc: str | None) -> App:
    """The command line of a measurement; an option with several values takes all the words that follow it."""
    several = Parameter(consume_multiple=1)
    name = f"python -m bench {name.rpartition('.')[2]}"
    return App(name, help=doc, help_format="plaintext", result_action="return_value", default_parameter=several)


def chosen(names: Collection[str], known: Collection[str], what: str) -> list[str]:
    """These of the known names, or all if none are given; ends with what is wrong if one is not known."""
    if unknown := sorted(set(names) - set(known)):
        raise SystemExit(f"There is no {what} called {', '.join(unknown)}; there are {', '.join(known)}.")
    return list(names or known)


def write_rows(out: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows of the same columns as CSV, and print them, as they come."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in rows:
            if not file.tell():
                writer.writerow(row)
            writer.writerow(row.values())
            file.flush()
            print(row, flush=True)
