"""NIfTI, PNG, BIDS and Croissant: other programs read them, and find what the set holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from phonybrains.exporting.stage import export
from phonybrains.imageset import ImageSet
from phonybrains.importing.config import ImportConfig
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import read_record
from tests.support.exported_sets import MODEL, PLACED, make_set, noise
from tests.support.imports import run, table

HU: dict[str, Any] = {"slope": 0.5, "intercept": -20.0, "unit": "HU"}
MASK = np.arange(32 * 32).reshape(32, 32) % 5 == 0


@pytest.mark.parametrize("bits", [8, 16])
def test_nifti_has_values_and_affine(tmp_path: Path, bits: int):
    """A slice is a volume with a third axis of its thickness, in HU; nibabel and SimpleITK agree where it lies."""
    told = [{**PLACED, "plane": "coronal"}]
    made = ImageSet.open(make_set(tmp_path / "set", noise(1, bits), "CT", attributes=told, masks=[MASK], **HU))
    out = export(made.folder, tmp_path / "out", to="nifti", show=False)
    volume: Any = nibabel.load(out / "images/000000.nii.gz")
    assert (volume.shape, volume.get_data_dtype().itemsize * 8) == ((32, 32, 1), bits)
    np.testing.assert_allclose(volume.get_fdata()[..., 0], made.values(0).T, rtol=1e-6)
    assert nibabel.aff2axcodes(volume.affine) == ("L", "I", "P")
    assert volume.header.get_zooms() == (7.5, 7.5, 5.0)
    read = SimpleITK.ReadImage(str(out / "images/000000.nii.gz"))
    np.testing.assert_allclose(read.GetDirection(), (1, 0, 0, 0, 0, 1, 0, -1, 0), atol=1e-6)
    mask: Any = nibabel.load(out / "masks/000000.nii.gz")
    np.testing.assert_array_equal(mask.get_fdata()[..., 0].astype(bool), MASK.T)


def test_nifti_does_not_invent_a_place(tmp_path: Path):
    """Where size or plane is not known, sform and qform are of code 0 and the units unknown."""
    out = export(make_set(tmp_path / "set", noise(1), attributes=[{}]), tmp_path / "out", to="nifti", show=False)
    header: Any = nibabel.load(out / "images/000000.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"]), header.get_xyzt_units()[0]) == (0, 0, "unknown")


def test_a_stack_is_one_volume_and_a_gap_makes_slices(tmp_path: Path):
    """Even distances give one file, ordered by place; a missing slice gives files of one slice each."""
    for places, files in (([4.0, 0.0, 2.0], 1), ([0.0, 2.0, 6.0], 3)):
        told = [{**PLACED, "stack": 1.0, "slice_position_mm": place} for place in places]
        made = ImageSet.open(make_set(tmp_path / f"set{files}", noise(3), attributes=told))
        out = export(made.folder, tmp_path / f"out{files}", to="nifti", show=False)
        found = sorted((out / "images").iterdir())
        assert len(found) == files
    volume: Any = nibabel.load(tmp_path / "out1/images/000001.nii.gz")
    first = ImageSet.open(tmp_path / "set1")
    np.testing.assert_array_equal(volume.get_fdata(), np.stack([first.pixels(i).T for i in (1, 2, 0)], axis=-1))
    assert [row["slice_in_file"] for row in table(tmp_path / "out1/images.csv")] == ["2", "0", "1"]


@pytest.mark.parametrize("to", ["nifti", "bids", "dicom", "png"])
@pytest.mark.parametrize("known", ["masks", "boxes", "both"])
def test_what_is_not_known_is_not_exported_as_empty(
    tmp_path: Path, to: Any, known: str, capsys: pytest.CaptureFixture[str]
):
    """A volume of which some slices have a mask, or a box, goes without, and says so; an image each has its own."""
    box = {"lesion_x": 0.5, "lesion_y": 0.5, "lesion_width": 0.2, "lesion_height": 0.2}
    told: list[dict[str, Any]] = [
        {**PLACED, "stack": 1.0, "slice_position_mm": place, **(box if place and known != "masks" else {})}
        for place in (0.0, 2.0)
    ]
    masks = [MASK if known == "both" else None, MASK if known == "masks" else None]
    made = make_set(tmp_path / "set", noise(2), attributes=told, masks=masks)
    out = export(made, tmp_path / "out", to=to, show=False)
    found = [path for path in out.rglob("*") if "_mask." in path.name or path.parent.name.endswith(("masks", "-SEG"))]
    if to in ("nifti", "bids"):
        assert not found
        assert "1 has slices with a mask and slices without" in capsys.readouterr().err
        assert any("slices without" in doubt for doubt in read_record(out)["results"]["doubts"])
    else:
        assert len(found) == {"dicom": {"both": 2}, "png": {"boxes": 0}}[to].get(known, 1)
        assert "slices without" not in capsys.readouterr().err


@pytest.mark.parametrize("to", ["nifti", "bids", "png"])
def test_masks_come_back_with_what_they_outline(tmp_path: Path, to: Any):
    """Exported and imported again, each image has its mask, and the record knows what it is of, and the licence."""
    told = [{**PLACED, "stack": 1.0, "slice_position_mm": place} for place in (0.0, 2.0, 4.0)]
    masks = [MASK, MASK & False, ~MASK]
    made = make_set(tmp_path / "set", noise(3), attributes=told, masks=masks, outline="Meningioma")
    out = export(made, tmp_path / "out", to=to, show=False)
    report = run(out, tmp_path / "back", ImportConfig(size=32, modality="MR", plane="axial"))
    back = ImageSet.open(tmp_path / "back")
    assert [back.mask(i).tolist() for i in range(3)] == [mask.tolist() for mask in masks]  # type: ignore[union-attr]
    assert back.outline == "Meningioma"
    assert back.record["sources"][0]["licence"] == "CC BY 4.0"
    assert not [notice for notice in report.notices if "mask" in notice.reason and notice.kind != "note"]


def test_a_box_comes_back_as_a_box(tmp_path: Path):
    """A rectangle that was filled for a volume is no outline of a lesion."""
    box = {"lesion_x": 0.5, "lesion_y": 0.5, "lesion_width": 0.5, "lesion_height": 0.5}
    made = make_set(tmp_path / "set", noise(2), attributes=[{**PLACED, **box}])
    run(export(made, tmp_path / "out", to="nifti", show=False), tmp_path / "back", ImportConfig(size=32, modality="MR"))
    assert ImageSet.open(tmp_path / "back").outline == "lesion box"


def test_the_bids_validator_finds_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """MR and CT, masks and people: the official validator, without a network, reports no error."""
    made = make_phantoms(8, tmp_path / "set", size=32, masks="lesion")
    out = export(made, tmp_path / "out", to="bids", show=False)
    assert "MR images are called T1w" in capsys.readouterr().err
    words = [str(Path(sys.executable).parent / "bids-validator-deno"), "--format", "json", str(out)]
    run_ = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    found = json.loads(run_.stdout)
    assert [issue for issue in found["issues"]["issues"] if issue["severity"] == "error"] == []
    assert found["summary"]["subjects"] == ["syn000001"], "the other one has CT only, which is in .bidsignore"
    assert len(list(out.rglob("*_T1w.nii.gz"))) == 4
    assert len(list(out.rglob("*_mask.nii.gz"))) == 8


@pytest.mark.parametrize("bits", [8, 16])
def test_png_keeps_pixels_and_says_what_they_are(tmp_path: Path, bits: int):
    """Pictures carry their marks, masks are the set's; another import gives the same set of pixels."""
    made = ImageSet.open(make_set(tmp_path / "set", noise(3, bits), masks=[MASK] * 3, attributes=[{"note": "ä頭"}]))
    out = export(made.folder, tmp_path / "out", to="png", show=False)
    rows = table(out / "metadata.csv")
    for index, row in enumerate(rows):
        with Image.open(out / row["file_name"]) as image:
            np.testing.assert_array_equal(np.asarray(image), made.pixels(index))
            assert json.loads(image.info["phonybrains"])["model_sha256"] == MODEL["sha256"]
        assert (out / row["mask_file_name"]).read_bytes() == (
            made.folder / made.rows[index].mask_file_name
        ).read_bytes()
        assert (row["source_sha256"], row["note"]) == (made.rows[index].sha256, "ä頭")
    run(out, tmp_path / "back", ImportConfig(size=32, bits=bits))  # type: ignore[arg-type]
    back = ImageSet.open(tmp_path / "back")
    assert {back.pixels(i).tobytes() for i in range(3)} == {made.pixels(i).tobytes() for i in range(3)}


