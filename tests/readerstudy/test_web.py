"""The web server of a reader study, asked as a browser asks it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.web.windows import windows_of
from tests.support.study_web import BASE, Script, Served


def test_a_whole_reading(site: Served):
    """A reader joins, is shown every image once, answers, finishes, and is locked out; the store has it all.

    Each training answer is met with the truth; no other answer is, and `kind` does not tell repeats and checks.
    """
    reader = site.reader()
    assert site.store.readers()[0].state == "reading"
    assert reader.browser.get("/finished").headers["location"] == "/read"
    kinds, said = [reader.state()["current"]["kind"]], reader.read_all()
    states = [one["next_state"] for one in said]
    assert [state["done"] for state in states] == list(range(1, 35))
    assert states[-1]["current"] is None
    kinds += [state["current"]["kind"] for state in states[:-1]]
    assert kinds == ["training"] * 4 + ["study"] * 30
    assert reader.finish().json() == {"state": "finished", "done": 34, "total": 34, "current": None, "next": None}
    assert reader.finish().status_code == 200
    assert reader.browser.get("/read").headers["location"] == "/finished"
    assert "Thank you" in reader.browser.get("/finished").text
    answers = site.store.answers()
    assert [a.position for a in answers] == list(range(1, 35))
    assert {a.call for a in answers} == {"phony"}
    training = [{"truth": site.study.cases[a.case_id].truth} for a in answers if a.kind == "training"]
    assert [one["feedback"] for one in said] == training + [None] * 30
    site.store.verify_audit()


def test_the_image_is_the_frozen_one(site: Served):
    """What is sent is the case's file, byte for byte, for the current and for the next presentation only."""
    reader = site.reader()
    order = [p.case_id for p in presentations(site.study, "reader 1")]
    state = reader.state()
    for shown, case_id in ((state["current"]["id"], order[0]), (state["next"], order[1])):
        image = reader.image(shown)
        assert image.content == site.study.image_bytes(case_id)
        assert image.headers["content-type"] == "application/octet-stream"
        assert image.headers["content-length"] == str(2 * 64 * 64)
    reader.answer()
    assert [reader.image(shown).status_code for shown in (state["current"]["id"], "0" * 32)] == [404, 404]


def test_no_mark_reaches_a_reader(site: Served, tmp_path: Path):
    """The sets' files say that they are synthetic; of that, not a byte is stored for readers, nor sent to one."""
    needles = (b"iTXt", b"DigitalSource", b"lgorithmicMedia", b"xpacket", b"caBX", b"record_identity", b"phantom")
    made = make_phantoms(1, tmp_path / "set", size=64) / "images/000000.png"
    assert all(needle in made.read_bytes() for needle in needles if needle not in (b"caBX", b"record_identity"))
    stored = [path.read_bytes() for path in (site.study.folder / "images").iterdir()]
    assert {len(content) for content in stored} == {2 * 64 * 64}  # pixels, and nothing else
    reader = site.reader()
    sent = [reader.browser.get("/read").content, json.dumps(state := reader.state()).encode()]
    while state["current"] is not None:
        sent.append(reader.image(state["current"]["id"]).content)
        answer = reader.answer(state["current"]["id"])
        sent.append(answer.content)
        state = answer.json()["next_state"]
    assert [needle for needle in needles for content in (*stored, *sent) if needle in content] == []


def test_every_image_has_the_same_headers(site: Served):
    """The headers of all images of a reading are equal, the policy's random nonce apart; none tells of a file."""
    reader, seen = site.reader(), []
    state = reader.state()
    while state["current"] is not None:
        headers = dict(reader.image(state["current"]["id"]).headers)
        headers["content-security-policy"] = str(len(headers["content-security-policy"]))
        seen.append(headers)
        state = reader.answer(state["current"]["id"]).json()["next_state"]
    assert seen == [seen[0]] * 34
    assert not seen[0].keys() & {"etag", "last-modified", "content-encoding", "set-cookie", "server"}
    assert seen[0]["cache-control"] == "no-store"


def test_a_reading_goes_on_on_another_device(site: Served):
    """The same link opens a second browser at the same image with the draft; the first one is signed out."""
    first = site.reader()
    shown = first.current()
    draft = {"call": "real", "confidence": 70, "description": "no “lesion”", "marks": [[0.25, 0.5]], "seconds": 2.5}
    assert first.draft(shown, **draft, revision=3).status_code == 204
    assert first.draft(shown, **draft | {"call": "phony"}, revision=2).status_code == 204
    second = site.join(first.token)
    kept = {"id": shown, "kind": "training", "presets": 0, "draft": draft | {"revision": 3}}
    assert second.state()["current"] | {"presets": 0} == kept
    refused = first.answer(shown)
    assert refused.status_code == 401
    assert "another device" in refused.json()["error"]
    assert second.answer(shown).status_code == 200
    assert second.state()["done"] == 1


