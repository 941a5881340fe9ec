"""The page to play with a served model, in a real browser: asked, answered, saved, filmed, stopped, on a phone too."""

from __future__ import annotations

import base64
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phonybrains.imageset import ImageSet
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
    page.click("figure button")
    wait_until(page, "document.getElementById('film').open && document.getElementById('film-strip').naturalWidth > 0")
    with page.expect_download() as saving:
        page.click("#film-save")
    png = Path(saving.value.path()).read_bytes()
    assert texts_of(png)["phonybrains"]["synthetic"] is True
    assert pixels(png).shape[1] == 7 * 164 + 4
    page.keyboard.press("Escape")
    wait_until(page, "!document.getElementById('film').open")


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
        shoot(f"{kind}-{scheme}", [page])
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
