"""The web server of a reader study, asked as a browser asks it."""

from __future__ import annotations

import csv
import io
import json

import pytest

from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.web.windows import windows_of
from tests.support.study_web import Script, Served, csrf_in


def test_a_whole_reading(site: Served):
    """A reader joins, is shown every image once, answers, finishes, and is locked out; the store has it all."""
    reader = site.reader()
    assert site.store.readers()[0].state == "reading"
    assert reader.browser.get("/finished").headers["location"] == "/read"
    said = reader.read_all()
    assert len(said) == 34
    assert [s["next_state"]["done"] for s in said] == list(range(1, 35))
    assert said[-1]["next_state"]["current"] is None
    assert reader.finish().json() == {"state": "finished", "done": 34, "total": 34, "current": None, "next": None}
    assert reader.finish().status_code == 200
    assert reader.browser.get("/read").headers["location"] == "/finished"
    assert "Thank you" in reader.browser.get("/finished").text
    answers = site.store.answers()
    assert [a.position for a in answers] == list(range(1, 35))
    assert {a.call for a in answers} == {"phony"}
    site.store.verify_audit()


def test_truth_is_told_after_training_and_never_else(site: Served):
    """Each training answer is met with the truth; no other answer is, and `kind` does not tell repeats and checks."""
    reader = site.reader()
    kinds = [reader.state()["current"]["kind"]]
    said = reader.read_all()
    kinds += [s["next_state"]["current"]["kind"] for s in said[:-1]]
    assert kinds == ["training"] * 4 + ["study"] * 30
    training = [a for a in site.store.answers() if a.kind == "training"]
    assert [s["feedback"] for s in said[:4]] == [{"truth": site.study.cases[a.case_id].truth} for a in training]
    assert all(s["feedback"] is None for s in said[4:])


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
    reader.answer(state["current"]["id"])
    assert reader.image(state["current"]["id"]).status_code == 404
    assert reader.image("0" * 32).status_code == 404


def test_every_image_has_the_same_headers(site: Served):
    """The headers of all images of a reading are equal, the policy's random nonce apart; none tells of a file."""
    reader, seen = site.reader(), set()
    state = reader.state()
    while state["current"] is not None:
        headers = dict(reader.image(state["current"]["id"]).headers)
        policy = headers.pop("content-security-policy")
        seen.add((len(policy), tuple(sorted(headers.items()))))
        state = reader.answer(state["current"]["id"]).json()["next_state"]
    assert len(seen) == 1
    names = {name for name, _ in next(iter(seen))[1]}
    assert not names & {"etag", "last-modified", "content-encoding", "set-cookie", "server"}
    assert dict(next(iter(seen))[1])["cache-control"] == "no-store"


def test_a_reading_goes_on_on_another_device(site: Served):
    """The same link opens a second browser at the same image with the draft; the first one is signed out."""
    token = site.store.add_reader("reader 1")
    first = Script.join(site.browser(), token)
    shown = first.current()
    draft = {"call": "real", "confidence": 70, "description": "no “lesion”", "marks": [[0.25, 0.5]], "seconds": 2.5}
    assert first.draft(shown, **draft, revision=3).status_code == 204
    assert first.draft(shown, **draft | {"call": "phony"}, revision=2).status_code == 204
    second = Script.join(site.browser(), token)
    assert second.state()["current"] | {"presets": 0} == {
        "id": shown,
        "kind": "training",
        "presets": 0,
        "draft": draft | {"revision": 3},
    }
    refused = first.answer(shown)
    assert refused.status_code == 401
    assert "another device" in refused.json()["error"]
    assert second.answer(shown).status_code == 200
    assert second.state()["done"] == 1


def test_an_answer_sent_twice_counts_once(site: Served):
    """The same answer again gives 200 and the current state, also with another time; another answer gives 409."""
    reader = site.reader()
    shown = reader.current()
    first = reader.answer(shown, "real", confidence=10, description="x", marks=[[0.5, 0.5]], seconds=3)
    again = reader.answer(shown, "real", confidence=10, description="x", marks=[[0.5, 0.5]], seconds=4)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert reader.answer(shown, "phony").status_code == 409
    assert reader.draft(shown, call="phony").status_code == 409
    assert [(a.call, a.seconds) for a in site.store.answers()] == [("real", 3.0)]


def test_answers_come_in_order(site: Served):
    """The next image, which may be fetched ahead, cannot be answered yet; finishing early is refused."""
    reader = site.reader()
    assert reader.answer(reader.state()["next"]).status_code == 409
    assert reader.finish().status_code == 409
    assert site.store.answers() == []


