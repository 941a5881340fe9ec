"""DICOM: an MR or CT image for each image of a set, one series for each person, kind, modality and plane.

What was not measured says so: SyntheticData, Synthesizing Equipment with the hash of the model, DERIVED\\SECONDARY, a
patient id that begins with SYN and a series description that begins with SYNTHETIC. Source: PS3.3 A.3, A.4 (modules),
C.7.5.2 (equipment), C.7.6.1 (general image), C.8.2.1 (CT), C.8.3.1 (MR), C.12.1 (SOP common).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from ..files import write_whole
from ..marks import SOFTWARE
from .exported import ExportedSet, Series
from .parts import ExportPart

STORAGE = {"MR": MRImageStorage, "CT": CTImageStorage}
MEASURED = {
    "MR": {
        "EchoTime": "echo_time_ms",
        "RepetitionTime": "repetition_time_ms",
        "InversionTime": "inversion_time_ms",
        "MagneticFieldStrength": "field_strength_t",
    },
    "CT": {"KVP": "kvp"},
}
"""Elements that tell of a measurement, and the columns of a real scan that hold them."""
DERIVED = {
    "synthetic": "Synthetic: made by {maker}. It shows no patient.",
    "edited": "Edited from a real scan by {maker}, which drew detail that was not measured.",
    "real": "Resampled, windowed and stripped of identity by phonybrains import.",
}
DESCRIBED = {"synthetic": "SYNTHETIC", "edited": "SYNTHETIC (edited scan)", "real": "De-identified"}
WIDEST_HU = 4096.0
BRAIN_HU = (40.0, 80.0)
"""Centre and width shown at first, where a set keeps more HU than a screen can show."""
AT_HAND = 256
"""Series whose common elements are kept, as their images may come in turns."""
TEXT_LENGTH, LABEL_LENGTH = 1024, 64
"""Characters of the value representations ST and LO (PS3.5 6.2)."""


class DicomFiles:
    """Writes `series/name.dcm` for each image, and `series-SEG/name.dcm` for what is outlined in one."""

    table = "images.csv"

    def __init__(self, exported: ExportedSet) -> None:
        self.exported = exported
        self._series = lru_cache(AT_HAND)(self._of_series)

    def parts(self) -> Sequence[ExportPart]:
        found: list[ExportPart] = []
        for index, name in enumerate(self.exported.names):
            folder = self.exported.places[index][0].folder
            found.append(ExportPart(f"{folder}/{name}.dcm", (index,)))
            if self.exported.outline_of(index):
                found.append(ExportPart(f"{folder}-SEG/{name}.dcm", (index,), is_mask=True))
        return found

    def write(self, part: ExportPart, path: Path) -> None:
        dataset = self.image(part.images[0])
        content = as_file(dataset)
        if part.is_mask:
            from .segmentation import segmentation

            content = as_file(segmentation(self.exported, part.images[0], dataset))
        write_whole(path, content, sync=False)

    def finish(self, folder: Path, parts: Sequence[ExportPart]) -> None:
        """There is nothing more to say."""

    def image(self, index: int) -> Dataset:
        """One image of the set as a dataset, whole but for the header of its file."""
        exported, row = self.exported, self.exported.images.rows[index]
        series, number = exported.places[index]
        image = Dataset()
        image.update(self._series(series))
        image.SOPInstanceUID = exported.uid("image", row.file_name, row.sha256)
        image.InstanceNumber = number
        image.ImageComments = exported.shown(index)[:10240]
        for keyword, column in MEASURED[series.modality].items() if series.kind == "real" else ():
            if isinstance(value := row[column], float):
                setattr(image, keyword, decimal(value))
        _place(image, exported, index)
        _pixels(image, exported, index)
        return image

    def _of_series(self, series: Series) -> Dataset:
        """What all images of a series have in common."""
        exported, common = self.exported, Dataset()
        common.SpecificCharacterSet = "ISO_IR 192"
        common.SOPClassUID = STORAGE[series.modality]
        _patient(common, exported, series)
        common.StudyInstanceUID = exported.uid("study", *series.person)
        common.SeriesInstanceUID = exported.uid("series", *series.key)
        common.FrameOfReferenceUID = exported.uid("frame of reference", *series.key)
        common.PositionReferenceIndicator = ""
        common.StudyID = "1"
        common.AccessionNumber = common.ReferringPhysicianName = ""
        day, _, clock = str(exported.images.record.get("created", "")).partition("T")
        made = ("", "") if series.kind == "real" else (day.replace("-", ""), clock[:8].replace(":", ""))
        common.StudyDate, common.StudyTime = common.ContentDate, common.ContentTime = made
        common.Modality, common.SeriesNumber = series.modality, series.number
        common.BodyPartExamined, common.PatientPosition = "HEAD", ""
        common.SeriesDescription = f"{DESCRIBED[series.kind]} {series.modality} {series.plane}".strip()[:LABEL_LENGTH]
        common.StudyDescription = DESCRIBED[series.kind]
        _origin(common, exported, series)
        if series.modality == "MR":
            common.ScanningSequence, common.SequenceVariant = "RM", "NONE"
            common.ScanOptions = common.MRAcquisitionType = ""
            common.EchoTime = common.RepetitionTime = common.EchoTrainLength = None
        else:
            common.KVP = common.AcquisitionNumber = None
        return common


def as_file(dataset: Dataset) -> bytes:
    """A dataset as the bytes of a DICOM file, explicit VR little endian (PS3.10)."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def decimal(number: float) -> str:
    """A number as a decimal string of at most 16 characters (PS3.5 6.2, DS)."""
    return format_number_as_ds(float(number))


