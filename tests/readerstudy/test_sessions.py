"""Who is signed in to a study, on how many devices and for how long, and how often one may try."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.web.address import Address
from phonybrains.readerstudy.web.app import make_app
from phonybrains.readerstudy.web.security import csrf_token
from tests.support.study_web import BASE, Served, csrf_in, served

EVIL = {"Origin": "http://evil.example"}


@pytest.mark.parametrize("root", ["", "/second"], ids=["ports", "paths"])
def test_two_studies_on_one_host_do_not_log_each_other_out(site: Served, begun_study: Study, tmp_path: Path, root: str):
    """One browser reads two studies of one host side by side, even copies of each other, on ports or on paths."""
    copy = Path(shutil.copytree(begun_study.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.db*", "log*")))
    with served(replace(begun_study, folder=copy)) as other:
        address = Address.parse(f"{BASE}{root}") if root else None
        other.app = make_app(other.study, other.store, address=address)
        first, browser = site.reader(), other.browser()
        browser.cookies = first.browser.cookies
        link = f"{root}/join/{other.store.add_reader('reader 1')}"
        joined = browser.post(link, data={"csrf": csrf_in(browser.get(link).text)})
        assert (joined.status_code, joined.headers["location"]) == (303, f"{root}/read")
        assert first.answer().status_code == 200
        assert browser.get(f"{root}/api/state").json()["done"] == 0
        if root:
            assert browser.code("/api/state") == 401  # the cookie goes to its own path only
    assert len(site.store.answers()) == 1


def at(site: Served, monkeypatch: pytest.MonkeyPatch, **later_by: float) -> None:
    """Let the study's clock stand so much later."""
    now = site.store.clock._read() + timedelta(**later_by)
    monkeypatch.setattr(site.store.clock, "_read", lambda: now)


def test_a_session_without_use_ends(site: Served, monkeypatch: pytest.MonkeyPatch):
    """After half an hour without use reader and investigator are signed out; what looks by itself is no use."""
    reader, page = site.reader(), site.investigator()
    for _ in range(3):  # each use gives another half hour
        at(site, monkeypatch, minutes=20)
        assert reader.image(reader.current()).status_code == 200
        assert page.code("/investigator") == 200
    at(site, monkeypatch, minutes=20)
    assert reader.state()["done"] == 0
    assert page.code("/investigator", headers={"X-Background": "1"}) == 200
    at(site, monkeypatch, minutes=15)
    gone = reader.browser.get("/api/state")
    assert gone.status_code == 401
    assert "30 minutes" in gone.json()["error"]
    assert page.code("/investigator") == 401
    assert site.join(reader.token).state()["done"] == 0


def test_a_session_ends_after_half_a_day_however_used(site: Served, monkeypatch: pytest.MonkeyPatch):
    """Twelve hours after it began a session is over, though it was used all the time."""
    reader = site.reader()
    shown = reader.current()
    for _ in range(24):
        at(site, monkeypatch, minutes=29.5)
        assert reader.image(shown).status_code == 200
    at(site, monkeypatch, minutes=29.5)
    assert reader.browser.code("/api/state") == 401


def test_logging_out_ends_the_session(site: Served):
    """After logging out the cookie is gone, and worth nothing to who has kept it; a forged form logs nobody out."""
    for browser, path, home in (
        (site.reader().browser, "/leave", "/read"),
        (site.investigator(), "/investigator/leave", "/investigator"),
    ):
        kept = site.browser()
        kept.cookies = httpx2.Cookies(browser.cookies)
        form = {"csrf": csrf_in(browser.get(home).text)}
        assert browser.post(path, data={"csrf": "x"}).status_code == 403
        assert browser.post(path, data=form, headers=EVIL).status_code == 403
        out = browser.post(path, data=form)
        assert out.status_code == 200
        assert "logged out" in out.text
        assert "max-age=0" in out.headers["set-cookie"].lower()
        assert kept.code(home) == 401
    assert site.events().count("session ended") == 2


