"""Import keeps masks with their images: which belongs to which, and where it lies."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from phonybrains.errors import ConfigError, SourceError
from phonybrains.exporting.stage import export
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, ImportReport, Source
from phonybrains.importing.resize import fit_mask, place
from phonybrains.phantom.corpus import make_phantoms
from tests.importing.test_fetch import AFFINE, ct_ich_folder, mat_bytes, stored_scan
from tests.support.imports import run
from tests.support.pictures import head, save, write_table
from tests.support.volume_files import head as volume_head
from tests.support.volume_files import volume

MR = ImportConfig(modality="MR", size=64, outline="tumour")
Mask = NDArray[np.bool_]


def outline(seed: int, size: int = 64) -> Mask:
    """A box somewhere within the head."""
    left, top = np.random.default_rng(seed).integers(16, 32, 2)
    mask = np.zeros((64, 64), np.bool_)
    mask[top : top + 12, left : left + 16] = True
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def masked(tmp_path: Path, **changes: object) -> tuple[ImageSet, ImportReport]:
    report = run(tmp_path / "in", tmp_path / "out", MR.model_copy(update={"masks": tmp_path / "masks"} | changes))
    return ImageSet.open(tmp_path / "out"), report


def said(report: ImportReport, kind: str = "warning") -> str:
    return "\n".join(f"{notice.file}: {notice.reason}" for notice in report.notices if notice.kind == kind)


@pytest.mark.parametrize("kind", ["1 bit", "0 and 1", "0 and 255", "16 bit", "half size", "tif", "1 bit, tif"])
def test_a_mask_comes_with_the_image_of_its_name(tmp_path: Path, kind: str) -> None:
    """Masks of 1, 8 and 16 bit, and of another size and the same aspect, become 0 and 255 of the image's size."""
    for number in range(3):
        mask = outline(number)
        whole = mask.astype(np.uint8) * (1 if kind == "0 and 1" else 255)
        pixels = {
            "1 bit": Image.fromarray(mask),
            "1 bit, tif": Image.fromarray(mask),
            "16 bit": mask.astype(np.uint16) * 3,
            "half size": whole[::2, ::2],
        }.get(kind, whole)
        save(tmp_path / f"in/{number}.png", head(number))
        save(tmp_path / f"masks/{number}.{'tif' if kind.endswith('tif') else 'png'}", pixels)
    images, report = masked(tmp_path)
    for number in range(3):
        assert_array_equal(images.pixels(number), head(number))
        expected = np.repeat(np.repeat(outline(number)[::2, ::2], 2, 0), 2, 1) if kind == "half size" else None
        assert_array_equal(images.mask(number), outline(number) if expected is None else expected)
    assert images.outline == "tumour"
    assert report.results["masks"] == {"outline": "tumour", "images": 3, "empty": 0}
    assert "mask" not in said(report)


