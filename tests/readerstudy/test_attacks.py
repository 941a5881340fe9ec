"""Attacks on the server of a reader study, each tried as an attacker would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phonybrains.reporting.tables import FORMULA
from tests.support.study_web import BASE, Script, Served, cells_of, csrf_in

EVIL = {"Origin": "http://evil.example"}
CLOCK = "phonybrains.readerstudy.web.security.monotonic"


def exported(site: Served, descriptions: list[str]) -> list[str]:
    """Write these descriptions as a reader: what the export has in their column; each row of it has all columns."""
    reader, page = site.reader(), site.investigator()
    assert [reader.answer(description=one).status_code for one in descriptions] == [200] * len(descriptions)
    names, *rows = cells_of(page, "answers.csv")
    assert {len(row) for row in rows} == {len(names)}
    return [row[names.index("description")] for row in rows]


def test_guessing_links_is_slowed_and_leads_nowhere(site: Served):
    """After twenty wrong links an address has to wait, also with sessions; a right link still opens."""
    token, browser = site.store.add_reader("reader 1"), site.browser()
    statuses = [browser.code(f"/join/{'A' * 42}{n}") for n in range(30)]
    assert statuses[:20] == [404] * 20
    assert set(statuses[-5:]) == {429}
    browser.cookies.set(site.cookie("reader"), "guess")
    assert browser.code("/api/state") == 429
    assert site.join(token).state()["done"] == 0


def test_links_and_sessions_are_stored_as_hashes_only(site: Served, tmp_path: Path):
    """Who steals the database can neither join nor go on: no token is in it."""
    reader = site.reader()
    secrets = [reader.token, reader.browser.cookies[site.cookie("reader")], reader.csrf]
    site.store.close()
    stolen = b"".join(path.read_bytes() for path in tmp_path.glob("study/study.db*"))
    assert b"reader 1" in stolen
    assert not any(secret.encode() in stolen for secret in secrets)


def test_old_tokens_cannot_be_replayed(site: Served):
    """A replaced link, the session before a second redemption, and both after the finish open nothing."""
    first = site.reader()
    second = site.join(first.token)
    assert first.browser.code("/api/state") == 401
    second.read_all()
    second.finish()
    link = f"/join/{first.token}"
    assert [site.browser().code(link), site.browser().post(link, data={"csrf": "x"}).status_code] == [410] * 2


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
    reader = site.reader()
    for _ in range(10):
        assert "set-cookie" not in site.browser().get(f"/join/{reader.token}").headers
    assert reader.answer().status_code == 200


def test_forged_requests_are_refused(site: Served):
    """Without the token, with another's, or from another origin nothing is changed, whatever cookies are sent along."""
    reader, other = site.reader(), site.reader("reader 2")
    path, body = f"/api/presentations/{reader.current()}/answer", {"call": "real"}
    tokens = [{}, {"X-CSRF-Token": other.csrf}, {"X-CSRF-Token": "é"}]
    origins = [EVIL, {"Origin": "null"}, {"Origin": BASE + ".evil.example"}]
    sites = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
    for headers in (*tokens, *(reader.headers | foreign for foreign in origins + sites)):
        sent = {name: value.encode() for name, value in headers.items()}
        assert reader.browser.post(path, json=body, headers=sent).status_code == 403, headers
        assert reader.browser.post("/api/finish", json={}, headers=sent).status_code == 403
    assert site.store.answers() == []
    form = reader.browser.post(path, data={"call": "real"}, headers=reader.headers)
    assert form.status_code == 422  # what an HTML form can send is not an answer


