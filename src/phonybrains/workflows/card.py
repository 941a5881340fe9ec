"""`phonybrains model card --evaluation`: the four lines of an evaluation of a model's images, in the model's card."""

from __future__ import annotations

import re
from pathlib import Path

from ..documents import read_json
from ..errors import OutputError
from ..evaluation.stage import SCORES_NAME, Told
from ..files import write_whole
from ..model.description import CARD
from ..model.finding import find_model, model_card
from ..record import read_record
from ..release_gate import stamp_model

HEADING = "## At a glance"
SECTION = re.compile(rf"{HEADING}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BEFORE = re.compile(r"^(?=## Figures$)|\Z", re.MULTILINE)


def evaluated_card(name: str | Path, evaluation: str | Path) -> Path:
    """Write the four lines of an evaluation of a model's images into its card, and the audit into the model.

    Lines of an earlier evaluation give way. What a model is, its identity, stays.
    Raises OutputError for a folder without the four lines, StudyError for one without an audit, ModelError if its
    images are not of this model as it is; then nothing is written.
    """
    folder, evaluation = find_model(name), Path(evaluation)
    text, told = model_card(folder), read_json(evaluation / SCORES_NAME, Told, "Evaluate again.", OutputError)
    if not told.get("glance"):
        raise OutputError(f"{evaluation / SCORES_NAME}: an older phonybrains wrote no four lines. Evaluate again.")
    stamp_model(folder, evaluation)
    record = read_record(evaluation)
    settings = record["inputs"][0]["record"]["config"]
    how = ", ".join(f"{name} {settings[name]}" for name in ("seed", "steps") if settings.get(name) is not None)
    intro = f"Of {record['results']['images']} of its images ({how}), against the {told['held_out']} split of a corpus"
    rows = [f"| {one.question} | {one.answer} | {_cell(one.text)} |" for one in told.get("glance", ())]
    notes = [f"- {warning}" for warning in told["warnings"]]
    table = ["| question | answer | what it rests on |", "|---|---|---|", *rows]
    lines = [HEADING, "", f"{intro}; docs/evaluation.md has the rule of each answer.", "", *table, "", *notes]
    section = "\n".join(lines).rstrip() + "\n\n"
    write_whole(folder / CARD, BEFORE.sub(lambda _: section, SECTION.sub("", text), count=1).encode())
    return folder / CARD


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
