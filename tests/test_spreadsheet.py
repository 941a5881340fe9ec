"""Tables as spreadsheets write them: in metadata.csv beside pictures, and in an image set that was opened and saved."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.errors import SourceError
from phonybrains.imageset import METADATA_NAME, ImageSet, read_metadata
from phonybrains.importing import ImportConfig, Source, import_images
from phonybrains.importing.report import write_for_owner
from phonybrains.spreadsheet import read_columns, read_sheet, sheet_text
from tests.support.imports import reasons
from tests.support.pictures import head, save

MR = ImportConfig(modality="MR", size=64)
TABLE = [
    ["file_name", "patient_id", "split", "age_years", "note"],
    ["a.png", "7", "train", "54.5", "one, two"],
    ["b.png", "8", "test", "61", 'said "no"'],
]


@pytest.fixture(autouse=True)
def _own_key(tmp_path, monkeypatch):
    """No test reads or makes the key of the person who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def written(separator: str = ",", end: str = "\n", quoted: bool = False) -> str:
    file, quoting = io.StringIO(newline=""), csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting).writerows(TABLE)
    return file.getvalue()


NUMBERED = [f"{number},{line}" for number, line in zip(("", 0, 1), written().splitlines(), strict=True)]
SAVED: dict[str, bytes] = {
    "plain": written().encode(),
    "a mark in front": written().encode("utf-8-sig"),
    "semicolons": written(";").encode(),
    "tabs": written("\t").encode(),
    "semicolons and a mark, CRLF": written(";", "\r\n").encode("utf-8-sig"),
    "UTF-16, little endian, tabs": b"\xff\xfe" + written("\t", "\r\n").encode("utf-16-le"),
    "UTF-16, big endian": b"\xfe\xff" + written().encode("utf-16-be"),
    "UTF-32": written().encode("utf-32"),
    "carriage returns alone": written(end="\r").encode(),
    "all quoted": written(quoted=True).encode(),
    "all quoted, semicolons": written(";", "\r\n", quoted=True).encode(),
    "the separator in front": b"sep=;\r\n" + written(";", "\r\n").encode(),
    "decimal commas": written(";").replace("54.5", "54,5").encode(),
    "empty cells to the right": written().replace("\n", ",,\n").encode(),
    "empty rows below": written(";").encode() + b";;;;\n;;;;\n\n",
    "a column of numbers without a name": "\n".join(NUMBERED).encode(),
    "blanks after commas": written().replace(",", ", ").replace("one,  two", "one, two").encode(),
    "no new line at the end": written().strip().encode(),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_table_means_the_same_however_it_was_saved(tmp_path, name):
    """Separator, encoding, mark, line ends, quotes, blanks, empty cells and decimal commas change nothing."""
    (tmp_path / "t.csv").write_bytes(SAVED[name])
    sheet = read_sheet(tmp_path / "t.csv", "file_name")
    assert [list(row.values()) for row in sheet.rows.values()] == TABLE[1:]
    assert [list(row) for row in sheet.rows.values()] == [TABLE[0]] * 2
    assert (sheet.columns, list(sheet.rows), sheet.uneven) == (tuple(TABLE[0]), [2, 3], {})
    assert sheet.commas == (name == "decimal commas")
    assert read_columns(tmp_path / "t.csv", "file_name") == tuple(TABLE[0])


@pytest.mark.parametrize("name", SAVED)
def test_pictures_get_their_patients_and_splits_however_the_table_was_saved(tmp_path, name):
    """Patients, splits and attributes arrive from every one of these files."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "in/b.png", head(2))
    (tmp_path / "in" / METADATA_NAME).write_bytes(SAVED[name])
    report = import_images([tmp_path / "in"], tmp_path / "out", MR, progress=False)
    rows = ImageSet.open(tmp_path / "out").rows
    assert report.results["split"] == {"MR": "as given"}
    assert [row.split for row in rows] == ["train", "test"]
    assert len({row.patient_id for row in rows} - {""}) == 2
    assert [(row["age_years"], row["note"]) for row in rows] == [(54.5, "one, two"), (61, 'said "no"')]
    notes = [reason for reason in reasons(report, "note").values() if "decimal comma" in reason]
    assert len(notes) == (name == "decimal commas")


def save_again(path: Path, order: int, separator: str, encoding: str) -> None:
    """Save a table as a spreadsheet does; with order -1, its columns the other way round."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row[::order] for row in csv.reader(file)]
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=separator, lineterminator="\r\n").writerows(rows)


OPENED = {
    "a mark in front": (1, ",", "utf-8-sig"),
    "columns moved": (-1, ",", "utf-8"),
    "semicolons, a mark": (1, ";", "utf-8-sig"),
    "tabs in UTF-16": (1, "\t", "utf-16"),
    "semicolons, columns moved": (-1, ";", "utf-8"),
}