def test_an_answer_sent_twice_counts_once(site: Served):
    """The same answer again gives 200 and the current state, also with another time; another answer gives 409.

    The 409, as of an answer typed in another tab, says why, and where the reading is now.
    """
    reader = site.reader()
    shown, said = reader.current(), {"confidence": 10, "description": "x", "marks": [[0.5, 0.5]]}
    first, again = (reader.answer(shown, "real", **said, seconds=seconds) for seconds in (3, 4))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    late = reader.answer(shown, "phony", description="typed in the second tab")
    assert late.status_code == 409
    reason = "This image was answered already; the first answer stands."
    assert late.json() == {"error": reason, "next_state": reader.state()}
    assert reader.draft(shown, call="phony").status_code == 409
    assert reader.answer(late.json()["next_state"]["current"]["id"]).status_code == 200
    assert [(a.call, a.seconds) for a in site.store.answers()] == [("real", 3.0), ("phony", None)]


def test_answers_come_in_order(refusing: Script):
    """The next image, which may be fetched ahead, cannot be answered yet; finishing early is refused."""
    assert refusing.answer(refusing.state()["next"]).status_code == 409
    assert refusing.finish().status_code == 409


IMPOSSIBLE = [
    *({"call": "fake"}, {"call": None}, {"confidence": 101}, {"confidence": -1}, {"confidence": 50.5}),
    *({"confidence": True}, {"description": "x" * 2001}, {"description": "a\0b"}, {"description": 5}),
    *({"marks": [[0.5, 1.01]]}, {"marks": [[0.5]]}, {"marks": [[0.5, 0.5]] * 21}),
    *({"seconds": -1}, {"seconds": 1e9}, {"revision": -1}, {"revision": 2**31}),
]


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_impossible_answers_are_refused(refusing: Script, said: dict):
    """A value outside its limits gives 422 with a sentence, and nothing is recorded."""
    response = refusing.answer(**{"call": "real"} | said)
    assert response.status_code == 422
    assert next(iter(said)) in response.json()["error"]


BROKEN = [
    *(b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 30000, b'{"call":"real","description":"\\ud800"}'),
    *(b'{"call":"real","seconds":NaN}', b'{"call":"real","seconds":Infinity}'),
]


@pytest.mark.parametrize("body", BROKEN)
def test_broken_bodies_are_refused(refusing: Script, body: bytes):
    """Bodies that are not JSON, or not text, get a 4xx with a sentence; the server goes on."""
    headers = refusing.headers | {"Content-Type": "application/json"}
    path = f"/api/presentations/{refusing.current()}/answer"
    response = refusing.browser.post(path, content=body, headers=headers)
    assert 400 <= response.status_code < 500
    assert response.json()["error"]
    assert refusing.draft(refusing.current()).status_code == 204


def test_a_pause_holds_everything(site: Served):
    """While the study is paused nothing can be seen or sent, and all goes on where it was."""
    reader = site.reader()
    shown = reader.current()
    site.store.pause()
    assert reader.state() == {"state": "paused", "done": 0, "total": 34, "current": None, "next": None}
    assert {r.status_code for r in (reader.image(shown), reader.draft(shown), reader.answer(shown))} == {423}
    site.store.pause(False)
    assert reader.answer(shown).status_code == 200


def test_a_withdrawn_reader_is_out_at_once(site: Served):
    """After a revocation every request of that reader gives 410, and their link too; others go on."""
    reader, other = site.reader(), site.reader("reader 2")
    shown = reader.current()
    site.store.revoke("reader 1")
    pages = [reader.browser.code(path) for path in ("/api/state", "/read", f"/join/{reader.token}")]
    assert {*pages, reader.image(shown).status_code, reader.answer(shown).status_code} == {410}
    assert other.answer().status_code == 200


def test_closing_ends_the_study(site: Served):
    """After the close readers get 410 and no link opens any more; the investigator still sees the page."""
    reader, page = site.reader(), site.investigator()
    shown = reader.current()
    assert page.do("close").status_code == 409
    assert page.do("close", confirm="yes").status_code == 303
    assert reader.answer(shown).status_code == 410
    assert site.browser().code(f"/join/{reader.token}") == 410
    assert "Closed" in page.get("/investigator").text
    assert page.do("readers", name="late").status_code == 410


