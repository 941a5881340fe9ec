"""Facts about a source travel through imports: whoever imports a set again can add to them, and weaken none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from phonybrains.errors import ConfigError, SourceError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.inputs.sets import open_sides
from phonybrains.imageset import ImageSet, how_split
from phonybrains.importing import ImportConfig, import_images
from phonybrains.importing.config import Source
from phonybrains.model.training_data import splits
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import as_input
from phonybrains.release_gate import audit_status
from tests.support.imports import reasons, run, table
from tests.support.pictures import head, save, write_table

MR = ImportConfig(modality="MR", size=32, run_length=10, run_guard=1)
RUNS = "by runs, not patient-safe"


def source(folder: Path, n: int = 60, first: int = 0, **columns: Any) -> Path:
    """A folder of pictures, with a table if there are columns, each a function of the number."""
    for i in range(n):
        save(folder / f"{i:03}.png", head(first + i))
    if columns:
        write_table(folder, [{"file_name": f"{i:03}.png", **{k: f(i) for k, f in columns.items()}} for i in range(n)])
    return folder


def imported(sources: list[Path], out: Path, config: ImportConfig = MR) -> ImageSet:
    run(sources, out, config)
    return ImageSet.open(out)


def edited(images: ImageSet, out: Path, change: Any) -> Path:
    """A copy of a set whose table a person has edited."""
    shutil.copytree(images.folder, out)
    write_table(out, [row for row in map(change, table(out / "metadata.csv")) if row])
    return out


def test_not_patient_safe_survives_every_way_round(tmp_path):
    """By runs stays so: imported again, twice, filtered, with patients written into it, joined with a safe source, from
    a folder around it; training's card and evaluation say it."""
    unsafe = imported([source(tmp_path / "in")], tmp_path / "unsafe")
    assert how_split(unsafe) == {"MR": RUNS}
    again = imported([unsafe.folder], tmp_path / "again")
    twice = imported([again.folder], tmp_path / "twice", MR.model_copy(update={"size": 16}))
    some = edited(unsafe, tmp_path / "some", lambda row: row if int(row["file_name"][7:13]) % 3 else None)
    filtered = imported([some], tmp_path / "filtered")
    assert len(filtered) == 40
    named = edited(unsafe, tmp_path / "named", lambda row: row | {"patient_id": row["file_name"]})
    safe = source(tmp_path / "safe", 30, 100, patient_id=lambda i: f"p{i // 3}")
    mixed = imported([safe, unsafe.folder], tmp_path / "mixed")
    shutil.copytree(unsafe.folder, tmp_path / "around" / "set")
    around = imported([tmp_path / "around"], tmp_path / "of-around")
    for images in (again, twice, filtered, imported([named], tmp_path / "of-named"), mixed, around):
        assert images.record["results"]["split"] == {"MR": RUNS}
        assert f"MR split {RUNS}" in splits(images)
        assert [w for w in open_sides(images.folder, images.folder, EvaluateConfig()).warnings if RUNS in w]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "as given, patients unknown, not patient-safe"),
        ({"patient_id": lambda i: f"p{i % 5}"}, "as given, a patient in two splits, not patient-safe"),
        ({"patient_id": lambda i: f"p{i // 4}"}, "as given"),
    ],
)
def test_a_given_split_is_believed_as_far_as_patients_show_it(tmp_path, columns, words):
    """Without patients, or with one in two splits, a given split is not patient-safe, whoever gave it."""
    given = source(tmp_path / "in", 30, split=lambda i: "train" if i < 20 else "test", **columns)
    first = imported([given], tmp_path / "out")
    for images in (first, imported([first.folder], tmp_path / "again")):
        assert images.record["results"]["split"] == {"MR": words}


def test_licences_are_added_to_and_never_replaced(tmp_path):
    """Two sets whose sources share a name keep both licences; a name in the settings adds one and takes none away."""
    sets = []
    for licence in ("CC BY 4.0", "CC BY-NC 4.0"):
        config = MR.model_copy(update={"sources": {"scans": Source(licence=licence, attribution="A")}})
        scans = source(tmp_path / licence / "scans", 12, len(sets) * 50)
        sets.append(imported([scans], tmp_path / licence / "set", config))
    given = MR.model_copy(update={"sources": {"set": Source(licence="CC0")}})
    joined = imported([each.folder for each in sets], tmp_path / "joined", given)
    assert {entry["licence"] for entry in joined.record["sources"]} == {"CC BY 4.0", "CC BY-NC 4.0", "CC0"}
    assert [entry["name"].split()[1] for entry in joined.record["sources"]] == ["raster"] * 4