def test_forged_forms_are_refused(site: Served):
    """Joining and everything the investigator can do need the form's own token and no foreign origin."""
    token, page = site.store.add_reader("reader 1"), site.investigator()
    own, form = csrf_in(page.get("/investigator").text), {"name": "reader 1", "confirm": "yes"}
    for action in ("pause", "resume", "close", "readers", "readers/link", "readers/revoke"):
        assert page.do(action, **form, csrf="").status_code == 403
        assert page.do(action, EVIL, **form).status_code == 403
        assert site.browser().do(action, **form, csrf=own).status_code == 401
    assert not {"paused", "closed"} & set(site.events())
    assert site.store.closed_at is None
    assert [r.state for r in site.store.readers()] == ["invited"]
    browser, link = site.browser(), f"/join/{token}"
    csrf = {"csrf": csrf_in(browser.get(link).text)}
    assert browser.post(link).status_code == 403
    assert browser.post(link, data=csrf, headers=EVIL).status_code == 403
    # a browser says `null` for a form under no-referrer: then the form's token counts
    assert browser.post(link, data=csrf, headers={"Origin": "null"}).status_code == 303


def test_a_planted_session_is_not_taken_over(site: Served):
    """Session fixation: a cookie set before joining is replaced, and is worth nothing afterwards."""
    link, browser, attacker = f"/join/{site.store.add_reader('reader 1')}", site.browser(), site.browser()
    browser.cookies.set(site.cookie("reader"), "planted", domain="testserver.local", path="/")
    cookie = browser.post(link, data={"csrf": csrf_in(browser.get(link).text)}).headers["set-cookie"]
    assert not cookie.startswith(f"{site.cookie('reader')}=planted")
    assert {"HttpOnly", "SameSite=lax"} <= set(cookie.split("; "))
    attacker.cookies.set(site.cookie("reader"), "planted")
    assert attacker.code("/api/state") == 401


def test_scripts_in_what_readers_write_do_not_run(site: Served):
    """Markup in a description or a name is text on every page, and the policy lets no inline script run."""
    markup = '<script>alert(1)</script><img src=x onerror="alert(1)">'
    reader, page = site.reader(), site.investigator()
    assert reader.draft(reader.current(), call="real", description=markup).status_code == 204
    assert reader.state()["current"]["draft"]["description"] == markup
    assert reader.answer(description=markup).status_code == 200
    refused = page.do("readers", name=markup[:40])
    for response in (refused, page.get("/investigator")):
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
def test_paths_lead_to_no_file(refusing: Script, path: str):
    """No path, however written, reaches a file that is not a static one."""
    response = refusing.browser.get(path)
    assert response.status_code in (400, 404)
    assert "def make_app" not in response.text
    assert "root:" not in response.text


def test_another_readers_images_are_out_of_reach(site: Served):
    """A reader can neither see, draft nor answer what is shown to another; it looks as if it did not exist."""
    reader, other = site.reader(), site.reader("reader 2")

    def ask(shown: str) -> list[tuple[int, bytes]]:
        asked = reader.image(shown), reader.draft(shown, call="real"), reader.answer(shown)
        return [(response.status_code, response.content) for response in asked]

    foreign = ask(other.current())
    assert [status for status, _ in foreign] == [404] * 3
    assert foreign == ask("f" * 32)
    assert site.store.answers() == []
    assert other.state()["current"]["draft"] is None


def test_later_images_of_ones_own_are_out_of_reach(site: Served):
    """Only the current image and the next one can be fetched: nobody looks through all before answering."""
    reader = site.reader()
    ids = [reader.state()["next"], *(reader.answer().json()["next_state"]["next"] for _ in range(3))]
    assert [reader.image(i).status_code for i in ids] == [404, 404, 200, 200]


def test_nothing_is_answered_after_the_lock(site: Served):
    """After finishing, neither new answers, the same ones, nor drafts are taken."""
    reader = site.reader()
    assert reader.read_all()[-1]["next_state"]["current"] is None
    reader.finish()
    ids = site.store.read(lambda c: c.exec_driver_sql("SELECT id FROM presentation ORDER BY position").scalars().all())
    for shown in (ids[0], ids[-1]):
        assert reader.answer(shown, "real").status_code == 410
        assert reader.draft(shown, call="real").status_code == 410
    assert {a.call for a in site.store.answers()} == {"phony"}
    site.store.verify_audit()


