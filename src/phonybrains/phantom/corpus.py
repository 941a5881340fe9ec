"""Procedural brain phantoms with known ventricles, lesions and age: the data of the tests and of the first tour.

A head is a table of ellipsoids in millimetres, cut by one plane into a map of tissue labels. Areas and boxes are
counted there; only then come intensities, blur, bias field and noise, so the attributes are true by construction.
Phantoms have the look of heads; they teach nothing about disease.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..imageset import Attribute, Row, check_whole, write_mask, write_metadata, write_png
from ..marks import DRAWN, SyntheticMark
from ..record import Record, is_published, publish
from .anatomy import CT_HU, FIELD_OF_VIEW_MM, HEMORRHAGES, MR_INTENSITY, PLANES, TUMOURS, Patient, Tissue
from .paint import Labels, cut_head, paint_labels, smooth_noise

CT_WINDOW_HU = (0.0, 80.0)  # centre 40, width 80
MASKS = ("lesion", "ventricles", "head")
PAIR_SPLITS = ("train", "train", "validation", "train", "test") + ("train",) * 5  # 80/10/10, and early in small sets
LESION_TISSUES = (Tissue.TUMOUR, Tissue.NECROSIS, Tissue.BLOOD, Tissue.VENTRICLE_BLOOD)
VENTRICLE_TISSUES = (Tissue.VENTRICLE, Tissue.VENTRICLE_BLOOD)


def draw_patient(rng: np.random.Generator, modality: str, *, lesion: str | None = None) -> Patient:
    """Draw a head, its ventricles and sulci the wider the older.

    modality: MR or CT. lesion: "none", one of TUMOURS (MR) or HEMORRHAGES (CT); None draws one, "none" in two of five.
    """
    if modality not in ("MR", "CT"):
        raise ValueError(f"modality must be MR or CT, not {modality!r}")
    age, sex = int(rng.integers(18, 91)), str(rng.choice(["F", "M"]))
    kinds = TUMOURS if modality == "MR" else HEMORRHAGES
    drawn = str(rng.choice(kinds)) if rng.random() < 0.6 else "none"
    lesion = drawn if lesion is None else lesion
    if lesion not in ("none", *kinds):
        raise ValueError(f"lesion must be none, {', '.join(kinds)} for {modality}, not {lesion!r}")
    side, radius = float(rng.choice([-1, 1])), float(rng.uniform(8, 17))
    angle, height = rng.uniform(-1.1, 1.1), rng.uniform(8, 42)
    depth = 0.93 if lesion in ("meningioma", "epidural", "subdural") else rng.uniform(0.4, 0.68)
    reach = depth * np.sqrt(1 - ((height - 15) / 65) ** 2)
    centre = (side * 66 * reach * np.cos(angle), 83 * reach * np.sin(angle), height)
    if lesion == "pituitary":
        centre, radius = (0.0, 26.0, -24.0), 0.8 * radius
    elif lesion == "intraventricular":
        centre = (0.0, 0.0, 14.0)
    aging = (age - 18) / 72
    return Patient(
        modality,
        age,
        sex,
        scale=(1.02 if sex == "M" else 0.97) * rng.uniform(0.97, 1.03),
        ventricle_scale=(0.8 + 0.55 * aging) * float(np.exp(rng.normal(0, 0.08))),
        sulcus_width=0.12 + 0.28 * aging,
        lesion=lesion,
        centre=centre,
        radius=radius,
        contrast=rng.uniform(0.85, 1.1),
    )


def draw_level(rng: np.random.Generator, patient: Patient, plane: str) -> float:
    """Draw where to cut, in mm along the plane's normal: through the lesion where there is one."""
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    if patient.lesion != "none":
        return patient.centre[axis] + float(rng.uniform(-0.5, 0.5)) * patient.radius
    low, high = ((5, 40), (-45, 40), (-2, 60))[axis]
    return float(rng.uniform(low, high)) * (float(rng.choice([-1, 1])) if axis == 0 else 1.0)


