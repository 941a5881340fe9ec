"""The phantoms are what their attributes say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phonybrains.errors import ConfigError
from phonybrains.imageset import ImageSet
from phonybrains.phantom.anatomy import FIELD_OF_VIEW_MM, HEMORRHAGES, TUMOURS, Tissue
from phonybrains.phantom.corpus import MASKS, draw_level, draw_patient, draw_phantom, draw_slice, make_phantoms
from phonybrains.phantom.paint import cut_head, paint_labels

PIXEL_MM2 = (FIELD_OF_VIEW_MM / 256) ** 2


def draw(seed, modality, plane="axial", level=None, lesion="none", noise=0.0, size=256):
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, modality, lesion=lesion)
    level = draw_level(rng, patient, plane) if level is None else level
    return draw_slice(rng, patient, plane, level, noise=noise, size=size)


def test_image_depends_on_seed_and_index_alone(tmp_path):
    """Image i is the same in a set of 10 and of 20, and another seed gives another image."""
    few = ImageSet.open(make_phantoms(10, tmp_path / "few", seed=3, size=64))
    many = ImageSet.open(make_phantoms(20, tmp_path / "many", seed=3, size=64))
    other = ImageSet.open(make_phantoms(10, tmp_path / "other", seed=4, size=64))
    assert few.rows == many.rows[:10]
    assert all(a.sha256 != b.sha256 for a, b in zip(few.rows, other.rows, strict=True))
    assert len({row.sha256 for row in many.rows}) == 20


def test_same_command_again_changes_nothing(tmp_path):
    """A finished set is left as it is."""
    out = make_phantoms(3, tmp_path / "set", size=32)
    before = (out / "metadata.csv").stat().st_mtime_ns
    make_phantoms(3, tmp_path / "set", size=32)
    assert (out / "metadata.csv").stat().st_mtime_ns == before


def test_set_is_half_mr_and_split_by_patient(tmp_path):
    """Modalities are even, MR has the three planes, no patient is in two splits, two tenths are held out."""
    rows = ImageSet.open(make_phantoms(80, tmp_path / "set", size=32, slices_per_patient=2)).rows
    assert sum(row.modality == "MR" for row in rows) == 40
    assert {row["plane"] for row in rows if row.modality == "MR"} == {"axial", "coronal", "sagittal"}
    splits = {row.patient_id: set[str]() for row in rows}
    for row in rows:
        splits[row.patient_id].add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    counts = [sum(found == {name} for found in splits.values()) for name in ("train", "validation", "test")]
    assert counts == [32, 4, 4]
    assert rows[0].split == "train"


def test_ct_values_are_hounsfield_units(tmp_path):
    """Slope and intercept turn CT pixels into HU: brain near 30, skull at the window's top."""
    images = ImageSet.open(make_phantoms(4, tmp_path / "set", modalities=("CT",)))
    values = images.values(0)
    middle = np.median(values[118:138, 100:156])
    assert images.rows[0].unit == "HU"
    assert 20 < middle < 45
    assert values.max() == pytest.approx(80, abs=0.01)


@pytest.mark.parametrize(("modality", "brighter"), [("CT", True), ("MR", False)])
def test_skull_is_bright_in_ct_and_dark_in_mr(modality, brighter):
    """Along a ray from outside, skull is brighter than brain in CT and darker in MR."""
    pixels, _ = draw(0, modality, level=50.0)
    row = pixels[128].astype(int)
    scalp = np.flatnonzero(row > 40)[0]
    skull = row[scalp + 1 : scalp + 12]
    brain = np.median(row[100:156])
    assert (skull.max() > brain + 80) if brighter else (skull.min() < brain - 60)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("seed", range(5))
def test_ventricle_area_is_the_area_in_the_picture(modality, seed):
    """The dark area in the middle of a noise-free slice, partial volumes included, is the row's area within 2 %."""
    pixels, attributes = draw(seed, modality, level=26.0)
    middle = pixels[94:162, 100:156].astype(float)
    white, dark = np.median(middle), np.median(middle[middle < 0.6 * np.median(middle)])
    area = ((white - middle) / (white - dark)).sum() * PIXEL_MM2
    assert area == pytest.approx(attributes["ventricle_area_mm2"], rel=0.02)


def test_ventricles_grow_with_age():
    """At one level, ventricle area and age correlate above 0.6."""
    drawn = [draw(seed, "CT", level=21.0, size=128)[1] for seed in range(80)]
    ages, areas = ([float(a[name]) for a in drawn] for name in ("age_years", "ventricle_area_mm2"))
    assert np.corrcoef(ages, areas)[0, 1] > 0.6