def code_item(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _patient(common: Dataset, exported: ExportedSet, series: Series) -> None:
    person = series.person
    common.PatientID = exported.patient_id(person)
    common.PatientName = f"{DESCRIBED[series.kind].partition(' ')[0]}^{common.PatientID}"
    common.PatientBirthDate, common.PatientSex = "", person.sex
    if person.age_years:
        years = float(person.age_years)
        common.PatientAge = f"{int(years):03d}Y" if years >= 2 else f"{round(years * 12):03d}M"
    if series.kind != "synthetic":
        common.PatientIdentityRemoved = "YES"
        common.DeidentificationMethod = "phonybrains import: only known values are kept"
    if diagnosis := exported.agreed(person, "diagnosis"):
        common.AdmittingDiagnosesDescription = diagnosis[:LABEL_LENGTH]


def _origin(common: Dataset, exported: ExportedSet, series: Series) -> None:
    """What made the images, and that no scanner did."""
    maker, detail = exported.maker, "AXIAL" if series.modality == "CT" else "OTHER"
    common.ImageType = ["DERIVED", "SECONDARY", detail]
    common.DerivationDescription = DERIVED[series.kind].format(maker=maker.name)[:TEXT_LENGTH]
    common.Manufacturer = ""
    if series.kind == "real":
        common.SyntheticData = "NO"
        return
    common.SyntheticData = "YES"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = Items([code_item(codes.DCM.SynthesizingEquipment)])
    for item in (common, equipment):
        item.Manufacturer, item.ManufacturerModelName = "phonybrains", maker.name[:LABEL_LENGTH]
        item.SoftwareVersions = SOFTWARE
        if maker.sha256:
            item.DeviceSerialNumber = maker.sha256
    equipment.ContributionDescription = common.DerivationDescription
    common.ContributingEquipmentSequence = Items([equipment])
    if series.kind == "synthetic":
        common.BurnedInAnnotation = "NO"


def _place(image: Dataset, exported: ExportedSet, index: int) -> None:
    """Image Plane (PS3.3 C.7.6.2); what the set does not know is left out, the thickness empty."""
    geometry = exported.geometry(index)
    image.SliceThickness = None if geometry.thickness_mm is None else decimal(geometry.thickness_mm)
    if geometry.spacing_mm is not None:
        image.PixelSpacing = [decimal(geometry.spacing_mm)] * 2
    if geometry.along is not None:
        image.ImageOrientationPatient = [decimal(number) for vector in geometry.along for number in vector]
    if geometry.corner_mm is not None:
        image.ImagePositionPatient = [decimal(number) for number in geometry.corner_mm.round(6)]
    if geometry.position_mm is not None:
        image.SliceLocation = decimal(geometry.position_mm)


def _pixels(image: Dataset, exported: ExportedSet, index: int) -> None:
    """The grey levels as they are, in words of 16 bits as MR and CT want them, and what they mean."""
    pixels, scale, ct = exported.images.pixels(index), exported.scale(index), image.Modality == "CT"
    low, high = 0.0, float(exported.levels)
    if ct:
        image.RescaleSlope, image.RescaleIntercept = decimal(scale.slope), decimal(scale.intercept)
        image.RescaleType = "HU" if scale.unit == "HU" else "US"
        low, high = (scale.slope * level + scale.intercept for level in (low, high))
    centre, width = (low + high + 1) / 2, high - low + 1  # LINEAR shows centre - 0.5 ± (width - 1) / 2: C.11.2.1.2.1
    if scale.unit == "HU":
        centre, width = BRAIN_HU if high - low > WIDEST_HU else ((low + high) / 2, high - low)
    image.WindowCenter, image.WindowWidth = decimal(centre), decimal(width)
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape
    image.BitsAllocated, image.BitsStored = 16, max(exported.images.bits, 12 if ct else 0)
    image.HighBit, image.PixelRepresentation = image.BitsStored - 1, 0
    image.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
