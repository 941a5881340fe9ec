"""The page to edit a picture, in a real browser: taken, painted on, edited, saved; by keyboard, on a phone, locked."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phonybrains.imageset import ImageSet, read_png, write_png
from tests.serving.test_browser import PHONE, is_fault, paint, slide
from tests.support.served_model import ServedModel, pixels, serving, texts_of
from tests.support.study_accessibility import faults, focus_faults
from tests.support.study_browser import chromium, shoot, wait_until

pytestmark = pytest.mark.needs("chromium")
TAKEN = "!document.getElementById('bench').hidden && document.getElementById('picture').naturalWidth === 64"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def head(phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT of the phantoms as a PNG, 64×64."""
    image = np.asarray(ImageSet.open(phantom_corpus).where(modality="CT").pixels(0), np.uint8)
    path = tmp_path_factory.mktemp("picture") / "head.png"
    write_png(path, image)
    return path


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Any, model_server: ServedModel) -> Iterator[Any]:
    """The page of the server, open; nothing may go wrong in its scripts."""
    with browser.new_context(accept_downloads=True) as context:
        opened = context.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda message: wrong.append(message.text) if is_fault(message) else None)
        opened.goto(f"{model_server.base}/edit")
        yield opened
        shoot(request.node.name, [opened])
        assert wrong == []


def take(page: Any, head: Path) -> None:
    page.set_input_files("#file", head)
    wait_until(page, TAKEN)
    page.select_option("#of-modality", "CT")


def edit(page: Any, figures: int) -> dict[str, Any]:
    """Ask, and wait for a run of so many figures; what was asked."""
    runs = page.locator(".run").count()
    with page.expect_request("**/edits/edit") as sent:
        page.click("#paint")
    wait_until(page, f"document.querySelectorAll('.run').length === {runs + 1}")
    wait_until(page, "[...document.querySelectorAll('.run img')].every((one) => one.complete && one.naturalWidth)")
    assert page.locator(".run").first.locator("figure").count() == figures
    return sent.value.post_data_json


def saved(page: Any, figure: int) -> tuple[str, bytes]:
    """The name and the content of what a figure's button saves."""
    with page.expect_download() as saving:
        page.click(f".run figure:nth-of-type({figure}) a")
    return saving.value.suggested_filename, Path(saving.value.path()).read_bytes()


def test_what_is_painted_is_filled_and_nothing_else(page: Any, head: Path):
    """A stroke of the mouse, an undo, an erasure: the saved PNG differs from the picture inside the mask alone.

    The words that nothing of it was measured stand at each draw, and in the PNG that it is an edit.
    """
    take(page, head)
    page.select_option("#edit", "inpaint")
    slide(page, "brush", 6)
    slide(page, "n", 2)
    page.fill("#seed", "7")
    box = page.locator("#mask").bounding_box()
    scale = box["width"] / 64

    def drag(*points: tuple[int, int]) -> None:
        for number, (x, y) in enumerate(points):
            page.mouse.move(box["x"] + x * scale, box["y"] + y * scale, steps=5)
            if not number:
                page.mouse.down()
        page.mouse.up()

    drag((20, 20), (44, 20), (44, 40))
    drag((5, 60), (60, 60))
    page.click("#undo")
    page.check("#erase")
    drag((44, 40), (44, 34))
    hole = pixels_of_mask(edit(page, 4)["mask"])
    assert hole[[20, 20, 28], [20, 40, 44]].all()
    assert not hole[40, 44]
    assert not hole[60].any()
    assert page.inner_text("#painted") == f"{hole.sum()} pixels are to be filled."
    name, png = saved(page, 2)
    image, given = pixels(png), read_png(head)
    assert name == "tiny-inpaint-seed-7-0.png"
    assert (image[~hole] == given[~hole]).all()
    assert (image[hole] != given[hole]).any()
    facts = texts_of(png)["phonybrains"]
    assert (facts["edit"], facts["area_pixels"], facts["synthetic"]) == ("inpaint", hole.sum(), True)
    captions = page.locator(".run figcaption").all_inner_texts()
    titles = [caption.partition("\n")[0] for caption in captions]
    assert titles == ["Before", "After, draw 0", "Spread", "After, draw 1"]
    assert all("This detail was not measured" in captions[draw] for draw in (1, 3))
    spread = pixels(saved(page, 3)[1])
    assert not spread[~hole].any()


def pixels_of_mask(b64: str) -> np.ndarray:
    """(H, W), True inside, of a mask that the page sent: black and white alone."""
    with Image.open(io.BytesIO(base64.b64decode(b64))) as image:
        values = np.asarray(image.convert("L"))
    assert set(np.unique(values)) <= {0, 255}
    return values > 0


