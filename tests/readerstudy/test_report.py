"""The report: complete in HTML and PDF, equal in CSV and JSON, the same bytes each time, and safe to open."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from phonybrains.errors import OutputError, StudyError
from phonybrains.readerstudy.analyse import analyse_study, write_report
from phonybrains.readerstudy.design.plan import plan_sentences
from phonybrains.readerstudy.findings.analysis import analyse_answers
from phonybrains.readerstudy.findings.over_time import Window
from phonybrains.readerstudy.report.build import build_report
from phonybrains.readerstudy.report.checklist import facts
from phonybrains.readerstudy.report.closing import read_table
from phonybrains.readerstudy.report.opening import verdict_text
from phonybrains.readerstudy.report.plots import plot_course
from phonybrains.readerstudy.simulate import Skill, simulate_answers, simulate_study
from phonybrains.readerstudy.study import Answer, Study
from phonybrains.reporting.blocks import Block, Table
from tests.support.report_files import (
    check_nothing_from_elsewhere,
    check_sections,
    html_of,
    leave_figures_blank,
    pdf_of,
    rows_of,
)
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
SHARES = {"calls_phony", "calls_real", "performance", "called_real", "roc"}
FIGURES = SHARES | {"agreement", "confusion", "confidence", "course", "marks"}
ENDS = ("svg", "png")
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


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_figures_blank(monkeypatch)


def test_every_section_is_in_both(report: Path):
    """HTML and PDF hold all sections, in the order a reviewer reads them, and say that readers are simulated."""
    check_sections(report, SECTIONS)
    assert "SIMULATED READERS" in html_of(report)
    assert "SIMULATED READERS" in pdf_of(report)


def test_the_page_needs_nothing_from_elsewhere(report: Path):
    """No script, no link to another host, no external picture: images are data, figures labelled inline SVG."""
    check_nothing_from_elsewhere(report)
    assert html_of(report).count('<svg role="img" aria-label="') == len(list((report / "figures").glob("*.svg")))


def test_every_figure_is_there_as_svg_and_png_and_says_n(report: Path):
    """Each figure is in figures/ in both forms, and its caption or its labels say n."""
    names = {path.stem for path in (report / "figures").iterdir()}
    assert names >= FIGURES
    assert {path.name for path in (report / "figures").iterdir()} == {f"{n}.{end}" for n in names for end in ENDS}
    captions = re.findall(r"</svg>\s*</div><figcaption>(.*?)</figcaption>", html_of(report))
    assert len(captions) == len(names)
    assert [caption for caption in captions if not re.search(r"\bn\b|counts|How many|Marks", caption)] == []


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
    called = [f["value"] for f in found["findings"] if f["quantity"] == "called real" and f["reader"] == "all"]
    assert called[0] == pytest.approx(share)
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


@pytest.mark.usefixtures("blank")
def test_what_a_reader_types_stays_text(study: Path, tmp_path: Path):
    """Markup in a description is escaped in HTML and PDF, and a formula is disarmed in the CSV."""
    opened = Study.open(study)
    answers = simulate_answers(opened, ["A", "B"], Skill(), 0)
    answers = [replace(answer, description=ATTACK if answer.reader == "A" else "=1+1") for answer in answers]
    out = write_report(analyse_answers(opened, answers), tmp_path / "out", show=False)
    html = html_of(out)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(" in html
    assert '<script>alert("x")</script>' in pdf_of(out)
    assert {row["description"] for row in rows_of(out / "answers.csv") if row["reader"] == "B"} == {"'=1+1"}


def by(answers: Sequence[Answer], reader: str) -> list[Answer]:
    return [answer for answer in answers if answer.reader == reader]


def answers_of_tests(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.kind == "test"]


NOTHING_ELSE = {"confidence": None, "marks": (), "description": "", "seconds": None}
PARTIAL = {
    "one reader": lambda answers: by(answers, "A"),
    "three answers of the second": lambda answers: [*by(answers, "A"), *answers_of_tests(by(answers, "B"))[:3]],
    "calls alone": lambda answers: [replace(answer, **NOTHING_ELSE) for answer in answers],
    "one call for all": lambda answers: [replace(answer, call="phony", confidence=50) for answer in answers],
    "one answer in all": lambda answers: answers_of_tests(answers)[:1],
}


@pytest.mark.parametrize("kind", PARTIAL)
def test_partial_answers_give_a_report_all_the_same(
    study: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """No crash, a report; of one answer its figures are rendered, else they are painted alone."""
    if kind != "one answer in all":
        leave_figures_blank(monkeypatch)
    opened = Study.open(study)
    answers = PARTIAL[kind](simulate_answers(opened, ["A", "B"], Skill(), 0))
    text = pdf_of(write_report(analyse_answers(opened, answers), tmp_path / "out", show=False))
    assert "Verdict" in text
    assert "no claim about readers in general is made" in text


@pytest.mark.usefixtures("blank")
def test_one_modality_gives_a_report(study: Path, tmp_path: Path):
    """Where only CT was read, no MR is spoken of in the counts."""
    opened = Study.open(study)
    answers = simulate_answers(opened, ["A", "B"], Skill(), 0)
    answers = [answer for answer in answers if opened.cases[answer.case_id].modality == "CT"]
    out = write_report(analyse_answers(opened, answers), tmp_path / "out", show=False)
    verdict = json.loads((out / "results.json").read_text(encoding="utf-8"))["verdict"]
    assert "12 CT" in verdict
    assert "MR" not in verdict


def test_a_changed_database_is_refused(study: Path, tmp_path: Path):
    """An answer changed outside phonybrains is found before anything is written."""
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
    text = pdf_of(report)
    opening = text[: text.index("Exploratory Nothing from here on was registered as a test")]
    assert "AUC" in opening
    assert not re.search("sensitivity|specificity|κ|called real|trend", opening)
    found = json.loads((report / "results.json").read_text(encoding="utf-8"))
    assert found["registered_test"]["primary"]["quantity"] == "AUC, these readers"
    assert found["registered"]["population"] == "these readers"


@pytest.mark.usefixtures("blank")
def test_each_claim_names_one_population(study: Path):
    """No sentence or cell speaks both of these readers and of readers in general; none of the latter from two."""
    opened = Study.open(study)
    for names in (("A", "B"), ("A", "B", "C", "D")):
        texts = said(build_report(analyse_answers(opened, simulate_answers(opened, names, Skill(), 0))))
        for sentence in [sentence for text in texts for sentence in re.split(r"(?<=[.:;]) ", text)]:
            both = "these readers" in sentence.lower() and "readers in general" in sentence.lower()
            assert not both, sentence
            if len(names) == 2 and "in general" in sentence:
                assert re.search("[Nn]o claim", sentence), sentence


def said(blocks: Sequence[Block]) -> list[str]:
    """All texts of blocks."""
    texts: list[object] = []
    for block in blocks:
        texts += [getattr(block, name, "") for name in ("text", "caption")]
        texts += [*getattr(block, "items", ()), *(cell for row in getattr(block, "rows", ()) for cell in row)]
    return [text for text in texts if isinstance(text, str)]


@pytest.mark.usefixtures("blank")
def test_answers_from_elsewhere_are_not_called_frozen_or_prospective(study: Path):
    """Of imported answers the report says where they come from, and claims neither order, blinding nor time."""
    opened = Study.open(study)
    answers = [replace(a, answered_at="") for a in simulate_answers(opened, ["A", "B"], Skill(), 0)]
    analysis = analyse_answers(opened, answers, sources={"A": "imported", "B": "imported"})
    texts = said(build_report(analysis))
    assert any("The answers of A and B were collected elsewhere and imported" in text for text in texts)
    assert not any("before the first answer," in text or "frozen before the first answer" in text for text in texts)
    known, items = facts(analysis), [row for row in read_table("checklist.csv") if row["here"].startswith("=")]
    rows = {row["topic"]: known[row["here"][1:]][0] for row in items}
    for topic in ("prospective or retrospective", "readers did not know the truth", "whether ratings were independent"):
        assert rows[topic] == "for the author to state", topic


def test_the_checklist_is_filled_from_the_study(study: Path):
    """Repeats, marks, controls, readers and splits that a study has or lacks change the answers of its checklist."""
    opened = Study.open(study)
    answers = simulate_answers(opened, ["A", "B"], Skill(), 0)
    whole = facts(analyse_answers(opened, answers))
    bare = facts(analyse_answers(opened, [replace(answer, marks=()) for answer in answers_of_tests(by(answers, "A"))]))
    changed = {"variability": ("yes", "no"), "several readers": ("yes", "not applicable"), "marks": ("in part", "no")}
    assert {name: (whole[name][0], bare[name][0]) for name in changed} == changed
    assert whole["held out"][0] == "no"  # the small study takes controls from any split
    assert "34 presentations" not in whole["missing data"][1]
    phony = [answer for answer in answers if opened.cases[answer.case_id].truth == "phony"]
    synthetic = facts(analyse_answers(opened, phony))
    assert synthetic["cross table"][0] == synthetic["held out"][0] == synthetic["de-identified"][0] == "not applicable"
    assert synthetic["accuracy"][0] == "in part"


@pytest.mark.usefixtures("blank")
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
    texts = said([block for block in blocks if not isinstance(block, Table) or block.columns[0] not in elsewhere])
    skill = re.compile(r"better than chance|told phony|sensitivit|right answer|found out")
    assert [text for text in texts if skill.search(text)] == []


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


def test_the_course_says_what_its_axes_are_and_whose_its_lines_are():
    """Axes are named after what is measured, lines after their readers."""
    windows = {f"reader {i}": [Window(4.0, 0.5, 3.0, 7), Window(11.0, 0.75, 2.0, 7)] for i in (1, 2)}
    svg = plot_course(windows, "").svg
    for text in ("right answers", "seconds per case (median)", "position in the reading", "reader 1, n=14"):
        assert f"<!-- {text} -->" in svg