def test_images_are_the_same_with_masks_and_without(tmp_path: Path) -> None:
    """A row differs by the mask's name and hash alone, and no file of the set names the folder of the masks."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "masks/a.png", Image.fromarray(outline(1)))
    images, _ = masked(tmp_path)
    run(tmp_path / "in", tmp_path / "plain", MR.model_copy(update={"outline": ""}))
    plain = ImageSet.open(tmp_path / "plain")
    assert plain.rows[0].sha256 == images.rows[0].sha256
    assert plain.rows[0].source == images.rows[0].source
    assert "mask" not in (tmp_path / "plain/metadata.csv").read_text()
    assert str(tmp_path) not in (tmp_path / "out/record.json").read_text()
    assert "mask_label" not in plain.record["config"]


def test_a_mask_is_placed_as_its_image_is(tmp_path: Path) -> None:
    """An oblong picture is padded, and its mask with it: what is bright there is outlined."""
    pixels = np.full((40, 80), 50, np.uint8)
    pixels[8:24, 16:48] = 250
    save(tmp_path / "in/a.png", pixels)
    save(tmp_path / "masks/a.png", Image.fromarray(pixels == 250))
    images, _ = masked(tmp_path)
    mask = images.mask(0)
    assert mask is not None
    down, across = np.nonzero(mask)
    assert (down.min(), down.max() + 1, across.min(), across.max() + 1) == (16 + 6, 16 + 19, 13, 38)
    assert images.pixels(0)[mask].min() > 150


def test_a_pixel_that_is_covered_by_half_is_inside() -> None:
    """Reduced by four, a pixel has the share of 16: 8 are enough, 7 are not."""
    mask = np.zeros((16, 16), np.bool_)
    mask[:2, :4] = True
    mask[4, 4:8] = mask[5, 4:7] = True
    found = fit_mask(mask, place((16, 16), (1, 1), 4))
    assert found[0, 0]
    assert found.sum() == 1


def test_a_lesion_that_is_small_does_not_vanish() -> None:
    """An empty mask would say that nothing is there: the pixel that is covered most is inside, if only by a little."""
    mask = np.zeros((64, 64), np.bool_)
    mask[20:22, 33] = True
    found = fit_mask(mask, place((64, 64), (1, 1), 16))
    assert np.argwhere(found).tolist() == [[5, 8]]
    assert not fit_mask(mask & False, place((64, 64), (1, 1), 16)).any()


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    """Images without a mask, masks without an image, empty, of another aspect, gray: reported; no image is lost."""
    for number in range(5):
        save(tmp_path / f"in/{number}.png", head(number))
    save(tmp_path / "masks/1.png", np.zeros((64, 64), np.uint8))
    save(tmp_path / "masks/2.png", np.zeros((32, 64), np.uint8))
    save(tmp_path / "masks/3.png", head(3))
    save(tmp_path / "masks/4.png", Image.fromarray(outline(4)))
    save(tmp_path / "masks/9.png", Image.fromarray(outline(9)))
    images, report = masked(tmp_path)
    assert [row.mask_file_name for row in images.rows] == ["", "masks/000002.png", "", "", "masks/000005.png"]
    mask = images.mask(1)
    assert mask is not None
    assert not mask.any()
    text = said(report)
    assert "1 mask of no image: masks/9.png" in text
    assert "3 images without a mask: in/0.png, in/2.png, in/3.png" in text
    assert "mask 2.png of in/2.png: a mask of another shape (64×32, and its image 64×64): left out" in text
    assert "gray levels, and a mask has few" in text
    assert "1 empty mask, nothing is outlined: in/1.png" in said(report, "note")
    assert report.results["masks"] == {"outline": "tumour", "images": 2, "empty": 1}


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif"])
def test_a_lossy_copy_of_a_mask_is_refused_however_few_levels_it_has(tmp_path: Path, name: str) -> None:
    """JPEG leaves values a little above 0 around an outline, which would be inside, in files of every kind."""
    save(tmp_path / "in/a.png", head(1))
    whole = Image.fromarray(outline(1).astype(np.uint8) * 255)
    (tmp_path / "masks").mkdir()
    whole.save(tmp_path / "masks" / name, **({"compression": "jpeg"} if name == "a.tif" else {"quality": 90}))
    assert len(np.unique(np.asarray(Image.open(tmp_path / "masks" / name).convert("L")))) in range(3, 64)
    images, report = masked(tmp_path)
    assert images.mask(0) is None
    assert "gray levels, and a mask has few: save it without smoothing, and not as JPEG" in said(report)


@pytest.mark.parametrize(("images", "masks"), [(3, 3), (3, 2), (3, 4), (1, 3), (3, 1)])
def test_a_stack_has_a_mask_of_as_many_pages(tmp_path: Path, images: int, masks: int) -> None:
    """With more or fewer, nobody knows which page is of which: the slices come without."""
    for folder, pages in (("in", [head(n) for n in range(images)]), ("masks", [outline(n) for n in range(masks)])):
        (tmp_path / folder).mkdir()
        first, *more = [Image.fromarray(page.astype(np.uint8)) for page in pages]
        first.save(tmp_path / folder / "a.tif", save_all=True, append_images=more)
    found, report = masked(tmp_path)
    assert len(found) == images
    for number in range(images):
        expected = outline(number) if images == masks else None
        assert_array_equal(found.mask(number), expected)
    complaint = f"mask a.tif of in/a.tif: has {masks} page{'s' * (masks > 1)}, and its image {images}: left out"
    assert said(report).count(complaint) == (images != masks)


def test_sources_may_share_a_folder_of_masks(tmp_path: Path) -> None:
    """What one of them has an image for is no mask of no image, and what none has one for is named once."""
    for number, source in enumerate("ab"):
        save(tmp_path / f"{source}/{number}.png", head(number))
        save(tmp_path / f"masks/{number}.png", Image.fromarray(outline(number)))
    save(tmp_path / "masks/9.png", Image.fromarray(outline(9)))
    sources = {source: Source(masks=tmp_path / "masks") for source in "ab"}
    report = run([tmp_path / "a", tmp_path / "b"], tmp_path / "out", MR.model_copy(update={"sources": sources}))
    assert report.results["masks"]["images"] == 2
    assert said(report).count("of no image") == 1
    assert "1 mask of no image: masks/9.png" in said(report)


def test_a_label_can_be_chosen(tmp_path: Path) -> None:
    """Of a label map one label is inside, or everything but 0."""
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 10:20], labels[30:40, 30:40] = 1, 2
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "masks/a.png", labels)
    assert_array_equal(masked(tmp_path, mask_label=2)[0].mask(0), labels == 2)
    run(tmp_path / "in", tmp_path / "all", MR.model_copy(update={"masks": tmp_path / "masks"}))
    assert_array_equal(ImageSet.open(tmp_path / "all").mask(0), labels > 0)


def test_masks_that_outline_nothing_are_doubted(tmp_path: Path) -> None:
    """A label that is in no mask, and a mask of all pixels, which `generate --mask` would refuse."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "masks/a.png", np.full((64, 64), 255, np.uint8))
    _, report = masked(tmp_path)
    assert "1 mask covers the whole image, so nothing is outlined: in/a.png. Is inside 0 there" in said(report)
    assert "label" not in said(report)
    other = MR.model_copy(update={"masks": tmp_path / "masks", "mask_label": 1})
    report = run(tmp_path / "in", tmp_path / "other", other)
    assert "the label 1 is in no mask. Is it the right one?" in said(report)


