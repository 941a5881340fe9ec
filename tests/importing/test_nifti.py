"""NIfTI: orientation, modality, intensities, and what is left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from phonybrains.importing.config import ImportConfig
from phonybrains.importing.slices import Notice, Slice
from phonybrains.importing.volumes.reader import read_volumes

RAS = np.diag([1.0, 1.0, 3.0, 1.0])


def head(shape: tuple[int, ...] = (20, 24, 10), dtype: Any = np.int16) -> Any:
    """An asymmetric MR-like volume on RAS axes: bright to the right, front and head, zero at the border."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape[:3]), indexing="ij")
    values = 200 + 10 * x + 3 * y + z
    values[:2] = values[-2:] = values[:, :2] = values[:, -2:] = 0
    return values.astype(dtype)


def hounsfield(shape: tuple[int, int, int] = (20, 24, 10)) -> Any:
    """An asymmetric CT-like volume: air around soft tissue with a bone."""
    values = np.full(shape, -1000, np.int16)
    values[3:-3, 3:-4, 1:-1] = 35
    values[5:8, 6:9, 2:-2] = 900
    return values


def save(path: Path, values: Any, affine: Any = RAS, kind: Any = nibabel.Nifti1Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(kind(values, affine), path)
    return path


def read(root: Path, **options: Any) -> tuple[list[Slice], list[Notice]]:
    files = sorted(path for path in root.rglob("*") if path.name.endswith((".nii", ".nii.gz", ".hdr")))
    found = list(read_volumes(root, files, ImportConfig(**options)))
    slices = [item for item in found if isinstance(item, Slice)]
    return slices, [item for item in found if isinstance(item, Notice)]


def test_axial_slices_have_front_up_and_the_right_on_the_left(tmp_path: Path) -> None:
    """Row 0 is the front, column 0 the patient's right, whatever way the axes of the file run."""
    values = head()
    expected = values[::-1, ::-1, 4].T
    turned: Any = nibabel.Nifti1Image(values, RAS)
    for axes in ("RAS", "LPS", "PIR", "SLA", "LAS"):
        start = nibabel.orientations.io_orientation(RAS)
        end = nibabel.orientations.axcodes2ornt(axes)
        image = turned.as_reoriented(nibabel.orientations.ornt_transform(start, end))
        nibabel.save(image, tmp_path / f"{axes}_T1w.nii.gz")
    slices, notices = read(tmp_path)
    assert not notices
    assert len(slices) == 50
    for item in (item for item in slices if item.order == 12.0):
        np.testing.assert_array_equal(item.values, expected)
        assert item.spacing_mm == (1.0, 1.0)
        assert item.attributes == {"plane": "axial"}


@pytest.mark.parametrize(
    ("plane", "axis", "spacing"), [("sagittal", 0, (3.0, 2.0)), ("coronal", 1, (3.0, 1.0)), ("axial", 2, (2.0, 1.0))]
)
def test_every_plane_is_shown_in_radiological_convention(
    tmp_path: Path, plane: str, axis: int, spacing: tuple[float, float]
) -> None:
    """Head (axial: front) up; right, in sagittal slices the front, on the left; rows and columns keep their own mm."""
    values = head()
    save(tmp_path / "a_T1w.nii", values, np.diag([1.0, 2.0, 3.0, 1.0]))
    slices, _ = read(tmp_path, plane=plane, empty_below=0)
    assert len(slices) == values.shape[axis]
    item = slices[5]
    np.testing.assert_array_equal(item.values, np.take(values, 5, axis)[::-1, ::-1].T)
    assert item.spacing_mm == spacing
    assert item.order == 5 * (1.0, 2.0, 3.0)[axis]


@pytest.mark.parametrize(
    ("sizes", "plane"), [((1, 1, 3), "axial"), ((1, 5, 1), "coronal"), ((4, 1, 1), "sagittal"), ((1, 1, 1), "axial")]
)
def test_the_native_plane_has_the_finest_pixels(tmp_path: Path, sizes: tuple[float, ...], plane: str) -> None:
    """Slices are taken across the longest side of a voxel; axial for cubes."""
    save(tmp_path / "a_T1w.nii", head(), np.diag([*map(float, sizes), 1.0]))
    assert {item.attributes["plane"] for item in read(tmp_path)[0]} == {plane}


def test_ct_is_told_by_its_values_and_windowed(tmp_path: Path) -> None:
    """Whole numbers from air to bone are HU: unit, window and clipping of what lies below air are as for DICOM."""
    values = hounsfield()
    values[0, 0] = -3024
    save(tmp_path / "volume.nii.gz", values)
    slices, notices = read(tmp_path)
    assert not notices
    assert {(item.modality, item.unit, item.low, item.high) for item in slices} == {("CT", "HU", 0.0, 80.0)}
    assert min(item.values.min() for item in slices) == -1024
    assert max(item.values.max() for item in slices) == 900
    assert (read(tmp_path, window=None, bits=16)[0][0].low, read(tmp_path, window=None, bits=16)[0][0].high) == (
        -1024,
        64511,
    )
    assert read(tmp_path, window=None, bits=8)[0][0].high == 3071


@pytest.mark.parametrize(
    ("name", "sidecar", "given", "modality"),
    [
        ("sub-1_T1w.nii.gz", None, "", "MR"),
        ("case7-t1ce.nii.gz", None, "", "MR"),
        ("case7_ct.nii", None, "", "CT"),
        ("x.nii", {"Modality": "MR"}, "", "MR"),
        ("x.nii", None, "MR", "MR"),
        ("x_T1w.nii", None, "CT", "MR"),
        ("x.nii", {"Modality": "CT"}, "MR", "CT"),
    ],
)
def test_modality_comes_from_sidecar_name_or_config(
    tmp_path: Path, name: str, sidecar: dict[str, str] | None, given: Any, modality: str
) -> None:
    """A sidecar goes before the name, the name before the configured modality of files that do not say theirs."""
    path = save(tmp_path / name, hounsfield())
    if sidecar is not None:
        (tmp_path / f"{path.name.split('.')[0]}.json").write_text(json.dumps(sidecar))
    slices, _ = read(tmp_path, modality=given)
    assert {item.modality for item in slices} == {modality}


def test_a_volume_of_unknown_modality_is_left_out_with_what_to_do(tmp_path: Path) -> None:
    """MR has no values that tell it, so nothing is guessed."""
    save(tmp_path / "volume.nii.gz", head())
    slices, notices = read(tmp_path)
    assert not slices
    assert notices[0].kind == "skipped"
    assert "modality" in notices[0].reason
    assert "_T1w" in notices[0].reason


def test_ct_without_air_is_doubted(tmp_path: Path) -> None:
    """A windowed picture in a file called CT is taken, with a warning that its values may not be HU."""
    save(tmp_path / "a_ct.nii.gz", np.clip(hounsfield(), 0, 80))
    slices, notices = read(tmp_path)
    assert slices
    assert [(item.kind, "may not be HU" in item.reason) for item in notices] == [("warning", True)]


def test_mr_contrast_does_not_depend_on_the_share_of_air(tmp_path: Path) -> None:
    """The same head in a field of view nine times as large, full of noise, gets nearly the same black and white."""
    rng = np.random.default_rng(0)
    tissue = rng.uniform(200, 1000, (40, 40, 8))
    for name, pad in (("small", 0), ("large", 40)):
        noise = np.abs(rng.normal(0, 8, (40 + 2 * pad, 40 + 2 * pad, 8)))
        noise[pad : pad + 40, pad : pad + 40] = tissue
        save(tmp_path / name / "a_T1w.nii", noise.astype(np.float32))
    small, large = (read(tmp_path / name)[0][0] for name in ("small", "large"))
    assert abs(small.high - large.high) < 10
    assert abs(small.low - large.low) < 10
    assert 200 <= large.low < 215
    assert 985 < large.high <= 1000


def test_percentiles_are_of_the_whole_volume(tmp_path: Path) -> None:
    """All slices of a volume share low and high, so the brightness of one slice relative to another is kept."""
    values = np.zeros((20, 20, 4), np.float32)
    values[4:-4, 4:-4] = np.array([100.0, 200, 300, 400]) + np.arange(12)[:, None, None]
    save(tmp_path / "a_T1w.nii", values)
    slices, _ = read(tmp_path, percentiles=(0, 100))
    assert {(item.low, item.high) for item in slices} == {(100.0, 411.0)}


def test_empty_slices_are_dropped_and_every_nth_taken(tmp_path: Path) -> None:
    """`every` counts slices of the volume; those with less tissue than `empty_below` do not appear."""
    values = head((20, 24, 12))
    values[..., :4] = 0
    values[5, 5, 2] = 300
    save(tmp_path / "a_T1w.nii", values)
    assert [item.order for item in read(tmp_path)[0]] == [3.0 * k for k in range(4, 12)]
    assert [item.order for item in read(tmp_path, every=3)[0]] == [18.0, 27.0]
    assert len(read(tmp_path, empty_below=0)[0]) == 12
    slices, notices = read(tmp_path, empty_below=0.99)
    assert not slices
    assert "no slice has tissue" in notices[0].reason


def test_slices_of_one_subject_or_file_share_their_patient(tmp_path: Path) -> None:
    """BIDS: `sub-…` of the path; else a guess by folder, that begins with the source; each file is its own series."""
    for name in ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "a/x_T1w.nii", "b/x_T1w.nii"):
        save(tmp_path / name, head())
    slices, _ = read(tmp_path)
    source = tmp_path.name.replace("_", " ")
    assert {(item.patient, item.patient_is_guess) for item in slices} == {
        ("sub-01", False),
        (f"{source}/a/x", True),
        (f"{source}/b/x", True),
    }
    assert len({item.series for item in slices}) == 4
    assert {item.source for item in slices} == {tmp_path.name}