@pytest.mark.parametrize("name", OPENED)
def test_an_image_set_stays_one_when_a_spreadsheet_has_saved_its_table(tmp_path, name):
    """It opens with the same rows, and imported again it keeps licence, record, split and patients."""
    for number in range(6):
        save(tmp_path / f"in/{number}.png", head(number))
    given = MR.model_copy(update={"sources": {"in": Source(licence="CC BY 4.0")}})
    import_images([tmp_path / "in"], tmp_path / "set", given, progress=False)
    before = ImageSet.open(tmp_path / "set")
    save_again(tmp_path / "set" / METADATA_NAME, *OPENED[name])
    assert ImageSet.open(tmp_path / "set").rows == before.rows
    report = import_images([tmp_path / "set"], tmp_path / "again", MR, progress=False)
    again = ImageSet.open(tmp_path / "again")
    assert again.record["sources"] == before.record["sources"]
    assert again.record["inputs"][0]["record"]["identity"] == before.record["identity"]
    assert report.results["split"] == before.record["results"]["split"]
    assert [row.sha256 for row in again.rows] == [row.sha256 for row in before.rows]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_of_macos_are_those_of_the_table(tmp_path, forms):
    """A file Kästner/Björk.png whose accents are written apart has its row, whichever of the two writes so."""
    on_disk, in_table = (unicodedata.normalize(form, "Kästner/Björk.png") for form in forms)
    save(tmp_path / "in" / on_disk, head(1))
    (tmp_path / "in" / METADATA_NAME).write_text(f"file_name,patient_id\n{in_table},7\n", encoding="utf-8")
    report = import_images([tmp_path / "in"], tmp_path / "out", MR, progress=False)
    assert report.results["patients"] == {"MR": 1}
    assert (report.results["skipped"], reasons(report, "warning").get(f"in/{on_disk}")) == (0, None)


MISSING = r"in/metadata.csv: no row names any picture, and 1 is there.*a\.png \(x\.png is miss"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file_name,patient_id\nx.png,7\n", MISSING),
        ("file_name,patient_id\n", "it has no rows"),
        ("file_name;patient_id\nimages/a.png;7\n", "no row names any"),
    ],
)
def test_a_table_that_matches_nothing_stops_the_import(tmp_path, table, message):
    """Its patients and labels would be lost without a word; the report has every row."""
    save(tmp_path / "in/a.png", head(1))
    (tmp_path / "in" / METADATA_NAME).write_text(table)
    with pytest.raises(SourceError, match=message):
        import_images([tmp_path / "in"], tmp_path / "out", MR, progress=False)
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out.import.csv", "config"}


def test_a_column_that_stands_twice_is_named(tmp_path):
    """Which of the two counts is not guessed: the table's images wait, and the line says why."""
    save(tmp_path / "in/a.png", head(1))
    save(tmp_path / "in/part/b.png", head(2))
    (tmp_path / "in/part" / METADATA_NAME).write_text("file_name,split, split\nb.png,train,test\n")
    report = import_images([tmp_path / "in"], tmp_path / "out", MR, progress=False)
    assert "the column split stands twice" in reasons(report)["in/part/metadata.csv"]
    assert report.results["total"] == 1


def test_numbers_with_points_and_commas_are_left_alone(tmp_path):
    """Where one number has a decimal point, a comma is something else: labels, or thousands."""
    (tmp_path / "t.csv").write_text("file_name;a;b\nx.png;1.5;1,5\n")
    sheet = read_sheet(tmp_path / "t.csv", "file_name")
    assert (sheet.rows[2], sheet.commas) == ({"file_name": "x.png", "a": "1.5", "b": "1,5"}, 0)


def test_thousands_of_a_decimal_comma_are_understood(tmp_path):
    """-1.024,5 is -1024.5; a patient's id is never a number."""
    (tmp_path / "t.csv").write_text("file_name;a;patient_id\nx.png;-1.024,5;1,5\n")
    row = read_sheet(tmp_path / "t.csv", "file_name").rows[2]
    assert row == {"file_name": "x.png", "a": "-1024.5", "patient_id": "1,5"}


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12).map(str.strip)


@given(st.lists(st.tuples(cells, cells, cells), max_size=6))
def test_what_is_written_is_read(tmp_path_factory, drawn):
    """Any text in any language, with separators, quotes and new lines in it, comes back; rows without text do not."""
    path = tmp_path_factory.getbasetemp() / "t.csv"
    path.write_bytes(sheet_text([("file_name", "a; b", "c\td"), *drawn]))
    rows = [tuple(row.values()) for row in read_sheet(path, "file_name").rows.values()]
    assert rows == [row for row in drawn if any(row)]


def test_line_ends_in_a_cell_and_lone_surrogates_can_be_written():
    """A lone carriage return would end the row, and a lone surrogate cannot be encoded."""
    assert sheet_text([("a\rb", "c\r\nd", "\udcff")]) == b'"a\nb","c\nd",\\udcff\n'


def test_the_report_holds_no_formulas(tmp_path):
    """A file named =HYPERLINK(…) is text in a spreadsheet; only the owner may read the report."""
    write_for_owner(tmp_path / "r.csv", [("file", "kind"), ('=HYPERLINK("x")', "skipped"), ("-1", "@x"), ("a=b", "+")])
    with (tmp_path / "r.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [['\'=HYPERLINK("x")', "skipped"], ["'-1", "'@x"], ["a=b", "'+"]]
    assert (tmp_path / "r.csv").stat().st_mode & 0o777 == 0o600


def test_a_set_saved_in_another_encoding_is_an_error_that_says_so(tmp_path):
    """Text of an old Windows is not guessed at."""
    (tmp_path / METADATA_NAME).write_bytes("file_name,diagnosis\na.png,Hämatom\n".encode("latin-1"))
    with pytest.raises(Exception, match="not a UTF-8 CSV file"):
        read_metadata(tmp_path / METADATA_NAME)