@pytest.mark.parametrize("where", ["in/masks", "in"])
def test_masks_among_the_images_are_no_images(tmp_path: Path, where: str) -> None:
    """A folder of masks within the source, or names that end in _mask beside the images."""
    end = "_mask" if where == "in" else ""
    for number in range(2):
        save(tmp_path / f"in/{number}.png", head(number))
        save(tmp_path / where / f"{number}{end}.png", Image.fromarray(outline(number)))
    images, _ = masked(tmp_path, masks=tmp_path / where)
    assert len(images) == 2
    assert_array_equal(images.mask(1), outline(1))


@pytest.mark.parametrize("where", ["a link", "archives", "beside, archives"])
def test_masks_among_the_images_are_no_images_wherever_these_are_read(tmp_path: Path, where: str) -> None:
    """The folder of masks is a link out of the source, or an archive in the source makes it be read from a copy."""
    beside = where.startswith("beside")
    masks = tmp_path / ("in" if beside else "elsewhere" if where == "a link" else "in/masks")
    for number in range(2):
        save(tmp_path / f"in/{number}.png", head(number))
        save(masks / f"{number}{'_mask' if beside else ''}.png", Image.fromarray(outline(number)))
    if where == "a link":
        (tmp_path / "in/masks").symlink_to(masks)
        masks = tmp_path / "in/masks"
    else:
        save(tmp_path / "2.png", head(2))
        with ZipFile(tmp_path / "in/more.zip", "w") as archive:
            archive.write(tmp_path / "2.png", "2.png")
    images, _ = masked(tmp_path, masks=masks)
    assert len(images) == (2 if where == "a link" else 3)
    assert_array_equal(images.mask(1), outline(1))


