"""Everything the report says as data: results.json, CSV tables, and the dictionary of their columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ...reporting.tables import finite
from ..answers import ANSWER_COLUMNS
from ..findings.analysis import Analysis
from ..findings.reads import Finding
from ..findings.registered import Tested
from ..study import CALLS
from .opening import exploratory_text, verdict_text

Rows = Sequence[Mapping[str, object]]
RESULT_COLUMNS = tuple(field.name for field in fields(Finding))
MEANINGS = {
    "answers.csv": {
        "reader": "the reader's name",
        "position": "place of the showing in this reader's order, from 1",
        "kind": "training, test, repeat (shown again) or check (attention check)",
        "case_id": "the case's opaque id",
        "call": "real, phony or unclear",
        "confidence": "0 to 100; empty: not given",
        "description": "what the reader wrote; an apostrophe in front keeps a spreadsheet from running it",
        "marks": "spots pointed at, as [[x, y], …] in fractions of width and height from the upper left",
        "seconds": "time from the showing to the answer, without pauses, in seconds",
        "answered_at": "UTC, ISO 8601; empty: not known",
        "truth": "real or phony",
        "arm": "real for controls, else the synthetic set",
        "modality": "CT or MR",
        "source": "file name in the set that the image comes from",
        "score": "0 to 200, higher is more phony: 100 + confidence, 100, 100 - confidence (50 if not given)",
        "in_main_analysis": "yes or no: first answers to test cases, by readers who were not left out",
    },
    "readers.csv": {
        "reader": "the reader's name",
        "source": "invited, imported or simulated",
        "state": "invited, reading, finished or revoked; empty: not known",
        "planned": "presentations planned",
        "answered": "presentations answered",
        "test_answered": "test cases answered",
        "repeats_answered": "repeats answered",
        "checks_answered": "attention checks answered",
        "checks_passed": "attention checks not called real",
        "left_out": "yes: left out of the main analysis as registered; no: kept",
    },
    "cases.csv": {
        "case_id": "the case's opaque id",
        "truth": "real or phony",
        "arm": "real for controls, else the synthetic set",
        "modality": "CT or MR",
        "source": "file name in the set that the image comes from",
        "called_real": "readers who called it real",
        "called_phony": "readers who called it phony",
        "called_unclear": "readers who called it unclear",
        "mean_score": "mean score of the readers, 0 to 200, higher is more phony",
    },
    "results.csv": {
        "quantity": "what was measured",
        "value": "the figure; shares as 0 to 1; empty: cannot be reckoned, the note says why",
        "n": "what it was reckoned from: answers, or images where the method says so",
        "method": "how value and interval were reckoned",
        "low": "lower end of the interval at the registered level (quartile for times)",
        "high": "upper end of the interval",
        "p": "p against one half, or of a difference or trend; all here are corrected together (Holm); empty: none",
        "reader": "the reader, two readers compared, or all",
        "modality": "CT, MR or all",
        "arm": "the synthetic arm, or all",
        "unclear": "how unclear was counted; empty: makes no difference",
        "note": "what else to know",
    },
    "dictionary.csv": {
        "table": "file",
        "column": "column of that file",
        "meaning": "what it holds, with unit or values",
    },
}


def tables_of(analysis: Analysis) -> dict[str, Rows]:
    """File name → rows of every CSV table."""
    tables: dict[str, Rows] = {
        "answers.csv": _answers(analysis),
        "readers.csv": _readers(analysis),
        "cases.csv": _cases(analysis),
        "results.csv": [asdict(finding) for finding in analysis.findings],
    }
    return tables | {"dictionary.csv": _dictionary(analysis)}


def _attributes(analysis: Analysis) -> list[str]:
    return sorted({f"attribute_{name}" for case in analysis.study.cases.values() for name in case.attributes})


def _answers(analysis: Analysis) -> Rows:
    main = {(read.reader, read.answer.position) for read in analysis.main}
    rows = []
    for read in analysis.reads:
        row: dict[str, object] = {column: getattr(read.answer, column) for column in ANSWER_COLUMNS}
        row["marks"] = json.dumps([[mark.x, mark.y] for mark in read.answer.marks]) if read.answer.marks else ""
        row |= {name: getattr(read.case, name) for name in ("truth", "arm", "modality", "source")}
        row |= {"score": read.score, "in_main_analysis": _yes((read.reader, read.answer.position) in main)}
        row |= {name: read.case.attributes.get(name.removeprefix("attribute_")) for name in _attributes(analysis)}
        rows.append(row)
    return rows


def _readers(analysis: Analysis) -> Rows:
    return [
        {
            "reader": one.reader,
            "source": one.source,
            "state": one.state,
            "planned": sum(one.planned.values()),
            "answered": sum(one.answered.values()),
            "test_answered": one.answered.get("test", 0),
            "repeats_answered": one.answered.get("repeat", 0),
            "checks_answered": one.answered.get("check", 0),
            "checks_passed": one.checks_passed,
            "left_out": _yes(one.excluded),
        }
        for one in analysis.participants
    ]


def _cases(analysis: Analysis) -> Rows:
    scores: dict[str, list[float]] = {}
    for read in analysis.main:
        scores.setdefault(read.case.case_id, []).append(read.score)
    return [
        {name: getattr(one.case, name) for name in ("case_id", "truth", "arm", "modality", "source")}
        | {f"called_{call}": one.count(call) for call in CALLS}
        | {"mean_score": sum(scores[one.case.case_id]) / len(scores[one.case.case_id])}
        for one in analysis.cases
    ]


def _dictionary(analysis: Analysis) -> Rows:
    rows = [
        {"table": table, "column": column, "meaning": meaning}
        for table, columns in MEANINGS.items()
        for column, meaning in columns.items()
    ]
    return rows + [
        {"table": "answers.csv", "column": name, "meaning": "attribute of the case in the set that it comes from"}
        for name in _attributes(analysis)
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def columns_of(name: str, analysis: Analysis) -> list[str]:
    """The columns of a table: those of the dictionary, then in answers.csv the attributes of the cases."""
    return [*MEANINGS[name], *(_attributes(analysis) if name == "answers.csv" else [])]


def results_of(analysis: Analysis) -> dict[str, Any]:
    """What results.json holds."""
    study, registered = analysis.study, analysis.registered
    return {
        "study": study.config.name,
        "protocol": study.hash,
        "simulated": analysis.simulated,
        "answers_from": {one.reader: one.source for one in analysis.participants if one.answered},
        "frozen_before_first_answer": analysis.frozen_first,
        "patients": analysis.patients,
        "level": study.config.plan.level,
        "verdict": verdict_text(analysis),
        "registered_test": _tested(analysis, registered.test),
        "registered": {
            "population": registered.population,
            "not_carried_out": list(registered.reasons),
            "instead_not_registered": _tested(analysis, registered.instead),
            "left_out": list(registered.left_out),
            "with_left_out": _tested(analysis, registered.with_left_out),
        },
        "exploratory": exploratory_text(analysis),
        "findings": [asdict(finding) for finding in analysis.findings],
        "roc": [
            {
                "reader": curve.reader,
                "false_positive_rate": curve.false_positive.tolist(),
                "true_positive_rate": curve.true_positive.tolist(),
            }
            for curve in analysis.curves
        ],
        "readers": list(_readers(analysis)),
        "cases": list(_cases(analysis)),
        "departures": list(analysis.departures),
    }


def _tested(analysis: Analysis, tested: Tested | None) -> dict[str, Any] | None:
    if tested is None:
        return None
    hypothesis = analysis.study.config.plan.hypothesis
    return {"hypothesis": hypothesis} | asdict(tested)


def write_results(path: Path, analysis: Analysis) -> None:
    """Write results.json; a figure that is not finite is null."""
    text = json.dumps(finite(results_of(analysis)), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
