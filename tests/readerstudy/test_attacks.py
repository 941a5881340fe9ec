"""Attacks on the server of a reader study, each tried as an attacker would."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from phonybrains.reporting.tables import FORMULA
from tests.support.study_web import BASE, Script, Served, cells_of, csrf_in

EVIL = "http://evil.example"


def test_guessing_links_is_slowed_and_leads_nowhere(site: Served):
    """After twenty wrong links an address has to wait, also with sessions; a right link still opens."""
    token, browser = site.store.add_reader("reader 1"), site.browser()
    statuses = [browser.get(f"/join/{'A' * 42}{n}").status_code for n in range(30)]
    assert statuses[:20] == [404] * 20
    assert set(statuses[-5:]) == {429}
    browser.cookies.set(site.cookie("reader"), "guess")
    assert browser.get("/api/state").status_code == 429
    assert Script.join(site.browser(), token).state()["done"] == 0


def test_links_and_sessions_are_stored_as_hashes_only(site: Served, tmp_path: Path):
    """Who steals the database can neither join nor go on: no token is in it."""
    token = site.store.add_reader("reader 1")
    reader = Script.join(site.browser(), token)
    secrets = [token, reader.browser.cookies[site.cookie("reader")], reader.csrf]
    site.store.close()
    stolen = b"".join(path.read_bytes() for path in tmp_path.glob("answers.db*"))
    assert b"reader 1" in stolen
    assert not any(secret.encode() in stolen for secret in secrets)


def test_old_tokens_cannot_be_replayed(site: Served):
    """A replaced link, the session before a second redemption, and both after the finish open nothing."""
    token = site.store.add_reader("reader 1")
    first = Script.join(site.browser(), token)
    second = Script.join(site.browser(), token)
    assert first.browser.get("/api/state").status_code == 401
    second.read_all()
    second.finish()
    assert site.browser().get(f"/join/{token}").status_code == 410
    assert site.browser().post(f"/join/{token}", data={"csrf": "x"}).status_code == 410


def test_an_expired_link_opens_nothing(site: Served, monkeypatch: pytest.MonkeyPatch):
    """After the days an invitation is valid for, it gives 410."""
    token = site.store.add_reader("reader 1")
    later = site.store.clock.now().replace("202", "209", 1)
    monkeypatch.setattr(site.store.clock, "now", lambda: later)
    page = site.browser().get(f"/join/{token}")
    assert page.status_code == 410
    assert "expired" in page.text


def test_looking_at_a_link_redeems_nothing(site: Served):
    """A mail scanner that fetches the link ten times leaves no session, and the reader's own session goes on."""
    token = site.store.add_reader("reader 1")
    reader = Script.join(site.browser(), token)
    for _ in range(10):
        assert "set-cookie" not in site.browser().get(f"/join/{token}").headers
    assert reader.answer(reader.current()).status_code == 200


def test_forged_requests_are_refused(site: Served):
    """Without the token, with another's, or from another origin nothing is changed, whatever cookies are sent along."""
    reader, other = site.reader(), site.reader("reader 2")
    path, body = f"/api/presentations/{reader.current()}/answer", {"call": "real"}
    forged = [
        {},
        {"X-CSRF-Token": other.csrf},
        {"X-CSRF-Token": "é"},
        reader.headers | {"Origin": EVIL},
        reader.headers | {"Origin": "null"},
        reader.headers | {"Origin": BASE + ".evil.example"},
        reader.headers | {"Sec-Fetch-Site": "cross-site"},
        reader.headers | {"Sec-Fetch-Site": "same-site"},
    ]
    for headers in forged:
        sent = {name: value.encode() for name, value in headers.items()}
        assert reader.browser.post(path, json=body, headers=sent).status_code == 403, headers
        assert reader.browser.post("/api/finish", json={}, headers=sent).status_code == 403
    assert site.store.answers() == []
    form = reader.browser.post(path, data={"call": "real"}, headers=reader.headers)
    assert form.status_code == 422  # what an HTML form can send is not an answer


def test_forged_forms_are_refused(site: Served):
    """Joining and everything the investigator can do need the form's own token and no foreign origin."""
    token, page = site.store.add_reader("reader 1"), site.investigator()
    own = csrf_in(page.get("/investigator").text)
    actions = ["pause", "resume", "close", "readers", "readers/link", "readers/revoke"]
    for action in actions:
        data = {"name": "reader 1", "confirm": "yes"}
        assert page.post(f"/investigator/{action}", data=data).status_code == 403
        crossed = page.post(f"/investigator/{action}", data=data | {"csrf": own}, headers={"Origin": EVIL})
        assert crossed.status_code == 403
        assert site.browser().post(f"/investigator/{action}", data=data | {"csrf": own}).status_code == 401
    assert not {"paused", "closed"} & {entry.event for entry in site.store.audit()}
    assert site.store.closed_at is None
    assert [r.state for r in site.store.readers()] == ["invited"]
    browser = site.browser()
    csrf = csrf_in(browser.get(f"/join/{token}").text)
    assert browser.post(f"/join/{token}").status_code == 403
    assert browser.post(f"/join/{token}", data={"csrf": csrf}, headers={"Origin": EVIL}).status_code == 403
    # a browser says `null` for a form under no-referrer: then the form's token counts
    assert browser.post(f"/join/{token}", data={"csrf": csrf}, headers={"Origin": "null"}).status_code == 303


