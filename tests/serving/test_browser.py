"""The page to play with a served model, in a real browser: asked, answered, saved, filmed, stopped, on a phone too."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from phonybrains.exporting.stage import export
from phonybrains.imageset import ImageSet
from phonybrains.model.description import write_description
from tests.support.served_model import ServedModel, pixels, serving, texts_of
from tests.support.study_accessibility import faults
from tests.support.study_browser import chromium, shoot, wait_until

pytestmark = pytest.mark.needs("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Any, model_server: ServedModel) -> Iterator[Any]:
    """The page of the server, open; nothing may go wrong in its scripts."""
    with browser.new_context(accept_downloads=True) as context:
        opened = context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
        opened.goto(model_server.base)
        yield opened
        shoot(request.node.name, [opened])
        assert faults == []


def is_fault(message: Any) -> bool:
    """Whether the browser complains of the page, and not only notes that the server refused something."""
    return message.type == "error" and "the server responded with" not in message.text


def slide(page: Any, name: str, value: float) -> None:
    page.eval_on_selector(f"#{name}", "(e, value) => { e.value = value; e.dispatchEvent(new Event('input')); }", value)


def paint(page: Any, images: int) -> None:
    """Ask for the images and wait for a run of so many."""
    runs = page.locator(".run").count()
    page.click("#paint")
    wait_until(page, f"document.querySelectorAll('.run').length === {runs + 1}")
    shown = "[...document.querySelectorAll('.run img')].every((image) => image.complete && image.naturalWidth)"
    wait_until(page, shown)
    assert page.locator(".run").first.locator("figure").count() == images


def test_what_the_form_says_is_what_is_painted(page: Any, model_server: ServedModel, tmp_path: Path):
    """Menus, sliders, words and seed become a request; the image saved is, to the bit, the protocol's for the same.

    The same seed twice shows the same pictures, another one others.
    """
    page.select_option("#of-modality", "CT")
    page.click("summary")
    page.check("#set-age_years")
    slide(page, "of-age_years", 50)
    slide(page, "n", 3)
    slide(page, "steps", 2)
    page.fill("#prompt", "axial, photorealistic")
    page.fill("#seed", "5")
    paint(page, 3)
    notices = page.locator(".run .notice").all_inner_texts()
    assert notices[0] == "Not understood: “photorealistic”."
    doubt = "NO TRAINING IMAGE is modality CT, plane axial, age_years 50"
    assert [note.partition(":")[0] for note in notices[1:]] == [doubt]
    assert page.inner_text(".run h2") == "modality CT, plane axial, age_years 50"
    with page.expect_download() as saving:
        page.click("figure:nth-of-type(3) a")
    assert saving.value.suggested_filename == "tiny-seed-5-2.png"
    png = Path(saving.value.path()).read_bytes()
    body = {"prompt": "CT axial, age 50", "n": 3, "seed": 5, "steps": 2}
    assert png == base64.b64decode(model_server.ask(body)[1]["data"][2]["b64_json"])
    assert texts_of(png)["phonybrains"]["synthetic"] is True
    shown = []
    for seed in ("5", "6"):
        page.fill("#seed", seed)
        with page.expect_response("**/v1/images/generations") as answer:
            paint(page, 3)
        shown.append([item["b64_json"] for item in answer.value.json()["data"]])
    assert base64.b64encode(png).decode() == shown[0][2]
    assert len({*shown[0], *shown[1]}) == 6


def test_a_run_is_saved_as_an_image_set(page: Any, tmp_path: Path):
    """The ZIP file that the button saves holds a set that opens, with all images and their record."""
    page.fill("#seed", "9")
    slide(page, "steps", 1)
    paint(page, 4)
    with page.expect_download() as saving:
        page.click(".run .row button")
    assert saving.value.suggested_filename == "tiny-seed-9.zip"
    zipfile.ZipFile(saving.value.path()).extractall(tmp_path)
    images = ImageSet.open(tmp_path / "tiny-seed-9")
    assert len(images) == 4
    assert all(row.synthetic and row.attributes["seed"] == 9 for row in images.rows)
    assert images.record["stage"] == "generate"


def test_the_film_shows_the_way_from_noise(page: Any):
    """A dialog with a strip of frames; saved, it is a picture that says it is synthetic; Escape closes it."""
    page.fill("#seed", "3")
    slide(page, "steps", 6)
    slide(page, "n", 1)
    paint(page, 1)
    page.click("figure button:text('Film')")
    wait_until(page, "document.getElementById('film').open && document.getElementById('film-strip').naturalWidth > 0")
    with page.expect_download() as saving:
        page.click("#film-save")
    png = Path(saving.value.path()).read_bytes()
    assert texts_of(png)["phonybrains"]["synthetic"] is True
    assert pixels(png).shape[1] == 7 * 164 + 4
    page.keyboard.press("Escape")
    wait_until(page, "!document.getElementById('film').open")


def test_an_image_is_saved_as_dicom(page: Any, tmp_path: Path):
    """The file that the button saves opens in pydicom, says that it is synthetic, and has the pixels of the PNG.

    It is, byte for byte, what `phonybrains export` makes of the same answer saved as an image set.
    """
    page.select_option("#of-modality", "CT")
    page.fill("#seed", "9")
    slide(page, "steps", 1)
    paint(page, 4)
    saved = {}
    for name, place in (("png", "figure:nth-of-type(2) a"), ("dcm", "figure:nth-of-type(2) button:text('DICOM')")):
        with page.expect_download() as saving:
            page.click(place)
        assert saving.value.suggested_filename == f"tiny-seed-9-1.{name}"
        saved[name] = Path(saving.value.path())
    with page.expect_download() as saving:
        page.click(".run .row button")
    image = pydicom.dcmread(saved["dcm"])
    assert (image.SyntheticData, image.Modality, image.PatientID[:4]) == ("YES", "CT", "SYN-")
    assert (image.pixel_array == pixels(saved["png"].read_bytes())).all()
    zipfile.ZipFile(saving.value.path()).extractall(tmp_path)
    export(tmp_path / "tiny-seed-9", tmp_path / "dicom", to="dicom", show=False)
    (exported,) = (tmp_path / "dicom").rglob("000001.dcm")
    assert exported.read_bytes() == saved["dcm"].read_bytes()


def grey(page: Any, canvas: int = 0) -> np.ndarray:
    """The grey levels (H, W) of a canvas of the view, as they are shown."""
    read = """(number) => {
        const canvas = document.querySelectorAll('#panes canvas')[number];
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return [canvas.height, canvas.width, Array.from(data.filter((_, i) => i % 4 === 0))];
    }"""
    height, width, data = page.evaluate(read, canvas)
    return np.array(data, np.uint8).reshape(height, width)


def windowed(image: np.ndarray, level: float, width: float) -> np.ndarray:
    """LINEAR_EXACT of PS3.3 C.11.2.1.3.2, to whole grey levels."""
    return np.clip(np.rint(((image.astype(float) - level) / width + 0.5) * 255), 0, 255).astype(np.uint8)


def test_window_and_level_are_those_of_dicom(page: Any):
    """At first the pixels of the PNG; sliders and drags show HU as DICOM says, Reset leads back."""
    page.select_option("#of-modality", "CT")
    slide(page, "steps", 1)
    slide(page, "n", 2)
    with page.expect_response("**/v1/images/generations") as answer:
        paint(page, 2)
    items = answer.value.json()["data"]
    stored = [pixels(base64.b64decode(item["b64_json"])) for item in items]
    first, second = (image * item["slope"] + item["intercept"] for image, item in zip(stored, items, strict=True))
    assert (items[0]["slope"] * 255, items[0]["intercept"], items[0]["unit"]) == (80, 0, "HU")
    page.click("figure .open")
    wait_until(page, "document.getElementById('view').open")
    assert (grey(page) == stored[0]).all()
    slide(page, "level", 50)
    slide(page, "width", 30)
    assert (grey(page) == windowed(first, 50, 30)).all()
    assert (page.inner_text("#is-level"), page.inner_text("#is-width")) == ("50 HU", "30 HU")
    page.click("#next")
    wait_until(page, "document.getElementById('view-title').textContent === 'Image 1'")
    assert (grey(page) == windowed(second, 50, 30)).all()
    box = page.locator("#panes canvas").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    page.mouse.up()
    level, width = (float(page.input_value(f"#{name}")) for name in ("level", "width"))
    assert (level, width) == pytest.approx((50 + 80 * 80 / 400, 30 + 40 * 80 / 400))
    assert (grey(page) == windowed(second, level, width)).all()
    page.focus("#width")
    page.keyboard.press("ArrowLeft")
    assert float(page.input_value("#width")) < width
    page.click("#reset")
    assert (grey(page) == stored[1]).all()
    page.keyboard.press("Escape")
    wait_until(page, "!document.getElementById('view').open")
    assert page.evaluate("document.activeElement.className") == "open"


@pytest.mark.parametrize(
    ("scale", "presets", "note"),
    [
        ([0.8, -60.0, "HU"], {"Brain": True, "Subdural": False, "Bone": False}, "Stored are -60 to 144 HU"),
        ([1.0, 0.0, "a.u."], {}, "What HU they stand for, the model does not know."),
    ],
)
def test_presets_stay_within_what_is_stored(
    browser: Any, tiny_model: Path, tmp_path: Path, scale: list[Any], presets: dict[str, bool], note: str
):
    """A preset shows its HU; one wider than what is stored cannot be pressed; without HU there is none."""
    shutil.copytree(tiny_model, tmp_path / "known")
    described = json.loads((tmp_path / "known" / "model.json").read_text())
    described["units"]["CT"] = scale
    write_description(tmp_path / "known", described)
    with serving(tmp_path / "known") as known, browser.new_context() as context:
        page = context.new_page()
        page.goto(known.base)
        page.select_option("#of-modality", "CT")
        slide(page, "steps", 1)
        slide(page, "n", 1)
        paint(page, 1)
        page.click("figure .open")
        wait_until(page, "document.getElementById('view').open")
        buttons = page.locator("#presets button").all()
        assert {button.inner_text(): button.is_enabled() for button in buttons} == presets
        assert note in page.inner_text("#window-note")
        if presets:
            stored = grey(page)
            page.click("#presets button:text('Brain')")
            assert (grey(page) == windowed(stored * 0.8 - 60, 40, 80)).all()


def test_two_settings_are_compared(page: Any):
    """With A held, the next answer has its seed and stands beside it; the third picture is B minus A."""
    page.fill("#seed", "4")
    slide(page, "steps", 1)
    slide(page, "n", 2)
    paint(page, 2)
    page.fill("#seed", "")
    page.click(".compare")
    slide(page, "steps", 6)
    with page.expect_response("**/v1/images/generations") as answer:
        page.click("#paint")
    assert answer.value.json()["seed"] == 4
    wait_until(page, "document.getElementById('view').open")
    page.click("#next")
    wait_until(page, "document.getElementById('view-title').textContent === 'A and B, image 1'")
    a, b, difference = (grey(page, number).astype(float) for number in range(3))
    assert (b == pixels(base64.b64decode(answer.value.json()["data"][1]["b64_json"]))).all()
    assert (a != b).any()
    assert (difference == np.rint((b - a + 255) / 2)).all()
    captions = page.locator("#panes figcaption").all_inner_texts()
    assert ["1 steps" in captions[0], "6 steps" in captions[1]] == [True, True]
    assert f"apart by {np.abs(b - a).mean():.1f} of 255" in captions[2]
    page.uncheck("#difference")
    assert page.locator("#panes figure:visible").count() == 2
    page.keyboard.press("Escape")
    assert page.locator(".compare").all_inner_texts() == ["Compare with A", "Let A go"]


@pytest.mark.parametrize("kept", [True, False], ids=["kept by the server", "forgotten by the server"])
def test_history_brings_an_answer_back(page: Any, kept: bool):
    """After a reload, too, what was made can be had again, to the bit, and its settings stand in the form."""
    page.select_option("#of-modality", "CT")
    slide(page, "steps", 2)
    slide(page, "n", 1)
    with page.expect_response("**/v1/images/generations") as answer:
        paint(page, 1)
    said = answer.value.json()
    made = base64.b64decode(said["data"][0]["b64_json"])
    slide(page, "steps", 1)
    paint(page, 1)
    page.reload()
    if not kept:
        page.route("**/images/**/*.png", lambda route: route.fulfill(status=404, body="{}"))
    page.click("#history-title")
    assert page.locator("#made li").count() == 2
    page.click("#made li:nth-child(2) button")
    wait_until(page, "document.querySelectorAll('.run img').length === 1")
    with page.expect_download() as saving:
        page.click("figure a")
    assert Path(saving.value.path()).read_bytes() == made
    assert (page.input_value("#of-modality"), page.input_value("#steps")) == ("CT", "2")
    assert page.input_value("#seed") == str(said["seed"])
    assert page.inner_text("#history-title") == "History (2)"
    page.click("#forget")
    page.reload()
    assert page.is_hidden("#history")


def test_it_works_with_the_keyboard_alone(page: Any):
    """Tab reaches the words, Enter asks; every control that has the focus shows it."""
    slide(page, "steps", 1)
    page.focus("#prompt")
    page.keyboard.type("CT")
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelectorAll('.run').length === 1")
    assert "4 images in" in page.inner_text("#state")
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_trouble_is_said(page: Any):
    """A contradiction is told in the server's words."""
    page.fill("#prompt", "MRI")
    page.select_option("#of-modality", "CT")
    with page.expect_response("**/v1/images/generations") as refused:
        page.click("#paint")
    assert refused.value.status == 400
    wait_until(page, "!document.getElementById('trouble').hidden")
    assert "The prompt asks for modality MR, 'where' for CT." in page.inner_text("#trouble")


