"""DICOM Segmentation: what is outlined in an image, as a binary segment with coded terms (PS3.3 A.51, C.8.20)."""

from __future__ import annotations

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ..marks import SOFTWARE
from .exported import ExportedSet

ABNORMAL, ANATOMY = codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.AnatomicalStructure
TERMS: dict[str, tuple[Code, Code]] = {
    "tumour": (ABNORMAL, codes.SCT.Neoplasm),
    "tumor": (ABNORMAL, codes.SCT.Neoplasm),
    "hemorrhage": (ABNORMAL, codes.SCT.Hemorrhage),
    "ventricles": (ANATOMY, codes.SCT.BrainVentricle),
    "head": (ANATOMY, codes.SCT.Head),
}
"""Category and type of what masks outline (SNOMED CT); anything else is a lesion, with its name as the label."""
LESION = (ABNORMAL, codes.SCT.Lesion)
SERIES_AFTER = 10_000
"""Segmentations are in series of their own, numbered as their images are, and so much."""


def segmentation(exported: ExportedSet, index: int, image: Dataset) -> Dataset:
    """The mask of an image, or the box of its lesion, as a segmentation of one frame, empty where nothing is outlined.

    image: the image as it is exported, with the header of its file.
    """
    series, number = exported.places[index]
    mask, row = exported.mask(index), exported.images.rows[index]
    found = Segmentation(
        source_images=[image],
        pixel_array=np.asarray(mask, np.uint8)[None],
        segmentation_type="BINARY",
        segment_descriptions=[_described(exported, index)],
        series_instance_uid=exported.uid("segmentation series", *series.key),
        series_number=SERIES_AFTER + series.number,
        sop_instance_uid=exported.uid("segmentation", row.file_name, row.mask_sha256 or row.sha256),
        instance_number=number,
        manufacturer="phonybrains",
        manufacturer_model_name=exported.maker.name[:64],
        software_versions=SOFTWARE,
        device_serial_number=exported.maker.sha256 or "none",
        content_description=exported.outline_of(index)[:64],
        series_description=f"{image.SeriesDescription}, {exported.outline_of(index)}"[:64],
        omit_empty_frames=False,
    )
    if "ImageOrientationPatient" not in image:
        found.PatientOrientation = ""
    if image.SliceThickness is None:  # Pixel Measures want one; what they would say stands in the image (PS3.3 A.51.5)
        found.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence", None)
    _settle(found, image, exported.uid("dimensions", *series.key))
    return found


def _described(exported: ExportedSet, index: int) -> SegmentDescription:
    """A mask that an image was made with is its program's; that of a scan came with it, by whose hand nobody knows."""
    outline = exported.outline_of(index)
    category, kind = TERMS.get(outline.removesuffix(" box"), LESION)
    by = "MANUAL" if exported.places[index][0].kind == "real" else "AUTOMATIC"
    maker = exported.maker
    family = codes.DCM.ArtificialIntelligence if maker.sha256 else codes.DCM.MorphologicalOperations
    algorithm = AlgorithmIdentificationSequence(maker.name[:64], family, maker.sha256 or SOFTWARE)
    return SegmentDescription(
        1, outline[:64], category, kind, by, algorithm_identification=algorithm if by == "AUTOMATIC" else None
    )


def _settle(found: Dataset, image: Dataset, dimensions: str) -> None:
    """Give it the marks and times of its image, and no random ids, so that another export gives the same bytes."""
    for keyword in ("SyntheticData", "ContributingEquipmentSequence", "ContentDate", "ContentTime"):
        if keyword in image:
            found[keyword] = image[keyword]
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        found.pop(keyword, None)
    for items in (found.DimensionOrganizationSequence, found.DimensionIndexSequence):
        for item in items:
            item.DimensionOrganizationUID = dimensions