def test_croissant_and_imagefolder_open_a_folder_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """mlcroissant finds no fault in the metadata and reads the table; `datasets` finds pictures, masks and columns."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets
    import mlcroissant

    made = make_set(tmp_path / "set", noise(2), masks=[MASK] * 2)
    out = export(made, tmp_path / "out", to="croissant", show=False)
    told = mlcroissant.Dataset(jsonld=out / "croissant.json")
    assert not told.metadata.ctx.issues.errors
    rows = list(told.records("images"))
    assert [row["images/file_name"] for row in rows] == [b"images/000000.png", b"images/000001.png"]
    found: Any = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert (len(found), found[0]["modality"]) == (2, "MR")
    np.testing.assert_array_equal(np.asarray(found[0]["image"]), ImageSet.open(made).pixels(0))


def test_a_datasheet_answers_from_the_record(tmp_path: Path):
    """It has the sections of Gebru et al., and names counts, model, licence and what is not known."""
    made = make_set(tmp_path / "set", noise(2), attributes=[{"plane": "axial"}])
    text = (export(made, tmp_path / "out", to="png", show=False) / "datasheet.md").read_text(encoding="utf-8")
    sections = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "Motivation",
        "Composition",
        "Collection process",
        "Preprocessing, cleaning, labelling",
        "Uses",
        "Distribution",
        "Maintenance",
    ]
    for said in ("2 images are synthetic", MODEL["sha256"], "CC BY 4.0", "plane: axial 2", "no known size in mm"):
        assert said in text


@pytest.mark.parametrize("to", ["nifti", "bids"])
def test_synthetic_volumes_come_back_as_synthetic(tmp_path: Path, to: Any):
    """The header's description, or the sidecar alone, says so: they are no scans, and of no patient."""
    made = make_phantoms(4, tmp_path / "set", size=64, modalities=("MR",))
    out = export(made, tmp_path / "out", to=to, show=False)
    if to == "bids":  # another program wrote the header anew
        for path in out.rglob("*.nii.gz"):
            volume: Any = nibabel.load(path)
            nibabel.save(nibabel.Nifti1Image(volume.get_fdata().astype(np.uint8), volume.affine), path)
    run(out, tmp_path / "back", ImportConfig(size=64, modality="MR"))
    images = ImageSet.open(tmp_path / "back")
    assert {(row.synthetic, row.patient_id) for row in images.rows} == {(True, "")}
    planes = [row["plane"] for row in ImageSet.open(made).rows]
    assert [row["plane"] for row in images.rows] == planes, "a slice is not cut across, however thin it is"
