"""Everything the report says as data: results.json, CSV tables, and the dictionary of their columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...reporting.tables import finite
from ..answers import answer_row
from ..findings.analysis import Analysis
from ..findings.registered import Tested
from ..study import CALLS
from .closing import read_table
from .opening import exploratory_text, verdict_text

Rows = Sequence[Mapping[str, object]]


def tables_of(analysis: Analysis) -> dict[str, Rows]:
    """File name → rows of every CSV table."""
    return {
        "answers.csv": _answers(analysis),
        "readers.csv": _readers(analysis),
        "cases.csv": _cases(analysis),
        "results.csv": [asdict(finding) for finding in analysis.findings],
        "dictionary.csv": _dictionary(analysis),
    }


def _attributes(analysis: Analysis) -> list[str]:
    return sorted({f"attribute_{name}" for case in analysis.study.cases.values() for name in case.attributes})


def _answers(analysis: Analysis) -> Rows:
    main = {(read.reader, read.answer.position) for read in analysis.main}
    attributes = _attributes(analysis)
    rows = []
    for read in analysis.reads:
        row = answer_row(read.answer)
        row |= {name: getattr(read.case, name) for name in ("truth", "arm", "modality", "source")}
        row |= {"score": read.score, "in_main_analysis": _yes((read.reader, read.answer.position) in main)}
        rows.append(row | {name: read.case.attributes.get(name.removeprefix("attribute_")) for name in attributes})
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
    """What each column of each table means; after the fixed ones the attributes of the cases."""
    meaning = "attribute of the case in the set that it comes from"
    own = [{"table": "answers.csv", "column": name, "meaning": meaning} for name in _attributes(analysis)]
    return [*read_table("dictionary.csv"), *own]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def columns_of(name: str, analysis: Analysis) -> list[str]:
    """The columns of a table, as the dictionary has them."""
    return [str(row["column"]) for row in _dictionary(analysis) if row["table"] == name]


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
    return None if tested is None else {"hypothesis": analysis.study.config.plan.hypothesis} | asdict(tested)


def write_results(path: Path, analysis: Analysis) -> None:
    """Write results.json; a figure that is not finite is null."""
    text = json.dumps(finite(results_of(analysis)), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
