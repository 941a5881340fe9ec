"""Import of pictures: formats, sizes, what metadata.csv says, and what is written."""

from __future__ import annotations

import csv
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
from phonybrains.importing import ImportConfig, Source, import_images
from phonybrains.importing.resize import fit, place, to_pixels
from tests.support.pictures import head, reasons, save, write_table
from tests.support.places import SHARED

DATA = SHARED / "data"
MR = ImportConfig(modality="MR", size=64)


@pytest.fixture(autouse=True)
def _own_key(tmp_path, monkeypatch):
    """No test reads or makes the key of the person who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def run(source: Path, out: Path, config: ImportConfig = MR, **options):
    return import_images([source], out, config, progress=False, **options)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.gif", "no_extension"])
def test_lossless_formats_keep_every_pixel(tmp_path, name):
    """An 8-bit picture that has the set's size already comes through unchanged, whatever its lossless format."""
    options = {"lossless": True} if name.endswith("webp") else {"format": "PNG"} if "." not in name else {}
    save(tmp_path / "in" / name, head(1), **options)
    run(tmp_path / "in", tmp_path / "out")
    images = ImageSet.open(tmp_path / "out")
    assert_array_equal(images.pixels(0), head(1))
    assert (images.rows[0].slope, images.rows[0].intercept, images.rows[0].unit) == (1, 0, "a.u.")