def test_masks_in_an_archive_are_unpacked_elsewhere(tmp_path: Path) -> None:
    """The folder of masks is as it was, also after a second import."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "a.png", Image.fromarray(outline(1)))
    (tmp_path / "masks").mkdir()
    with ZipFile(tmp_path / "masks/all.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    for _ in range(2):
        images, _ = masked(tmp_path)
        assert_array_equal(images.mask(0), outline(1))
        assert [path.name for path in (tmp_path / "masks").rglob("*")] == ["all.zip"]


def test_folders_tell_images_of_one_name_apart(tmp_path: Path) -> None:
    """Where the masks lie in folders as the images do, the path decides; else one name for two is an error."""
    for place_, number in (("a", 1), ("b", 2)):
        save(tmp_path / f"in/{place_}/1.png", head(number))
        save(tmp_path / f"masks/{place_}/1.png", Image.fromarray(outline(number)))
    images, _ = masked(tmp_path)
    assert_array_equal(images.mask(0), outline(1))
    assert_array_equal(images.mask(1), outline(2))
    save(tmp_path / "one/1.png", Image.fromarray(outline(1)))
    with pytest.raises(SourceError, match=r"one/1\.png has the name of images in several folders"):
        masked(tmp_path, masks=tmp_path / "one")
    save(tmp_path / "two/x/1.png", Image.fromarray(outline(1)))
    save(tmp_path / "two/y/1.png", Image.fromarray(outline(1)))
    with pytest.raises(SourceError, match=r"two/x/1\.png and two/y/1\.png: both have the name of in/a/1\.png"):
        masked(tmp_path, masks=tmp_path / "two")


@pytest.mark.parametrize("kind", ["image set", "table", "export"])
def test_masks_of_a_set_are_replaced_out_of_one_folder(tmp_path: Path, kind: str) -> None:
    """The masks that the set has already are no images, whose names would make the new ones ambiguous."""
    source = make_phantoms(3, tmp_path / "in", size=64, modalities=("MR",), masks="lesion")
    if kind == "table":
        (source / "record.json").unlink()
    if kind == "export":
        source = export(source, tmp_path / "png", to="png", show=False)
    for number in range(3):
        save(tmp_path / f"flat/{number:06d}.png", Image.fromarray(outline(number)))
    report = run(source, tmp_path / "out", MR.model_copy(update={"masks": tmp_path / "flat"}))
    images = ImageSet.open(tmp_path / "out")
    assert len(images) == 3
    for number in range(3):
        assert_array_equal(images.mask(number), outline(number))
    assert "mask" not in said(report)


def test_a_label_is_that_of_the_masks_that_are_given(tmp_path: Path) -> None:
    """Those that the set has already are no label maps, and would all be empty."""
    source = make_phantoms(3, tmp_path / "in", size=64, modalities=("MR",), masks="lesion")
    save(tmp_path / "flat/000001.png", outline(1).astype(np.uint8) * 2)
    images = ImageSet.open(source)
    run(source, tmp_path / "out", MR.model_copy(update={"masks": tmp_path / "flat", "mask_label": 2}))
    for number, expected in enumerate((images.mask(0), outline(1), images.mask(2))):
        assert_array_equal(ImageSet.open(tmp_path / "out").mask(number), expected)


def test_masks_of_other_images_are_refused_at_once(tmp_path: Path) -> None:
    """No folder, no file of an image's name, one folder for two sources: an error that says what to do, and no set."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "masks/b.png", Image.fromarray(outline(1)))
    with pytest.raises(SourceError, match=r"of its 1 file none has the name of an image of in, such as in/a\.png"):
        masked(tmp_path)
    with pytest.raises(SourceError, match="masks lie in a folder, and there is none"):
        masked(tmp_path, masks=tmp_path / "nowhere")
    save(tmp_path / "more/b.png", head(2))
    both = [tmp_path / "in", tmp_path / "more"]
    with pytest.raises(ConfigError, match=r"belongs to one source, and 2 are given.*\[sources\.NAME\]"):
        run(both, tmp_path / "out", MR.model_copy(update={"masks": tmp_path / "masks"}))
    assert not (tmp_path / "out").exists()
    run(both, tmp_path / "out", MR.model_copy(update={"sources": {"more": Source(masks=tmp_path / "masks")}}))
    images = ImageSet.open(tmp_path / "out")
    assert images.mask(0) is None
    assert_array_equal(images.mask(1), outline(1))


