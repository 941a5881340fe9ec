"""`show`: the right images, never a study's, never over what is there."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phonybrains.errors import ConfigError, OutputError, StudyError
from phonybrains.imageset import ImageSet
from phonybrains.marks import mark_in
from phonybrains.workflows import show
from phonybrains.workflows.show import chosen, show_set


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sheet_is_written_where_no_picture_can_be_shown(phantom_corpus: Path) -> None:
    """In the current folder, marked as what it shows; the same again is the same file, another has the next name."""
    lines = show_set(phantom_corpus, grid=(3, 2))
    assert lines == [ImageSet.open(phantom_corpus).summary, "6 of 48 images", "phantoms-sheet.png"]
    assert mark_in(Path("phantoms-sheet.png").read_bytes()) is not None
    assert show_set(phantom_corpus, grid=(3, 2))[-1] == "phantoms-sheet.png"
    assert show_set(phantom_corpus, grid=(2, 2))[-1] == "phantoms-sheet-2.png"
    with pytest.raises(OutputError, match="exists already"):
        show_set(phantom_corpus, grid=(1, 1), out="phantoms-sheet.png")


def test_only_what_is_asked_for(phantom_corpus: Path) -> None:
    """Columns and values in upper or lower case; a name or a value that is not there is named with what is."""
    images = ImageSet.open(phantom_corpus)
    found = chosen(images, {"Modality": "ct", "synthetic": "true"})
    assert {row.modality for row in found.rows} == {"CT"}
    assert len(found) == sum(row.modality == "CT" for row in images.rows)
    for where, words in (
        ({"modalty": "CT"}, r"no such column.*Did you mean modality\?"),
        ({"plane": "axal"}, r"no image has axal.*Did you mean axial\?"),
        ({"sha256": "0"}, "no such column"),
        ({"modality": "MR", "hemorrhage": "subdural"}, "all of that together"),
    ):
        with pytest.raises(ConfigError, match=words):
            chosen(images, where)


def test_one_image_with_its_record(phantom_corpus: Path) -> None:
    """By number, name or stem: its file as it is, its row, and which command made it."""
    for image in ("3", "000003", "000003.png", "images/000003.png"):
        *lines, written = show_set(phantom_corpus, image=image, out=f"{Path(image).stem}.png")
        assert Path(written).read_bytes() == (phantom_corpus / "images/000003.png").read_bytes()
        Path(written).unlink()
    assert "file_name: images/000003.png" in lines
    assert lines[-1].startswith("made by: phantom, 20")
    with pytest.raises(ConfigError, match=r"a number from 0 to 47, or a file name such as images/000000\.png"):
        show_set(phantom_corpus, image="48")


def test_a_terminal_gets_the_picture(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """In kitty's way or as sixels, and no file is written."""
    for protocol, start in (("kitty", b"\x1b_Ga=T,f=100"), ("sixel", b'\x1bPq"1;1;')):
        monkeypatch.setattr(show, "protocol_of_terminal", lambda protocol=protocol: protocol)
        show_set(phantom_corpus, grid=(2, 1))
        assert capfdbinary.readouterr().out.startswith(start)
    assert list(tmp_path.iterdir()) == []


def test_real_images_are_not_called_synthetic(phantom_corpus: Path) -> None:
    """A sheet of scans has no mark; one of both says that it is composite."""
    images = ImageSet.open(phantom_corpus)
    assert show._mark_of(images) is not None
    assert show._mark_of(type(images)(images.folder, (), 1, 1, 8)) is None


@pytest.mark.parametrize("inside", ["", "images", "a/b"])
def test_a_study_is_never_shown(tmp_path: Path, inside: str) -> None:
    """Nor what lies in it: truth beside a case would unblind it."""
    study = tmp_path / "study"
    (study / inside).mkdir(parents=True)
    for name in ("protocol.json", "cases.csv"):
        (study / name).write_text("")
    with pytest.raises(StudyError, match="belongs to a study, which is blinded"):
        show_set(study / inside)


@pytest.mark.needs("chromium")
def test_a_click_shows_an_image_and_its_record(phantom_corpus: Path) -> None:
    """In a real browser, from a file that asks for nothing else: the picture large, its row, and the way back."""
    from playwright.sync_api import sync_playwright

    page_file = Path(show_set(phantom_corpus, where={"modality": "CT"}, browser=True)[-1])
    images = chosen(ImageSet.open(phantom_corpus), {"modality": "CT"})
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.resolve().as_uri())
        assert page.locator("main a").count() == len(images)
        assert page.locator("section:visible").count() == 0
        page.locator("main a").nth(1).click()
        one = page.locator("section:visible")
        for scheme in ("light", "dark"):  # the record lies over the sheet, on the page's own ground
            page.emulate_media(color_scheme=scheme)
            grounds = page.evaluate(
                "['section:target', 'body'].map(s => getComputedStyle(document.querySelector(s)).backgroundColor)"
            )
            assert grounds[0] == grounds[1]
        assert images.rows[1].file_name in one.inner_text()
        shot = Image.open(io.BytesIO(one.locator("img").screenshot())).convert("L").resize((64, 64))
        assert np.corrcoef(np.asarray(shot).ravel(), images.pixels(1).ravel())[0, 1] > 0.9
        one.get_by_text("back").click()
        assert page.locator("section:visible").count() == 0
        browser.close()
