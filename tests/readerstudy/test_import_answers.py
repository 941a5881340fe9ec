"""Answers from elsewhere, and published counts that are checked."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from phonybrains.errors import StudyError
from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.import_answers import check_counts, import_answers, read_answers
from phonybrains.readerstudy.store import open_store
from phonybrains.readerstudy.study import Study
from tests.support.places import ROOT
from tests.support.study_files import small_config

PAPER = (ROOT / "recipes" / "paper-counts.csv").read_text(encoding="utf-8")


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'answers.db'}"


def write(path: Path, rows: list[list[str]], header: str = "reader,case,call,confidence,description") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def test_forms_with_numbers_file_names_and_case_ids_are_understood(study_folder: Path, tmp_path: Path, database: str):
    """A case is named by the number on the form, by its file name or by its id; calls may be synonyms."""
    opened = Study.open(study_folder)
    shown = presentations(opened, "Dr. Elsewhere")
    tests = [one for one in shown if one.kind == "test"]
    sources = [case.source for case in opened.cases.values()]
    by_name = next(one for one in tests[2:] if sources.count(opened.cases[one.case_id].source) == 1)
    rows = [
        ["Dr. Elsewhere", str(tests[0].position), "authentic", "80", "looks healthy"],
        ["Dr. Elsewhere", tests[1].case_id, "Fake", "", "=cmd"],
        ["Dr. Elsewhere", opened.cases[by_name.case_id].source, "U", "7%", ""],
    ]
    table = write(tmp_path / "forms.csv", rows)
    assert import_answers(study_folder, table, database=database, show=False) == ["Dr. Elsewhere"]
    with open_store(opened, database, read_only=True) as store:
        answers = {answer.case_id: answer for answer in store.answers()}
        readers = store.readers()
    found = [(answers[one.case_id].call, answers[one.case_id].confidence) for one in (tests[0], tests[1], by_name)]
    assert found == [("real", 80), ("phony", None), ("unclear", 7)]
    assert [(reader.name, reader.source) for reader in readers] == [("Dr. Elsewhere", "imported")]


def test_a_second_answer_is_a_repeat_where_the_order_has_one(study_folder: Path, tmp_path: Path):
    """A case shown twice takes two answers, the second as a repeat; any other case takes one."""
    shown = presentations(Study.open(study_folder), "C")
    repeat = next(one for one in shown if one.kind == "repeat")
    rows = [["C", repeat.case_id, "real", "", ""], ["C", repeat.case_id, "phony", "", ""]]
    answers = read_answers(Study.open(study_folder), write(tmp_path / "two.csv", rows))
    assert [(answer.kind, answer.call) for answer in answers] == [("test", "real"), ("repeat", "phony")]
    assert answers[1].position == repeat.position
    with pytest.raises(StudyError, match=r"row 4: 'C' answers a case more often than the 2 times it is shown"):
        read_answers(Study.open(study_folder), write(tmp_path / "three.csv", [*rows, rows[0]]))


def test_every_impossible_row_is_listed_and_nothing_is_imported(study_folder: Path, tmp_path: Path, database: str):
    """One error names all rows that cannot be, and the database stays empty."""
    shown = presentations(Study.open(study_folder), "D")
    once = next(one for one in shown if one.kind == "check")
    wrong = {
        "'D' answers a case twice": ["D", once.case_id, "real", "50", ""],
        "case 'nowhere.png' is not in the study": ["D", "nowhere.png", "real", "", ""],
        "call 'perhaps'": ["D", "1", "perhaps", "", ""],
        "confidence '101'": ["D", "2", "real", "101", ""],
        "'<script>' cannot be a reader's name": ["<script>", "3", "real", "", ""],
        "the description": ["D", "4", "real", "", "x" * 2001],
    }
    table = write(tmp_path / "bad.csv", [["D", once.case_id, "real", "50", ""], *wrong.values()])
    with pytest.raises(StudyError) as error:
        import_answers(study_folder, table, database=database, show=False)
    text = str(error.value)
    assert [reason for row, reason in enumerate(wrong, start=3) if f"row {row}: {reason}" not in text] == []
    assert "row 2:" not in text
    assert "Nothing was imported" in text
    assert not (tmp_path / "answers.db").exists()


def test_a_reader_who_is_there_already_is_not_mixed_with_another(study_folder: Path, tmp_path: Path, database: str):
    """Importing the same table twice is refused, and the answers stay those of the first time."""
    table = write(tmp_path / "once.csv", [["E", "1", "real", "", ""]])
    import_answers(study_folder, table, database=database, show=False)
    with pytest.raises(StudyError, match=r"already has reader 'E' \(imported, 1 answer\)"):
        import_answers(study_folder, table, database=database, show=False)
    with open_store(Study.open(study_folder), database, read_only=True) as store:
        assert len(store.answers()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reader,case\nA,1\n", "the column call is missing"),
        ("reader,case,call\n", "holds no answers"),
        ("reader,case,image,call\nA,1,1,real\n", "both hold the case"),
        ("reader,case,call\nA,1\n", "row 2: the number of cells differs"),
    ],
)
def test_a_table_of_another_form_is_refused(study_folder: Path, tmp_path: Path, text: str, message: str):
    """What is missing or double in the table is named."""
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        read_answers(Study.open(study_folder), tmp_path / "table.csv")


def test_semicolons_and_a_byte_order_mark_are_read(study_folder: Path, tmp_path: Path):
    """A table as a spreadsheet program of continental Europe writes it is read as any other."""
    (tmp_path / "excel.csv").write_text("\ufeffReader;Image;Opinion\r\nF;1;genuine\r\n", encoding="utf-8")
    answers = read_answers(Study.open(study_folder), tmp_path / "excel.csv")
    assert [(answer.reader, answer.call) for answer in answers] == [("F", "real")]


def test_line_breaks_that_csv_does_not_know_part_no_rows(study_folder: Path, tmp_path: Path):
    """U+2028, a vertical tab and their kin in a description that is not quoted are part of it."""
    table = write(tmp_path / "forms.csv", [["A", "1", "real", "", "soft\u2028edges,\x0bno fat\x85"]])
    assert len(read_answers(Study.open(study_folder), table)) == 1


def test_the_papers_own_counts_contradict_themselves(tmp_path: Path):
    """14 of 40 are not 14 + 3; 14 + 21 + 2 are not 40; both cannot agree on 3 CT of which one called 2 real."""
    (tmp_path / "paper.csv").write_text(PAPER, encoding="utf-8")
    found = check_counts(tmp_path / "paper.csv")
    assert len(found) == 3
    assert any("14 real in all" in text and "17" in text for text in found)
    assert any("37" in text and "40 images" in text for text in found)
    assert any("CT" in text and "3 real" in text and "only 2 for B" in text for text in found)


def test_counts_that_can_be_true_give_no_sentence(tmp_path: Path):
    """With the 14 as those of the MRI alone, and 2 CT in common, nothing contradicts itself."""
    lines = [line for line in PAPER.splitlines() if line != "A,,14,21,2,40"]
    text = "\n".join(lines).replace("both,CT,3", "both,CT,2")
    (tmp_path / "right.csv").write_text(text + "\n", encoding="utf-8")
    assert check_counts(tmp_path / "right.csv") == []


def test_a_table_of_counts_of_another_form_is_refused(tmp_path: Path):
    """A cell that is no count is named with its row."""
    (tmp_path / "counts.csv").write_text("reader,modality,real,phony,unclear\nA,CT,three,1,1\n", encoding="utf-8")
    with pytest.raises(StudyError, match="row 2: 'three' is not a count"):
        check_counts(tmp_path / "counts.csv")


def test_a_filler_that_the_reader_was_not_shown_is_named(sets: tuple[Path, Path], tmp_path: Path, database: str):
    """Each reader sees some of the fillers; an answer to another is refused with its row and case."""
    config = small_config(fillers=2, training=0, checks=0)
    study = design_study([sets[0]], sets[1], tmp_path / "study", config, show=False)
    opened = Study.open(study)
    shown = {one.case_id for one in presentations(opened, "E")}
    unseen = next(case.case_id for case in opened.of_role("filler") if case.case_id not in shown)
    table = write(tmp_path / "forms.csv", [["E", unseen, "real", "", ""]])
    with pytest.raises(StudyError, match=rf"row 2.*'{unseen}' is a filler that this reader was not shown"):
        import_answers(study, table, database=database, show=False)
