"""Import of pictures: formats, sizes, what metadata.csv says, and what is written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from phonybrains.errors import OutputError
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, ImportReport, Source, import_images
from phonybrains.importing.resize import fit, place, to_pixels
from tests.support.dicom_files import write
from tests.support.imports import reasons, run, table
from tests.support.pictures import head, save, write_table
from tests.support.places import SHARED
from tests.support.volume_files import volume

MR = ImportConfig(modality="MR", size=64)


def imported(tmp_path: Path, config: ImportConfig = MR, **options) -> ImportReport:
    return run(tmp_path / "in", tmp_path / "out", config, **options)


def image_set(tmp_path: Path, config: ImportConfig = MR) -> ImageSet:
    imported(tmp_path, config)
    return ImageSet.open(tmp_path / "out")


def put(tmp_path: Path, *rows: dict, size: int = 64) -> None:
    """Pictures, each another, with a table that describes them."""
    for number, row in enumerate(rows):
        save(tmp_path / "in" / row["file_name"], head(number, size))
    write_table(tmp_path / "in", rows)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.gif", "no_extension"])
def test_lossless_formats_keep_every_pixel(tmp_path, name):
    """An 8-bit picture that has the set's size already comes through unchanged, whatever its lossless format."""
    options = {"lossless": True} if name.endswith("webp") else {"format": "PNG"} if "." not in name else {}
    save(tmp_path / "in" / name, head(1), **options)
    images = image_set(tmp_path)
    assert_array_equal(images.pixels(0), head(1))
    assert (images.rows[0].slope, images.rows[0].intercept, images.rows[0].unit) == (1, 0, "a.u.")