def test_nothing_of_header_texts_or_names_gets_into_a_slice(tmp_path: Path) -> None:
    """Name and free texts of the header stay behind, but for `patient` and `file`, which are not published."""
    image = nibabel.Nifti1Image(head(), RAS)
    image.header["descrip"] = b"DOE^JANE"
    image.header["aux_file"] = b"DOE^JANE"
    image.header["db_name"] = b"DOE^JANE"
    image.header["intent_name"] = b"DOE^JANE"
    nibabel.save(image, tmp_path / "DOE^JANE_T1w.nii")
    slices, _ = read(tmp_path)
    assert slices
    for item in slices:
        published = [getattr(item, name) for name in item.__slots__ if name not in ("patient", "file")]
        assert "JANE" not in repr(published).upper()


def damaged(root: Path) -> dict[str, str]:
    """Files that cannot be used, with a word of the reason each should get."""
    save(root / "5d_T1w.nii", np.stack([head()[..., None]] * 3, axis=-1))
    with_nan = head(dtype=np.float32)
    with_nan[5, 5, 5] = np.nan
    save(root / "nan_T1w.nii", with_nan)
    save(root / "zeros_T1w.nii.gz", np.zeros((8, 8, 8), np.int16))
    save(root / "complex_T1w.nii", head(dtype=np.complex64))
    save(root / "rgb_T1w.nii", np.zeros((8, 8, 8), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])))
    flat = nibabel.Nifti1Image(head(), None)
    flat.set_sform(np.diag([1.0, 1, 0, 1]), 1)
    nibabel.save(flat, root / "flat_T1w.nii")
    save(root / "a_seg.nii", head())
    save(root / "alone_T1w.hdr", head(), kind=nibabel.AnalyzeImage)
    (root / "alone_T1w.img").unlink()
    rng = np.random.default_rng(0)
    whole = save(root / "cut_T1w.nii.gz", rng.integers(0, 999, (20, 20, 20), dtype=np.int16)).read_bytes()
    (root / "cut_T1w.nii.gz").write_bytes(whole[: len(whole) // 2])
    whole = save(root / "short_T1w.nii", head()).read_bytes()
    (root / "short_T1w.nii").write_bytes(whole[:900])
    (root / "text_T1w.nii").write_bytes(b"not an image" * 100)
    (root / "text_T1w.nii.gz").write_bytes(gzip.compress(b"not an image" * 100))
    (root / "none_T1w.nii").write_bytes(b"")
    save(root / "tracer.nii", head())
    (root / "tracer.json").write_text('{"Modality": "PT"}')
    return {
        "5d_T1w.nii": "split it",
        "nan_T1w.nii": "NaN",
        "zeros_T1w.nii.gz": "empty volume",
        "complex_T1w.nii": "complex",
        "rgb_T1w.nii": "RGB",
        "flat_T1w.nii": "voxel size",
        "a_seg.nii": "label map",
        "alone_T1w.hdr": ".img, is missing",
        "cut_T1w.nii.gz": "cut short",
        "short_T1w.nii": "cut short",
        "text_T1w.nii": "NIfTI",
        "text_T1w.nii.gz": "NIfTI",
        "none_T1w.nii": "NIfTI",
        "tracer.nii": "neither MR nor CT",
    }


def test_files_that_cannot_be_used_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Each bad file gets one line with its reason; a good one among them is read."""
    reasons = damaged(tmp_path)
    save(tmp_path / "good_T1w.nii", head())
    slices, notices = read(tmp_path)
    assert len(slices) == 10
    assert sorted(item.file for item in notices) == sorted(f"{tmp_path.name}/{name}" for name in reasons)
    for item in notices:
        assert item.kind == "skipped"
        assert reasons[Path(item.file).name] in item.reason, item


def test_trailing_dimensions_of_one_and_single_slices_are_taken(tmp_path: Path) -> None:
    """(X, Y, Z, 1) is a volume; (X, Y) is one slice."""
    save(tmp_path / "a_T1w.nii", head()[..., None])
    save(tmp_path / "b_T1w.nii", head()[..., 4])
    slices, notices = read(tmp_path, plane="axial")
    assert not notices
    assert len(slices) == 11
    np.testing.assert_array_equal(slices[4].values, slices[10].values)


def test_slices_larger_than_max_pixels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """The header's size decides, so a file that only claims to be huge costs nothing."""
    save(tmp_path / "a_T1w.nii", head())
    slices, notices = read(tmp_path, max_pixels=400)
    assert not slices
    assert "max_pixels" in notices[0].reason


def test_a_header_without_orientation_is_a_warning(tmp_path: Path) -> None:
    """With qform and sform code 0 the sides are nibabel's guess, and the report says so."""
    image = nibabel.Nifti1Image(head(), None)
    nibabel.save(image, tmp_path / "a_T1w.nii")
    slices, notices = read(tmp_path)
    assert slices
    assert [item.kind for item in notices] == ["warning"]