def test_stop_stops(page: Any, model_server: ServedModel):
    """A request that is stopped leaves the queue, and the form is ready again."""
    slide(page, "n", 32)
    slide(page, "steps", 50)
    page.click("#paint")
    wait_until(page, "!document.getElementById('stop').hidden")
    page.click("#stop")
    wait_until(page, "document.getElementById('state').textContent === 'Stopped.'")
    assert page.is_enabled("#paint")
    assert model_server.ask({"prompt": "CT", "steps": 1})[0] == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["desktop", "phone"])
def test_the_page_meets_wcag(
    browser: Any, model_server: ServedModel, scheme: str, kind: str, request: pytest.FixtureRequest
):
    """Names, contrast, focus, targets and no sideways scroll, before and after an answer, light and dark."""
    with browser.new_context(**(PHONE if kind == "phone" else {}), color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(model_server.base)
        assert faults(page, touch=kind == "phone") == []
        page.fill("#prompt", "CT, photorealistic")
        page.click("summary")
        slide(page, "steps", 1)
        paint(page, 4)
        page.click("#history-title")
        shoot(f"{kind}-{scheme}", [page])
        assert faults(page, touch=kind == "phone") == []
        page.click(".compare")
        slide(page, "steps", 2)
        page.click("#paint")
        wait_until(page, "document.getElementById('view').open")
        shoot(f"{kind}-{scheme}-compared", [page])
        assert faults(page, touch=kind == "phone") == []


def test_a_locked_page_asks_for_the_token(browser: Any, tiny_model: Path):
    """The link on the terminal brings the token along and the address forgets it; without it the page asks."""
    with serving(tiny_model, token="secret7") as locked, browser.new_context() as context:
        link = re.search(r"http://\S+#token=\S+", "\n".join(locked.said))
        assert link
        page = context.new_page()
        page.goto(link[0])
        slide(page, "steps", 1)
        paint(page, 4)
        assert "secret7" not in page.url
        other = browser.new_context().new_page()
        other.goto(locked.base)
        slide(other, "steps", 1)
        other.click("#paint")
        wait_until(other, "!document.getElementById('trouble').hidden")
        assert "asks for its token" in other.inner_text("#trouble")
        other.fill("#token", "secret7")
        paint(other, 4)
        other.context.close()
