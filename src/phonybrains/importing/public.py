"""Read the original files of the two public data sets, with all that their publishers say of each slice.

`cheng2017`: one MATLAB 7.3 file per MR slice. `ct-ich`: one NIfTI file per head CT, with tables of diagnoses.
`phonybrains fetch` (fetch.py) brings both.
"""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, io_orientation
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ..imageset import Attribute
from .config import ImportConfig
from .intensity import TISSUE_HU, ct_range, mr_range
from .slices import Notice, Slice

CHENG_DIAGNOSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
CT_ICH_LABELS = "hemorrhage_diagnosis_raw_ct.csv"
CT_ICH_PATIENTS = "patient_demographics.csv"
CT_ICH_HEMORRHAGES = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
DAMAGED = (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, zlib.error)  # what nibabel raises
SEXES = {"male": "M", "m": "M", "female": "F", "f": "F"}


def read_cheng2017(root: Path, files: Sequence[Path], config: ImportConfig) -> Iterator[Slice | Notice]:
    """Yield the MR slices of J. Cheng's brain tumor dataset: one per MATLAB 7.3 file with a struct `cjdata`.

    The patient is `PID`; the attributes are `diagnosis` and the box of `tumorMask`: lesion_x, lesion_y (centre),
    lesion_width, lesion_height, as fractions. Black and white are percentiles of the image itself. Any other file is
    skipped with a notice. MATLAB writes columns first, so HDF5 holds image and mask transposed.
    """
    for number, path in enumerate(files):
        name = _name(root, path)
        if path.name == "cvind.mat":
            yield Notice(name, "note", "the folds of a cross-validation, not an image")
            continue
        try:
            yield _cheng_slice(root, path, number, config)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            yield Notice(name, "skipped", f"not a slice of the brain tumor dataset ({_reason(error)})")


def _cheng_slice(root: Path, path: Path, number: int, config: ImportConfig) -> Slice:
    with h5py.File(path) as file:
        fields = ("label", "PID", "image", "tumorMask")
        found: dict[str, Any] = {name: np.asarray(file[f"cjdata/{name}"]) for name in fields}
    label = int(found["label"].item())
    if label not in CHENG_DIAGNOSES:
        raise ValueError(f"label {label} is not 1, 2 or 3")
    values, mask = found["image"].T.astype(np.float32), found["tumorMask"].T > 0
    if values.ndim != 2 or mask.shape != values.shape:
        raise ValueError(f"image {values.shape} and tumorMask {mask.shape} do not match")
    patient = "".join(chr(code) for code in found["PID"].ravel()).strip()
    low, high = mr_range([values], config.percentiles)
    order = float(path.stem) if path.stem.isdecimal() else float(number)
    return Slice(
        values,
        low,
        high,
        "MR",
        series=root.name,
        order=order,
        source=root.name,
        patient=patient,
        attributes=_kept({"diagnosis": CHENG_DIAGNOSES[label], **_box(mask)}, config),
        file=_name(root, path),
    )


def is_ct_ich(root: Path) -> bool:
    """Whether a folder is the CT-ICH release of PhysioNet: its scans and its table of diagnoses."""
    return (root / "ct_scans").is_dir() and (root / CT_ICH_LABELS).is_file()


def read_ct_ich(root: Path, files: Sequence[Path], config: ImportConfig) -> Iterator[Slice | Notice]:
    """Yield the axial slices of CT-ICH in HU, anterior up and the patient's right on the left.

    The patient is the number of the scan; the attributes are plane, hemorrhage (`none`, or names joined by `;`),
    fracture (0, 1), slice (1 is the first as stored), age_years, sex, and the box of the mask where there is one.
    `config.window` gives black and white; slices with less tissue than `config.empty_below` are left out.
    """
    labels, patients, notices = _ct_ich_tables(root)
    yield from notices
    for path in files:
        if path.parent == root / "masks" and (root / "ct_scans" / path.name).is_file():
            continue  # read with its scan
        if path.parent != root / "ct_scans" or not path.name.split(".")[0].isdecimal():
            yield Notice(_name(root, path), "skipped", "neither a scan nor the mask of one")
            continue
        try:
            yield from _ct_ich_scan(root, path, labels, patients, config)
        except DAMAGED as error:
            yield Notice(_name(root, path), "skipped", f"not a readable NIfTI file ({_reason(error)})")