def draw_slice(
    rng: np.random.Generator, patient: Patient, plane: str, level_mm: float, *, size: int = 256, noise: float = 1.0
) -> tuple[NDArray[np.uint8], dict[str, Attribute]]:
    """Draw one slice of a head as a radiologist sees it: patient's right on the left; sagittal faces left.

    Returns (size, size) uint8 (MR: a.u.; CT: 0…255 is 0…80 HU; 240 mm across) and the attributes, counted on the labels
    before blur and noise: areas in mm² (ventricle: with the blood in it; brain: gray and white matter and lesions in
    them), the lesion's box as centre and size in fractions of the image. noise 0: no noise, no bias, head straight.
    """
    labels = _draw_labels(rng, patient, plane, level_mm, size, noise)
    return _render(rng, labels, patient, noise), _describe(labels, patient, plane)


def _draw_labels(
    rng: np.random.Generator, patient: Patient, plane: str, level_mm: float, size: int, noise: float = 1.0
) -> Labels:
    cut = cut_head(rng, patient.scale, plane, level_mm, size, move=1.0 if noise else 0.0)
    return paint_labels(rng, patient, cut, size)


def outlined(labels: Labels, what: str) -> NDArray[np.bool_]:
    """The exact mask of "lesion" (tumour or blood, without edema), "ventricles" (with the blood in them) or "head"."""
    if what == "head":
        return labels != Tissue.AIR
    return np.isin(labels, {"lesion": LESION_TISSUES, "ventricles": VENTRICLE_TISSUES}[what])


def _describe(labels: Labels, patient: Patient, plane: str) -> dict[str, Attribute]:
    """What `draw_slice` counts on the labels."""
    lesion, box = _box(outlined(labels, "lesion"))
    kind = patient.lesion if lesion else "none"
    in_brain = LESION_TISSUES if kind in ("glioma", "intraparenchymal") else ()
    return {
        "plane": plane,
        "age_years": patient.age_years,
        "sex": patient.sex,
        "diagnosis": kind if patient.modality == "MR" else None,
        "hemorrhage": kind if patient.modality == "CT" else None,
        "ventricle_area_mm2": _area_mm2(labels, VENTRICLE_TISSUES),
        "brain_area_mm2": _area_mm2(labels, (Tissue.GRAY, Tissue.WHITE, Tissue.EDEMA, *in_brain)),
        **box,
    }


def draw_phantom(
    rng: np.random.Generator, modality: str, *, plane: str = "axial", lesion: str | None = None, **how: Any
) -> tuple[NDArray[np.uint8], dict[str, Attribute]]:
    """Draw one slice of a new head; see `draw_patient` and `draw_slice`."""
    patient = draw_patient(rng, modality, lesion=lesion)
    return draw_slice(rng, patient, plane, draw_level(rng, patient, plane), **how)


def make_phantoms(
    n: int,
    out: str | Path,
    *,
    seed: int = 0,
    size: int = 256,
    slices_per_patient: int = 4,
    modalities: tuple[str, ...] = ("MR", "CT"),
    synthetic: bool = True,
    masks: str = "",
) -> Path:
    """Write n phantoms as an image set, split by patient; patients take turns in modality, MR slices in plane.

    Image i depends on (seed, i) and the other settings alone, not on n. With two modalities validation begins with the
    5th patient and test with the 9th; in large sets they are a tenth each. synthetic False marks the phantoms as if
    they were scans, in their files too: for rehearsals in which they play the patients. masks: one of MASKS, to write
    its exact mask for each image, all 0 where the slice shows none of it; the images are the same without.
    """
    if masks not in ("", *MASKS):
        raise ConfigError(f"masks is {masks!r}: there are masks of {', '.join(MASKS)}.")
    drawn = {"size": size, "slices_per_patient": slices_per_patient, "modalities": modalities, "synthetic": synthetic}
    drawn |= {"masks": masks} if masks else {}
    sources = [{"name": "phantom", "licence": "CC0-1.0", "attribution": "none"}]
    record = Record("phantom", {"n": n, **drawn}, seed, sources=sources)
    if is_published(out := Path(out), record, check_whole):
        return out
    mark = SyntheticMark(DRAWN, {"generator": "phantom", "seed": seed}) if synthetic else None
    with publish(out, record) as draft:
        (draft / "images").mkdir()
        write_metadata(draft, [_write_image(draft, i, seed, mark, **drawn) for i in range(n)])
        record.results.update(images=n, field_of_view_mm=dict.fromkeys(("CT", "MR"), FIELD_OF_VIEW_MM))
        if masks:
            record.results.update(masks={"outline": masks, "images": n})
    return out


