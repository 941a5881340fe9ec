"""Whole flows of a reader study in a real browser, against the real server."""

from __future__ import annotations

import hashlib
import io
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phonybrains.readerstudy.store import open_store
from phonybrains.readerstudy.study import Study
from tests.support.study_accessibility import faults, focus_faults
from tests.support.study_browser import chromium, shoot, wait_until
from tests.support.study_files import make_study
from tests.support.study_server import StudyProcess, serving
from tests.support.web_server import PATIENCE

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.needs("chromium")

DESK, PHONE = {"width": 1024, "height": 768}, {"width": 390, "height": 844}
READERS = [f"reader {number}" for number in range(1, 31)]
BEGUN: list[str] = []
"""Those whose link was taken by a test."""
COUNT_LIFTS = "window.lifts = 0; addEventListener('pointerup', () => (lifts += 1));"
CANVAS = "() => document.getElementById('image').toDataURL()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyProcess]:
    """A small study on the net, with a reader for each test."""
    study = make_study(
        tmp_path_factory.mktemp("study"), training=1, checks=0, repeats={"share": 0, "least": 0}, readers=tuple(READERS)
    )
    with serving(study) as server:
        yield server


@pytest.fixture
def link(served: StudyProcess) -> str:
    """The invitation of a reader who has not begun."""
    BEGUN.append(READERS[len(BEGUN)])
    return served.url(BEGUN[-1])