def test_other_masks_make_another_set(tmp_path: Path) -> None:
    """The same command with a mask changed is not taken for finished."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "masks/a.png", Image.fromarray(outline(1)))
    _, first = masked(tmp_path)
    _, again = masked(tmp_path)
    identity = ImageSet.open(tmp_path / "out").record["identity"]
    assert (first.finished_before, again.finished_before) == (False, True)
    save(tmp_path / "masks/a.png", Image.fromarray(outline(2)))
    run(tmp_path / "in", tmp_path / "other", MR.model_copy(update={"masks": tmp_path / "masks"}))
    assert ImageSet.open(tmp_path / "other").record["identity"] != identity


def test_an_image_set_keeps_its_masks(tmp_path: Path) -> None:
    """Imported again, alone or in a folder of sets, at half the size: masks come with their images, and none as one."""
    made = ImageSet.open(make_phantoms(6, tmp_path / "in/set", size=128, masks="lesion", synthetic=False))
    for source in ("in/set", "in"):
        out = tmp_path / f"from-{source.replace('/', '-')}"
        run(tmp_path / source, out, ImportConfig(size=64))
        images = ImageSet.open(out)
        assert len(images) == 6
        for number in range(6):
            before, after = made.mask(number), images.mask(number)
            assert before is not None
            assert after is not None
            assert_array_equal(after, before.reshape(64, 2, 64, 2).mean((1, 3)) >= 0.5)
    assert ImageSet.open(tmp_path / "from-in-set").outline == "lesion"


def test_a_table_may_name_masks(tmp_path: Path) -> None:
    """The column mask_file_name of a metadata.csv, as an image set has it; a wrong hash is a warning."""
    rows = [{"file_name": f"{n}.png", "modality": "MR", "mask_file_name": f"m{n}.png"} for n in range(2)]
    write_table(tmp_path / "in", [row | {"mask_sha256": "" if n else "0" * 64} for n, row in enumerate(rows)])
    for number in range(2):
        save(tmp_path / f"in/{number}.png", head(number))
        save(tmp_path / f"in/m{number}.png", Image.fromarray(outline(number)))
    images, report = masked(tmp_path, masks=None)
    assert images.mask(0) is None
    assert_array_equal(images.mask(1), outline(1))
    assert "mask m0.png of in/0.png: its SHA-256 differs from the one in metadata.csv" in said(report)


@pytest.mark.parametrize("spelling", ["images\\{}.png", "./images/{}.png"])
def test_a_table_may_spell_paths_as_its_system_does(tmp_path: Path, spelling: str) -> None:
    """A table that was written on Windows: masks are found, and are no images."""
    for number in range(2):
        save(tmp_path / f"in/images/{number}.png", head(number))
        save(tmp_path / f"in/masks/{number}.png", Image.fromarray(outline(number)))
    names = [spelling.format(number) for number in range(2)]
    rows = [{"file_name": name, "mask_file_name": name.replace("images", "masks")} for name in names]
    write_table(tmp_path / "in", rows)
    images, _ = masked(tmp_path, masks=None)
    assert len(images) == 2
    assert_array_equal(images.mask(1), outline(1))


def test_a_table_names_masks_of_its_folder_alone(tmp_path: Path) -> None:
    """What lies elsewhere is no part of the source: it is not read, and the report says so."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "elsewhere/a.png", Image.fromarray(outline(1)))
    write_table(tmp_path / "in", [{"file_name": "a.png", "mask_file_name": "../elsewhere/a.png"}])
    images, report = masked(tmp_path, masks=None)
    assert images.mask(0) is None
    assert "row 2: mask_file_name '../elsewhere/a.png' does not lie inside the folder" in said(report)


def test_a_folder_of_masks_replaces_those_of_the_table(tmp_path: Path) -> None:
    """An image set comes with other masks: its own, and their hashes, count no more, and none becomes an image."""
    made = ImageSet.open(make_phantoms(2, tmp_path / "in", size=64, masks="lesion", synthetic=False))
    for number, row in enumerate(made.rows):
        save(tmp_path / "masks" / row.file_name, Image.fromarray(outline(number)))
    images, report = masked(tmp_path)
    assert len(images) == 2
    for number in range(2):
        assert_array_equal(images.mask(number), outline(number))
    assert "SHA-256" not in said(report)


@pytest.mark.parametrize("what", ["frames", "probabilities", "nan"])
def test_a_volume_that_is_no_label_map_outlines_nothing(tmp_path: Path, what: str) -> None:
    """One frame for each label, the first of the background; shares; values that are not known."""
    values = volume_head(1, (24, 24, 6))
    labels = (values > 300).astype(np.float32)
    given = {
        "frames": np.stack([1 - labels, labels], -1),
        "probabilities": labels * np.float32(0.6) + np.float32(0.2),
        "nan": np.where(labels > 0, labels, np.nan),
    }
    volume(tmp_path / "in/p1_T1w.nii.gz", values, np.eye(4))
    volume(tmp_path / "masks/p1_T1w.nii.gz", given[what], np.eye(4))
    images, report = masked(tmp_path)
    assert all(images.mask(number) is None for number in range(len(images)))
    why = "it has 2 frames, and its image 1" if what == "frames" else "its values are not whole numbers"
    assert f"mask p1_T1w.nii.gz of in/p1_T1w.nii.gz: {why}" in said(report)