def _write_image(
    folder: Path,
    i: int,
    seed: int,
    mark: SyntheticMark | None,
    *,
    size: int,
    slices_per_patient: int,
    modalities: tuple[str, ...],
    synthetic: bool,
    masks: str = "",
) -> Row:
    number = i // slices_per_patient
    modality = modalities[number % len(modalities)]
    patient = draw_patient(np.random.default_rng([seed, 0, number]), modality)
    rng = np.random.default_rng([seed, 1, i])
    plane = PLANES[(number // len(modalities) + i) % 3] if modality == "MR" else "axial"
    labels = _draw_labels(rng, patient, plane, draw_level(rng, patient, plane), size)
    name = f"images/{i:06d}.png"
    split = PAIR_SPLITS[number // len(modalities) % len(PAIR_SPLITS)]
    drawn, told = _render(rng, labels, patient, noise=1.0), _describe(labels, patient, plane)
    digest = write_png(folder / name, drawn, mark and mark.of(index=i))
    row = Row(name, digest, modality, f"phantom-{number:05d}", split, synthetic, "phantom", attributes=told)
    if masks:
        row = write_mask(folder, row, outlined(labels, masks))
    if modality == "MR":
        return row
    low, high = CT_WINDOW_HU
    return replace(row, slope=(high - low) / 255, intercept=low, unit="HU")


def _area_mm2(labels: Labels, tissues: tuple[Tissue, ...]) -> float:
    return float(np.isin(labels, tissues).sum() * (FIELD_OF_VIEW_MM / labels.shape[0]) ** 2)


def _box(mask: NDArray[np.bool_]) -> tuple[bool, dict[str, Attribute]]:
    """Whether anything is there, and its box as fractions of the image (None without)."""
    names = ("lesion_x", "lesion_y", "lesion_width", "lesion_height")
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return False, dict.fromkeys(names)
    (left, right), (top, bottom) = (columns[0], columns[-1] + 1), (rows[0], rows[-1] + 1)
    height, width = mask.shape
    values = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return True, dict(zip(names, map(float, values), strict=True))


def _render(rng: np.random.Generator, labels: Labels, patient: Patient, noise: float) -> NDArray[np.uint8]:
    """Labels to stored pixels: tissue values, partial volume, then the noise of the modality."""
    if patient.modality == "CT":
        values = _blur(CT_HU[labels])
        values += rng.standard_normal(labels.shape, dtype=np.float32) * np.float32(2.5 * noise)
        low, high = CT_WINDOW_HU
        return np.clip(np.rint((values - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    values = _blur(MR_INTENSITY[labels]) * np.float32(patient.contrast)
    if noise:
        values *= 1 + np.float32(0.1) * smooth_noise(rng, labels.shape[0], 1, 4)
        real, imaginary = rng.standard_normal((2, *labels.shape), dtype=np.float32) * np.float32(4 * noise)
        values = np.hypot(values + real, imaginary)  # Rician
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Binomial 3×3: the partial volume at every border."""
    for _ in range(2):
        values = np.pad(values, ((1, 1), (0, 0)), mode="edge")
        values = (values[:-2] + values[2:] + 2 * values[1:-1]).T * np.float32(0.25)
    return values
