"""`phonybrains study analyse`: the answers of a study in, a report, its figures and all tables out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StudyError
from ..record import Record, as_input, keep_private, publish
from ..wording import count_of
from .findings.analysis import Analysis, analyse_answers
from .study import Study

if TYPE_CHECKING:
    from .store import Reader


def analyse_study(
    study: str | Path, out: str | Path, *, database: str | None = None, interim: bool = False, show: bool = True
) -> Path:
    """Work out what the answers are worth, and write the report.

    Reads   study (a frozen study) and the answers in its database, whose audit log is verified first
    Writes  out/{report.html, report.pdf, results.json, results.csv, answers.csv, readers.csv, cases.csv,
            dictionary.csv, figures/*.svg, figures/*.png, record.json}
    Raises  StudyError without answers, if the database is not this study's or differs from its log, or while readers
            are in the middle, unless `interim`: then the log tells of the look, and so does the report; OutputError if
            `out` is something else. Nothing is written then.
    """
    from .store import open_store

    opened = Study.open(study)
    with open_store(opened, database, read_only=True) as store:
        checked = store.verify()
        checked.check()
        readers, answers = checked.replay.readers(), checked.replay.answers()
        if unfinished := checked.replay.unfinished:
            if not interim:
                raise StudyError(_in_the_middle(opened, unfinished, readers))
            store.look(len(answers))
        noted = [departure.text for departure in store.departures()]
    analysis = analyse_answers(
        opened,
        answers,
        sources={reader.name: reader.source for reader in readers},
        states={reader.name: reader.state for reader in readers},
        noted=noted,
    )
    return write_report(analysis, Path(out), show=show)


def _in_the_middle(study: Study, unfinished: Sequence[str], readers: Sequence[Reader]) -> str:
    far = [f"'{reader.name}' {reader.answered} of {reader.total}" for reader in readers if reader.name in unfinished]
    rest = f" and {len(far) - 3} more" if len(far) > 3 else ""
    who = f"{len(far)} of {count_of(len(readers), 'reader')} ({', '.join(far[:3])}{rest})"
    return (
        f"{study.folder}: in the middle: {who}. Wait until they have finished, close the study, or look now with "
        "--interim: the log and the report will tell of it."
    )


def write_report(analysis: Analysis, out: Path, *, show: bool = True) -> Path:
    """Render an analysis into a folder, which appears whole or not at all."""
    from ..reporting.pages import write_pages
    from ..reporting.tables import write_table
    from .report.build import build_report
    from .report.opening import verdict_text
    from .report.tables import columns_of, tables_of, write_results

    study, short = analysis.study, analysis.study.hash[:16]
    answers = json.dumps([asdict(read.answer) for read in analysis.reads], sort_keys=True)
    sha256 = hashlib.sha256(answers.encode()).hexdigest()
    inputs = [as_input(study.folder), {"name": "answers", "sha256": sha256, "record": {}}]
    record = Record("study analyse", {"protocol": study.hash}, None, inputs)
    title = f"{study.config.name}: report of the reader study"
    subtitle = f"Protocol {short}, frozen {str(study.protocol.get('created', ''))[:10]}"
    footer = f"{study.config.name}; protocol {short}; phonybrains" + "; SIMULATED READERS" * analysis.simulated
    with publish(out, record) as draft:
        keep_private(draft)
        write_pages(draft, title, subtitle, build_report(analysis), footer)
        for name, rows in tables_of(analysis).items():
            write_table(draft / name, rows, columns_of(name, analysis))
        write_results(draft / "results.json", analysis)
        record.results.update(verdict=verdict_text(analysis), answers=len(analysis.reads))
        keep_private(draft)
    if show:
        print(verdict_text(analysis))
        print(f"{out / 'report.html'}, {out / 'report.pdf'}: the report; the same as data in {out / 'results.json'}")
    return out
