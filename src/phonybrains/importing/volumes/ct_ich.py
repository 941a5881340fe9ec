"""Read CT-ICH as PhysioNet publishes it, a NIfTI file for each head CT, with all that its tables say of each slice."""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, io_orientation
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ...imageset import Attribute
from ...wording import count_of
from ..config import ImportConfig
from ..intensity import TISSUE_HU, ct_range
from ..reader import NO_MASKS, Masks
from ..resize import box_around
from ..slices import Notice, Slice, name_below, reason_of

LABELS = "hemorrhage_diagnosis_raw_ct.csv"
PATIENTS = "patient_demographics.csv"
HEMORRHAGES = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
DAMAGED = (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, zlib.error)  # what nibabel raises
SEXES = {"male": "M", "m": "M", "female": "F", "f": "F"}


class Tables(NamedTuple):
    """What the release's tables say: attributes by scan and slice, and by scan; and what is wrong with them."""

    slices: dict[tuple[int, int], dict[str, Attribute]]
    patients: dict[int, dict[str, Attribute]]
    notices: list[Notice]


def is_ct_ich(root: Path) -> bool:
    """Whether a folder is the CT-ICH release of PhysioNet: its scans and its table of diagnoses."""
    return (root / "ct_scans").is_dir() and (root / LABELS).is_file()


def read_ct_ich(
    root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
) -> Iterator[Slice | Notice]:
    """Yield the axial slices of CT-ICH in HU, anterior up and the patient's right on the left.

    The patient is the number of the scan; the attributes are plane, hemorrhage (`none`, or names joined by `;`),
    fracture (0, 1), slice (1 is the first as stored), age_years, sex, and the box of the mask where there is one.
    `config.window` gives black and white; slices with less tissue than `config.empty_below` are left out. The release's
    own masks are kept where `masks` names the scan.
    """
    tables = _read_tables(root)
    yield from tables.notices
    for path in files:
        if path.parent == root / "masks" and (root / "ct_scans" / path.name).is_file():
            continue  # read with its scan
        if path.parent != root / "ct_scans" or not path.name.split(".")[0].isdecimal():
            yield Notice(name_below(root, path), "skipped", "neither a scan nor the mask of one")
            continue
        try:
            for found in _scan(root, path, tables, config):
                yield found if isinstance(found, Notice) or path in masks else replace(found, mask=None)
        except DAMAGED as error:
            yield Notice(name_below(root, path), "skipped", f"not a readable NIfTI file ({reason_of(error)})")


def _scan(root: Path, path: Path, tables: Tables, config: ImportConfig) -> Iterator[Slice | Notice]:
    image: Any = nibabel.load(path)
    axes = io_orientation(image.affine)
    if len(image.shape) != 3 or axes[2, 0] != 2:
        raise ValueError(f"size {image.shape}: not a stack of axial slices")
    volume = _displayed(image, axes)
    spacing = dict(zip(axes[:, 0], map(float, image.header.get_zooms()), strict=True))
    numbers = range(1, len(volume) + 1)[:: int(axes[2, 1])]
    masks = _masks(root / "masks" / path.name, axes, volume.shape)
    if isinstance(masks, str):
        yield Notice(f"{root.name}/masks/{path.name}", "warning", f"{masks}: no lesion boxes for this scan")
        masks = None
    patient = int(path.name.split(".")[0])
    low, high = ct_range(config)
    unlabelled = 0
    for index in range(0, len(volume), config.every):
        values = np.ascontiguousarray(volume[index], np.float32)
        if np.mean(values > TISSUE_HU) < config.empty_below:
            continue
        number = numbers[index]
        unlabelled += (patient, number) not in tables.slices
        told = tables.slices.get((patient, number), {}) | tables.patients.get(patient, {})
        box = box_around(masks[index]) if masks is not None else {}
        yield Slice(
            values,
            low,
            high,
            "CT",
            series=f"{root.name}/{path.name}",
            order=index * spacing[2],
            source=root.name,
            unit="HU",
            patient=str(patient),
            spacing_mm=(spacing[1], spacing[0]),
            attributes=config.kept({"plane": "axial", "slice": number, **told, **box}),
            file=f"{name_below(root, path)}, slice {number}",
            mask=None if masks is None else np.ascontiguousarray(masks[index]),
        )
    if unlabelled:
        yield Notice(name_below(root, path), "warning", f"no row in {LABELS} for {count_of(unlabelled, 'slice')}")


def _masks(path: Path, axes: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_] | str | None:
    """The masks of a scan; None where it has none, or in words why they cannot be used."""
    if not path.is_file():
        return None
    try:
        masks = _displayed(nibabel.load(path), axes) > 0
    except DAMAGED as error:
        return f"not a readable NIfTI file ({reason_of(error)})"
    return masks if masks.shape == shape else "has another size than its scan"


def _displayed(image: Any, axes: NDArray[Any]) -> NDArray[Any]:
    """A volume as (slice from below, row from anterior, column from the patient's right).

    axes: the scan's orientation, for its mask too: the two lie on one grid, whatever the mask's own header says.
    """
    upright = apply_orientation(np.asanyarray(image.dataobj), axes)  # x to the right, y forward, z up
    return upright[::-1, ::-1].transpose(2, 1, 0)


def _read_tables(root: Path) -> Tables:
    tables = Tables({}, {}, [])
    try:
        for row in csv.DictReader(_lines(root / LABELS)):
            named = [kind.lower() for kind in HEMORRHAGES if _number(row[kind]) == 1]
            tables.slices[int(float(row["PatientNumber"])), int(float(row["SliceNumber"]))] = {
                "hemorrhage": ";".join(named) or "none",
                "fracture": _number(row["Fracture_Yes_No"]),
            }
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = f"cannot be read whole ({reason_of(error)})"
        tables.notices.append(Notice(f"{root.name}/{LABELS}", "warning", reason))
    try:
        tables.patients.update(_demographics(list(csv.reader(_lines(root / PATIENTS)))))
    except (OSError, ValueError, StopIteration, csv.Error):
        reason = "no patient, age and gender found in it"
        tables.notices.append(Notice(f"{root.name}/{PATIENTS}", "warning", reason))
    return tables


def _demographics(table: Sequence[Sequence[str]]) -> Mapping[int, dict[str, Attribute]]:
    """Age and sex by patient. Its header has several lines: the one with age and gender counts."""
    lower = [[cell.lower() for cell in row] for row in table]
    start = next(index for index, row in enumerate(lower) if any("gender" in cell for cell in row))
    columns = [
        next(place for place, cell in enumerate(lower[start]) if word in cell) for word in ("patient", "age", "gender")
    ]
    found: dict[int, dict[str, Attribute]] = {}
    for row in table[start + 1 :]:
        if len(row) > max(columns) and (number := _number(row[columns[0]])) is not None:
            age, sex = _number(row[columns[1]]), SEXES.get(row[columns[2]].strip().lower())
            found[int(number)] = {"age_years": age, "sex": sex}
    return found


def _lines(path: Path) -> io.StringIO:
    return io.StringIO(path.read_text(encoding="utf-8-sig", errors="replace"))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
