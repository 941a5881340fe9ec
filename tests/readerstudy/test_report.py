"""The report: complete in HTML and PDF, equal in CSV and JSON, the same bytes each time, and safe to open."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pypdf import PdfReader

from phonybrains.errors import OutputError, StudyError
from phonybrains.readerstudy.analyse import analyse_study, write_report
from phonybrains.readerstudy.design.plan import plan_sentences
from phonybrains.readerstudy.findings.analysis import analyse_answers
from phonybrains.readerstudy.report.build import build_report
from phonybrains.readerstudy.report.checklist import facts
from phonybrains.readerstudy.report.closing import read_table
from phonybrains.readerstudy.report.opening import verdict_text
from phonybrains.readerstudy.simulate import Skill, simulate_answers, simulate_study
from phonybrains.readerstudy.study import Answer, Study
from phonybrains.reporting.blocks import Table
from tests.support.study_files import make_study

SECTIONS = (
    "Verdict",
    "The registered test",
    "Departures from the plan",
    "Exploratory",
    "The images and what was said of them",
    "Phony images called real",
    "Accuracy, sensitivity and specificity",
    "Each reader against one half",
    "ROC",
    "Agreement among readers",
    "The same image twice",
    "Leaning towards phony",
    "Confidence",
    "Learning, tiring and time",
    "Where readers pointed",
    "The machine's benchmark",
    "Conduct of the study",
    "Attention checks and exclusions",
    "Who was shown what",
    "The plan as registered",
    "Reporting checklist",
    "How the images were made, and limits",
    "Published figures to compare with",
    "Files",
)
ANSWERS = ("yes", "no", "not applicable", "in part", "for the author to state")
ATTACK = '<script>alert("x")</script><img src=x onerror=alert(1)> & <b>bold</b>'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that three simulated readers have read."""
    folder = make_study(tmp_path_factory.mktemp("study"))
    simulate_study(folder, readers=3, skill=Skill(1.0), show=False)
    return folder


@pytest.fixture(scope="module")
def report(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analyse_study(study, tmp_path_factory.mktemp("report") / "out", show=False)


def text_of_pdf(path: Path) -> str:
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in PdfReader(path).pages))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_section_is_in_both(report: Path):
    """HTML and PDF hold all sections, in the order a reviewer reads them, and say that readers are simulated."""
    html, pdf = (report / "report.html").read_text(encoding="utf-8"), text_of_pdf(report / "report.pdf")
    headings = re.findall(r"<h2 [^>]*>(.*?)</h2>", html)
    assert [heading.replace("&#x27;", "'") for heading in headings] == list(SECTIONS)
    places = [pdf.find(section) for section in SECTIONS]
    assert min(places) >= 0
    assert "SIMULATED READERS" in html
    assert "SIMULATED READERS" in pdf