def test_jpeg_is_read(tmp_path):
    """A JPEG differs from what it was made of only by its compression."""
    save(tmp_path / "in/a.jpg", head(1), quality=95)
    run(tmp_path / "in", tmp_path / "out")
    assert np.abs(ImageSet.open(tmp_path / "out").pixels(0).astype(float) - head(1)).mean() < 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colour_modes_that_are_really_gray_are_accepted(tmp_path, mode):
    """Equal channels, full opacity or a gray palette hold the same gray image as a gray file."""
    save(tmp_path / "in/a.png", Image.fromarray(head(1)).convert(mode))
    run(tmp_path / "in", tmp_path / "out")
    assert_array_equal(ImageSet.open(tmp_path / "out").pixels(0), head(1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_to_eight_with_a_slope(tmp_path, name):
    """0…65535 becomes 0…255 with slope 257, so that the values come back within half a step."""
    deep = (head(1).astype(np.uint16) * 257) ^ 1
    save(tmp_path / "in" / name, deep)
    run(tmp_path / "in", tmp_path / "out")
    images = ImageSet.open(tmp_path / "out")
    assert (images.bits, images.rows[0].slope) == (8, 257)
    assert_allclose(images.values(0), deep, atol=129)


def test_sixteen_bits_can_be_kept(tmp_path):
    """With bits = 16 a 16-bit picture comes through unchanged."""
    deep = head(1).astype(np.uint16) * 257 + 3
    deep[0, 0] = 65535
    save(tmp_path / "in/a.png", deep)
    run(tmp_path / "in", tmp_path / "out", MR.model_copy(update={"bits": 16}))
    images = ImageSet.open(tmp_path / "out")
    assert images.bits == 16
    assert_array_equal(images.pixels(0), deep)


def test_twelve_bits_in_sixteen_use_the_whole_range_alike_in_a_series(tmp_path):
    """All images of a folder share one white, the next 2ⁿ - 1 above their largest number, so they stay comparable."""
    save(tmp_path / "in/a.png", np.full((64, 64), 4000, np.uint16) - 99 * np.eye(64, dtype=np.uint16))
    save(tmp_path / "in/b.png", np.full((64, 64), 900, np.uint16) - 99 * np.eye(64, dtype=np.uint16))
    report = run(tmp_path / "in", tmp_path / "out")
    rows = ImageSet.open(tmp_path / "out").rows
    assert [row.slope for row in rows] == [pytest.approx(4095 / 255)] * 2
    assert "4095 white" in "".join(reasons(report, "note").values())


def test_float_pictures_keep_their_values(tmp_path):
    """A float TIFF is scaled between 0 and its largest value; slope and intercept give the values back."""
    values = head(1).astype(np.float32) / 255
    save(tmp_path / "in/a.tif", values)
    run(tmp_path / "in", tmp_path / "out")
    assert_allclose(ImageSet.open(tmp_path / "out").values(0), values, atol=1 / 255)


def test_everything_becomes_256_square_by_default(tmp_path):
    """Large and small, oblong or not, all images are 256×256."""
    for number, shape in enumerate([(512, 512), (650, 650), (100, 300), (31, 17)]):
        save(tmp_path / f"in/{number}.png", np.random.default_rng(number).integers(0, 255, shape, dtype=np.uint8))
    run(tmp_path / "in", tmp_path / "out", ImportConfig(modality="CT"))
    images = ImageSet.open(tmp_path / "out")
    assert (len(images), images.height, images.width) == (4, 256, 256)


def test_aspect_is_kept_in_millimetres():
    """Rows twice as far apart as columns make the image twice as high; the rest is background."""
    placement = place((64, 64), (2.0, 1.0), 64)
    assert (placement.height, placement.width, placement.left, placement.top) == (64, 32, 16, 0)
    square = fit(np.full((64, 64), 7, np.float32), placement, -1)
    assert (square[:, :16] == -1).all()
    assert (square[:, 48:] == -1).all()
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
    run(tmp_path / "in", tmp_path / "out")
    found = ImageSet.open(tmp_path / "out").rows[0].attributes
    assert (found["lesion_x"], found["lesion_width"], found["lesion_y"]) == (0.5, 0.2, 0.3)


def test_metadata_becomes_rows_and_attributes(tmp_path):
    """Modality and all other columns arrive; several labels stay one text, a fixed column never is an attribute."""
    save(tmp_path / "in/images/a.png", head(1))
    save(tmp_path / "in/images/b.png", head(2))
    save(tmp_path / "in/deep/er/c.png", head(3))
    write_table(
        tmp_path / "in",
        [
            {
                "file_name": "images/a.png",
                "modality": "CT",
                "hemorrhage": "epidural;subdural",
                "age": 54,
                "source": "x",
            },
            {"file_name": r".\images\b.png", "modality": "MRI", "hemorrhage": "", "age": "", "source": "x"},
        ],
    )
    write_table(tmp_path / "in/deep", [{"file_name": "er/c.png", "modality": "ct", "plane": "axial"}])
    run(tmp_path / "in", tmp_path / "out", ImportConfig(size=64))
    c, a, b = ImageSet.open(tmp_path / "out").rows
    assert (a.modality, b.modality, c.modality) == ("CT", "MR", "CT")
    assert dict(a.attributes) == {"plane": None, "hemorrhage": "epidural;subdural", "age": 54}
    assert (b["hemorrhage"], c["plane"]) == (None, "axial")


def test_attributes_can_be_chosen(tmp_path):
    """Only the columns that the configuration names are kept."""
    save(tmp_path / "in/a.png", head(1))
    write_table(tmp_path / "in", [{"file_name": "a.png", "plane": "axial", "scanner_name": "x"}])
    report = run(tmp_path / "in", tmp_path / "out", MR.model_copy(update={"attributes": ("plane",)}))
    assert dict(ImageSet.open(tmp_path / "out").rows[0].attributes) == {"plane": "axial"}
    assert not any("identify" in reason for reason in reasons(report, "warning").values())


def test_patient_ids_are_nowhere_in_the_set(tmp_path):
    """No byte of the set holds an id as found, though it is in the files' names; one patient has one pseudonym."""
    rows = []
    for number in range(8):
        patient = f"HOSPITAL-{number // 2}"
        save(tmp_path / f"in/{patient}/{number}.png", head(number))
        rows.append({"file_name": f"{patient}/{number}.png", "patient_id": patient})
    write_table(tmp_path / "in", rows)
    run(tmp_path / "in", tmp_path / "out")
    assert not any(b"HOSPITAL" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    found = [row.patient_id for row in ImageSet.open(tmp_path / "out").rows]
    assert all(name.startswith("P-") and len(name) == 14 for name in found)
    assert len(set(found)) == 4
    assert (tmp_path / "config/phonybrains/pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_columns_that_may_identify_are_pointed_out(tmp_path):
    """A column like patient_name is kept, as asked, but with a warning."""
    save(tmp_path / "in/a.png", head(1))
    write_table(tmp_path / "in", [{"file_name": "a.png", "patient_name": "x"}])
    assert any("patient_name" in text for text in reasons_list(run(tmp_path / "in", tmp_path / "out")))


def reasons_list(report, kind="warning"):
    return [notice.reason for notice in report.notices if notice.kind == kind]


def test_exact_duplicates_are_left_out_and_listed(tmp_path):
    """The same pixels in another format are a duplicate; the first stays, and a contradiction is named."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "in/b.tif", head(1))
    save(tmp_path / "in/c.png", head(2))
    write_table(
        tmp_path / "in",
        [
            {"file_name": "a.png", "patient_id": "1"},
            {"file_name": "b.tif", "patient_id": "2"},
            {"file_name": "c.png", "patient_id": "3"},
        ],
    )
    report = run(tmp_path / "in", tmp_path / "out")
    assert report.results["duplicates"] == 1
    assert reasons(report, "duplicate") == {"in/b.tif": "same pixels as in/a.png, though patient differ; left out"}
    assert len(ImageSet.open(tmp_path / "out")) == 2


def test_an_image_set_comes_through_unchanged(tmp_path):
    """Values, split, pseudonyms, pixels and what is synthetic survive another import, and the record leads back."""
    rows = [
        {
            "file_name": f"{n}.png",
            "patient_id": f"{n}",
            "slope": 2,
            "intercept": -1000,
            "unit": "HU",
            "synthetic": "true",
        }
        for n in range(12)
    ]
    for number in range(12):
        save(tmp_path / f"in/{number}.png", head(number))
    write_table(tmp_path / "in", rows)
    run(
        tmp_path / "in", tmp_path / "first", ImportConfig(modality="CT", size=64, sources={"in": Source(licence="CC0")})
    )
    report = run(tmp_path / "first", tmp_path / "second", ImportConfig(size=64, seed=9))
    first, second = ImageSet.open(tmp_path / "first"), ImageSet.open(tmp_path / "second")
    keep = ("sha256", "patient_id", "split", "slope", "intercept", "unit", "synthetic")
    assert [[row[k] for k in keep] for row in first.rows] == [[row[k] for k in keep] for row in second.rows]
    assert second.rows[0].synthetic
    assert second.rows[0].unit == "HU"
    assert report.results["split"] == {"CT": "as given"}
    assert second.record["inputs"][0]["record"]["stage"] == "import"
    assert second.record["sources"] == first.record["sources"]


def test_record_tells_counts_and_no_names(tmp_path):
    """The record has counts, licences and settings, but no file's name, no path and no key file."""
    for number in range(10):
        save(tmp_path / f"in/secret_{number}.png", head(number))
    source = Source(licence="CC BY 4.0", attribution="A. Author")
    config = MR.model_copy(update={"key_file": tmp_path / "key", "sources": {"in": source}})
    run(tmp_path / "in", tmp_path / "out", config)
    text = (tmp_path / "out/record.json").read_text()
    record = json.loads(text)
    (name,) = {row.source for row in ImageSet.open(tmp_path / "out").rows}
    assert re.fullmatch("1 raster [0-9a-f]{12}", name)
    assert "secret" not in text
    assert "key_file" not in text
    assert str(tmp_path) not in text
    assert record["results"]["images"] == {"MR": {"train": 10}}
    facts = {"licence": "CC BY 4.0", "attribution": "A. Author", "url": ""}
    assert record["sources"] == [{"name": name, **facts}]
    assert record["config"]["sources"] == {name: facts}
    assert [item["name"] for item in record["inputs"]] == [name]


def test_report_file_lies_beside_the_set(tmp_path):
    """out.import.csv has the columns file, kind and reason, and tells which file became which image."""
    save(tmp_path / "in/a.png", head(1))
    report = run(tmp_path / "in", tmp_path / "out")
    with (tmp_path / "out.import.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert report.file == tmp_path / "out.import.csv"
    assert {"file": "in/a.png", "kind": "imported", "reason": "images/000001.png"} in rows


def test_the_same_command_again_does_nothing(tmp_path):
    """A finished import is recognised and left alone; other settings for the same folder are refused."""
    save(tmp_path / "in/a.png", head(1))
    run(tmp_path / "in", tmp_path / "out")
    before = (tmp_path / "out/record.json").stat().st_mtime_ns
    again = run(tmp_path / "in", tmp_path / "out")
    assert again.finished_before
    assert again.results["total"] == 1
    assert (tmp_path / "out/record.json").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="already exists"):
        run(tmp_path / "in", tmp_path / "out", MR.model_copy(update={"size": 128}))


def test_the_result_does_not_depend_on_the_threads(tmp_path, monkeypatch):
    """Files that take unequally long come out in natural order, with one thread as with many."""
    for number in range(30):
        save(tmp_path / f"in/{number}.png", head(number, 600 if number % 3 == 0 else 40))
    run(tmp_path / "in", tmp_path / "many")
    monkeypatch.setattr("phonybrains.importing.parallel.threads.__wrapped__.__defaults__", (1,))
    run(tmp_path / "in", tmp_path / "one")
    assert (tmp_path / "many/metadata.csv").read_bytes() == (tmp_path / "one/metadata.csv").read_bytes()
    with (tmp_path / "one.import.csv").open(newline="") as file:
        images = {row["reason"]: row["file"] for row in csv.DictReader(file) if row["kind"] == "imported"}
    assert images == {f"images/{number + 1:06d}.png": f"in/{number}.png" for number in range(30)}


def test_sources_can_be_single_files_and_have_equal_names(tmp_path):
    """A file is a source too; two folders of one name stay two."""
    save(tmp_path / "a/images/1.png", head(1))
    save(tmp_path / "b/images/1.png", head(2))
    sources = [tmp_path / "a/images", tmp_path / "b/images", save(tmp_path / "c/one.png", head(3))]
    import_images(sources, tmp_path / "out", MR, progress=False)
    images = ImageSet.open(tmp_path / "out")
    names = [item["name"] for item in images.record["inputs"]]
    assert [name[:9] for name in names] == ["1 raster ", "2 raster ", "3 raster "]
    assert [row.source for row in images.rows] == names
    with (tmp_path / "out.sources.csv").open(newline="") as file:
        table = [(row["source"], row["name"], row["path"]) for row in csv.DictReader(file)]
    places = [str(source.resolve()) for source in sources]
    assert table == list(zip(names, ("images", "images", "c"), places, strict=True))


def test_a_folder_can_hold_everything(tmp_path):
    """Pictures, DICOM and NIfTI in one folder become one set; names do not matter, for the content tells."""
    nibabel = pytest.importorskip("nibabel")
    save(tmp_path / "in/picture.dat", head(1), format="PNG")
    volume = np.stack([head(n) for n in range(2, 12)], axis=2).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "in/volume.nii.gz")
    scans = sorted((DATA / "dicom/ct-phantom").glob("*"))
    for number, path in enumerate(scans):
        (tmp_path / f"in/{number}.jpg").symlink_to(path)
    report = run(tmp_path / "in", tmp_path / "out")
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


@pytest.mark.skipif(not (DATA / "brain-mri").is_dir(), reason="needs shared/data/brain-mri and head-ct")
def test_real_images_of_both_modalities(tmp_path):
    """Real MRI and CT join one set of one size, in the patient-disjoint splits of their tables, with their patients."""
    for name, step in (("brain-mri", 20), ("head-ct", 10)):
        rows = list(csv.DictReader((DATA / name / "metadata.csv").open(encoding="utf-8")))[::step]
        (tmp_path / name / "images").mkdir(parents=True)
        for row in rows:
            (tmp_path / name / row["file_name"]).symlink_to(DATA / name / row["file_name"])
        write_table(tmp_path / name, rows)
    report = import_images([tmp_path / "brain-mri", tmp_path / "head-ct"], tmp_path / "out", progress=False)
    images = ImageSet.open(tmp_path / "out")
    assert (len(images), images.width, report.results["skipped"]) == (245, 256, 0)
    assert report.results["split"] == {"CT": "as given", "MR": "as given"}
    tables = [list(csv.DictReader((tmp_path / name / "metadata.csv").open())) for name in ("brain-mri", "head-ct")]
    for modality, table in zip(("MR", "CT"), tables, strict=True):
        people = {row["patient_id"] for row in table}
        assert report.results["patients"][modality] == len(people)
        assert [row.split for row in images.rows if row.modality == modality] == [row["split"] for row in table]
    assert report.results["patients"]["CT"] == 43
