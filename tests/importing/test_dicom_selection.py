"""DICOM: what is not a slice, or cannot be read, is left out with a reason, and the rest goes on."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid

from tests.support.dicom_files import clean, image, read, same_values, save, write
from tests.support.imports import told

PIXELS = np.arange(400, dtype=np.int16).reshape(20, 20) + 1024
PIXELS[0, 0] = 24  # air
EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, **EIGHT}
RGB |= {"PixelData": bytes((200, 30, 90)) * 400}


@pytest.mark.parametrize(
    ("modality", "elements", "reason"),
    [
        ("CT", {"SOPClassUID": uid.SecondaryCaptureImageStorage}, "secondary capture"),
        ("CT", {"SOPClassUID": uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage}, "secondary capture"),
        ("MR", {"SOPClassUID": uid.MRSpectroscopyStorage}, "MR Spectroscopy Storage"),
        ("CT", {"SOPClassUID": uid.BasicTextSRStorage, "Modality": "SR"}, "Basic Text SR Storage"),
        ("CT", {"SOPClassUID": uid.RTStructureSetStorage, "Modality": "RTSTRUCT"}, "RT Structure Set Storage"),
        ("CT", {"SOPClassUID": uid.PositronEmissionTomographyImageStorage, "Modality": "PT"}, "Positron Emission"),
        ("CT", {"SOPClassUID": "1.2.3.4"}, "unknown kind of object"),
        ("CT", {"Modality": "PT"}, "neither CT nor MR"),
        ("CT", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "scout"),
        ("MR", {"SeriesDescription": "AAHead_Scout_MPR"}, "scout"),
        ("MR", {"SeriesDescription": "3-plane localizer"}, "scout"),
        ("MR", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase image"),
        ("MR", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ("CT", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "projection"),
        ("CT", {"ImageType": ["DERIVED", "PRIMARY", "SCREEN SAVE"]}, "screenshot"),
        ("CT", {"BurnedInAnnotation": "YES"}, "burned into"),
        ("CT", RGB, "colour"),
        ("CT", {"PhotometricInterpretation": "PALETTE COLOR"}, "grayscale"),
        ("CT", {"PixelData": None}, "no pixel data"),
        ("CT", {"Rows": None, "PixelData": None}, "no pixels"),
        ("CT", {"PixelData": PIXELS.tobytes()[:500]}, "cut short"),
        ("CT", {"RescaleIntercept": None}, "become HU"),
        ("CT", {"RescaleSlope": 0}, "become HU"),
        ("CT", {"RescaleType": "MGML"}, "not HU"),
        ("MR", {"PixelData": bytes(800)}, "empty slice"),
    ],
)
def test_what_is_no_slice_is_left_out(tmp_path: Path, modality: str, elements: dict[str, Any], reason: str) -> None:
    """One line with the reason; a good file beside it is read, also one of the same series."""
    bad = elements | ({"SeriesInstanceUID": "1.2.9"} if reason == "empty slice" else {})
    write(tmp_path / "bad", PIXELS, modality, **bad)
    write(tmp_path / "good", PIXELS, modality, ImagePositionPatient=[0, 0, 5])
    slices, (notice,) = read(tmp_path)
    assert [item.file for item in slices] == [f"{tmp_path.name}/good"]
    assert (notice.file, notice.kind) == (f"{tmp_path.name}/bad", "skipped")
    assert reason in notice.reason


def damaged(root: Path) -> dict[str, str]:
    """Files that are damaged as a whole, with a word of the reason each should get."""
    whole = write(root / "cut", PIXELS).read_bytes()
    (root / "cut").write_bytes(whole[:-300])
    (root / "header").write_bytes(whole[:260])
    (root / "magic.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    (root / "text.dcm").write_bytes(b"not an image at all" * 20)
    (root / "empty.dcm").write_bytes(b"")
    syntax = b"1.2.840.10008.1.2.1\0"
    (root / "syntax").write_bytes(whole.replace(syntax, b"1.2.840.10008.1.2.9\0", 1))
    (root / "video").write_bytes(_with_length(whole.replace(syntax, b"1.2.840.10008.1.2.4.100\0", 1)))
    jpeg = dcmread(write(root / "jpeg", PIXELS))
    jpeg.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    jpeg.PixelData = jpeg.PixelData[:40] + bytes(len(jpeg.PixelData) - 48) + jpeg.PixelData[-8:]
    save(jpeg, root / "jpeg")
    place = whole.index(struct.pack("<HH", 0x7FE0, 0x0010)) + 8
    (root / "length").write_bytes(whole[:place] + struct.pack("<I", 2**31) + whole[place + 4 : -2])
    return {
        "cut": "cut short",
        "header": "cut short",
        "magic.dcm": "cut short",
        "text.dcm": "not a DICOM",
        "empty.dcm": "not a DICOM",
        "syntax": "transfer syntax",
        "video": "transfer syntax",
        "jpeg": "decoded",
        "length": "cut short",
    }


def _with_length(content: bytes) -> bytes:
    """Put right the lengths of TransferSyntaxUID and of its group after the UID has grown by four bytes."""
    at = content.index(b"\x02\0\x10\0UI")
    content = content[: at + 6] + struct.pack("<H", 24) + content[at + 8 :]
    (length,) = struct.unpack("<I", content[140:144])
    return content[:140] + struct.pack("<I", length + 4) + content[144:]


def test_damaged_files_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Cut, garbled, foreign and falsely labelled files each get one line; no exception, no slice of theirs."""
    reasons = damaged(tmp_path)
    write(tmp_path / "good", PIXELS, SeriesInstanceUID="1.2.3")
    slices, notices = read(tmp_path)
    assert [item.file for item in slices] == [f"{tmp_path.name}/good"]
    assert sorted(item.file for item in notices) == sorted(f"{tmp_path.name}/{name}" for name in reasons)
    for item in notices:
        assert item.kind == "skipped"
        assert reasons[Path(item.file).name] in item.reason, item


