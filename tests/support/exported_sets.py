"""Image sets for tests of export, and what other programs say of the files."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonybrains.imageset import Pixels, Row, write_mask, write_metadata, write_png
from phonybrains.record import Record

UNKNOWN_TO_DCIODVFY = "(0x0008,0x001c)"
"""Tag of SyntheticData, younger (2023) than Debian's dciodvfy (2022)."""
MODEL = {"name": "heads", "sha256": "ab" * 32, "record": {"stage": "train", "inputs": []}}
PLACED = {"plane": "axial", "field_of_view_mm": 240.0, "slice_thickness_mm": 5.0}


def noise(n: int, bits: int = 8, side: int = 32, seed: int = 0) -> list[Pixels]:
    """Pictures of every gray level, no two alike."""
    kind: Any = np.uint8 if bits == 8 else np.uint16
    found = np.random.default_rng(seed).integers(0, 2**bits, (n, side, side)).astype(kind)
    found[:, 0, 0], found[:, -1, -1] = 0, 2**bits - 1
    return list(found)


def make_set(
    folder: Path,
    pictures: Sequence[Pixels],
    modality: str = "MR",
    *,
    masks: Sequence[NDArray[np.bool_] | None] = (),
    attributes: Sequence[dict[str, Any]] = (),
    outline: str = "tumour",
    **columns: Any,
) -> Path:
    """Write pictures as a set that the model `MODEL` made; columns and attributes are those of the rows."""
    (folder / "images").mkdir(parents=True)
    rows: list[Row] = []
    for index, pixels in enumerate(pictures):
        name = f"images/{index:06d}.png"
        told = {"generator": "heads", "seed": 0.0, "index": float(index)}
        told |= attributes[index % len(attributes)] if attributes else PLACED
        row = Row(name, write_png(folder / name, pixels), modality, synthetic=True, source="heads", attributes=told)
        row = replace(row, **columns)
        mask = masks[index] if masks else None
        rows.append(row if mask is None else write_mask(folder, row, mask))
    write_metadata(folder, rows)
    results = {"images": len(rows), **({"masks": {"outline": outline}} if masks else {})}
    Record("generate", {"steps": 2}, 0, [MODEL], [{"name": "scans", "licence": "CC BY 4.0"}], results).write(folder)
    return folder


def dicom_files(folder: Path, masks: bool = False) -> list[Path]:
    """The images of an export, or its segmentations, in the order of their names."""
    found = (path for path in folder.rglob("*.dcm") if path.parent.name.endswith("-SEG") == masks)
    return sorted(found, key=lambda path: path.name)


def errors_of(path: Path) -> list[str]:
    """What dciodvfy calls an error in a file, but for the tag that it is too old to know."""
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    return [line for line in run.stderr.splitlines() if line.startswith("Error") and UNKNOWN_TO_DCIODVFY not in line]