def test_jpeg_is_read(tmp_path):
    """A JPEG differs from what it was made of only by its compression."""
    save(tmp_path / "in/a.jpg", head(1), quality=95)
    assert np.abs(image_set(tmp_path).pixels(0).astype(float) - head(1)).mean() < 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colour_modes_that_are_really_gray_are_accepted(tmp_path, mode):
    """Equal channels, full opacity or a gray palette hold the same gray image as a gray file."""
    save(tmp_path / "in/a.png", Image.fromarray(head(1)).convert(mode))
    assert_array_equal(image_set(tmp_path).pixels(0), head(1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_to_eight_with_a_slope(tmp_path, name):
    """0…65535 becomes 0…255 with slope 257, so that the values come back within half a step."""
    deep = (head(1).astype(np.uint16) * 257) ^ 1
    save(tmp_path / "in" / name, deep)
    images = image_set(tmp_path)
    assert (images.bits, images.rows[0].slope) == (8, 257)
    assert_allclose(images.values(0), deep, atol=129)


def test_sixteen_bits_can_be_kept(tmp_path):
    """With bits = 16 a 16-bit picture comes through unchanged."""
    deep = head(1).astype(np.uint16) * 257 + 3
    deep[0, 0] = 65535
    save(tmp_path / "in/a.png", deep)
    images = image_set(tmp_path, MR.model_copy(update={"bits": 16}))
    assert images.bits == 16
    assert_array_equal(images.pixels(0), deep)


def test_twelve_bits_in_sixteen_use_the_whole_range_alike_in_a_series(tmp_path):
    """All images of a folder share one white, the next 2ⁿ - 1 above their largest number, so they stay comparable."""
    for name, value in (("a", 4000), ("b", 900)):
        save(tmp_path / f"in/{name}.png", (value - 99 * np.eye(64)).astype(np.uint16))
    report = imported(tmp_path)
    rows = ImageSet.open(tmp_path / "out").rows
    assert [row.slope for row in rows] == [pytest.approx(4095 / 255)] * 2
    assert "4095 white" in "".join(reasons(report, "note").values())


def test_float_pictures_keep_their_values(tmp_path):
    """A float TIFF is scaled between 0 and its largest value; slope and intercept give the values back."""
    values = head(1).astype(np.float32) / 255
    save(tmp_path / "in/a.tif", values)
    assert_allclose(image_set(tmp_path).values(0), values, atol=1 / 255)


def test_everything_becomes_256_square_by_default(tmp_path):
    """Large and small, oblong or not, all images are 256×256."""
    for number, shape in enumerate([(512, 512), (650, 650), (100, 300), (31, 17)]):
        save(tmp_path / f"in/{number}.png", np.random.default_rng(number).integers(0, 255, shape, dtype=np.uint8))
    images = image_set(tmp_path, ImportConfig(modality="CT"))
    assert (len(images), images.height, images.width) == (4, 256, 256)


def test_aspect_is_kept_in_millimetres():
    """Rows twice as far apart as columns make the image twice as high; the rest is background."""
    placement = place((64, 64), (2.0, 1.0), 64)
    assert (placement.height, placement.width, placement.left, placement.top) == (64, 32, 16, 0)
    square = fit(np.full((64, 64), 7, np.float32), placement, -1)
    assert (square[:, [*range(16), *range(48, 64)]] == -1).all()
    assert_allclose(square[:, 16:48], 7, atol=1e-5)


def test_reduction_does_not_alias():
    """A pattern too fine for the smaller image becomes even gray, not a moiré."""
    fine = (np.indices((650, 650)).sum(axis=0) % 2 * 255).astype(np.float32)
    small = fit(fine, place(fine.shape, (1, 1), 256), 0)
    assert small[4:-4, 4:-4].std() < 10


def test_reduction_makes_no_halo_beside_bone():
    """Next to a step of 1000 HU no value falls below the darker side, as it would with negative lobes."""
    step = np.zeros((650, 650), np.float32)
    step[:, 300:] = 1000
    assert fit(step, place(step.shape, (1, 1), 256), 0).min() >= 0


def test_values_outside_the_window_do_not_bleed_into_it():
    """Values are cut before they are resampled: metal next to brain changes no more than white does."""
    rng = np.random.default_rng(0)
    brain = rng.uniform(0, 80, (128, 128)).astype(np.float32)
    metal, white = brain.copy(), brain.copy()
    metal[60:64], white[60:64] = 3000, 80
    placement = place((128, 128), (1, 1), 64)
    assert_array_equal(to_pixels(metal, 0, 80, placement, 8)[0], to_pixels(white, 0, 80, placement, 8)[0])


def test_lesion_box_follows_the_padding(tmp_path):
    """In a picture twice as high as wide the box, in fractions, is moved and shrunk along with the picture."""
    save(tmp_path / "in/a.png", head(1, 64)[:, 16:48])
    write_table(tmp_path / "in", [{"file_name": "a.png", "lesion_x": 0.5, "lesion_width": 0.4, "lesion_y": 0.3}])
    found = image_set(tmp_path).rows[0].attributes
    assert (found["lesion_x"], found["lesion_width"], found["lesion_y"]) == (0.5, 0.2, 0.3)


def test_metadata_becomes_rows_and_attributes(tmp_path):
    """Modality and all other columns arrive; several labels stay one text, a fixed column never is an attribute."""
    save(tmp_path / "in/images/a.png", head(1))
    save(tmp_path / "in/images/b.png", head(2))
    save(tmp_path / "in/deep/er/c.png", head(3))
    columns = ("file_name", "modality", "hemorrhage", "age", "source")
    rows = [("images/a.png", "CT", "epidural;subdural", 54, "x"), (r".\images\b.png", "MRI", "", "", "x")]
    write_table(tmp_path / "in", [dict(zip(columns, row, strict=True)) for row in rows])
    write_table(tmp_path / "in/deep", [{"file_name": "er/c.png", "modality": "ct", "plane": "axial"}])
    c, a, b = image_set(tmp_path, ImportConfig(size=64)).rows
    assert (a.modality, b.modality, c.modality) == ("CT", "MR", "CT")
    assert dict(a.attributes) == {"plane": None, "hemorrhage": "epidural;subdural", "age": 54}
    assert (b["hemorrhage"], c["plane"]) == (None, "axial")


def test_columns_that_may_identify_are_pointed_out_and_columns_can_be_chosen(tmp_path):
    """A column like patient_name is kept, as asked, but with a warning; only those that the configuration names are."""
    put(tmp_path, {"file_name": "a.png", "plane": "axial", "patient_name": "x"})
    assert any("patient_name" in text for text in said(imported(tmp_path)))
    report = run(tmp_path / "in", tmp_path / "chosen", MR.model_copy(update={"attributes": ("plane",)}))
    assert dict(ImageSet.open(tmp_path / "chosen").rows[0].attributes) == {"plane": "axial"}
    assert not any("identify" in text for text in said(report))


def said(report: ImportReport) -> list[str]:
    return [notice.reason for notice in report.notices if notice.kind == "warning"]


def test_patient_ids_are_nowhere_in_the_set(tmp_path):
    """No byte of the set holds an id as found, though it is in the files' names; one patient has one pseudonym."""
    put(tmp_path, *({"file_name": f"HOSPITAL-{n // 2}/{n}.png", "patient_id": f"HOSPITAL-{n // 2}"} for n in range(8)))
    found = [row.patient_id for row in image_set(tmp_path).rows]
    assert not any(b"HOSPITAL" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert all(name.startswith("P-") and len(name) == 14 for name in found)
    assert len(set(found)) == 4
    assert (tmp_path / "config/phonybrains/pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_exact_duplicates_are_left_out_and_listed(tmp_path):
    """The same pixels in another format are a duplicate; the first stays, and a contradiction is named."""
    put(tmp_path, *({"file_name": f"{name}.png", "patient_id": patient} for patient, name in enumerate("abc", start=1)))
    Image.open(tmp_path / "in/a.png").save(tmp_path / "in/b.png", "TIFF")
    report = imported(tmp_path)
    assert report.results["duplicates"] == 1
    assert reasons(report, "duplicate") == {"in/b.png": "same pixels as in/a.png, though patient differs; left out"}
    assert len(ImageSet.open(tmp_path / "out")) == 2


def test_an_image_set_comes_through_unchanged(tmp_path):
    """Values, split, pseudonyms, pixels and what is synthetic survive another import, and the record leads back."""
    facts = {"slope": 2, "intercept": -1000, "unit": "HU", "synthetic": "true"}
    put(tmp_path, *({"file_name": f"{n}.png", "patient_id": f"{n}", **facts} for n in range(12)))
    first = image_set(tmp_path, ImportConfig(modality="CT", size=64, sources={"in": Source(licence="CC0")}))
    report = run(first.folder, tmp_path / "second", ImportConfig(size=64, seed=9))
    second = ImageSet.open(tmp_path / "second")
    keep = ("patient_id", "split", "slope", "intercept", "unit", "synthetic")
    assert [[row[k] for k in keep] for row in first.rows] == [[row[k] for k in keep] for row in second.rows]
    assert [first.content(i) for i in range(12)] == [second.content(i) for i in range(12)]
    assert (second.rows[0].synthetic, second.rows[0].unit) == (True, "HU")
    assert report.results["split"] == {"CT": "as given"}
    assert second.record["inputs"][0]["record"]["stage"] == "import"
    assert second.record["sources"] == first.record["sources"]


def test_record_tells_counts_and_no_names(tmp_path):
    """The record has counts, licences and settings, but no file's name, no path and no key file."""
    for number in range(10):
        save(tmp_path / f"in/secret_{number}.png", head(number))
    source = Source(licence="CC BY 4.0", attribution="A. Author")
    config = MR.model_copy(update={"key_file": tmp_path / "key", "sources": {"in": source}})
    imported(tmp_path, config)
    text = (tmp_path / "out/record.json").read_text()
    record = json.loads(text)
    (name,) = {row.source for row in ImageSet.open(tmp_path / "out").rows}
    assert re.fullmatch("1 raster [0-9a-f]{12}", name)
    assert not any(word in text for word in ("secret", "key_file", str(tmp_path)))
    assert record["results"]["images"] == {"MR": {"train": 10}}
    facts = {"licence": "CC BY 4.0", "attribution": "A. Author", "url": ""}
    assert record["sources"] == [{"name": name, **facts}]
    assert record["config"]["sources"] == {name: facts}
    assert [item["name"] for item in record["inputs"]] == [name]


def test_report_file_lies_beside_the_set(tmp_path):
    """out.import.csv has the columns file, kind and reason, and tells which file became which image."""
    save(tmp_path / "in/a.png", head(1))
    assert imported(tmp_path).file == tmp_path / "out.import.csv"
    line = {"file": "in/a.png", "kind": "imported", "reason": "images/000001.png"}
    assert line in table(tmp_path / "out.import.csv")


def test_the_same_command_again_does_nothing(tmp_path):
    """A finished import is recognised and left alone; other settings for the same folder are refused."""
    save(tmp_path / "in/a.png", head(1))
    imported(tmp_path)
    before = (tmp_path / "out/record.json").stat().st_mtime_ns
    again = imported(tmp_path)
    assert (again.finished_before, again.results["total"]) == (True, 1)
    assert (tmp_path / "out/record.json").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="already exists"):
        imported(tmp_path, MR.model_copy(update={"size": 128}))


def test_the_result_does_not_depend_on_the_threads(tmp_path, monkeypatch):
    """Files that take unequally long come out in natural order, with one thread as with many."""
    for number in range(30):
        save(tmp_path / f"in/{number}.png", head(number, 400 if number % 3 == 0 else 40))
    run(tmp_path / "in", tmp_path / "many", MR)
    monkeypatch.setattr("phonybrains.importing.parallel.threads.__wrapped__.__defaults__", (1,))
    run(tmp_path / "in", tmp_path / "one", MR)
    assert (tmp_path / "many/metadata.csv").read_bytes() == (tmp_path / "one/metadata.csv").read_bytes()
    rows = table(tmp_path / "one.import.csv")
    images = {row["reason"]: row["file"] for row in rows if row["kind"] == "imported"}
    assert images == {f"images/{number + 1:06d}.png": f"in/{number}.png" for number in range(30)}


def test_sources_can_be_single_files_and_have_equal_names(tmp_path):
    """A file is a source too; two folders of one name stay two."""
    save(tmp_path / "a/images/1.png", head(1))
    save(tmp_path / "b/images/1.png", head(2))
    sources = [tmp_path / "a/images", tmp_path / "b/images", save(tmp_path / "c/one.png", head(3))]
    run(sources, tmp_path / "out", MR)
    images = ImageSet.open(tmp_path / "out")
    names = [item["name"] for item in images.record["inputs"]]
    assert [name[:9] for name in names] == ["1 raster ", "2 raster ", "3 raster "]
    assert [row.source for row in images.rows] == names
    rows = [(row["source"], row["name"], row["path"]) for row in table(tmp_path / "out.sources.csv")]
    places = [str(source.resolve()) for source in sources]
    assert rows == list(zip(names, ("images", "images", "c"), places, strict=True))


def test_a_folder_can_hold_everything(tmp_path):
    """Pictures, DICOM and NIfTI in one folder become one set; names do not matter, for the content tells."""
    save(tmp_path / "in/picture.dat", head(1), format="PNG")
    volume(tmp_path / "in/volume.nii.gz", np.stack([head(n) for n in range(2, 12)], axis=2).astype(np.int16))
    scans = [head(n).astype(np.uint16) // 3 + 1024 for n in range(5)]  # 0 to 85 HU
    for number, pixels in enumerate(scans):
        write(tmp_path / f"in/{number}.jpg", pixels, ImagePositionPatient=[0, 0, 5 * number])
    report = imported(tmp_path)
    rows = ImageSet.open(tmp_path / "out").rows
    assert report.results["skipped"] == 0
    assert sum(row.unit == "HU" for row in rows) == len(scans)
    assert sum(row.modality == "MR" for row in rows) == 11


def test_the_package_loads_no_reader_before_it_is_needed():
    """`import phonybrains.importing` loads neither numpy nor the readers; pictures load neither DICOM nor NIfTI."""
    heavy = "{m for m in ('numpy', 'PIL', 'pydicom', 'nibabel', 'h5py', 'torch') if m in sys.modules}"
    code = f"import sys, phonybrains.importing as i; print({heavy}); i.import_images; print(sorted({heavy}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["set()", "['PIL', 'numpy']"]


def test_summary_can_be_printed(tmp_path, capsys):
    """With progress the counts and the warnings are printed, and a second run says that it is finished."""
    save(tmp_path / "[bold]in/a.png", head(1))
    (tmp_path / "[bold]in/b.png").write_text("no picture")
    for _ in range(2):
        import_images([tmp_path / "[bold]in"], tmp_path / "[out]", MR)
    printed = capsys.readouterr().out
    assert "MR" in printed
    assert "skipped: [bold]in/b.png: its content is not" in printed
    assert "finished already" in printed


@pytest.mark.needs("real images")
def test_real_images_of_both_modalities(tmp_path):
    """Real MRI and CT join one set of one size, in the patient-disjoint splits of their tables, with their patients."""
    tables = {}
    for modality, name, step in (("MR", "brain-mri", 40), ("CT", "head-ct", 20)):
        folder = SHARED / "data" / name
        tables[modality] = rows = table(folder / "metadata.csv")[::step]
        (tmp_path / name / "images").mkdir(parents=True)
        for row in rows:
            (tmp_path / name / row["file_name"]).symlink_to(folder / row["file_name"])
        write_table(tmp_path / name, rows)
    results = run([tmp_path / "brain-mri", tmp_path / "head-ct"], tmp_path / "out", ImportConfig()).results
    images = ImageSet.open(tmp_path / "out")
    assert (len(images), images.width, results["skipped"]) == (sum(map(len, tables.values())), 256, 0)
    assert results["split"] == {"CT": "as given", "MR": "as given"}
    for modality, rows in tables.items():
        assert results["patients"][modality] == len({row["patient_id"] for row in rows}) > 30
        assert [row.split for row in images.rows if row.modality == modality] == [row["split"] for row in rows]
