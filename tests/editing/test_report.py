"""The page of an edit: what nobody measured is said at the top and beside every picture."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from phonybrains.editing.config import Edit, Inpaint, Upscale, Vary
from phonybrains.editing.report import ROWS, check_report
from phonybrains.editing.stage import edit
from phonybrains.errors import ConfigError
from phonybrains.imageset import ImageSet, write_metadata
from phonybrains.record import read_record

SENTENCE = Edit.invented


@pytest.fixture
def two(phantom_corpus: Path, tmp_path: Path) -> Path:
    """Two phantoms of the corpus."""
    folder = shutil.copytree(phantom_corpus, tmp_path / "two")
    write_metadata(folder, ImageSet.open(folder).rows[:2])
    return folder


def test_the_page_says_it_beside_every_picture(varied: Path) -> None:
    """At the top, before the first picture, under each row of pictures; with the settings, the spread and the chain of
    records; nothing is fetched from elsewhere, and no row claims a truth that nobody knows."""
    page = (varied.parent / "varied.html").read_text("utf-8")
    shown = page.count('class="gallery"')
    assert shown == min(ROWS, len(ImageSet.open(varied)) // 2)
    assert page.index(SENTENCE) < page.index("<img")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert len(captions) == shown
    assert all(SENTENCE in caption and "Spread:" in caption for caption in captions)
    assert "PSNR" not in page
    assert "standard deviation of 2 answers" in page
    for words in ("strength", "still shows its patient", "Where the images come from", "tiny", "phantom"):
        assert words in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_where_the_truth_is_known_its_psnr_is_shown(two: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The mean over images that the record has, and each row's; one answer has no spread, which is said. The same
    command with another report makes no image again."""
    report, out, how = tmp_path / "page.html", tmp_path / "out", Upscale(n=1, steps=1, simulate=True)
    edit(two, out, how, model=tiny_model, report=report, show=False)
    page, mean = report.read_text("utf-8"), read_record(out)["results"]["psnr_db"]
    rows = [float(x) for x in re.findall(r"PSNR against the truth: ([\d.]+) dB", page)]
    assert len(rows) == 2
    assert sum(rows) / 2 == pytest.approx(mean, abs=0.06)
    assert f"PSNR against it {mean:.1f} dB" in page
    assert "there is no spread" in page
    before = (out / "metadata.csv").stat().st_mtime_ns
    edit(two, out, how, model=tiny_model, report=tmp_path / "page.pdf", show=False)
    assert (out / "metadata.csv").stat().st_mtime_ns == before
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    pypdf = pytest.importorskip("pypdf")
    text = " ".join(" ".join(each.extract_text() for each in pypdf.PdfReader(tmp_path / "page.pdf").pages).split())
    assert text.count(SENTENCE) >= 4  # at the top, beside both rows, among the limits


def test_what_lay_in_a_hole_is_no_truth(two: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Something else may have been asked for: the page shows what was there as what it was."""
    how = Inpaint(area="hole", hole=(20, 20, 12, 12), n=1, steps=1)
    edit(two, tmp_path / "out", how, model=tiny_model, report=tmp_path / "page.html", show=False)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "as it was" in page
    assert "truth" not in page.split("<main>")[1].split("What is not measured")[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("page.docx", "the report is a page, .html or .pdf"), ("out/page.html", "lies inside"), ("d.html", "is a folder")],
)
def test_a_report_that_cannot_be_is_refused_before_the_work(
    two: Path, tiny_model: Path, tmp_path: Path, name: str, message: str
) -> None:
    """Nothing is written then."""
    (tmp_path / "d.html").mkdir()
    with pytest.raises(ConfigError, match=message):
        edit(two, tmp_path / "out", Vary(n=1), model=tiny_model, report=tmp_path / name, show=False)
    assert not (tmp_path / "out").exists()
    check_report(tmp_path / "fine.pdf", tmp_path / "out")