def _ct_ich_scan(
    root: Path,
    path: Path,
    labels: Mapping[tuple[int, int], Mapping[str, Attribute]],
    patients: Mapping[int, Mapping[str, Attribute]],
    config: ImportConfig,
) -> Iterator[Slice | Notice]:
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
        unlabelled += (patient, number) not in labels
        attributes: dict[str, Attribute] = {
            "plane": "axial",
            "slice": number,
            **labels.get((patient, number), {}),
            **patients.get(patient, {}),
            **(_box(masks[index]) if masks is not None else {}),
        }
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
            attributes=_kept(attributes, config),
            file=f"{_name(root, path)}, slice {number}",
        )
    if unlabelled:
        yield Notice(_name(root, path), "warning", f"{unlabelled} slices have no row in {CT_ICH_LABELS}")


def _masks(path: Path, axes: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_] | str | None:
    """The masks of a scan; None where it has none, or in words why they cannot be used."""
    if not path.is_file():
        return None
    try:
        masks = _displayed(nibabel.load(path), axes) > 0
    except DAMAGED as error:
        return f"not a readable NIfTI file ({_reason(error)})"
    return masks if masks.shape == shape else "has another size than its scan"


def _displayed(image: Any, axes: NDArray[Any]) -> NDArray[Any]:
    """A volume as (slice from below, row from anterior, column from the patient's right).

    axes: the scan's orientation, for its mask too: the two lie on one grid, whatever the mask's own header says.
    """
    upright = apply_orientation(np.asanyarray(image.dataobj), axes)  # x to the right, y forward, z up
    return upright[::-1, ::-1].transpose(2, 1, 0)


def _ct_ich_tables(
    root: Path,
) -> tuple[dict[tuple[int, int], dict[str, Attribute]], dict[int, dict[str, Attribute]], list[Notice]]:
    """Attributes by scan and slice, by scan, and what is wrong with the tables."""
    labels: dict[tuple[int, int], dict[str, Attribute]] = {}
    patients: dict[int, dict[str, Attribute]] = {}
    notices: list[Notice] = []
    try:
        for row in csv.DictReader(_lines(root / CT_ICH_LABELS)):
            named = [kind.lower() for kind in CT_ICH_HEMORRHAGES if _number(row[kind]) == 1]
            attributes: dict[str, Attribute] = {
                "hemorrhage": ";".join(named) or "none",
                "fracture": _number(row["Fracture_Yes_No"]),
            }
            labels[int(float(row["PatientNumber"])), int(float(row["SliceNumber"]))] = attributes
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        notices.append(Notice(f"{root.name}/{CT_ICH_LABELS}", "warning", f"cannot be read whole ({_reason(error)})"))
    try:
        patients = _demographics(list(csv.reader(_lines(root / CT_ICH_PATIENTS))))
    except (OSError, ValueError, StopIteration, csv.Error):
        notices.append(Notice(f"{root.name}/{CT_ICH_PATIENTS}", "warning", "no patient, age and gender found in it"))
    return labels, patients, notices


def _demographics(table: Sequence[Sequence[str]]) -> dict[int, dict[str, Attribute]]:
    """Age and sex by patient. Its header has several lines: the one with age and gender counts."""
    header, start = next(
        ([cell.lower() for cell in row], index + 1)
        for index, row in enumerate(table)
        if any("gender" in cell.lower() for cell in row)
    )
    columns = [next(i for i, cell in enumerate(header) if word in cell) for word in ("patient", "age", "gender")]
    found: dict[int, dict[str, Attribute]] = {}
    for row in table[start:]:
        if len(row) > max(columns) and (number := _number(row[columns[0]])) is not None:
            age, sex = _number(row[columns[1]]), SEXES.get(row[columns[2]].strip().lower())
            found[int(number)] = {"age_years": age, "sex": sex}
    return found


def _box(mask: NDArray[np.bool_]) -> dict[str, Attribute]:
    """The box around a mask: centre and size as fractions of width and height; None where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return dict.fromkeys(("lesion_x", "lesion_y", "lesion_width", "lesion_height"))
    height, width = mask.shape
    (top, bottom), (left, right) = (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)
    return {
        "lesion_x": float((left + right) / 2 / width),
        "lesion_y": float((top + bottom) / 2 / height),
        "lesion_width": float((right - left) / width),
        "lesion_height": float((bottom - top) / height),
    }


def _lines(path: Path) -> io.StringIO:
    return io.StringIO(path.read_text(encoding="utf-8-sig", errors="replace"))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _kept(attributes: Mapping[str, Attribute], config: ImportConfig) -> dict[str, Attribute]:
    return {name: value for name, value in attributes.items() if config.attributes is None or name in config.attributes}


def _name(root: Path, path: Path) -> str:
    return (root.name / path.relative_to(root)).as_posix()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].strip("'\"") if str(error) else type(error).__name__
