"""Nothing a reader's browser can see, besides the image itself, tells a real image from a synthetic one."""

from __future__ import annotations

import re
import shutil
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.study import Study
from tests.support.study_browser import chromium, wait_until
from tests.support.study_files import rewritten_pixels, small_config
from tests.support.study_server import serving
from tests.support.study_traffic import cases_in_order, groups_of, leak_p_value
from tests.support.web_server import PATIENCE

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.needs("chromium")

LEVEL = 0.001
"""Timings differ from run to run: chance alone fails one run in a thousand."""
LEAK = """
from starlette.middleware.gzip import GZipMiddleware
plain = serve.make_app
serve.make_app = lambda *given, **named: GZipMiddleware(plain(*given, **named), minimum_size=1)
"""
IMAGE, STATE = re.compile(r"/api/presentations/(\w+)/(\w+)$"), re.compile(r"/api/state$")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 real and 40 synthetic cases, MR and CT alike; the synthetic are smoother, so that they compress better.

    The gate, which would refuse images so different, lets them through here: what the network shows is looked at.
    """
    folder = tmp_path_factory.mktemp("blinding")
    corpus = make_phantoms(160, folder / "corpus", seed=1, size=64, slices_per_patient=2, synthetic=False)
    samples = rewritten_pixels(make_phantoms(160, folder / "grainy", seed=2, size=64), folder / "samples", smoother)
    each = {"MR": 20, "CT": 20}
    config = small_config(synthetic=each, real=each, training=0, checks=0, repeats={"share": 0, "least": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phonybrains.readerstudy.design.leakage.traces", lambda *_, **__: [])
        return design_study([samples], corpus, folder / "study", config, show=False)


def smoother(pixels: np.ndarray) -> np.ndarray:
    """The grey levels inside the head, and them alone, blurred: the encoding stays as it was."""
    values = pixels.astype(float)
    inside = (values > 10) & (values < 245)
    smooth = np.where(inside, np.clip(gaussian_filter(values, 2.5), 10, 245), values)
    return np.round(smooth).astype(np.uint8)


def read_all(base: str, link: str) -> list[dict[str, Any]]:
    """Read a whole study in a browser; what its network showed of every request, in order."""
    seen: dict[str, dict[str, Any]] = {}
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 800, "height": 600}).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on("Network.requestWillBeSent", lambda e: seen.setdefault(e["requestId"], {}).update(asked=e))
        for name in ("responseReceived", "loadingFinished", "responseReceivedExtraInfo"):
            network.on(f"Network.{name}", lambda e, name=name: seen.setdefault(e["requestId"], {}).update({name: e}))
        page.goto(link)
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/read")
        ready = "document.getElementById('answer')?.inert === false && document.getElementById('count').textContent"
        for number in range(1, 81):
            wait_until(page, f"{ready}.startsWith('Image {number} of 80')")
            page.keyboard.press("asd"[number % 3])
            page.keyboard.press(f"Shift+Digit{number % 5 + 1}")
            page.evaluate(SAVE)
            wait_until(page, "document.getElementById('saved').textContent === 'Saved'")
            page.keyboard.press("Enter")
        page.locator("#complete").wait_for()
    return [one for one in seen.values() if "asked" in one and one["asked"]["request"]["url"].startswith(base)]


SAVE = """() => {
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
  delete document.hidden;
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Leave the page and come back at once: the draft is then sent without waiting for the reader to pause."""


def features_of(one: dict[str, Any]) -> dict[str, float]:
    """Everything of a request and its response that is a number or can be made one, besides the image's pixels."""
    response, request = one["responseReceived"]["response"], one["asked"]["request"]
    timing, extra, head = response["timing"], one.get("responseReceivedExtraInfo", {}), one["responseReceived"]
    end = one.get("loadingFinished", response | {"timestamp": head["timestamp"]})  # none where there is no body
    found = {
        "status": response["status"],
        "bytes on the wire": end["encodedDataLength"],
        "bytes of the head": len(extra.get("headersText", "")),
        "length of the URL": len(request["url"]),
        "id": int(IMAGE.search(request["url"])[1][:8], 16),
        "from the cache": float(response.get("fromDiskCache", False)),
        "connection used before": float(response["connectionReused"]),
        "ms to the head": timing["receiveHeadersEnd"] - timing["sendEnd"],
        "ms to the end": 1000 * (end["timestamp"] - head["timestamp"]),
        "ms in all": 1000 * (end["timestamp"] - one["asked"]["timestamp"]),
    }
    for name, value in response["headers"].items():
        if name.lower() != "date":
            found[f"length of {name}"] = len(value)
            if name.lower() != "content-security-policy":  # holds a random nonce
                found[f"value of {name}"] = zlib.crc32(value.encode()) % 9973
    return found


def traffic_by_presentation(requests: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The features of all requests about each presentation, by its id, in the order in which they were shown."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for one in requests:
        if at := IMAGE.search(one["asked"]["request"]["url"]):
            for name, value in features_of(one).items():
                found[at[1]][f"{at[2]}: {name}"] = value
            found[at[1]][f"{at[2]}: times"] = found[at[1]].get(f"{at[2]}: times", 0) + 1
    return found


def what_traffic_tells(study: Path, before: str = "") -> tuple[float, dict[str, set[float]]]:
    """How often chance would tell as much as the traffic of a whole reading, and the values of each feature of it."""
    with serving(study, before=before) as served:
        traffic = traffic_by_presentation(read_all(served.base, served.url("reader 1")))
    opened = Study.open(study)
    cases = cases_in_order(opened, opened.config.readers[0])
    truth = [case.truth == "phony" for case in cases]
    assert len(traffic) == len(truth) == 80
    names = sorted({name for one in traffic.values() for name in one})
    table = np.array([[one.get(name, -1.0) for name in names] for one in traffic.values()])
    return leak_p_value(table, truth, groups_of(cases)), {name: set(table[:, i]) for i, name in enumerate(names)}


def test_traffic_does_not_tell_real_from_synthetic(study: Path, tmp_path: Path):
    """Over a full reading of 40 + 40 images, lengths, heads, URLs, cache and timings tell no more than chance does."""
    chance, values = what_traffic_tells(Path(shutil.copytree(study, tmp_path / "study")))
    print(f"p = {chance:.4f}")
    assert chance > LEVEL
    free = re.compile(r": (ms |id$|connection used)|^answer: (bytes|length of content-length|value of content-length)")
    assert {name: found for name, found in values.items() if len(found) > 1 and not free.search(name)} == {}
    assert values["image: from the cache"] == {0}


def test_a_planted_leak_is_found(study: Path, tmp_path: Path):
    """With compressed images, length alone tells smooth from grainy, and the test above would fail."""
    chance, values = what_traffic_tells(Path(shutil.copytree(study, tmp_path / "study")), before=LEAK)
    print(f"p = {chance:.4f}")
    assert chance <= LEVEL
    assert len(values["image: bytes on the wire"]) > 1
