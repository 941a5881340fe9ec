"""`phonybrains model card --evaluation`: the four lines of an evaluation of a model's images, in the model's card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from ..documents import read_json
from ..errors import OutputError
from ..evaluation.stage import SCORES_NAME, ScoreOfPart, Told
from ..files import write_whole
from ..model.description import CARD
from ..model.finding import find_model, model_card
from ..record import read_record
from ..release_gate import stamp_model

HEADING = "## At a glance"
SECTION = re.compile(rf"{HEADING}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BEFORE = re.compile(r"^(?=## Figures$)|\Z", re.MULTILINE)
ON_HUBS = ("kid", "fid", "recall", "precision", "c2st_auc")
"""Scores that model hubs list and compare; of whole modalities."""


def evaluated_card(name: str | Path, evaluation: str | Path) -> Path:
    """Write the four lines of an evaluation of a model's images into its card, and the audit into the model.

    Lines of an earlier evaluation give way. What a model is, its identity, stays. The card's metadata get a
    `model-index` with the scores that hubs list.  [Hugging Face Hub, model cards]
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
    card = ModelCard(BEFORE.sub(lambda _: section, SECTION.sub("", text), count=1))
    data: Any = card.data
    data.eval_results = list(_for_hubs(told["scores"], told["held_out"])) or None
    data.model_name = (data.model_name or folder.name) if data.eval_results else None
    write_whole(folder / CARD, f"{card}".encode())
    return folder / CARD


def _for_hubs(scores: Sequence[ScoreOfPart], split: str) -> Iterator[EvalResult]:
    for score in scores:
        if score.part == "quality" and score.name in ON_HUBS and not score.group and score.value is not None:
            yield EvalResult(
                task_type="unconditional-image-generation",
                dataset_type="image-set",
                dataset_name=f"{score.modality}, {split} split",
                metric_type=score.name,
                metric_name=f"{score.name} by {score.extractor}, n = {score.n}",
                metric_value=round(score.value, 4),
            )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