def test_sessions_are_few_listed_and_ended(site: Served):
    """The page lists who is signed in, on what, since when; the investigator ends one, and has at most three."""
    phone = site.browser()
    phone.headers["User-Agent"] = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537 Chrome/130 <script>alert(1)</script>"
    reader, page = site.join(site.store.add_reader("reader 1"), phone), site.investigator()
    listed = page.get("/investigator").text.split('<table id="sessions">')[1].split("</table>")[0]
    assert all(text in listed for text in ("reader 1", "Chrome on Android", "(here)"))
    assert "alert" not in listed
    number = re.search(r'name="id" value="(\d+)">\s*<button[^>]*reader 1', listed)
    assert number
    assert page.do("sessions/end", id=number[1], csrf="x").status_code == 403
    assert page.do("sessions/end", id=number[1]).status_code == 303
    for wrong in ("", "x", "9" * 40, "-1", "١"):
        assert page.do("sessions/end", id=wrong).status_code == 404
    assert reader.browser.code("/api/state") == 401
    link, others = f"/investigator/{site.store.investigator_link()}", [site.browser() for _ in range(3)]
    assert [other.join(link) for other in others] == [303] * 3
    assert page.code("/investigator") == 401
    assert [other.code("/investigator") for other in others] == [200] * 3


def test_a_new_login_of_a_browser_replaces_its_session(site: Served):
    """Session rotation: each login gives a new token, and the browser's own older session ends, whoever it was of."""
    browser, kept = site.browser(), site.browser()
    site.join(site.store.add_reader("reader 1"), browser)
    kept.cookies = httpx2.Cookies(browser.cookies)
    site.join(site.store.add_reader("reader 2"), browser)
    assert (kept.code("/read"), browser.code("/read")) == (401, 200)


def test_wrong_links_wait_longer_and_longer_and_right_ones_never(site: Served, monkeypatch: pytest.MonkeyPatch):
    """Who goes on guessing waits up to five minutes; another address, and who is right, do not wait at all."""
    token = site.store.add_reader("reader 1")
    clock = [1e6]
    monkeypatch.setattr("phonybrains.readerstudy.web.security.monotonic", lambda: clock[0])
    browser = site.browser()
    tried = [browser.get(f"/join/{'A' * 39}{number:04}") for number in range(180)]
    waits = [int(response.headers["retry-after"]) for response in tried if response.status_code == 429]
    assert len(waits) == 160
    assert waits == sorted(waits)
    assert 2 <= waits[0] <= 4
    assert waits[-1] == 302
    assert browser.code(f"/join/{token}") == 200
    clock[0] += 150
    assert browser.code("/join/wrong") == 429
    clock[0] += 310
    assert browser.code("/join/wrong") == 404


def test_sessions_of_one_link_come_slowly(site: Served):
    """A link that is redeemed over and over fills neither the database nor the log: after twenty it has to wait."""
    link = f"/join/{site.store.add_reader('reader 1')}"
    assert [site.browser().join(link) for _ in range(25)] == [303] * 20 + [429] * 5
    assert site.events().count("session begun") == 20


def test_made_up_sessions_never_reach_the_writing_thread(site: Served, monkeypatch: pytest.MonkeyPatch):
    """A stranger's answers and drafts are refused before a transaction is begun for them."""
    shown, begun = site.reader().current(), []
    submit = site.store.writer.submit
    monkeypatch.setattr(site.store.writer, "submit", lambda job: begun.append(job) or submit(job))
    stranger = site.browser()
    stranger.cookies.set(site.cookie("reader"), "made-up")
    headers = {"X-CSRF-Token": csrf_token("made-up")}
    for path, method in ((f"{shown}/answer", "POST"), (f"{shown}/draft", "PUT")):
        given = stranger.request(method, f"/api/presentations/{path}", json={"call": "real"}, headers=headers)
        assert given.status_code == 401
    assert stranger.post("/api/finish", json={}, headers=headers).status_code == 401
    assert begun == []
