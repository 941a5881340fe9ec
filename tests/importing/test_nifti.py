"""NIfTI: orientation, modality, intensities, and what is left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.support.volume_files import AXES, RAS, head, read, same_values, volume


def hounsfield() -> Any:
    """An asymmetric CT-like volume: air around soft tissue with a bone."""
    values = np.full((20, 24, 10), -1000, np.int16)
    values[3:-3, 3:-4, 1:-1] = 35
    values[5:8, 6:9, 2:-2] = 900
    return values


def test_axial_slices_have_front_up_and_the_right_on_the_left(tmp_path: Path) -> None:
    """Row 0 is the front, column 0 the patient's right, whatever way the axes of the file run."""
    values = head()
    for axes in AXES:
        volume(tmp_path / f"{axes}_T1w.nii.gz", values, axes=axes)
    slices, notices = read(tmp_path)
    assert (len(slices), notices) == (50, [])
    same_values([item for item in slices if item.order == 12.0], [values[::-1, ::-1, 4].T] * 5)
    assert {(item.spacing_mm, item.attributes["plane"], len(item.attributes)) for item in slices} == {
        ((1.5, 1.0), "axial", 1)
    }


@pytest.mark.parametrize(
    ("plane", "axis", "spacing"), [("sagittal", 0, (3.0, 2.0)), ("coronal", 1, (3.0, 1.0)), ("axial", 2, (2.0, 1.0))]
)
def test_every_plane_is_shown_in_radiological_convention(tmp_path: Path, plane, axis, spacing) -> None:
    """Head (axial: front) up; right, in sagittal slices the front, on the left; rows and columns keep their own mm."""
    values, sizes = head(), (1.0, 2.0, 3.0)
    volume(tmp_path / "a_T1w.nii", values, np.diag([*sizes, 1.0]))
    slices, _ = read(tmp_path, plane=plane, empty_below=0)
    assert len(slices) == values.shape[axis]
    same_values([slices[5]], [np.take(values, 5, axis)[::-1, ::-1].T])
    assert (slices[5].spacing_mm, slices[5].order) == (spacing, 5 * sizes[axis])


@pytest.mark.parametrize(
    ("sizes", "plane"), [((1, 1, 3), "axial"), ((1, 5, 1), "coronal"), ((4, 1, 1), "sagittal"), ((1, 1, 1), "axial")]
)
def test_the_native_plane_has_the_finest_pixels(tmp_path: Path, sizes, plane) -> None:
    """Slices are taken across the longest side of a voxel; axial for cubes."""
    volume(tmp_path / "a_T1w.nii", head(), np.diag([*map(float, sizes), 1.0]))
    assert {item.attributes["plane"] for item in read(tmp_path)[0]} == {plane}


def test_ct_is_told_by_its_values_and_windowed(tmp_path: Path) -> None:
    """Whole numbers from air to bone are HU: unit, window and clipping of what lies below air are as for DICOM."""
    values = hounsfield()
    values[0, 0] = -3024
    volume(tmp_path / "volume.nii.gz", values)
    slices, notices = read(tmp_path)
    assert not notices
    assert {(item.modality, item.unit, item.low, item.high) for item in slices} == {("CT", "HU", 0.0, 80.0)}
    shown = np.stack([item.values for item in slices])
    assert (shown.min(), shown.max()) == (-1024, 900)
    for bits, highest in ((16, 64511), (8, 3071)):
        item = read(tmp_path, window=None, bits=bits)[0][0]
        assert (item.low, item.high) == (-1024, highest)


@pytest.mark.parametrize(
    ("name", "stated", "given", "modality"),
    [
        ("sub-1_T1w.nii.gz", None, "", "MR"),
        ("case7-t1ce.nii.gz", None, "", "MR"),
        ("case7_ct.nii", None, "", "CT"),
        ("x.nii", "MR", "", "MR"),
        ("x.nii", None, "MR", "MR"),
        ("x_T1w.nii", None, "CT", "MR"),
        ("x.nii", "CT", "MR", "CT"),
    ],
)
def test_modality_comes_from_sidecar_name_or_config(tmp_path: Path, name, stated, given, modality) -> None:
    """A sidecar goes before the name, the name before the configured modality of files that do not say theirs."""
    volume(tmp_path / name, hounsfield())
    if stated:
        (tmp_path / f"{name.split('.')[0]}.json").write_text(json.dumps({"Modality": stated}))
    assert {item.modality for item in read(tmp_path, modality=given)[0]} == {modality}


def test_ct_without_air_is_doubted(tmp_path: Path) -> None:
    """A windowed picture in a file called CT is taken, with a warning that its values may not be HU."""
    volume(tmp_path / "a_ct.nii.gz", np.clip(hounsfield(), 0, 80))
    slices, (notice,) = read(tmp_path)
    assert slices
    assert (notice.kind, "may not be HU" in notice.reason) == ("warning", True)


def test_mr_contrast_does_not_depend_on_the_share_of_air(tmp_path: Path) -> None:
    """The same head in a field of view nine times as large, full of noise, gets nearly the same black and white."""
    rng = np.random.default_rng(0)
    tissue = rng.uniform(200, 1000, (40, 40, 8))
    found = []
    for pad in (0, 40):
        field = np.abs(rng.normal(0, 8, (40 + 2 * pad, 40 + 2 * pad, 8)))
        field[pad : pad + 40, pad : pad + 40] = tissue
        volume(tmp_path / str(pad) / "a_T1w.nii", field.astype(np.float32))
        found.append(read(tmp_path / str(pad))[0][0])
    small, large = found
    assert abs(small.high - large.high) < 10
    assert abs(small.low - large.low) < 10
    assert 200 <= large.low < 215
    assert 985 < large.high <= 1000