def test_every_length_of_a_cut_file_is_survived(tmp_path: Path) -> None:
    """Wherever a file is cut, it is either read whole or listed once."""
    whole = write(tmp_path / "a", PIXELS).read_bytes()
    for length in range(0, len(whole), 61):
        (tmp_path / "a").write_bytes(whole[:length])
        slices, notices = read(tmp_path)
        assert (slices, told(notices)) == ([], [("skipped", "a")])


def test_a_copy_of_an_image_is_taken_once(tmp_path: Path) -> None:
    """The same SOPInstanceUID under two names is one image; a damaged copy does not stand in the way of a whole one."""
    content = write(tmp_path / "a", PIXELS).read_bytes()
    (tmp_path / "copy").write_bytes(content)
    slices, (notice,) = read(tmp_path)
    assert len(slices) == 1
    assert (notice.kind, "the same pixels" in notice.reason) == ("duplicate", True)
    (tmp_path / "a").write_bytes(content[:-10])
    slices, (notice,) = read(tmp_path)
    assert [item.file for item in slices] == [f"{tmp_path.name}/copy"]
    assert "cut short" in notice.reason


def test_images_larger_than_max_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    """The header's size decides."""
    write(tmp_path / "a", PIXELS)
    slices, notices = read(tmp_path, max_pixels=399)
    assert not slices
    assert "max_pixels (399)" in notices[0].reason


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    """Old exports begin with group 0002 or 0008 at once."""
    whole = write(tmp_path / "a", PIXELS).read_bytes()
    (tmp_path / "a").write_bytes(whole[132:])
    bare = image(PIXELS, ImagePositionPatient=[0, 0, 5])
    del bare.file_meta
    bare.save_as(tmp_path / "b", implicit_vr=True, little_endian=True)
    same_values(clean(tmp_path), [PIXELS - 1024.0] * 2)


def test_synthetic_images_say_so(tmp_path: Path) -> None:
    """SyntheticData = YES, as phonybrains exports it, is not lost on the way back."""
    write(tmp_path / "a", PIXELS, SyntheticData="YES")
    write(tmp_path / "b", PIXELS, SyntheticData="NO")
    slices, _ = read(tmp_path)
    assert {Path(item.file).name: item.synthetic for item in slices} == {"a": True, "b": False}
    assert slices[0].series != slices[1].series