@pytest.mark.parametrize(("modality", "kind"), [*(("MR", k) for k in TUMOURS), *(("CT", k) for k in HEMORRHAGES)])
def test_lesion_box_holds_what_the_lesion_changed(modality, kind):
    """Against the same head without its lesion, the pixels that became brighter fill the box and lie in it."""
    seen = 0
    for seed in range(8):
        patient = draw_patient(np.random.default_rng(seed), modality, lesion=kind)
        level = patient.centre[2]
        pixels, attributes = draw_slice(np.random.default_rng(seed), patient, "axial", level, noise=0)
        healthy, _ = draw_slice(np.random.default_rng(seed), replace(patient, lesion="none"), "axial", level, noise=0)
        name = attributes["diagnosis" if modality == "MR" else "hemorrhage"]
        if name == "none":
            assert attributes["lesion_x"] is None
            assert (pixels == healthy).all()
            continue
        seen += 1
        assert name == kind
        rows, columns = np.nonzero(pixels.astype(int) - healthy > 12)
        for found, place, extent in ((columns, "lesion_x", "lesion_width"), (rows, "lesion_y", "lesion_height")):
            centre, half = 256 * float(attributes[place]), 128 * float(attributes[extent])
            assert [found.min(), found.max() + 1] == pytest.approx([centre - half, centre + half], abs=6)
    assert seen >= 6


@pytest.mark.parametrize("seed", range(4))
def test_epidural_blood_is_a_lens_and_subdural_a_crescent(seed):
    """Half-way between two points of an epidural haematoma there is blood; of a subdural one, often brain."""

    def convexity(kind):
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng, "CT", lesion=kind)
        labels = paint_labels(rng, patient, cut_head(rng, 1.0, "axial", patient.centre[2], 256, 0.0), 256)
        blood = np.argwhere(labels == Tissue.BLOOD)
        halfway = (rng.choice(blood, 4000) + rng.choice(blood, 4000)) // 2
        return float(np.mean(labels[halfway[:, 0], halfway[:, 1]] == Tissue.BLOOD))

    assert convexity("epidural") > 0.97
    assert convexity("subdural") < 0.85


def test_without_lesion_there_is_no_box():
    """A healthy head has diagnosis or hemorrhage "none" and no lesion box."""
    _, attributes = draw(1, "MR")
    assert attributes["diagnosis"] == "none"
    assert attributes["hemorrhage"] is None
    assert attributes["lesion_width"] is None


def test_unknown_words_are_refused():
    """A modality, plane or lesion that does not exist is an error that lists what does."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="MR or CT"):
        draw_phantom(rng, "PET")
    with pytest.raises(ValueError, match="epidural"):
        draw_phantom(rng, "CT", lesion="glioma")
    with pytest.raises(ValueError, match="axial, coronal, sagittal"):
        draw_slice(rng, draw_patient(rng, "MR"), "oblique", 0.0)


@pytest.mark.parametrize("what", MASKS)
def test_masks_are_exact_and_change_no_image(tmp_path, what):
    """Box and area counted on the labels are those of the masks; without masks the images and rows are the same."""
    plain = ImageSet.open(make_phantoms(16, tmp_path / "plain", size=64, seed=2))
    masked = ImageSet.open(make_phantoms(16, tmp_path / "masked", size=64, seed=2, masks=what))
    assert [replace(row, mask_file_name="", mask_sha256="") for row in masked.rows] == list(plain.rows)
    assert (plain.outline, masked.outline) == ("", what)
    assert plain.mask(0) is None
    masks = [masked.mask(i) for i in range(16)]
    for row, mask in zip(masked.rows, masks, strict=True):
        if what == "lesion":
            box = [row[f"lesion_{name}"] for name in ("x", "y", "width", "height")]
            assert (box == [None] * 4) == (not mask.any())
            if mask.any():
                down, across = np.nonzero(mask)
                assert box[2:] == [(np.ptp(across) + 1) / 64, (np.ptp(down) + 1) / 64]
                assert box[0] == (across.min() + across.max() + 1) / 128
        elif what == "ventricles":
            assert row["ventricle_area_mm2"] == mask.sum() * (FIELD_OF_VIEW_MM / 64) ** 2
        else:
            area = row["brain_area_mm2"] + row["ventricle_area_mm2"]
            assert area < mask.sum() * (FIELD_OF_VIEW_MM / 64) ** 2 < 0.9 * FIELD_OF_VIEW_MM**2
    assert any(mask.any() for mask in masks)
    if what == "lesion":
        assert not all(mask.any() for mask in masks)


def test_unknown_masks_are_refused(tmp_path):
    """The error lists what can be outlined."""
    with pytest.raises(ConfigError, match="there are masks of lesion, ventricles, head"):
        make_phantoms(1, tmp_path / "set", masks="nose")