@pytest.fixture
def new_page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """Opens pages, each in a browser of its own, and fails if any of them reports an error of its program."""
    contexts, pages, errors = [], [], []

    def new(viewport: dict[str, int] = DESK, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=viewport, reduced_motion="reduce", **options))
        page = contexts[-1].new_page()
        pages.append(page)
        page.set_default_timeout(1000 * PATIENCE)
        page.add_init_script(COUNT_LIFTS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield new
    shoot(request.node.name, pages)
    for context in contexts:
        context.close()
    assert errors == []


def join(page: Any, link: str) -> None:
    page.goto(link)
    click(page, "Start")
    ready(page)


def ready(page: Any, number: int | None = None) -> None:
    """Wait until an image is shown and an answer can be given."""
    wanted = str(number or r"\d+")
    page.locator("#count", has_text=re.compile(rf"^Image {wanted} of")).wait_for()
    wait_until(page, "document.querySelector('#answer:not([hidden])')?.inert === false")
    painted(page)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def click(page: Any, button: str | re.Pattern[str]) -> None:
    page.get_by_role("button", name=button).click()


def middle(page: Any) -> tuple[float, float]:
    """The middle of the image, in pixels of the page."""
    box = page.locator("#image").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def painted(page: Any) -> None:
    """Wait until what the page has been told is on the screen: it draws at the next frame."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@contextmanager
def handled(page: Any, lifts: int = 1) -> Iterator[None]:
    """Wait after the block until the page has seen so many fingers or buttons go up, and has drawn what follows."""
    wanted = page.evaluate("lifts") + lifts
    yield
    wait_until(page, f"lifts >= {wanted}")
    painted(page)


def picture(page: Any) -> str:
    painted(page)
    return hashlib.sha256(page.evaluate(CANVAS).encode()).hexdigest()


def picture_after(page: Any, before: str) -> str:
    """Wait for another picture than the one before, and return it."""
    wait_until(page, lambda: picture(page) != before)
    return picture(page)


def practise(page: Any) -> None:
    """Answer the practice image, and go on to the first image of the study."""
    press(page, "a", "Enter")
    page.locator("#feedback").wait_for()
    press(page, "Enter")
    ready(page, 2)


@pytest.fixture
def page(link: str, new_page: Any) -> Any:
    """A reader before the practice image."""
    page = new_page()
    join(page, link)
    return page


@pytest.fixture
def reading(page: Any) -> Any:
    """A reader before the first image of the study."""
    practise(page)
    return page


def calls(served: StudyProcess) -> list[tuple[str, str]]:
    """What the reader said of the images after the practice image: call and description."""
    return [(a.call, a.description) for a in answers(served)][1:]


def answers(served: StudyProcess, reader: str = "") -> list[Any]:
    """Those of a reader, by default of the one whose link was taken last."""
    with open_store(Study.open(served.study), read_only=True) as store:
        return [answer for answer in store.answers() if answer.reader == (reader or BEGUN[-1])]


def window(context: Any, served: StudyProcess, number: int) -> Any:
    """Another window of a reader's browser, in which the reading goes on at an image."""
    other = context.new_page()
    other.set_default_timeout(1000 * PATIENCE)
    other.goto(f"{served.base}/read")
    ready(other, number)
    return other


def write(page: Any, text: str) -> None:
    """Write into the description by keyboard."""
    press(page, "w")
    page.keyboard.type(text)


def test_forty_images_by_keyboard_alone(browser: Any, new_page: Any, tmp_path: Path):
    """A reader redeems the link, practises, reads 40 images, finishes and is locked out, without touching a mouse."""
    study = make_study(
        tmp_path,
        synthetic={"MR": 10, "CT": 10},
        real={"MR": 10, "CT": 10},
        training=2,
        checks=0,
        repeats={"share": 0, "least": 0},
    )
    with serving(study) as served:
        page = new_page()
        page.goto(served.url("reader 1"))
        while page.evaluate("document.activeElement.tagName") != "BUTTON":
            press(page, "Tab")
        press(page, "Enter")
        said = []
        for number in range(1, 43):
            ready(page, number)
            assert page.locator("#practice").is_visible() == (number <= 2)
            call = ("real", "unclear", "phony")[number % 3]
            press(page, "asd"[number % 3])
            confidence = number % 6 * 20 or None
            if confidence:
                press(page, f"Shift+Digit{number % 6}")
            text = "smooth cortex, no vessels" if number % 10 == 0 else ""
            if text:
                write(page, text)
                press(page, "Escape")
            press(page, "Enter")
            said.append((call, confidence, text))
            if number <= 2:
                page.locator("#truth", has_text=re.compile("^This image is (real|phony).$")).wait_for()
                press(page, "Enter")
        page.locator("#complete").wait_for()
        press(page, "Tab", "Enter")
        page.wait_for_url("**/finished")
        assert [(a.call, a.confidence, a.description) for a in answers(served, "reader 1")] == said
        page.goto(served.base + "/read")
        assert not page.locator("#answer").is_visible()
        locked = page.goto(served.url("reader 1"))
        assert locked.status in (404, 410)


def test_window_and_zoom_change_what_is_seen_and_not_the_file(served: StudyProcess, link: str, new_page: Any):
    """Drag, wheel, keys and buttons change the pixels of the canvas; nothing is asked of the server for it."""
    page, images, requests = new_page(), [], []
    page.on("response", lambda r: images.append(r.body()) if r.url.endswith("/image") else None)
    join(page, link)
    practise(page)
    start = picture(page)
    wait_until(page, lambda: len(images) == 3)
    page.on("request", lambda request: requests.append(request.url))
    x, y = middle(page)

    def drag(dx: float, dy: float, button: str = "left") -> None:
        with handled(page):
            page.mouse.move(x, y)
            page.mouse.down(button=button)
            page.mouse.move(x + dx, y + dy, steps=4)
            page.mouse.up(button=button)

    seen = [start]
    for act in (
        lambda: drag(80, 0),
        lambda: drag(0, 60),
        lambda: press(page, "i"),
        lambda: (page.mouse.move(x + 50, y), page.mouse.wheel(0, -200)),
        lambda: press(page, "+"),
        lambda: drag(40, 20, "right"),
        lambda: press(page, "Shift+ArrowLeft"),
        lambda: press(page, "ArrowUp"),
        lambda: click(page, "Fit"),
        lambda: click(page, "Invert"),
    ):
        act()
        seen.append(picture_after(page, seen[-1]))
    assert len(set(seen)) == len(seen)
    press(page, "Space")
    assert picture(page) == start
    with handled(page):
        page.mouse.click(x, y)
    assert picture(page) == start, "a tap changes nothing"
    assert requests == []
    study = Study.open(served.study)
    files = {hashlib.sha256(study.image_bytes(case)).hexdigest() for case in study.cases}
    assert all(hashlib.sha256(image).hexdigest() in files for image in images)


def test_marks_are_set_by_mouse_and_by_keyboard_and_taken_away(served: StudyProcess, reading: Any):
    """In mark mode a click sets a mark and a click on it removes it; arrows and Enter do the same."""
    x, y = middle(reading)
    reading.mouse.click(x, y)
    click(reading, "Mark")
    reading.mouse.click(x - 150, y)
    reading.mouse.click(x + 100, y)
    reading.mouse.click(x + 102, y)
    press(reading, "ArrowDown", "Enter", "m", "d", "Enter")
    ready(reading, 3)
    marks = answers(served)[1].marks
    box = reading.locator("#image").bounding_box()
    side = min(box["width"], box["height"])
    assert [(m.x, m.y) for m in marks] == [
        pytest.approx((0.5 - 150 / side, 0.5), abs=0.005),
        pytest.approx((0.5, 0.52), abs=0.005),
    ]


def test_reading_goes_on_in_another_browser(served: StudyProcess, link: str, reading: Any, new_page: Any):
    """What was entered is there after the browser was closed, on another device too, where the first is signed out."""
    first = reading
    press(first, "d", "Shift+Digit4")
    first.get_by_label("What do you see?").fill("no falx")
    first.locator("#saved", has_text="Saved").wait_for()
    second = new_page()
    join(second, link)
    ready(second, 2)
    assert second.get_by_role("radio", name="Phony").is_checked()
    assert second.locator("#sure").text_content() == "80"
    assert second.get_by_label("What do you see?").input_value() == "no falx"
    press(first, "Enter")
    first.get_by_role("heading", name="You are signed out.").wait_for()
    second.locator("#next").click()
    ready(second, 3)
    assert [(a.call, a.confidence, a.description) for a in answers(served)][1:] == [("phony", 80, "no falx")]


def test_the_slower_of_two_windows_is_told(served: StudyProcess, reading: Any, new_page: Any):
    """Two windows on one image: the slower one says so, shows what was typed there, and goes on from where all is."""
    first, second = reading, window(reading.context, served, 2)
    press(first, "d", "Enter")
    ready(first, 3)
    second.get_by_label("What do you see?").fill("typed too late")
    second.locator("#problem", has_text="answered in another window").wait_for()
    ready(second, 3)
    assert "“typed too late”" in str(second.locator("#problem").text_content())
    press(first, "d", "Enter")
    ready(first, 4)
    press(second, "a", "Enter")
    ready(second, 4)
    assert "answered in another window" in str(second.locator("#problem").text_content())
    press(second, "s", "Enter")
    ready(second, 5)
    assert [a.call for a in answers(served)][1:] == ["phony", "phony", "unclear"]


def test_logging_out_loses_nothing(served: StudyProcess, link: str, new_page: Any):
    """The button signs the reader out and keeps what was typed a moment before; the link goes on from there."""
    page = new_page(PHONE)
    join(page, link)
    practise(page)
    page.get_by_label("What do you see?").fill("just before")
    click(page, "Log out")
    page.get_by_role("heading", name="You are logged out").wait_for()
    page.goto(f"{served.base}/read")
    page.get_by_role("heading", name="Please open your link").wait_for()
    other = new_page()
    join(other, link)
    assert other.get_by_label("What do you see?").input_value() == "just before"
    assert len(answers(served)) == 1


def test_typing_triggers_no_keys(page: Any):
    """Letters and digits typed into the description are text; keys can be turned off altogether."""
    before = picture(page)
    text = "a sad mid=12345 + -\ni"
    page.locator("#description").click()
    page.keyboard.type(text)
    press(page, "Shift+Digit3")
    assert page.locator("#description").input_value() == text + "#"
    assert page.locator("input[name=call]:checked").count() == 0
    assert page.locator("#sure").text_content().startswith("not given")
    assert picture(page) == before
    press(page, "Escape", "Enter")
    assert page.get_by_role("alert").text_content() == "Please say first: real, unclear or phony."
    click(page, "Help")
    page.get_by_label("Use single keys").uncheck()
    click(page, "Close")
    press(page, "d")
    assert page.locator("input[name=call]:checked").count() == 0


def test_a_killed_server_loses_no_answer(served: StudyProcess, reading: Any):
    """The server dies while a reader answers: the page says so calmly, and sends the answer when it is back."""
    served.stop(signal.SIGKILL)
    press(reading, "s")
    write(reading, "half a midbrain")
    reading.locator("#trouble", has_text="cannot be reached").wait_for()
    press(reading, "Escape", "Enter")
    served.start()
    reading.locator("#retry", has_text="Try now").dispatch_event("click")  # the page may have tried by itself
    ready(reading, 3)
    assert not reading.locator("#trouble").is_visible()
    assert calls(served) == [("unclear", "half a midbrain")]


def test_a_tab_closed_without_a_connection_loses_no_answer(served: StudyProcess, reading: Any, new_page: Any):
    """What was typed and sent off without a connection is sent when the page is opened again."""
    context = reading.context
    context.set_offline(True)
    press(reading, "d")
    write(reading, "typed in a tunnel")
    reading.locator("#trouble").wait_for()
    reading.close()
    context.set_offline(False)
    again = window(context, served, 2)
    assert again.locator("#description").input_value() == "typed in a tunnel"
    again.locator("#saved", has_text="Saved").wait_for()
    context.set_offline(True)
    press(again, "Enter")
    again.locator("#trouble").wait_for()
    again.close()
    context.set_offline(False)
    window(context, served, 3)
    assert calls(served) == [("phony", "typed in a tunnel")]


def test_a_full_disk_is_said_and_survived(served: StudyProcess, reading: Any):
    """Where the server cannot write (507), the reader is told so, and the answer goes through later."""
    reading.route("**/answer", lambda route: route.fulfill(status=507, json={"error": "the server's disk is full"}))
    press(reading, "d", "Enter")
    reading.locator("#trouble", has_text="The server's disk is full. What you entered is kept").wait_for()
    reading.unroute("**/answer")
    reading.locator("#retry").dispatch_event("click")  # the page may have tried by itself
    ready(reading, 3)
    assert len(answers(served)) == 2


def test_the_investigator_sees_progress_pauses_and_revokes(served: StudyProcess, reading: Any, new_page: Any):
    """Progress, a pause and a revocation on the investigator's page are what the reader meets."""
    page, board = reading, new_page()
    board.goto(served.url("investigator"))
    if "/investigator/" in board.url:
        board.get_by_role("button").first.click()
    name = re.compile(rf"^{BEGUN[-1]}\b")
    assert "1 of 25" in board.get_by_role("row", name=name).text_content()
    assert faults(board) == []
    click(board, re.compile("^Pause"))
    resume, paused = re.compile("^(Resume|Go on)"), page.get_by_role("heading", name="The study is paused.")
    board.get_by_role("button", name=resume).wait_for()
    press(page, "d")
    paused.wait_for()
    click(board, resume)
    paused.wait_for(state="hidden")
    mine = board.locator(".row", has=board.locator("strong", has_text=re.compile(f"^{BEGUN[-1]}$")))
    mine.get_by_role("checkbox").check()
    click(mine, "Withdraw")
    board.get_by_role("row", name=name).filter(has_text="withdrawn").wait_for()
    press(page, "Enter")
    page.get_by_role("heading", name="This reading is closed.").wait_for()
    assert len(answers(served)) == 1


def touch(page: Any, *steps: list[tuple[float, float]]) -> None:
    """Fingers put down at the first step, moved through the others, and lifted."""
    session = page.context.new_cdp_session(page)
    with handled(page, lifts=len(steps[0])):
        for number, step in enumerate(steps):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(step)]
            session.send(
                "Input.dispatchTouchEvent", {"type": "touchMove" if number else "touchStart", "touchPoints": points}
            )
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def tap(page: Any, x: float, y: float) -> None:
    with handled(page):
        page.touchscreen.tap(x, y)