def test_percentiles_are_of_the_whole_volume(tmp_path: Path) -> None:
    """All slices of a volume share low and high, so the brightness of one slice relative to another is kept."""
    values = np.zeros((20, 20, 4), np.float32)
    values[4:-4, 4:-4] = np.array([100.0, 200, 300, 400]) + np.arange(12)[:, None, None]
    volume(tmp_path / "a_T1w.nii", values)
    assert {(item.low, item.high) for item in read(tmp_path, percentiles=(0, 100))[0]} == {(100.0, 411.0)}


def test_empty_slices_are_dropped_and_every_nth_taken(tmp_path: Path) -> None:
    """`every` counts slices of the volume; those with less tissue than `empty_below` do not appear."""
    values = head(shape=(20, 24, 12))
    values[..., :4] = 0
    values[5, 5, 2] = 300
    volume(tmp_path / "a_T1w.nii", values)
    assert [item.order for item in read(tmp_path)[0]] == [3.0 * k for k in range(4, 12)]
    assert [item.order for item in read(tmp_path, every=3)[0]] == [18.0, 27.0]
    assert len(read(tmp_path, empty_below=0)[0]) == 12


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("volume.nii", {}, ("modality", "_T1w")),
        ("a_T1w.nii", {"empty_below": 0.99}, ("no slice has tissue",)),
        ("a_T1w.nii", {"max_pixels": 400}, ("max_pixels",)),
    ],
)
def test_what_the_settings_leave_out_is_told_with_what_to_do(tmp_path: Path, name, options, words) -> None:
    """MR has no values that tell it, so no modality is guessed; a size is refused by the header, before it is read."""
    volume(tmp_path / name, head())
    slices, notices = read(tmp_path, **options)
    assert not slices
    assert notices[0].kind == "skipped"
    assert all(word in notices[0].reason for word in words)


def test_slices_of_one_subject_or_file_share_their_patient(tmp_path: Path) -> None:
    """BIDS: `sub-…` of the path; else a guess by folder, that begins with the source; each file is its own series."""
    for name in ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "a/x_T1w.nii", "b/x_T1w.nii"):
        volume(tmp_path / name, head())
    slices, _ = read(tmp_path)
    guessed = {(f"{tmp_path.name.replace('_', ' ')}/{folder}/x", True) for folder in "ab"}
    assert {(item.patient, item.patient_is_guess) for item in slices} == {("sub-01", False), *guessed}
    assert len({item.series for item in slices}) == 4
    assert {item.source for item in slices} == {tmp_path.name}


def test_nothing_of_header_texts_or_names_gets_into_a_slice(tmp_path: Path) -> None:
    """Name and free texts of the header stay behind, but for `patient` and `file`, which are not published."""
    texts = dict.fromkeys(("descrip", "aux_file", "db_name", "intent_name"), b"DOE^JANE")
    volume(tmp_path / "DOE^JANE_T1w.nii", head(), **texts)
    slices, _ = read(tmp_path)
    published = [getattr(item, name) for item in slices for name in item.__slots__ if name not in ("patient", "file")]
    assert slices
    assert "JANE" not in repr(published).upper()


def damaged(root: Path) -> dict[str, str]:
    """Files that cannot be used, with a word of the reason each should get."""
    with_nan = head(dtype=np.float32)
    with_nan[5, 5, 5] = np.nan
    flat = nibabel.Nifti1Image(head(), None)
    flat.set_sform(np.diag([1.0, 1, 0, 1]), 1)
    nibabel.save(flat, root / "flat_T1w.nii")
    for name, values in {
        "5d_T1w.nii": np.stack([head()[..., None]] * 3, axis=-1),
        "nan_T1w.nii": with_nan,
        "zeros_T1w.nii.gz": np.zeros((8, 8, 8), np.int16),
        "complex_T1w.nii": head(dtype=np.complex64),
        "rgb_T1w.nii": np.zeros((8, 8, 8), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "a_seg.nii": head(),
        "tracer.nii": head(),
    }.items():
        volume(root / name, values)
    (root / "tracer.json").write_text('{"Modality": "PT"}')
    volume(root / "alone_T1w.hdr", head(), kind=nibabel.AnalyzeImage)
    (root / "alone_T1w.img").unlink()
    noisy = np.random.default_rng(0).integers(0, 999, (20, 20, 20), dtype=np.int16)
    for name, values, length in (("cut_T1w.nii.gz", noisy, 7_000), ("short_T1w.nii", head(), 900)):
        path = volume(root / name, values)
        path.write_bytes(path.read_bytes()[:length])
    (root / "text_T1w.nii").write_bytes(b"not an image" * 100)
    (root / "text_T1w.nii.gz").write_bytes(gzip.compress(b"not an image" * 100))
    (root / "none_T1w.nii").write_bytes(b"")
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
    volume(tmp_path / "good_T1w.nii", head())
    slices, notices = read(tmp_path)
    assert len(slices) == 10
    assert sorted(item.file for item in notices) == sorted(f"{tmp_path.name}/{name}" for name in reasons)
    for item in notices:
        assert item.kind == "skipped"
        assert reasons[Path(item.file).name] in item.reason, item


def test_trailing_dimensions_of_one_and_single_slices_are_taken(tmp_path: Path) -> None:
    """(X, Y, Z, 1) is a volume; (X, Y) is one slice."""
    volume(tmp_path / "a_T1w.nii", head()[..., None], RAS)
    volume(tmp_path / "b_T1w.nii", head()[..., 4], RAS)
    slices, notices = read(tmp_path, plane="axial")
    assert (len(slices), notices) == (11, [])
    same_values([slices[10]], [slices[4]])