def test_it_works_with_the_keyboard_alone(page: Any, head: Path):
    """A rectangle of four numbers in place of the brush; Enter in it paints it and asks for nothing yet."""
    take(page, head)
    page.focus("#edit")
    page.keyboard.type("Inpaint")
    wait_until(page, "!document.getElementById('tools').hidden")
    slide(page, "n", 1)
    for side, value in (("x", 10), ("y", 12), ("width", 8), ("height", 5)):
        page.focus(f"#box-{side}")
        page.keyboard.press("Control+A")
        page.keyboard.type(str(value))
    page.keyboard.press("Enter")
    assert page.inner_text("#painted") == "40 pixels are to be filled."
    assert page.is_enabled("#paint")
    page.focus("#seed")
    with page.expect_request("**/edits/edit") as sent:
        page.keyboard.press("Enter")
    wait_until(page, "document.querySelectorAll('.run').length === 1")
    hole = pixels_of_mask(sent.value.post_data_json["mask"])
    assert hole[12:17, 10:18].all()
    assert hole.sum() == 40
    page.focus("header a")
    met, bad = focus_faults(page)
    assert bad == []
    controls = ("file", "own", "of-modality", "edit", "brush", "erase", "undo", "clear", "box-x", "box", "n", "paint")
    for control in controls:
        assert any(f"#{control}" in name for name in met), control


def test_a_picture_is_upscaled_and_varied(page: Any, head: Path):
    """Before, after and spread; the picture that is upscaled is shown as small as the model was given it."""
    take(page, head)
    page.select_option("#edit", label="Upscale ×4, from 16×16")
    slide(page, "n", 2)
    assert edit(page, 4)["factor"] == 4
    assert page.inner_text(".run h2") == "Upscaled ×4"
    assert page.eval_on_selector(".run figure img", "(image) => image.naturalWidth") == 16
    page.select_option("#edit", "vary")
    slide(page, "strength", 0.3)
    slide(page, "n", 1)
    assert edit(page, 2)["strength"] == 0.3
    assert page.inner_text(".run h2") == "Varied"


def test_an_image_of_the_model_can_be_edited(page: Any, model_server: ServedModel):
    """Drawn here at a press, or from the page that generates: its picture, and what it shows, are taken along."""
    page.select_option("#of-modality", "MR")
    page.click("#own")
    wait_until(page, TAKEN)
    page.goto(model_server.base)
    page.select_option("#of-modality", "CT")
    slide(page, "steps", 1)
    paint(page, 4)
    page.click(".run figure:nth-of-type(2) a:has-text('Edit')")
    wait_until(page, TAKEN)
    wait_until(page, "document.getElementById('of-modality').value === 'CT'")
    slide(page, "n", 1)
    asked = edit(page, 2)
    assert texts_of(base64.b64decode(asked["image"]))["phonybrains"]["index"] == 1
    page.click("header a")
    wait_until(page, "location.pathname === '/'")


def test_trouble_is_said(page: Any, head: Path, tmp_path: Path):
    """No picture, no modality, nothing painted, a file that is none: a sentence, or the browser's own word."""
    trouble = "!document.getElementById('trouble').hidden"
    page.select_option("#of-modality", "CT")
    page.click("#paint")
    wait_until(page, trouble)
    assert page.inner_text("#trouble") == "Take a picture first."
    (tmp_path / "none.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "none.png")
    wait_until(page, "document.getElementById('trouble').textContent.includes('no PNG or JPEG')")
    take(page, head)
    page.select_option("#edit", "inpaint")
    page.click("#paint")
    wait_until(page, "document.getElementById('trouble').textContent.includes('mask is empty')")
    page.select_option("#of-modality", "")
    page.click("#paint")
    assert page.evaluate("document.getElementById('of-modality').validity.valueMissing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["desktop", "phone"])
def test_the_page_meets_wcag(browser: Any, model_server: ServedModel, head: Path, scheme: str, kind: str):
    """Names, contrast, focus, targets and no sideways scroll, before and after a result, light and dark."""
    with browser.new_context(**(PHONE if kind == "phone" else {}), color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{model_server.base}/edit")
        assert faults(page, touch=kind == "phone") == []
        take(page, head)
        page.select_option("#edit", "inpaint")
        page.click("#box")
        edit(page, 6)
        shoot(f"edit-{kind}-{scheme}", [page])
        assert faults(page, touch=kind == "phone") == []


def test_a_finger_paints(browser: Any, model_server: ServedModel, head: Path):
    """On a phone a touch paints a dot, and the page does not scroll under it."""
    with browser.new_context(**PHONE) as context:
        page = context.new_page()
        page.goto(f"{model_server.base}/edit")
        take(page, head)
        page.select_option("#edit", "inpaint")
        page.locator("#mask").scroll_into_view_if_needed()
        page.locator("#mask").tap()
        wait_until(page, "/^[1-9][0-9]* pixels/.test(document.getElementById('painted').textContent)")
        assert page.eval_on_selector("#mask", "(canvas) => getComputedStyle(canvas).touchAction") == "none"


def test_a_locked_page_asks_for_the_token(browser: Any, tiny_model: Path, head: Path):
    """A picture is taken only once the token is given; then the same picture is edited."""
    with serving(tiny_model, token="secret7") as locked, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{locked.base}/edit")
        page.set_input_files("#file", head)
        wait_until(page, "!document.getElementById('trouble').hidden")
        assert "asks for its token" in page.inner_text("#trouble")
        page.fill("#token", "secret7")
        page.select_option("#of-modality", "CT")
        slide(page, "n", 1)
        edit(page, 2)