def test_of_frames_the_mask_is_that_of_the_frame_that_is_taken(tmp_path: Path) -> None:
    """The second frame of the image comes with the second of its labels."""
    values = volume_head(1, (24, 24, 6))
    labels = (values > 300).astype(np.uint8)
    volume(tmp_path / "in/p1_T1w.nii.gz", np.stack([values, values], -1), np.eye(4))
    volume(tmp_path / "masks/p1_T1w.nii.gz", np.stack([labels * 0, labels], -1), np.eye(4))
    images, _ = masked(tmp_path, size=24, frame=2)
    assert any(mask.any() for i in range(len(images)) if (mask := images.mask(i)) is not None)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_a_label_map_is_turned_and_cut_as_its_volume(tmp_path: Path, axes: str) -> None:
    """However both are stored, in nnU-Net's names: what is brightest in the slices is what is outlined."""
    values = volume_head(1, (24, 24, 6))
    values[14:19, 6:10, 1:4] = 900
    volume(tmp_path / "in/imagesTr/p1_0000.nii.gz", values, np.eye(4), axes)
    volume(tmp_path / "in/labelsTr/p1.nii.gz", (values == 900).astype(np.uint8) * 3, np.eye(4), axes)
    images, report = masked(tmp_path, size=24, masks=tmp_path / "in/labelsTr")
    assert len(images) == 6
    for number in range(6):
        assert_array_equal(images.mask(number), images.pixels(number) > 200)
    assert report.results["masks"] == {"outline": "tumour", "images": 6, "empty": 3}
    assert not said(report).count("label map")


def test_a_label_map_on_another_grid_is_left_out(tmp_path: Path) -> None:
    """Same size, shifted by a millimetre: the images come without, and the report says why."""
    values, shifted = volume_head(1, (24, 24, 6)), np.eye(4)
    shifted[0, 3] = 1
    volume(tmp_path / "in/p1_T1w.nii.gz", values, np.eye(4))
    volume(tmp_path / "masks/p1_T1w.nii.gz", (values > 300).astype(np.uint8), shifted)
    images, report = masked(tmp_path)
    assert all(images.mask(number) is None for number in range(len(images)))
    assert "mask p1_T1w.nii.gz of in/p1_T1w.nii.gz: it lies on another grid than its image" in said(report)


def test_the_masks_of_ct_ich_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    """Blood of 70 HU at the right front of the upper slice."""
    ct_ich_folder(tmp_path / "in", AFFINE, stored_scan())
    images, _ = masked(tmp_path, masks=tmp_path / "in/masks", size=60, empty_below=0.0)
    assert [mask.any() for i in range(len(images)) if (mask := images.mask(i)) is not None] == [False, True]
    mask = images.mask(1)
    assert mask is not None
    assert images.pixels(1)[mask].min() > 150
    run(tmp_path / "in", tmp_path / "plain", MR)
    assert ImageSet.open(tmp_path / "plain").mask(1) is None


def test_the_masks_of_cheng2017_are_those_of_its_files(tmp_path: Path) -> None:
    """The source itself is named as the folder of masks; without, the masks stay out."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/7.mat").write_bytes(mat_bytes())
    images, report = masked(tmp_path, masks=tmp_path / "in")
    mask = images.mask(0)
    assert mask is not None
    down, across = np.nonzero(mask)
    assert (down.min(), down.max() + 1, across.min(), across.max() + 1) == (8 + 12, 8 + 24, 48, 56)
    assert report.results["masks"]["images"] == 1
    run(tmp_path / "in", tmp_path / "plain", MR)
    assert ImageSet.open(tmp_path / "plain").mask(0) is None


def test_a_duplicate_with_another_mask_is_told(tmp_path: Path) -> None:
    """The first of two equal images stays as it is; that the second was outlined, or otherwise, is reported."""
    for name in ("0", "1", "2", "3"):
        save(tmp_path / f"in/{name}.png", head(0 if name < "2" else 1))
    for name, number in (("1", 1), ("2", 1), ("3", 1)):
        save(tmp_path / f"masks/{name}.png", Image.fromarray(outline(number)))
    images, report = masked(tmp_path)
    assert [bool(row.mask_file_name) for row in images.rows] == [False, True]
    assert said(report, "duplicate").splitlines() == [
        "in/1.png: same pixels as in/0.png, though mask differs; left out",
        "in/3.png: same pixels as in/2.png; left out",
    ]