@pytest.mark.parametrize(
    "said",
    [
        {"call": "fake"},
        {"call": None},
        {"confidence": 101},
        {"confidence": -1},
        {"confidence": 50.5},
        {"confidence": True},
        {"description": "x" * 2001},
        {"description": "a\0b"},
        {"description": 5},
        {"marks": [[0.5, 1.01]]},
        {"marks": [[0.5]]},
        {"marks": [[0.5, 0.5]] * 21},
        {"seconds": -1},
        {"seconds": 1e9},
        {"revision": -1},
        {"revision": 2**31},
    ],
)
def test_impossible_answers_are_refused(site: Served, said: dict):
    """A value outside its limits gives 422 with a sentence, and nothing is recorded."""
    reader = site.reader()
    response = reader.answer(reader.current(), **{"call": "real"} | said)
    assert response.status_code == 422
    assert next(iter(said)) in response.json()["error"]
    assert site.store.answers() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 30000,
        b'{"call":"real","description":"\\ud800"}',
        b'{"call":"real","seconds":NaN}',
        b'{"call":"real","seconds":Infinity}',
    ],
)
def test_broken_bodies_are_refused(site: Served, body: bytes):
    """Bodies that are not JSON, or not text, get a 4xx with a sentence; the server goes on."""
    reader = site.reader()
    headers = reader.headers | {"Content-Type": "application/json"}
    response = reader.browser.post(f"/api/presentations/{reader.current()}/answer", content=body, headers=headers)
    assert 400 <= response.status_code < 500
    assert response.json()["error"]
    assert reader.answer(reader.current()).status_code == 200


def test_a_pause_holds_everything(site: Served):
    """While the study is paused nothing can be seen or sent, and all goes on where it was."""
    reader = site.reader()
    shown = reader.current()
    site.store.pause()
    assert reader.state() == {"state": "paused", "done": 0, "total": 34, "current": None, "next": None}
    statuses = [reader.image(shown).status_code, reader.draft(shown).status_code, reader.answer(shown).status_code]
    assert statuses == [423, 423, 423]
    site.store.pause(False)
    assert reader.answer(shown).status_code == 200


def test_a_withdrawn_reader_is_out_at_once(site: Served):
    """After a revocation every request of that reader gives 410, and their link too; others go on."""
    token = site.store.add_reader("reader 1")
    reader, other = Script.join(site.browser(), token), site.reader("reader 2")
    shown = reader.current()
    site.store.revoke("reader 1")
    assert {
        reader.browser.get("/api/state").status_code,
        reader.image(shown).status_code,
        reader.answer(shown).status_code,
        reader.browser.get("/read").status_code,
    } == {410}
    assert site.browser().get(f"/join/{token}").status_code == 410
    assert other.answer(other.current()).status_code == 200


def test_closing_ends_the_study(site: Served):
    """After the close readers get 410 and no link opens any more; the investigator still sees the page."""
    token = site.store.add_reader("reader 1")
    reader = Script.join(site.browser(), token)
    shown, page = reader.current(), site.investigator()
    assert page.post("/investigator/close", data={"csrf": csrf_in(page.get("/investigator").text)}).status_code == 409
    form = {"csrf": csrf_in(page.get("/investigator").text), "confirm": "yes"}
    assert page.post("/investigator/close", data=form).status_code == 303
    assert reader.answer(shown).status_code == 410
    assert site.browser().get(f"/join/{token}").status_code == 410
    assert "Closed" in page.get("/investigator").text
    assert page.post("/investigator/readers", data=form | {"name": "late"}).status_code == 410