def test_sql_is_text_in_every_field(site: Served):
    """SQL in a description, a name, a token, a cookie or an id is stored, or refused, as the text it is."""
    reader, page = site.reader(), site.investigator()
    texts = ["'; DROP TABLE answer; --", '" OR 1=1 --', "reader 1' OR '1'='1", "%' UNION SELECT 1 --"]
    for text in texts:
        assert reader.answer(description=text).status_code == 200
        assert reader.answer(call=text).status_code == 422
        assert page.do("readers", name=text).status_code == 400
        for action in ("link", "revoke"):
            assert page.do(f"readers/{action}", name=text, confirm="yes").status_code == 404
        assert site.browser().code("/join/" + text.replace("/", "")) == 404
        assert reader.image(text.replace("/", "")).status_code == 404
        cookie = {"Cookie": f"{site.cookie('reader')}={text.replace(';', '')}"}
        assert site.browser().code("/api/state", headers=cookie) == 401
    assert [a.description for a in site.store.answers()] == texts
    assert [r.state for r in site.store.readers()] == ["reading"]


def test_formulas_in_exports_are_text(site: Served):
    """Whatever a spreadsheet would run has an apostrophe in front, also behind what it may drop there as unseen."""
    written = [f'{start}HYPERLINK("http://evil.example")' for start in FORMULA]
    written += [f"{unseen}=1+1" for unseen in ("\ufeff", "\u200b", " ", "\u00a0")]
    assert exported(site, written) == [f"'{description}" for description in written]
    log = cells_of(site.investigator(), "audit.csv")
    assert not any(cell.startswith(FORMULA) for row in log for cell in row)


def test_oversized_bodies_are_refused(site: Served):
    """More than 64 KiB gives 413, whether the length is told, left out, or said to be less; just under it is read."""
    reader = site.reader()
    path, headers = f"/api/presentations/{reader.current()}/answer", {"Content-Type": "application/json"}
    big = b'{"call":"real","description":"' + b"x" * 70_000 + b'"}'
    chunks = (big[start : start + 8192] for start in range(0, len(big), 8192))
    for content, status in ((big, 413), (chunks, 413), (big[:60_000], 422)):
        assert reader.browser.post(path, content=content, headers=reader.headers | headers).status_code == status
    assert site.browser().post("/join/x", data={"csrf": "x" * 70_000}).status_code == 413
    assert reader.answer().status_code == 200


def test_a_wild_script_is_slowed(site: Served, monkeypatch: pytest.MonkeyPatch):
    """More than two hundred requests at once of one session have to wait; other readers do not."""
    reader, other = site.reader(), site.reader("reader 2")
    monkeypatch.setattr(CLOCK, lambda: 1e6)
    assert [reader.image("x").status_code for _ in range(220)] == [404] * 200 + [429] * 20
    assert other.browser.code("/api/state") == 200
    monkeypatch.setattr(CLOCK, lambda: 1e6 + 0.1)
    assert reader.browser.code("/api/state") == 200


def test_reading_pages_of_two_readers_are_alike(site: Served):
    """A reader's page and state tell neither a name nor a truth: only ids, tokens and nonces differ between two."""
    pages = [site.reader(name).browser.get("/read").text for name in ("reader 1", "reader 2")]
    one, other = (re.sub(r'(nonce|data-csrf|name="csrf" value)="[^"]+"', "", page) for page in pages)
    assert one == other
    assert "reader 1" not in one


def test_line_breaks_of_any_kind_stay_in_their_cell(site: Served):
    """A row of an export is one row, whatever breaks lines in its text, also for who reads it line by line."""
    breaks = ["\r", "\n", "\r\n", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\r\r", '"\r', ",\r,"]
    written = [f"one{mark}two" for mark in breaks] + [f"end{mark}" for mark in breaks]
    assert exported(site, written) == written
    log = cells_of(site.investigator(), "audit.csv")
    assert [row[2] for row in log].count("answer") == len(written)
    assert {len(row) for row in log} == {len(log[0])}