def test_the_investigator_runs_the_study(site: Served):
    """Progress in cases; a pause; an added reader whose shown link works; a new link ends the old one; a withdrawal."""
    reader, page = site.reader(), site.investigator()
    reader.answer()
    old = f"/join/{reader.token}"

    def shown_link(text: str) -> Script:
        return site.join(text.split(f"{BASE}/join/")[1].split("<")[0])

    assert "1 of 34" in page.get("/investigator").text
    assert page.do("pause").status_code == 303
    assert "Paused." in page.get("/investigator").text
    assert page.do("resume").status_code == 303
    assert shown_link(page.do("readers", name="Dr. Žižek-Ó 2").text).state()["total"] == 34
    assert page.do("readers", name="Dr. Žižek-Ó 2").status_code == 409
    asked = page.do("readers/link", name="reader 1")
    assert asked.status_code == 200
    assert "A new link for reader 1?" in asked.text
    assert site.browser().code(old) == 200
    renewed = page.do("readers/link", name="reader 1", confirm="yes").text
    assert site.browser().code(old) == 410
    assert shown_link(renewed).state()["done"] == 1
    assert page.do("readers/revoke", name="reader 1").status_code == 409
    assert page.do("readers/revoke", name="reader 1", confirm="yes").status_code == 303
    assert [r.state for r in site.store.readers()] == ["revoked", "reading"]


def test_exports_hold_the_answers_and_not_the_truth(site: Served):
    """Answers and log come as tables; the seed, from which orders follow, only after the close."""
    site.reader().read_all()
    page = site.investigator()
    answers, log = (page.get(f"/investigator/{name}.csv").text for name in ("answers", "audit"))
    assert [r["case_id"] for r in csv.DictReader(io.StringIO(answers))] == [a.case_id for a in site.store.answers()]
    hashes = [row["hash"] for row in csv.DictReader(io.StringIO(log))]
    assert hashes == [entry.hash for entry in site.store.audit()][: len(hashes)]
    protocol = page.get("/investigator/protocol.json").json()
    assert protocol["hash"] == site.study.hash
    assert protocol["config"]["seed"] == "withheld until the study is closed"
    assert "truth" not in answers + log + json.dumps(protocol["config"])
    assert not any(case.source in answers + log for case in site.study.cases.values())
    site.store.close_study()
    assert page.get("/investigator/protocol.json").json() == json.loads(json.dumps(dict(site.study.protocol)))


def test_the_investigators_pages_need_their_link(site: Served):
    """Neither a stranger nor a reader sees them."""
    for browser in (site.browser(), site.reader().browser):
        for name in ("", "/answers.csv", "/audit.csv", "/protocol.json"):
            assert browser.code(f"/investigator{name}") == 401


def test_links_that_lead_nowhere(site: Served):
    """A wrong link gives 404; the investigator's is none for readers, nor the other way round."""
    token, boss = site.store.add_reader("reader 1"), site.store.investigator_link()
    paths = ["/join/wrong", f"/join/{token[:-1]}", f"/join/{boss}", f"/investigator/{token}"]
    assert [site.browser().code(path) for path in paths] == [404] * 4


def test_windows_follow_the_modality_alone(study: Study):
    """CT in HU has the four windows in pixel values and an automatic one, MR this alone; all say what pixels mean."""
    windows = windows_of(study)
    case = next(c for c in study.cases.values() if c.modality == "CT")
    grey = {"slope": 1.0, "intercept": 0.0, "unit": ""}
    assert windows["MR"] == [{"name": "Auto", "low": None, "high": None, **grey}]
    scales = {(w["slope"], w["intercept"], w["unit"]) for w in windows["CT"]}
    assert scales == {(case.slope, case.intercept, "HU")}
    names = ["Brain 80/40", "Stroke 40/40", "Subdural 200/75", "Bone 2500/480", "Auto"]
    assert [w["name"] for w in windows["CT"]] == names
    low, high = windows["CT"][0]["low"], windows["CT"][0]["high"]
    assert [case.slope * v + case.intercept for v in (low, high)] == pytest.approx([0, 80])


def test_every_page_has_the_headers_that_keep_others_out(site: Served):
    """Pages, errors and refusals alike carry the policy with a new nonce, and none but static files may be kept."""
    browser, nonces = site.browser(), set()
    absent = {"/docs", "/openapi.json", "/redoc", "/nothing"}
    paths = {"/", "/instructions", "/join/x", "/read", "/api/state", "/static/style.css", *absent}
    for path in paths:
        response = browser.get(path)
        headers = response.headers
        policy = headers["content-security-policy"]
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
        nonces.add(policy.split("nonce-")[1].split("'")[0])
        assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")
        assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("no-referrer", "nosniff")
        assert response.status_code == 404 or path not in absent
    assert len(nonces) == len(paths)