def test_a_planted_session_is_not_taken_over(site: Served):
    """Session fixation: a cookie set before joining is replaced, and is worth nothing afterwards."""
    token, browser = site.store.add_reader("reader 1"), site.browser()
    browser.cookies.set(site.cookie("reader"), "planted", domain="testserver.local", path="/")
    csrf = csrf_in(browser.get(f"/join/{token}").text)
    cookie = browser.post(f"/join/{token}", data={"csrf": csrf}).headers["set-cookie"]
    assert not cookie.startswith(f"{site.cookie('reader')}=planted")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    attacker = site.browser()
    attacker.cookies.set(site.cookie("reader"), "planted")
    assert attacker.get("/api/state").status_code == 401


def test_scripts_in_what_readers_write_do_not_run(site: Served):
    """Markup in a description or a name is text on every page, and the policy lets no inline script run."""
    markup = '<script>alert(1)</script><img src=x onerror="alert(1)">'
    reader, page = site.reader(), site.investigator()
    shown = reader.current()
    assert reader.draft(shown, call="real", description=markup).status_code == 204
    assert reader.state()["current"]["draft"]["description"] == markup
    assert reader.answer(shown, description=markup).status_code == 200
    csrf = csrf_in(page.get("/investigator").text)
    refused = page.post("/investigator/readers", data={"csrf": csrf, "name": markup[:40]})
    answers = page.get("/investigator")
    for response in (refused, answers):
        assert "<script>" not in response.text
        assert "onerror=" not in re.sub(r"&[a-z#0-9]+;", "", response.text)
        assert "unsafe-inline" not in response.headers["content-security-policy"]
    assert refused.status_code == 400
    assert "&lt;script&gt;" in refused.text
    assert page.get("/investigator/answers.csv").headers["content-disposition"].startswith("attachment")
    assert site.store.answers()[0].description == markup


PATHS = [
    *("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/....//app.py", "/static/%00"),
    *("/static//etc/passwd", "/static/..\\app.py", "/join/../../cases.csv", "/join/%2e%2e%2fcases.csv", "/cases.csv"),
    *("/api/presentations/..%2f..%2fcases.csv/image", "/api/presentations/%00/image", "/investigator/..%2fcases.csv"),
    *("/study.db", "/static/../../../../../../etc/passwd", "/static/shared/../../guard.py"),
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_lead_to_no_file(site: Served, path: str):
    """No path, however written, reaches a file that is not a static one."""
    reader = site.reader()
    response = reader.browser.get(path)
    assert response.status_code in (400, 404)
    assert "def make_app" not in response.text
    assert "root:" not in response.text


def test_another_readers_images_are_out_of_reach(site: Served):
    """A reader can neither see, draft nor answer what is shown to another; it looks as if it did not exist."""
    reader, other = site.reader(), site.reader("reader 2")
    shown = other.current()
    foreign = [reader.image(shown), reader.draft(shown, call="real"), reader.answer(shown)]
    nothing = [reader.image("f" * 32), reader.draft("f" * 32, call="real"), reader.answer("f" * 32)]
    assert [r.status_code for r in foreign] == [404] * 3
    assert [r.content for r in foreign] == [r.content for r in nothing]
    assert site.store.answers() == []
    assert other.state()["current"]["draft"] is None


def test_later_images_of_ones_own_are_out_of_reach(site: Served):
    """Only the current image and the next one can be fetched: nobody looks through all before answering."""
    reader = site.reader()
    ids = [reader.state()["next"]]
    for _ in range(3):
        ids.append(reader.answer(reader.current()).json()["next_state"]["next"])
    fresh = site.browser()
    fresh.cookies = reader.browser.cookies
    assert [reader.image(i).status_code for i in ids] == [404, 404, 200, 200]


def test_nothing_is_answered_after_the_lock(site: Served):
    """After finishing, neither new answers, the same ones, nor drafts are taken."""
    reader = site.reader()
    said, last = reader.read_all(), None
    assert said[-1]["next_state"]["current"] is None
    reader.finish()
    ids = site.store.read(lambda c: c.exec_driver_sql("SELECT id, position FROM presentation ORDER BY position").all())
    for last in (ids[0][0], ids[-1][0]):
        assert reader.answer(last, "real").status_code == 410
        assert reader.draft(last, call="real").status_code == 410
    assert {a.call for a in site.store.answers()} == {"phony"}
    site.store.verify_audit()


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE answer; --", '" OR 1=1 --', "reader 1' OR '1'='1", "%' UNION SELECT 1 --"]
)
def test_sql_is_text_in_every_field(site: Served, text: str):
    """SQL in a description, a name, a token, a cookie or an id is stored, or refused, as the text it is."""
    reader, page = site.reader(), site.investigator()
    assert reader.answer(reader.current(), description=text).status_code == 200
    assert reader.answer(reader.current(), text).status_code == 422
    csrf = csrf_in(page.get("/investigator").text)
    assert page.post("/investigator/readers", data={"csrf": csrf, "name": text}).status_code == 400
    for action in ("link", "revoke"):
        data = {"csrf": csrf, "name": text, "confirm": "yes"}
        assert page.post(f"/investigator/readers/{action}", data=data).status_code == 404
    assert site.browser().get("/join/" + text.replace("/", "")).status_code == 404
    assert reader.image(text.replace("/", "")).status_code == 404
    cookie = {"Cookie": f"{site.cookie('reader')}={text.replace(';', '')}"}
    assert site.browser().get("/api/state", headers=cookie).status_code == 401
    assert [a.description for a in site.store.answers()] == [text]
    assert [r.state for r in site.store.readers()] == ["reading"]