def test_the_investigator_runs_the_study(site: Served):
    """Progress in cases; a pause; an added reader whose shown link works; a new link ends the old one; a withdrawal."""
    old = site.store.add_reader("reader 1")
    reader = Script.join(site.browser(), old)
    reader.answer(reader.current())
    page = site.investigator()
    csrf = {"csrf": csrf_in(page.get("/investigator").text)}
    assert "1 of 34" in page.get("/investigator").text

    assert page.post("/investigator/pause", data=csrf).status_code == 303
    assert "Paused." in page.get("/investigator").text
    assert page.post("/investigator/resume", data=csrf).status_code == 303

    added = page.post("/investigator/readers", data=csrf | {"name": "Dr. Žižek-Ó 2"}).text
    link = added.split("http://testserver")[1].split("<")[0]
    assert Script.join(site.browser(), link.removeprefix("/join/")).state()["total"] == 34
    assert page.post("/investigator/readers", data=csrf | {"name": "Dr. Žižek-Ó 2"}).status_code == 409

    asked = page.post("/investigator/readers/link", data=csrf | {"name": "reader 1"})
    assert asked.status_code == 200
    assert "A new link for reader 1?" in asked.text
    assert site.browser().get(f"/join/{old}").status_code == 200
    renewed = page.post("/investigator/readers/link", data=csrf | {"name": "reader 1", "confirm": "yes"}).text
    assert site.browser().get(f"/join/{old}").status_code == 410
    new = renewed.split("http://testserver/join/")[1].split("<")[0]
    assert Script.join(site.browser(), new).state()["done"] == 1

    assert page.post("/investigator/readers/revoke", data=csrf | {"name": "reader 1"}).status_code == 409
    assert (
        page.post("/investigator/readers/revoke", data=csrf | {"name": "reader 1", "confirm": "yes"}).status_code == 303
    )
    assert [r.state for r in site.store.readers()] == ["revoked", "reading"]


def test_exports_hold_the_answers_and_not_the_truth(site: Served):
    """Answers and log come as tables; the seed, from which orders follow, only after the close."""
    reader = site.reader()
    reader.read_all()
    page = site.investigator()
    answers = list(csv.DictReader(io.StringIO(page.get("/investigator/answers.csv").text)))
    assert [row["case_id"] for row in answers] == [a.case_id for a in site.store.answers()]
    log = list(csv.DictReader(io.StringIO(page.get("/investigator/audit.csv").text)))
    assert [row["hash"] for row in log] == [entry.hash for entry in site.store.audit()][: len(log)]
    protocol = page.get("/investigator/protocol.json").json()
    assert protocol["hash"] == site.study.hash
    assert protocol["config"]["seed"] == "withheld until the study is closed"
    everything = "".join(page.get(f"/investigator/{name}").text for name in ("answers.csv", "audit.csv"))
    assert "truth" not in everything + json.dumps(protocol["config"])
    assert not any(case.source in everything for case in site.study.cases.values())
    site.store.close_study()
    assert page.get("/investigator/protocol.json").json() == json.loads(json.dumps(dict(site.study.protocol)))


@pytest.mark.parametrize("name", ["", "/answers.csv", "/audit.csv", "/protocol.json"])
def test_the_investigators_pages_need_their_link(site: Served, name: str):
    """Neither a stranger nor a reader sees them."""
    assert site.browser().get(f"/investigator{name}").status_code == 401
    assert site.reader().browser.get(f"/investigator{name}").status_code == 401


def test_links_that_lead_nowhere(site: Served):
    """A wrong link gives 404; the investigator's is none for readers, nor the other way round."""
    token, boss = site.store.add_reader("reader 1"), site.store.investigator_link()
    paths = ["/join/wrong", f"/join/{token[:-1]}", f"/join/{boss}", f"/investigator/{token}"]
    assert [site.browser().get(path).status_code for path in paths] == [404] * 4


def test_windows_follow_the_modality_alone(study: Study):
    """CT in HU has the four windows in pixel values and an automatic one, MR this alone; all say what pixels mean."""
    windows = windows_of(study)
    case = next(c for c in study.cases.values() if c.modality == "CT")
    grey = {"slope": 1.0, "intercept": 0.0, "unit": ""}
    assert windows["MR"] == [{"name": "Auto", "low": None, "high": None, **grey}]
    scales = {(w["slope"], w["intercept"], w["unit"]) for w in windows["CT"]}
    assert scales == {(case.slope, case.intercept, "HU")}
    assert [w["name"] for w in windows["CT"]] == [
        "Brain 80/40",
        "Stroke 40/40",
        "Subdural 200/75",
        "Bone 2500/480",
        "Auto",
    ]
    low, high = windows["CT"][0]["low"], windows["CT"][0]["high"]
    assert [case.slope * v + case.intercept for v in (low, high)] == pytest.approx([0, 80])


def test_every_page_has_the_headers_that_keep_others_out(site: Served):
    """Pages, errors and refusals alike carry the policy with a new nonce, and none but static files may be kept."""
    browser, nonces = site.browser(), set()
    paths = ["/", "/instructions", "/join/x", "/read", "/nothing", "/api/state", "/docs", "/openapi.json"]
    for path in [*paths, "/static/style.css"]:
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        nonces.add(policy.split("nonce-")[1].split("'")[0])
        assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    assert len(nonces) == len(paths) + 1
    assert [browser.get(path).status_code for path in ("/docs", "/openapi.json", "/redoc", "/nothing")] == [404] * 4
