"""The folder of originals: the images as they came, numbered, with what was asked and answered, for import to take."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..imageset import METADATA_NAME
from ..record import Record, read_record
from ..spreadsheet import sheet_text
from .answers import Answers, ServiceAnswer
from .fetching import ServiceRequest
from .ledger import Ledger

COLUMNS = ("file_name", "modality", "index", "prompt", "revised_prompt", "parameters", "request_id", "cost", "currency")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is done."""

    request: ServiceRequest
    answer: ServiceAnswer

    @property
    def name(self) -> str:
        return f"{self.request.wanted.index:06d}{self.answer.suffix}"

    def cells(self) -> dict[str, Any]:
        """Its row of metadata.csv, by column."""
        wanted, answer = self.request.wanted, self.answer
        said = {name: value for name, value in self.request.parameters.items() if name != "prompt"}
        return {
            **wanted.attributes,
            "file_name": self.name,
            **{name: getattr(wanted, name) for name in ("modality", "index", "prompt")},
            **{name: getattr(answer, name) for name in ("revised_prompt", "request_id", "currency")},
            "parameters": json.dumps(said, sort_keys=True, ensure_ascii=False),
            "cost": "" if answer.cost is None else f"{answer.cost:.6g}",
        }


def lay_out(folder: Path, asked: Sequence[Asked], answers: Answers, ledger: Ledger, record: Record) -> None:
    """Make the folder hold these images, metadata.csv and record.json; one that does already is left as it is.

    The images are links to those in the folder of answers, where the disk knows links, else copies.
    """
    made = [one for one in asked if not one.answer.refused]
    table = _table(made)
    names = {METADATA_NAME, *(one.name for one in made)}
    there = {path.name for path in folder.iterdir() if path.is_file()}
    done = read_record(folder).get("identity") == record.identity and names <= there
    if done and (folder / METADATA_NAME).read_bytes() == table:
        return
    (folder / "record.json").unlink(missing_ok=True)  # it comes last, and says that the rest is whole
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    for one in made:
        _link(answers.image(one.request.key), folder / one.name)
    write_whole(folder / METADATA_NAME, table)
    record.results.update(results(asked, ledger))
    record.write(folder)


def results(asked: Sequence[Asked], ledger: Ledger) -> dict[str, Any]:
    """What was asked and what came of it: images, refusals by their code and one by one, cost."""
    refused = [one for one in asked if one.answer.refused]
    return {
        "asked": len(asked),
        "images": len(asked) - len(refused),
        "refused": dict(sorted(Counter(one.answer.code for one in refused).items())),
        "refusals": [
            {name: getattr(one.request.wanted, name) for name in ("index", "prompt")}
            | {name: getattr(one.answer, name) for name in ("code", "message", "request_id")}
            for one in refused
        ],
        "cost": round(sum(one.answer.cost or 0.0 for one in asked), 6),
        "cost_of_all_runs": round(ledger.cost, 6),
        "currency": next((one.answer.currency for one in asked if one.answer.currency), ""),
        "requests": dict(sorted(ledger.outcomes.items())),
    }


def _table(made: Sequence[Asked]) -> bytes:
    attributes = list(dict.fromkeys(name for one in made for name in one.request.wanted.attributes))
    header = (*COLUMNS, *attributes)
    return sheet_text([header, *([one.cells().get(name, "") for name in header] for one in made)])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