def test_no_name_of_a_folder_or_file_reaches_the_set(tmp_path):
    """People's names are in names of folders and files: the set has numbers and digests, also as an input of others;
    the map for the owner has the names, and licences are found by them."""
    folder = source(tmp_path / "Mustermann_Erika_1964", 12)
    save(folder / "Mustermann" / "Erika_slice3.png", head(99))
    config = MR.model_copy(update={"sources": {folder.name: Source(licence="CC0", attribution="A clinic")}})
    images = imported([folder], tmp_path / "Erika_set", config)
    again = imported([images.folder, folder], tmp_path / "again", config)
    for made in (images, again):
        held = b"".join(path.read_bytes() for path in made.folder.rglob("*") if path.is_file())
        assert not any(name in held for name in (b"Mustermann", b"Erika"))
        assert [entry["licence"] for entry in made.record["sources"]] == ["CC0"] * len(made.record["inputs"])
    assert "Erika" not in str(as_input(images.folder))
    beside = (tmp_path / "Erika_set.sources.csv").read_text()
    assert f"{images.rows[0].source},Mustermann_Erika_1964,{folder},0\n" in beside
    for name in ("Erika_set.sources.csv", "Erika_set.import.csv"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_licence_for_a_source_that_is_not_there_is_told(tmp_path):
    """A misspelt [sources.x] would lose the licence: the import stops before any work, and lists the names. Where all
    sources have theirs, as with a file for several imports, it is a note."""
    config = MR.model_copy(update={"sources": {"scan": Source(licence="CC0"), "more": Source(licence="CC0")}})
    scans, more = source(tmp_path / "scans", 3), source(tmp_path / "more", 3, 9)
    with pytest.raises(ConfigError, match=r"no source is called scan, and nothing is said of scans\. Call it so\."):
        imported([scans, more], tmp_path / "out", config)
    assert {path.name for path in tmp_path.iterdir()} <= {"scans", "more", "config"}
    report = run(more, tmp_path / "out", config)
    assert "no source" in reasons(report, "note")["scan"]


def test_columns_that_repeat_names_of_files_are_pointed_out(tmp_path):
    """A column of a table that holds file names would carry them into the set."""
    folder = source(tmp_path / "in", 3, original_file=lambda i: "x", pathology=lambda i: "y")
    report = run(folder, tmp_path / "out", MR)
    said = [notice.reason for notice in report.notices if "may identify" in notice.reason]
    assert [reason.split("'")[1] for reason in said] == ["original_file"]


def test_synthetic_images_and_phantoms_stay_what_they_are(tmp_path):
    """Rows stay synthetic; phantoms show nobody, but not with pictures beside them; unlisted files are left out."""
    phantoms = make_phantoms(8, tmp_path / "phantoms", size=32)
    save(phantoms / "images" / "stranger.png", head(1))
    again = imported([phantoms], tmp_path / "again")
    assert (len(again), {row.synthetic for row in again.rows}) == (8, {True})
    assert audit_status(again.folder).word == "no patients"
    shutil.copytree(phantoms, tmp_path / "around" / "phantoms")
    assert audit_status(imported([tmp_path / "around"], tmp_path / "a").folder).word == "no patients"
    save(tmp_path / "around" / "scan.png", head(2))
    mixed = imported([tmp_path / "around"], tmp_path / "b")
    assert sum(row.synthetic for row in mixed.rows) == 8
    assert audit_status(mixed.folder).word == "unaudited"


def test_a_part_of_an_image_set_is_no_source(tmp_path):
    """Its folder of images, or one of them, would lose what the table and the record say."""
    phantoms = make_phantoms(4, tmp_path / "phantoms", size=32)
    for part in (phantoms / "images", phantoms / "images/000001.png", phantoms / "metadata.csv"):
        with pytest.raises(SourceError, match=r"lies inside the image set .*Give that folder"):
            run(part, tmp_path / "out", MR)


def test_patients_are_counted_for_each_value(tmp_path, capsys):
    """Labels with images and patients on the screen, in the record and in the report; fewer than five are a warning."""
    folder = source(
        tmp_path / "in",
        60,
        patient_id=lambda i: f"p{i // 3}",
        split=lambda i: "train" if i < 48 else "test",
        kind=lambda i: "a;b" if i < 3 else "b" if i < 18 else "c" if i >= 45 else "",
        number=lambda i: i,
    )
    report = import_images([folder], tmp_path / "out", MR)
    values = report.results["values"]["MR"]
    assert "number" not in values
    counted = {label: (c["images"], c["patients"], c["in_train"]) for label, c in values["kind"].items()}
    assert counted == {"a": (3, 1, 1), "b": (18, 6, 6), "c": (15, 5, 1)}
    printed = capsys.readouterr().out
    assert "kind (MR): a 3 images of 1 patient, b 18 images of 6 patients, c 15 images of 5 patients" in printed
    assert "fewer than 5 patients have kind a (3 images of 1 patient, 1 in train), c" in printed
    assert "MR: kind b: 18 images of 6 patients, 6 of them in train" in report.file.read_text()
