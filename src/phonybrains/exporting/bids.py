"""BIDS: a derivative dataset, a subject for each person (BIDS 1.10, "BIDS Derivatives").

BIDS has no place for CT (its proposal 024 is open): these files lie in `ct/`, which `.bidsignore` names. It has no name
for an MR contrast that nobody knows either: MR is called what the option `contrast` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..record import versions
from ..spreadsheet import cell_of
from .datasheet import in_words, licences
from .exported import ExportedSet, Person
from .nifti import volume_bytes
from .parts import ExportPart

VERSION = "1.10.0"
IGNORED = ("record.json", "images.csv", "croissant.json", "datasheet.md", "**/ct")
UNTOLD = "T1w"
LEVELS = {"M": "male", "F": "female", "O": "other"}


class BidsFiles:
    """Writes `sub-…/anat/…_T1w.nii.gz` or `sub-…/ct/…_ct.nii.gz`, with JSON beside each, and what is about all."""

    table = "images.csv"

    def __init__(self, exported: ExportedSet) -> None:
        self.exported = exported

    @cached_property
    def subjects(self) -> Mapping[int, str]:
        """The label of each image's person; an image of nobody in particular is a subject of its own."""
        people: dict[Person | int, int] = {}
        found: dict[int, str] = {}
        for stack in self.exported.stacks:
            person = self.exported.places[stack[0]][0].person
            number = people.setdefault(person if person.patient_id else stack[0], len(people) + 1)
            found |= dict.fromkeys(stack, f"{'real' if person.kind == 'real' else 'syn'}{number:06d}")
        return found

    def parts(self) -> Sequence[ExportPart]:
        found: list[ExportPart] = []
        runs: dict[str, int] = {}
        for stack in self.exported.stacks:
            series, _ = self.exported.places[stack[0]]
            subject, ct = self.subjects[stack[0]], series.modality == "CT"
            run = runs[subject] = runs.get(subject, 0) + 1
            begin = f"sub-{subject}/{'ct' if ct else 'anat'}/sub-{subject}_run-{run}"
            description = "scan" if series.kind == "real" else series.kind
            found.append(
                ExportPart(
                    f"{begin}_desc-{description}_{'ct' if ct else self.exported.config.contrast or UNTOLD}.nii.gz",
                    stack,
                )
            )
            if self.exported.outline_of(*stack):
                found.append(ExportPart(f"{begin}_label-{self._label(stack[0])}_mask.nii.gz", stack, is_mask=True))
        return found

    def _label(self, index: int) -> str:
        return "".join(filter(str.isalnum, self.exported.outline_of(index).title())) or "Lesion"

    def write(self, part: ExportPart, path: Path) -> None:
        """The volume last, as it says that both are there."""
        series, _ = self.exported.places[part.images[0]]
        told: dict[str, Any] = {"Description": self.exported.shown(part.images[0]) or series.modality}
        if part.is_mask:
            told |= {"Type": "Lesion" if self._label(part.images[0]).startswith("Lesion") else "ROI"}
            told |= {"SpatialReference": "orig", "Sources": []}
        else:
            told |= {"SkullStripped": False, "SyntheticData": series.kind != "real", "Sources": []}
        write_whole(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), _json(told), sync=False)
        write_whole(path, volume_bytes(self.exported, part), sync=False)

    def finish(self, folder: Path, parts: Sequence[ExportPart]) -> None:
        exported, maker = self.exported, self.exported.maker
        generated = {"Name": "phonybrains", "Version": versions()["phonybrains"], "Description": in_words(exported)}
        described: dict[str, Any] = {
            "Name": f"{exported.images.folder.resolve().name} ({maker.name})",
            "BIDSVersion": VERSION,
            "DatasetType": "derivative",
            "License": "; ".join(licences(exported)) or "not given",
            "GeneratedBy": [generated],
            "SourceDatasets": [{"URL": url} for source in exported.sources if (url := source.get("url"))],
        }
        write_whole(folder / "dataset_description.json", _json(described))
        write_whole(folder / "README.md", f"{in_words(exported)}\n\nSee datasheet.md.\n".encode())
        write_whole(folder / ".bidsignore", ("\n".join(IGNORED) + "\n").encode())
        people = {self.subjects[part.images[0]]: exported.places[part.images[0]][0].person for part in parts}
        lines = [("participant_id", "age", "sex")]
        lines += [(f"sub-{name}", one.age_years or "n/a", one.sex or "n/a") for name, one in sorted(people.items())]
        write_whole(
            folder / "participants.tsv", "".join("\t".join(map(cell_of, line)) + "\n" for line in lines).encode()
        )
        columns = {
            "age": {"Description": "Age asked for, or of the person", "Units": "year"},
            "sex": {"Description": "Sex asked for, or of the person", "Levels": LEVELS},
        }
        write_whole(folder / "participants.json", _json(columns))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