def test_formulas_in_exports_are_text(site: Served):
    """Whatever a spreadsheet would run has an apostrophe in front; what follows is what the reader wrote."""
    reader, page = site.reader(), site.investigator()
    written = [f'{start}HYPERLINK("http://evil.example")' for start in FORMULA]
    for description in written:
        assert reader.answer(reader.current(), description=description).status_code == 200
    rows = list(csv.DictReader(io.StringIO(page.get("/investigator/answers.csv").content.decode(), newline="")))
    assert [row["description"] for row in rows] == [f"'{description}" for description in written]
    log = list(csv.reader(io.StringIO(page.get("/investigator/audit.csv").content.decode(), newline="")))
    assert not any(cell.startswith(FORMULA) for row in log for cell in row)


def test_oversized_bodies_are_refused(site: Served):
    """More than 64 KiB gives 413, whether the length is told, left out, or said to be less; just under it is read."""
    reader = site.reader()
    path = f"/api/presentations/{reader.current()}/answer"
    headers = reader.headers | {"Content-Type": "application/json"}
    big = b'{"call":"real","description":"' + b"x" * 70_000 + b'"}'
    assert reader.browser.post(path, content=big, headers=headers).status_code == 413
    chunks = (big[start : start + 8192] for start in range(0, len(big), 8192))
    assert reader.browser.post(path, content=chunks, headers=headers).status_code == 413
    form = site.browser().post("/join/x", data={"csrf": "x" * 70_000})
    assert form.status_code == 413
    assert reader.browser.post(path, content=big[:60_000], headers=headers).status_code == 422
    assert reader.answer(reader.current()).status_code == 200


def test_a_wild_script_is_slowed(site: Served, monkeypatch: pytest.MonkeyPatch):
    """More than two hundred requests at once of one session have to wait; other readers do not."""
    reader, other = site.reader(), site.reader("reader 2")
    monkeypatch.setattr("phonybrains.readerstudy.web.security.monotonic", lambda: 1e6)
    statuses = [reader.browser.get("/api/presentations/x/image").status_code for _ in range(220)]
    assert statuses == [404] * 200 + [429] * 20
    assert other.browser.get("/api/state").status_code == 200
    monkeypatch.setattr("phonybrains.readerstudy.web.security.monotonic", lambda: 1e6 + 0.1)
    assert reader.browser.get("/api/state").status_code == 200


def test_reading_pages_of_two_readers_are_alike(site: Served):
    """A reader's page and state tell neither a name nor a truth: only ids, tokens and nonces differ between two."""
    texts = []
    for reader in (site.reader(), site.reader("reader 2")):
        page = reader.browser.get("/read").text
        texts.append(re.sub(r'(nonce|data-csrf|name="csrf" value)="[^"]+"', "", page))
    assert texts[0] == texts[1]
    assert "reader 1" not in texts[0]


def test_line_breaks_of_any_kind_stay_in_their_cell(site: Served):
    """A row of an export is one row, whatever breaks lines in its text, also for who reads it line by line."""
    reader, page = site.reader(), site.investigator()
    breaks = ["\r", "\n", "\r\n", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\r\r", '"\r', ",\r,"]
    written = [f"one{mark}two" for mark in breaks] + [f"end{mark}" for mark in breaks]
    for description in written:
        assert reader.answer(reader.current(), description=description).status_code == 200
    rows = cells_of(page, "answers.csv")
    assert [row[rows[0].index("description")] for row in rows[1:]] == written
    assert {len(row) for row in rows} == {len(rows[0])}
    log = cells_of(page, "audit.csv")
    assert [row[2] for row in log].count("answer") == len(written)
    assert {len(row) for row in log} == {len(log[0])}


@pytest.mark.parametrize("unseen", ["\ufeff", "\u200b", " ", "\u00a0"])
def test_a_formula_behind_what_is_not_seen_is_text(site: Served, unseen: str):
    """What a spreadsheet may drop in front of a formula does not hide it."""
    reader, page = site.reader(), site.investigator()
    assert reader.answer(reader.current(), description=f"{unseen}=1+1").status_code == 200
    rows = cells_of(page, "answers.csv")
    assert rows[1][rows[0].index("description")] == f"'{unseen}=1+1"