def test_the_page_needs_nothing_from_elsewhere(report: Path):
    """No script, no link to another host, no external picture: images are data, figures labelled inline SVG."""
    html = (report / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert all(link.startswith("#") for link in re.findall(r'<a href="([^"]*)"', html))
    assert html.count('<svg role="img" aria-label="') == len(list((report / "figures").glob("*.svg")))


def test_every_figure_is_there_as_svg_and_png_and_says_n(report: Path):
    """Each figure is in figures/ in both forms, and its caption or its labels say n."""
    names = {path.stem for path in (report / "figures").iterdir()}
    assert names >= {
        "calls_phony",
        "calls_real",
        "performance",
        "called_real",
        "roc",
        "agreement",
        "confusion",
        "confidence",
        "course",
        "marks",
    }
    for name in names:
        assert (report / "figures" / f"{name}.svg").is_file()
        assert (report / "figures" / f"{name}.png").is_file()
    html = (report / "report.html").read_text(encoding="utf-8")
    captions = re.findall(r"</svg>\s*</div><figcaption>(.*?)</figcaption>", html)
    assert len(captions) == len(names)
    for caption in captions:
        assert re.search(r"\bn\b|counts|How many|Marks", caption), caption


def test_json_and_csv_say_the_same(report: Path):
    """Every finding of results.json is in results.csv with the same figures, and the answers are all there."""
    found = json.loads((report / "results.json").read_text(encoding="utf-8"))
    table = rows_of(report / "results.csv")
    assert len(table) == len(found["findings"]) > 100
    for row, finding in zip(table, found["findings"], strict=True):
        assert row["quantity"] == finding["quantity"]
        for key in ("value", "low", "high", "p"):
            assert (float(row[key]) if row[key] else None) == finding[key]
        assert finding["method"]
        assert int(row["n"]) == finding["n"]
    answers = rows_of(report / "answers.csv")
    assert len(answers) == 3 * 34
    main = [row for row in answers if row["in_main_analysis"] == "yes" and row["truth"] == "phony"]
    share = sum(row["call"] == "real" for row in main) / len(main)
    called = next(
        f for f in found["findings"] if f["quantity"] == "called real" and f["reader"] == f["modality"] == "all"
    )
    assert called["value"] == pytest.approx(share)
    assert f"{100 * share:.1f}" in found["exploratory"]


def test_the_dictionary_covers_every_column(report: Path):
    """Each column of each table is explained, and nothing is explained that is not there."""
    explained = {(row["table"], row["column"]) for row in rows_of(report / "dictionary.csv")}
    present = {(path.name, column) for path in report.glob("*.csv") for column in rows_of(path)[0]}
    assert explained == present


def test_equal_inputs_give_equal_bytes(study: Path, report: Path, tmp_path: Path):
    """All files but record.json, which holds the time, are the same when made again."""
    again = analyse_study(study, tmp_path / "again", show=False)
    files = sorted(path.relative_to(report) for path in report.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for file in files:
        if file.name != "record.json":
            assert (report / file).read_bytes() == (again / file).read_bytes(), file
    with pytest.raises(OutputError):
        analyse_study(study, again, show=False)


def test_what_a_reader_types_stays_text(study: Path, tmp_path: Path):
    """Markup in a description is escaped in HTML and PDF, and a formula is disarmed in the CSV."""
    opened = Study.open(study)
    answers = simulate_answers(opened, ["A", "B"], Skill(), 0)
    answers = [replace(answer, description=ATTACK if answer.reader == "A" else "=1+1") for answer in answers]
    out = write_report(analyse_answers(opened, answers), tmp_path / "out", show=False)
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(" in html
    assert '<script>alert("x")</script>' in text_of_pdf(out / "report.pdf")
    assert {row["description"] for row in rows_of(out / "answers.csv") if row["reader"] == "B"} == {"'=1+1"}


def _one(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.reader == "A"]


def _three_answers(answers: Sequence[Answer]) -> list[Answer]:
    few = [answer for answer in answers if answer.kind == "test" and answer.reader == "B"][:3]
    return [*_one(answers), *few]


def _bare(answers: Sequence[Answer]) -> list[Answer]:
    return [replace(a, confidence=None, marks=(), description="", seconds=None) for a in answers]


def _constant(answers: Sequence[Answer]) -> list[Answer]:
    return [replace(answer, call="phony", confidence=50) for answer in answers]


def _single(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.kind == "test"][:1]


@pytest.mark.parametrize("change", [_one, _three_answers, _bare, _constant, _single])
def test_partial_answers_give_a_report_all_the_same(study: Path, tmp_path: Path, change):
    """One reader, three answers, nothing but calls, one call for all, one answer in all: no crash, a report."""
    opened = Study.open(study)
    answers = change(simulate_answers(opened, ["A", "B"], Skill(), 0))
    out = write_report(analyse_answers(opened, answers), tmp_path / "out", show=False)
    text = text_of_pdf(out / "report.pdf")
    assert "Verdict" in text
    assert "no claim about readers in general is made" in text


def test_one_modality_gives_a_report(study: Path, tmp_path: Path):
    """Where only CT was read, no MR is spoken of in the counts."""
    opened = Study.open(study)
    answers = [
        answer
        for answer in simulate_answers(opened, ["A", "B"], Skill(), 0)
        if opened.cases[answer.case_id].modality == "CT"
    ]
    out = write_report(analyse_answers(opened, answers), tmp_path / "out", show=False)
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert "12 CT" in found["verdict"]
    assert "MR" not in found["verdict"]


def test_a_changed_database_is_refused(study: Path, tmp_path: Path):
    """An answer changed outside phonybrains is found before anything is written."""
    import shutil
    import sqlite3

    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    with sqlite3.connect(copy / "study.db") as connection:
        triggers = connection.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"drop trigger {name}")
        connection.execute("update answer set call = case call when 'real' then 'phony' else 'real' end")
    connection.close()
    with pytest.raises(StudyError, match="changed outside phonybrains"):
        analyse_study(copy, tmp_path / "report", show=False)
    assert not (tmp_path / "report").exists()


def test_the_registered_result_comes_first_and_alone(report: Path):
    """Before 'Exploratory' there is one figure, the primary one, and no word on any other."""
    text = text_of_pdf(report / "report.pdf")
    opening = text[: text.index("Exploratory Nothing from here on was registered as a test")]
    assert "AUC" in opening
    assert not re.search("sensitivity|specificity|κ|called real|trend", opening)
    found = json.loads((report / "results.json").read_text(encoding="utf-8"))
    assert found["registered_test"]["primary"]["quantity"] == "AUC, these readers"
    assert found["registered"]["population"] == "these readers"


def test_each_claim_names_one_population(study: Path, tmp_path: Path):
    """No sentence or cell speaks both of these readers and of readers in general; none of the latter from two."""
    opened = Study.open(study)
    for names in (("A", "B"), ("A", "B", "C", "D")):
        analysis = analyse_answers(opened, simulate_answers(opened, names, Skill(), 0))
        texts = [text for block in build_report(analysis) for text in texts_of(block)]
        sentences = [sentence for text in texts for sentence in re.split(r"(?<=[.:;]) ", text)]
        for sentence in sentences:
            both = "these readers" in sentence.lower() and "readers in general" in sentence.lower()
            assert not both, sentence
            if len(names) == 2 and "in general" in sentence:
                assert re.search("[Nn]o claim", sentence), sentence


def texts_of(block: object) -> list[str]:
    """All text of a block."""
    texts: list[str] = []
    for name in ("text", "caption"):
        texts += [getattr(block, name)] if getattr(block, name, "") else []
    texts += list(getattr(block, "items", ()))
    texts += [cell for row in getattr(block, "rows", ()) for cell in row if isinstance(cell, str)]
    return texts


def test_answers_from_elsewhere_are_not_called_frozen_or_prospective(study: Path, tmp_path: Path):
    """Of imported answers the report says where they come from, and claims neither order, blinding nor time."""
    opened = Study.open(study)
    answers = [replace(a, answered_at="") for a in simulate_answers(opened, ["A", "B"], Skill(), 0)]
    analysis = analyse_answers(opened, answers, sources={"A": "imported", "B": "imported"})
    texts = [text for block in build_report(analysis) for text in texts_of(block)]
    assert any("The answers of A and B were collected elsewhere and imported" in text for text in texts)
    assert not any("before the first answer," in text or "frozen before the first answer" in text for text in texts)
    rows = {
        row["topic"]: facts(analysis)[row["here"][1:]][0]
        for row in read_table("checklist.csv")
        if row["here"].startswith("=")
    }
    for topic in ("prospective or retrospective", "readers did not know the truth", "whether ratings were independent"):
        assert rows[topic] == "for the author to state", topic


def test_the_checklist_is_filled_from_the_study(study: Path):
    """Repeats, marks, controls, readers and splits that a study has or lacks change the answers of its checklist."""
    opened = Study.open(study)
    answers = simulate_answers(opened, ["A", "B"], Skill(), 0)
    whole = facts(analyse_answers(opened, answers))
    bare = facts(
        analyse_answers(opened, [replace(a, marks=()) for a in answers if a.kind == "test" and a.reader == "A"])
    )
    assert (whole["variability"][0], bare["variability"][0]) == ("yes", "no")
    assert (whole["several readers"][0], bare["several readers"][0]) == ("yes", "not applicable")
    assert (whole["marks"][0], bare["marks"][0]) == ("in part", "no")
    assert whole["held out"][0] == "no"  # the small study takes controls from any split
    assert "34 presentations" not in whole["missing data"][1]
    phony = [answer for answer in answers if opened.cases[answer.case_id].truth == "phony"]
    synthetic = facts(analyse_answers(opened, phony))
    assert synthetic["cross table"][0] == synthetic["held out"][0] == synthetic["de-identified"][0] == "not applicable"
    assert synthetic["accuracy"][0] == "in part"


def test_an_all_phony_report_has_no_word_on_skill(study: Path):
    """Where only phony images were answered, no block says that readers told, found or recognised anything."""
    opened = Study.open(study)
    plan = opened.config.plan.model_copy(update={"primary": "called_real", "hypothesis": "difference"})
    opened = replace(opened, config=opened.config.model_copy(update={"plan": plan, "readers": ("A", "B")}))
    counts = {"test": 12, "training": 0, "check": 0, "repeat": 0, "arms": {"samples": {"MR": 6, "CT": 6}}}
    opened = replace(opened, protocol={**opened.protocol, "plan": plan_sentences(opened.config, counts, 0)})
    answers = simulate_answers(opened, ["A", "B"], Skill(criterion=-1.5), 0)
    analysis = analyse_answers(opened, [a for a in answers if opened.cases[a.case_id].truth == "phony"])
    assert "called phony images real less often than half" in verdict_text(analysis)
    elsewhere = ("Guideline", "Study")  # the guidelines' own words, and other studies
    blocks = build_report(analysis)
    kept = [block for block in blocks if not isinstance(block, Table) or block.columns[0] not in elsewhere]
    for text in [text for block in kept for text in texts_of(block)]:
        assert not re.search(r"better than chance|told phony|sensitivit|right answer|found out", text), text


def test_the_checklist_points_to_sections_that_exist():
    """Where an item names a section of the report, that section is there; every item has an answer."""
    rows = read_table("checklist.csv")
    assert {row["guideline"] for row in rows} == {"CLAIM 2024", "STARD 2015", "STARD-AI additions", "GRRAS"}
    assert [row["item"] for row in rows if row["guideline"] == "GRRAS"] == [str(i) for i in range(1, 16)]
    for row in rows:
        assert row["here"].startswith("=") or row["here"] in ANSWERS
        assert row["where"] or row["here"] == "for the author to state", row
    named = {section for row in rows for section in SECTIONS if section in row["where"]}
    assert len(named) >= 12