def join_by_touch(page: Any, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Start").tap()
    ready(page, 1)


ON_A_PHONE: dict[str, Any] = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def test_a_phone_is_read_by_touch(served: StudyProcess, link: str, new_page: Any):
    """One finger is window and level, two enlarge the image and not the page, a tap marks; calls need no scrolling."""
    page = new_page(**ON_A_PHONE)
    page.goto(link)
    assert faults(page, touch=True) == []
    join_by_touch(page, link)
    assert faults(page, touch=True) == []
    for name in ("Real", "Unclear", "Phony"):
        box = page.locator(".calls label", has_text=name).bounding_box()
        assert box["y"] + box["height"] <= 664, "seen without scrolling, also under a browser's bars"
    start = picture(page)
    touch(page, [(200, 200)], [(240, 200)], [(280, 220)])
    assert picture(page) != start
    touch(page, [(180, 200), (220, 200)], [(150, 200), (250, 200)], [(100, 200), (300, 200)])
    assert float(page.locator("#zoom").text_content().removeprefix("×")) == pytest.approx(5, abs=0.5)
    assert page.evaluate("visualViewport.scale") == 1
    page.get_by_role("button", name="Reset").tap()
    wait_until(page, lambda: picture(page) == start)
    tap(page, 150, 150)
    assert picture(page) == start
    page.get_by_role("button", name="Mark").tap()
    page.locator("#mark[aria-pressed=true]").wait_for()
    tap(page, 150, 150)
    assert picture(page) != start
    page.locator(".calls label", has_text="Phony").tap()
    slider = page.locator("#confidence").bounding_box()
    tap(page, slider["x"] + slider["width"] / 2, slider["y"] + slider["height"] / 2)
    page.locator("#sure.given").wait_for()
    assert abs(int(page.locator("#sure").text_content()) - 50) <= 1
    page.locator("#next").tap()
    page.locator("#go-on").tap()
    ready(page, 2)
    given = answers(served)[0]
    assert (given.call, len(given.marks)) == ("phony", 1)
    assert abs(given.confidence - 50) <= 1


def test_a_tap_after_a_swift_drag_counts(link: str, new_page: Any):
    """The browser makes no gesture of a drag on the image: its fling would swallow the tap on a button that follows."""
    page = new_page(**ON_A_PHONE)
    join_by_touch(page, link)
    page.evaluate("""() => {
        window.clicks = 0;
        window.left = []; // whether a touch was left to the browser
        document.getElementById("reset").addEventListener("click", () => (clicks += 1));
        document.addEventListener("touchstart", (event) => left.push(!event.defaultPrevented && event.target.id));
    }""")
    box = page.locator("#reset").bounding_box()
    for number in range(1, 21):
        touch(page, [(200, 200)], [(240, 200)], [(280, 220)])
        tap(page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        wait_until(page, f"clicks === {number}")
    assert page.evaluate("left") == [False, "reset"] * 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(served: StudyProcess, link: str, new_page: Any, scheme: str):
    """Names, contrast, targets and focus of every page hold WCAG 2.2 AA, in the light and in the dark."""
    page = new_page(color_scheme=scheme)
    page.goto(link)
    found = {"join": faults(page), "join, focus": focus_faults(page)[1]}
    click(page, "Start")
    ready(page)
    press(page, "d", "Shift+Digit2")
    click(page, "Mark")
    found["reading"] = faults(page)
    met, found["reading, focus"] = focus_faults(page)
    assert any("#image" in name for name in met)
    assert any("#confidence" in name for name in met)
    assert any("#next" in name for name in met)
    press(page, "?")
    found["help"] = faults(page)
    press(page, "Escape")
    page.locator("#help").wait_for(state="hidden")
    page.locator("#next").click()
    page.locator("#feedback").wait_for()
    found["feedback"] = faults(page)
    for name, path in {"instructions": "/instructions", "message": "/join/" + "x" * 43}.items():
        page.goto(served.base + path)
        found[name], found[f"{name}, focus"] = faults(page), focus_faults(page)[1]
        if name == "instructions":
            sheets = [re.findall(rb"/Type\s*/Page\b", page.pdf(format=paper)) for paper in ("A4", "Letter")]
            assert [len(sheet) for sheet in sheets] == [1, 1], "one page when printed"
    assert {name: bad for name, bad in found.items() if bad} == {}
    assert page.goto(served.base + "/read") is not None
    assert page.locator("#live").get_attribute("role") == "status"


@pytest.mark.parametrize(
    ("width", "height"), [(1024, 768), (768, 1024), (1440, 900), (390, 664), (844, 390), (320, 568)]
)
def test_every_screen_shows_image_and_calls(served: StudyProcess, link: str, new_page: Any, width: int, height: int):
    """Image and calls are seen together, without scrolling, on screens from a small phone to a board."""
    page = new_page({"width": width, "height": height})
    join(page, link)
    image = page.locator("#image").bounding_box()
    assert min(image["width"], image["height"]) >= min(width, height) * 0.6
    for label in page.locator(".calls label").all():
        box = label.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    assert faults(page) == []


def drawn(page: Any) -> Any:
    """The canvas as grey levels, (H, W)."""
    painted(page)
    width, values = page.evaluate("""() => {
        const canvas = document.getElementById("image");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, Array.from(data.filter((_, index) => index % 4 === 0))];
    }""")
    return np.reshape(values, (-1, width))


def raw(page: Any, link: str) -> Any:
    """Begin a reading and take the first image as it is served, (H, W) int16."""
    got: list[bytes] = []
    page.on("response", lambda r: got.append(r.body()) if r.url.endswith("/image") else None)
    join(page, link)
    wait_until(page, lambda: bool(got))
    width = int(page.locator("#main").get_attribute("data-width"))
    return np.frombuffer(got[0], np.int16).reshape(-1, width)


def test_window_and_level_are_numbers_that_can_be_written(page: Any):
    """The numbers follow a drag, what is written changes the image, keys are off meanwhile, and Escape leaves."""
    width, level, start = page.locator("#window-width"), page.locator("#window-level"), picture(page)
    before = int(width.input_value())
    press(page, "ArrowRight", "ArrowDown")
    wait_until(page, lambda: int(width.input_value()) > before)
    press(page, "Space")
    wait_until(page, lambda: picture(page) == start)
    width.fill("40")
    level.fill("120")
    press(page, "d", "1")
    assert page.locator(".calls input:checked").count() == 0
    level.fill("120")
    press(page, "Tab")
    low, high = 100.0, 140.0
    shown = drawn(page)
    assert {0, 255} <= set(np.unique(shown).tolist())
    level.focus()
    press(page, "Escape")
    assert page.evaluate("document.activeElement.id") == "stage"
    press(page, "d")
    assert page.locator(".calls input:checked").get_attribute("value") == "phony"
    assert (int(width.input_value()), int(level.input_value())) == (high - low, (high + low) / 2)


def test_the_value_under_the_pointer_is_that_of_the_pixel(link: str, new_page: Any):
    """Everywhere in the image the probe says column, row and the value served; outside it says nothing."""
    page = new_page()
    pixels = raw(page, link)
    box, (rows, columns) = page.locator("#image").bounding_box(), pixels.shape
    side = min(box["width"] / columns, box["height"] / rows)
    left, top = box["x"] + (box["width"] - columns * side) / 2, box["y"] + (box["height"] - rows * side) / 2
    for column, row in ((0, 0), (columns // 2, rows // 3), (columns - 1, rows - 1)):
        page.mouse.move(left + (column + 0.5) * side, top + (row + 0.5) * side)
        wanted = f"{column}, {row}: grey {pixels[row, column]}"
        wait_until(page, lambda wanted=wanted: page.locator("#probe").text_content() == wanted)
    page.mouse.move(box["x"] + box["width"] + 40, box["y"] + 40)
    wait_until(page, lambda: page.locator("#probe").text_content() == "")
    press(page, "m", "ArrowRight")
    wait_until(page, lambda: "grey" in page.locator("#probe").text_content())


def test_hounsfield_units_are_told_where_all_images_have_them(page: Any):
    """A CT in HU: the probe says HU, the numbers are those of the window's name, and the brain window is 80 and 40."""
    for number in range(2, 12):
        if page.locator("#presets button").count() > 1:
            break
        press(page, "s", "Enter")
        if number == 2:
            page.locator("#go-on").click()
        ready(page, number)
    box = page.locator("#image").bounding_box()
    press(page, "1")
    wait_until(page, lambda: page.locator("#window-width").input_value() == "80")
    assert page.locator("#window-level").input_value() == "40"
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_until(page, lambda: page.locator("#probe").text_content().endswith(" HU"))
    assert -1100 < int(re.findall(r": (-?\d+) HU", page.locator("#probe").text_content())[0]) < 3100


def test_one_to_one_shows_pixels_as_they_are(link: str, new_page: Any):
    """At 1:1 each pixel of the image is one of the screen, unsmoothed; enlarged without smoothing no value is new."""
    page = new_page()
    pixels = raw(page, link)
    for name, value in (("#window-width", "255"), ("#window-level", "127")):
        page.locator(name).fill(value)
        press(page, "Tab")
    click(page, "1:1")
    shown, (rows, columns) = drawn(page), pixels.shape
    top, left = (shown.shape[0] - rows) // 2, (shown.shape[1] - columns) // 2
    inside = [shown[top + i : top + i + rows, left + j : left + j + columns] for i in (0, 1) for j in (0, 1)]
    assert min(int(np.abs(one - pixels.clip(0, 255)).max()) for one in inside) <= 1
    press(page, "=")
    smooth = len(np.unique(drawn(page)))
    press(page, "n")
    page.locator("#pixels[aria-pressed=true]").wait_for()
    plain = set(np.unique(drawn(page)).tolist())
    assert len(plain) < smooth
    assert plain <= {*inside[0].ravel().tolist(), *np.unique(np.concatenate([one.ravel() for one in inside])).tolist()}


def test_the_last_call_or_mark_is_taken_back_until_the_answer_is_sent(served: StudyProcess, reading: Any):
    """Undo by key and button: mark, call, first call; what is written stays, and an answer that was sent is final."""
    reading.locator("#description").fill("a note")
    press(reading, "Escape", "a", "d", "m")
    reading.mouse.click(*middle(reading))
    marked = picture(reading)
    press(reading, "z")
    assert picture_after(reading, marked) != marked
    chosen = reading.locator(".calls input:checked")
    assert chosen.get_attribute("value") == "phony"
    click(reading, "Undo")
    assert chosen.get_attribute("value") == "real"
    press(reading, "z")
    assert chosen.count() == 0
    press(reading, "z")
    assert reading.locator("#description").input_value() == "a note"
    press(reading, "s", "Enter")
    ready(reading, 3)
    press(reading, "z")
    assert chosen.count() == 0
    given = answers(served)[1]
    assert (given.call, given.marks, given.description) == ("unclear", (), "a note")


def test_forced_colours_show_the_call(link: str, new_page: Any):
    """In the colours of the reader's system the chosen call, a pressed button and the bar differ from the others."""
    page = new_page(forced_colors="active")
    join(page, link)
    press(page, "d", "i")
    page.locator("#invert[aria-pressed=true]").wait_for()
    look = """(name) => {
        const style = getComputedStyle(document.querySelector(name));
        return [style.backgroundColor, style.color];
    }"""
    chosen = page.evaluate(look, "input[value=phony] + span")
    other = page.evaluate(look, "input[value=real] + span")
    assert chosen[0] != other[0]
    assert chosen[0] != chosen[1]
    assert page.evaluate(look, "#invert")[0] != page.evaluate(look, "#fit")[0]
    seen = Image.open(io.BytesIO(page.locator(".calls").screenshot())).convert("RGB")
    third = seen.width // 3
    inks = [
        seen.crop((i * third + 12, 40, (i + 1) * third - 12, seen.height - 4)).getcolors(1 << 16) for i in (0, 1, 2)
    ]
    grounds = [max(colours)[1] for colours in inks]
    assert grounds[0] == grounds[1]
    assert grounds[2] != grounds[0]


def test_at_400_percent_the_image_fills_the_screen_and_nothing_is_lost(served: StudyProcess, link: str, new_page: Any):
    """On 320 by 256 pixels, as 1280 by 1024 enlarged four times: no sideways scroll, every control can be reached."""
    page = new_page({"width": 320, "height": 256})
    join(page, link)
    image = page.locator("#image").bounding_box()
    assert (image["width"], image["height"]) == (pytest.approx(320, abs=16), pytest.approx(256, abs=1))
    assert faults(page) == []
    for control in page.locator(".panel button, .panel input, .panel textarea").all():
        if control.is_visible():
            control.scroll_into_view_if_needed()
            box = control.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 320
            assert -1 <= box["y"] <= 256 - min(box["height"], 44) + 1
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("link", name="Answer", exact=True).click()
    wait_until(page, lambda: page.locator("#count").bounding_box()["y"] < 256)
    page.locator(".calls label", has_text="Real").click()
    page.locator("#next").click()
    page.locator("#go-on").click()
    ready(page, 2)
    assert answers(served)[0].call == "real"
