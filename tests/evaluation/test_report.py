"""The evaluation's report: complete in HTML and PDF, equal in CSV and JSON, the same bytes each time, safe to open."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from phonybrains.evaluation.config import EvaluateConfig, Part
from phonybrains.evaluation.findings import Facts, Findings, Word
from phonybrains.evaluation.inputs.sets import Sides
from phonybrains.evaluation.outcomes import Outcome, distance
from phonybrains.evaluation.report.build import build_report
from phonybrains.evaluation.report.closing import limits
from phonybrains.evaluation.report.embed import embed
from phonybrains.evaluation.report.figures import Looks
from phonybrains.evaluation.report.glance import glances
from phonybrains.evaluation.report.names import with_interval
from phonybrains.evaluation.report.opening import ANSWERS, status_of
from phonybrains.evaluation.report.tables import scores_of, write_scores
from phonybrains.evaluation.report.terminal import print_scores
from phonybrains.evaluation.score import Null, Score, unavailable
from phonybrains.imageset import ImageSet, write_metadata, write_png
from phonybrains.record import Record
from phonybrains.reporting.blocks import Block, Gallery, Note, Table
from phonybrains.reporting.pages import write_pages
from tests.support.evaluation_files import EXTRACTOR, made_up, opened
from tests.support.report_files import (
    check_nothing_from_elsewhere,
    check_sections,
    html_of,
    illegible,
    keep_figures,
    rows_of,
)
from tests.support.study_accessibility import faults
from tests.support.study_browser import chromium

CONFIG, RECORD = EvaluateConfig(), Record("evaluate", {}, 0)
SECTIONS = (
    "At a glance",
    "Real and synthetic side by side",
    "Quality: is it good?",
    "Texture: can a ruler tell?",
    "Memorisation: is it new?",
    "Bias: is it fair?",
    "Utility: is it useful?",
    "How it was measured",
    "Where the images come from",
    "Limits",
    "Published figures to compare with",
    "Files",
)
ATTACK = '<script>alert("x")</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return opened(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def blocks(sides: Sides) -> list[Block]:
    return build_report(sides, CONFIG, made_up(sides), RECORD)


@pytest.fixture(scope="module")
def report(blocks: list[Block], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    write_pages(out, "Evaluation", "of phantoms", blocks, "foot")
    return out


def galleries(blocks: list[Block]) -> dict[str, Gallery]:
    return {block.name: block for block in blocks if isinstance(block, Gallery)}


def test_the_report_is_whole_and_needs_nothing_from_elsewhere(report: Path):
    """HTML and PDF hold all sections, in the order a reviewer reads them; no script, link or picture from outside."""
    check_sections(report, SECTIONS)
    check_nothing_from_elsewhere(report)


def test_every_figure_can_be_read(sides: Sides, monkeypatch: pytest.MonkeyPatch):
    """Printed at its size no figure has letters under 8 pt, none that its edge cuts, and no legend over its data."""
    drawn = keep_figures(monkeypatch)
    build_report(sides, CONFIG, made_up(sides), RECORD)
    assert len(drawn) == 10
    assert [fault for drawing in drawn for fault in illegible(drawing)] == []


def test_every_figure_is_drawn(report: Path, blocks: list[Block]):
    """Each figure of the issue is there: side by side, neighbours, map, spectra, prevalence, telling images."""
    quality = {"beside_null_mr", "beside_null_ct", "map", "spectra", "prevalence"}
    others = {"similarity", "composition", "amplification", "confusion", "delta_auc"}
    assert {path.stem for path in (report / "figures").iterdir()} == quality | others
    shown = galleries(blocks)
    assert set(shown) == {"side_by_side_mr", "side_by_side_ct", "telling_mr", "telling_ct", "pairs"}
    assert shown["side_by_side_mr"].labels[0].startswith("real")
    assert len(shown["telling_ct"].pictures) == 5


def test_equal_findings_give_equal_bytes(sides: Sides, report: Path, tmp_path: Path):
    """The same findings make the same page and the same PDF."""
    write_pages(tmp_path, "Evaluation", "of phantoms", build_report(sides, CONFIG, made_up(sides), RECORD), "foot")
    for name in ("report.html", "report.pdf", "figures/map.png"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()


def test_the_four_lines_have_their_numbers(sides: Sides):
    """Each says its number with interval, n and what it is compared with; why there is none, where a part was left out
    or could not be measured; and of one image that it is one, not that weights are missing which nobody named."""
    said = [one.text.replace("\u00a0", " ") for one in glances(sides, made_up(sides))]
    kid, null = "KID, fd_handcrafted", "n = 12, real against real 0.001 (−0.010 to 0.012)"
    worst, usual = "Worst single feature, AUC", "n = 12, real against real 0.56 (0.52 to 0.62)"
    feature = "power at 0.625 of Nyquist, dB: smaller in synthetic images"
    assert said == [
        f"MR: {kid} 0.002 (−0.010 to 0.011), {null}; {worst} 0.55 (0.51 to 0.59), {usual}; 0 of 2 scores apart\n"
        f"CT: {kid} 0.20 (0.09 to 1.01), {null}; {worst} 0.95 (0.91 to 0.99), {usual}, {feature}; 2 of 2 scores apart",
        "MR: 1 of 12 copies at the threshold 0.900 (0.2 % to 38.5 %; 1.0 % of unseen people's images are)\n"
        "searched: 12 of 24 images\naudit: failed",
        "CT, hemorrhage = none: Amplification −0.40 (−0.90 to 0.10), n = 12, against 0, p = 0.20; "
        "0 of 1 shares of labels differ",
        "CT, real + synthetic 1:1: AUC, gain 0.020 (−0.010 to 0.050), n = 40, against 0, p = 0.30; "
        "raised in 0 and lowered in 0 of 1 comparison",
    ]
    assert [(one.answer, one.text) for one in glances(sides, {})] == [("not measured", "left out by --only")] * 4
    why = "only 1 synthetic MR image: at least 10 are needed to say anything"
    missing, few = unavailable("fid", "no weights were given"), unavailable("quality", why, modality="MR")
    assert glances(sides, {"quality": Findings([missing, few])})[0].text == why
    assert glances(sides, {"quality": Findings([missing])})[0].text == "no weights were given"


@pytest.mark.parametrize(
    ("word", "n", "answer"),
    [("passed", 24, "yes"), ("passed", 12, "not shown"), ("look", 24, "not shown"), ("undecided", 24, "not shown")],
)
def test_new_is_what_the_audit_says_of_the_whole_set(sides: Sides, word: Word, n: int, answer: str):
    """Passed is a yes where every image of the set was searched; what asks for a look or is undecided shows nothing."""
    findings = made_up(sides)["memorisation"]
    assert findings.facts.audit is not None
    audit = {"MR": replace(findings.facts.audit["MR"], n=n, exceedances=0)}
    line = glances(sides, {"memorisation": replace(findings, facts=replace(findings.facts, status=word, audit=audit))})[
        1
    ]
    assert (line.question, line.answer) == ("new?", answer)
    assert ("searched: 12 of 24 images" in line.text) == (n == 12)


@pytest.mark.needs("chromium")
def test_the_page_can_be_read_on_a_phone(report: Path):
    """At 390 pixels the page does not move sideways, no word in a table is broken, and figures keep their size; on a
    dark screen every text stands out from its ground, and figures keep their white one."""
    broken = """[...document.querySelectorAll("td, th")].filter(cell => {
        const text = cell.innerText.trim(), range = document.createRange();
        range.selectNodeContents(cell);
        return text && !/[\\s/_-]/.test(text) && text.length < 20 && range.getClientRects().length > 1;
    }).map(cell => cell.innerText)"""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto((report / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("document.querySelectorAll('td').length") > 20
        assert page.evaluate(broken) == []
        assert page.evaluate("document.querySelector('figure svg').clientWidth") > 500
        page.emulate_media(color_scheme="dark")
        assert [fault for fault in faults(page) if not fault.startswith("two elements")] == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        white = "getComputedStyle(document.querySelector('figure svg')).backgroundColor"
        assert page.evaluate(white) == "rgb(255, 255, 255)"
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_copies_cannot_be_missed(sides: Sides, blocks: list[Block]):
    """A failed audit stands above everything, and each flagged pair is shown with its training image and patient."""
    assert status_of(made_up(sides)) == "failed"
    assert blocks[0] == Note("COPIES OF TRAINING IMAGES WERE FOUND", "banner")
    pairs = galleries(blocks)["pairs"]
    assert "FLAGGED" in pairs.labels[0]
    assert pairs.labels[1].startswith("training")
    assert ", patient " in pairs.labels[1]
    train = sides.corpus.where(modality="MR", split="train")
    assert pairs.pictures[1] == Looks(sides.samples, sides.corpus, "MR").of("real", train.rows[0].file_name)


def test_the_loss_of_members_is_no_part_of_the_answers(sides: Sides):
    """However well the loss tells training images, answers and status stay, and the limits say so."""
    found = made_up(sides)
    told = Score("member_loss_auc", 0.99, 0.98, 1.0, 12, Null(0.5, 0.5, 0.5), modality="MR")
    audit = found["memorisation"]
    more: dict[Part, Findings] = {**found, "memorisation": replace(audit, scores=[*audit.scores, told])}
    assert glances(sides, more) == glances(sides, found)
    assert status_of(more) == status_of(found)
    said = [str(limits(sides, one)).count("held-out ones is no part of the verdict") for one in (found, more)]
    assert said == [0, 1]


def test_every_score_stands_beside_its_null_with_n_and_extractor(blocks: list[Block]):
    """The table of quality has value, interval, n, null, p and extractor; one that could not be had says why."""
    tables = [block for block in blocks if isinstance(block, Table) and "real against real" in block.columns]
    value, null = "0.002 (−0.010\u00a0to\u00a00.011)", "0.001 (−0.010\u00a0to\u00a00.012)"
    assert tables[0].rows[0] == ("KID", "MR", value, "12", null, "not shown", "0.40", "fd_handcrafted; test")
    assert f"Features: {EXTRACTOR}." in str(blocks)
    assert "FID: no weights were given." in str(blocks)


def test_distance_is_in_half_widths_of_the_null():
    """Above and below the middle each by the width of that side; none where chance is the null."""
    null = Null(0.5, 0.4, 0.7)
    assert distance(Score("kid", 0.9, null=null)) == pytest.approx(2.0)
    assert distance(Score("kid", 0.3, null=null)) == pytest.approx(-2.0)
    assert distance(Score("kid", 0.9, null=Null(0.5, 0.5, 0.5))) is None


def test_figures_of_one_score_share_their_digits():
    """A value and its interval are written alike, whatever their size."""
    assert with_interval(0.0012, -0.01, 0.0149) == "0.001 (−0.010\u00a0to\u00a00.015)"
    assert with_interval(153.2, 90.0, 201.0) == "153 (90\u00a0to\u00a0201)"
    assert with_interval(1.654, None, None) == "1.65"
    assert with_interval(0.0, 0.0, 0.0) == "0.0000 (0.0000\u00a0to\u00a00.0000)"


def test_texts_stay_texts(sides: Sides, tmp_path: Path):
    """Names and notes that look like markup or formulas are shown and not run."""
    note = Findings(
        [unavailable("fid", ATTACK), Score("kid", 0.5, group=ATTACK, versus="=1+1")], facts=Facts(sentence=ATTACK)
    )
    found: dict[Part, Findings] = {"quality": note, "bias": note}
    write_pages(tmp_path, ATTACK, ATTACK, build_report(sides, CONFIG, found, RECORD), ATTACK)
    html = html_of(tmp_path)
    assert "<script" not in html
    assert "onerror=alert(1)>" not in html
    write_scores(tmp_path / "scores.csv", found)
    assert rows_of(tmp_path / "scores.csv")[1]["versus"] == "'=1+1"


def test_csv_and_json_hold_every_score(sides: Sides, tmp_path: Path):
    """Each score is one entry and one row, with its null and what was said of it."""
    found = made_up(sides)
    write_scores(tmp_path / "scores.csv", found)
    rows, entries = rows_of(tmp_path / "scores.csv"), scores_of(found)
    assert [row["name"] for row in rows] == [entry["name"] for entry in entries]
    assert len(rows) == sum(len(findings.scores) for findings in found.values())
    first = rows[1]
    assert (first["part"], first["null_high"], first["judged"], first["p"]) == ("quality", "0.012", "not shown", "0.4")
    assert rows[0]["value"] == ""
    assert rows[0]["note"] == "no weights were given"


def test_the_terminal_shows_what_concerns_whole_modalities(sides: Sides, capsys: pytest.CaptureFixture[str]):
    """The table leaves single attributes to the report, and names what is missing."""
    scores = [(part, score) for part, findings in made_up(sides).items() for score in findings.scores]
    print_scores(scores, ["something [odd]"])
    printed = capsys.readouterr().out
    assert "KID" in printed
    assert "plane = axial" not in printed
    assert "not available: no weights were given" in printed
    assert "note: something [odd]" in printed


def test_a_part_with_nothing_to_draw_is_still_told_of(sides: Sides):
    """Findings without arrays, facts or values make a section that says what is missing."""
    found: dict[Part, Findings] = {"quality": Findings([unavailable("kid", "only one image")]), "utility": Findings([])}
    text = str(build_report(sides, CONFIG, found, RECORD))
    assert "KID: only one image." in text
    assert "Asked for and not measured: quality, utility." in text
    assert glances(sides, found)[0].text == "only one image"


def deepened(images: ImageSet, out: Path, factor: int) -> ImageSet:
    """A 16-bit copy of an 8-bit image set, its grey levels multiplied."""
    (out / "images").mkdir(parents=True)
    rows = [
        replace(row, sha256=write_png(out / row.file_name, images.pixels(i).astype(np.uint16) * np.uint16(factor)))
        for i, row in enumerate(images.rows)
    ]
    write_metadata(out, rows)
    return ImageSet.open(out)


def test_pictures_share_one_window(sides: Sides, tmp_path: Path):
    """8-bit images are shown as they are; deeper ones in one window of the real images, a darker set stays darker."""
    looks = Looks(sides.samples, sides.corpus, "CT")
    assert (looks.black, looks.white) == (0.0, 255.0)
    assert looks.of("real", "images/none.png") is None
    dim = deepened(sides.samples, tmp_path / "samples", 8)
    deep = Looks(dim, deepened(sides.corpus, tmp_path / "corpus", 16), "CT")
    assert 255.0 < deep.white <= 16 * 255.0
    brightest = {kind: np.asarray(Image.open(io.BytesIO(deep.at(kind, 0).png))).max() for kind in ("real", "synthetic")}
    assert brightest["real"] == 255
    assert brightest["synthetic"] < 160


@pytest.mark.parametrize(("n", "method"), [(40, "t-SNE"), (10, "PCA")])
def test_the_map_keeps_neighbours_and_repeats(n: int, method: str):
    """Two clouds far apart stay apart, equal seeds give equal maps, and too few images are laid out plainly."""
    rng = np.random.default_rng(0)
    features = {"real": rng.normal(0, 1, (n, 30)), "synthetic": rng.normal(8, 1, (n, 30))}
    used, points = embed(features, 0)
    assert used == method
    spread = max(points[kind].std(axis=0).max() for kind in points)
    gap = np.linalg.norm(points["real"].mean(axis=0) - points["synthetic"].mean(axis=0))
    assert gap > 2 * spread
    np.testing.assert_array_equal(embed(features, 0)[1]["real"], points["real"])


def test_a_map_of_equal_images_is_a_point():
    """Equal or broken features make no error."""
    equal = {"real": np.ones((5, 4)), "synthetic": np.ones((3, 4))}
    assert np.all(embed(equal, 0)[1]["real"] == 0)
    broken = {"real": np.full((5, 4), np.nan), "synthetic": np.ones((3, 4))}
    assert np.all(embed(broken, 0)[1]["synthetic"] == 0)


def test_every_word_that_a_score_can_have_is_counted():
    """The first table has a column for each, so that its counts and the words of the tables below agree."""
    assert set(ANSWERS) == set(get_args(Outcome)) - {""}
