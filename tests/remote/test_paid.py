"""What may have been paid for counts as paid, is kept before it is read, and is not ordered again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import imagine_faults
from phonybrains.errors import ConfigError
from phonybrains.record import read_record
from phonybrains.remote.config import ImagineConfig
from phonybrains.remote.ledger import BudgetSpent
from phonybrains.workflows.imagine import imagine
from tests.support import fault_server
from tests.support.fault_server import FaultServer, answering, saying
from tests.support.imagining import answers_of, asking, fails, run

Fault = Callable[[fault_server.Handler], None]


PRICE = {"image": 1.0, "input_tokens": 5.0, "output_tokens": 30.0}


def config(server: FaultServer, n: int = 1, **given: Any) -> ImagineConfig:
    dear = {"model": "dear", "prices": {"dear": PRICE}, "budget": 100.0, "concurrency": 1}
    return asking(server, **dear | {"n": n} | given)


def spent(out: Path) -> tuple[float, dict[str, int]]:
    results = read_record(out.parent / f"{out.name}.originals")["results"]
    return results["cost_of_all_runs"], results["requests"]


def bodies(out: Path) -> list[Path]:
    return sorted(answers_of(out).glob("*.body"))


IN_DOUBT: dict[str, Fault] = {
    str(status): saying(status, {"error": {"code": "x", "message": "y"}}, Retry_After="0.01")
    for status in (408, 409, 500, 502, 503, 504, 520, 524, 529)
} | {"cut": fault_server.cut, "late": fault_server.late, "no answer": lambda handler: None}


@pytest.mark.parametrize("fault", IN_DOUBT.values(), ids=IN_DOUBT)
def test_an_order_that_may_be_paid_for_is_booked_and_not_repeated(tmp_path, server, fault: Fault):
    """A failing server, a time-out and a cut connection are asked once a run, at the price of an image each."""
    server.always = lambda handler: (fault(handler), setattr(handler, "close_connection", True))
    for runs in (1, 2):
        fails(tmp_path / "out", config(server, timeout_s=0.5), "1 of 1 image did not come")
        assert len(server.asked) == runs
    server.always = None
    run(tmp_path / "out", config(server))
    assert spent(tmp_path / "out") == (3.0, {"image": 1, "unknown": 2})


@pytest.mark.parametrize("status", [500, 504, 524])
def test_a_server_that_keeps_failing_does_not_pass_the_budget(tmp_path, server, status: int):
    """However often the command is given, a budget of four images brings four requests."""
    server.always = saying(status, {"error": {"message": "timeout"}})
    for _ in range(4):
        fails(tmp_path / "out", config(server, n=12, budget=4.0), "")
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "usage", [{"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 1}, {"output_tokens": -9}]
)
def test_nonsense_about_tokens_does_not_pass_the_budget(tmp_path, server, usage: dict[str, int]):
    """An image whose tokens are said to be none costs the price of an image."""
    server.usage = usage
    fails(tmp_path / "out", config(server, n=12, budget=4.0), "4 images asked for, cost 4 of 4", BudgetSpent)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "item",
    [
        lambda b64: {"b64_json": f"data:image/png;base64,{b64}"},
        lambda b64: {"url": f"data:image/png;base64,{b64}", "b64_json": None},
        lambda b64: {"b64_json": b64.rstrip("=").replace("+", "-").replace("/", "_")},
        lambda b64: {"b64_json": "\n".join(b64[i : i + 76] for i in range(0, len(b64), 76)) + "\n"},
        lambda b64: {"b64_json": b64, "revised_prompt": "a \ud800brain\x1b[31m\x00"},
    ],
    ids=["data in b64_json", "data in url", "url-safe", "in lines", "surrogate"],
)
def test_an_image_is_read_however_it_is_written(tmp_path, server, item: Callable[[str], dict[str, Any]]):
    """A data: address, either alphabet of base64 and broken characters beside it: the very bytes are kept, once."""
    server.always = answering(item)
    images = run(tmp_path / "out", config(server, n=2))
    assert {(tmp_path / row.source).read_bytes() for row in images.rows} == {fault_server.picture(i) for i in (1, 2)}
    assert len(server.asked) == 2
    assert images.rows[0]["revised_prompt"] in (None, "a \\ud800brain\\x1b[31m\\x00")


def test_answers_of_before_with_broken_characters_are_read(tmp_path, server):
    """A lone surrogate that an answer on the disk holds is no trouble either: the set comes, without a request."""
    run(tmp_path / "out", config(server))
    (tmp_path / "out").rename(tmp_path / "gone")
    originals = tmp_path / "out.originals"
    path = next((originals / ".answers").glob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revised_prompt": "\udfff brain"}))
    (originals / "record.json").unlink()
    assert run(tmp_path / "out", config(server)).rows[0]["revised_prompt"] == "\\udfff brain"
    assert len(server.asked) == 1


def test_a_download_is_repeated_and_an_order_is_not(tmp_path, server):
    """An address that answers 403 is tried in later runs, which order nothing and need no money, until it opens."""
    server.always, server.fetching = fault_server.by_address, fault_server.forbidden
    for _ in range(2):
        fails(tmp_path / "out", config(server, budget=1.0), r"HTTP 403.*not ordered again unless you remove .*\.body")
    assert len(bodies(tmp_path / "out")) == 1
    server.fetching = None
    run(tmp_path / "out", config(server, budget=1.0))
    assert (len(server.asked), len(server.fetched)) == (1, 7)
    assert bodies(tmp_path / "out") == []
    assert set(server.keys) == {f"Bearer {fault_server.KEY}", ""}


def test_addresses_that_stay_shut_leave_the_other_images(tmp_path, server):
    """Images that cannot be fetched do not keep new ones from being ordered, run after run."""
    server.script, server.fetching = [fault_server.by_address] * 3, fault_server.forbidden
    fails(tmp_path / "out", config(server, n=6), "again and again")
    fails(tmp_path / "out", config(server, n=6), "3 of 6 images did not come")
    assert len(server.asked) == 6


UNREADABLE = {"wrong JSON": fault_server.wrong_json, "page": fault_server.a_page, "no image": fault_server.no_image}
UNREADABLE |= {"error": saying(200, {"error": {"message": "later"}}), "list": saying(200, [1]), "202": saying(202, {})}


@pytest.mark.parametrize("fault", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_kept_and_not_ordered_again(tmp_path, server, fault: Fault):
    """The body of every success lies on the disk; only who removes it orders anew, and both orders count."""
    sent: list[bytes] = []

    def remember(handler: fault_server.Handler) -> None:
        write = handler.wfile.write
        handler.wfile.write = lambda content: (sent.append(content), write(content))[1]  # type: ignore[method-assign]
        fault(handler)

    server.script = [remember]
    for _ in range(2):
        fails(tmp_path / "out", config(server), r"not ordered again unless you remove .*\.body")
    assert len(server.asked) == 1
    assert bodies(tmp_path / "out")[0].read_bytes().endswith(sent[-1])
    bodies(tmp_path / "out")[0].unlink()
    run(tmp_path / "out", config(server))
    assert spent(tmp_path / "out") == (2.0, {"image": 1, "unknown": 1})


@pytest.mark.parametrize("odd", [b"\xe9", b"\xed\xa0\x80", b"\x07\n"], ids=["latin-1", "surrogate", "control"])
def test_bytes_that_are_no_text_beside_an_image_do_no_harm(tmp_path, server, odd: bytes):
    """A revised prompt in no encoding at all: the image is read, at the first time."""

    def act(handler: fault_server.Handler) -> None:
        content = base64.b64encode(fault_server.picture(1))
        handler.send(200, b'{"data": [{"b64_json": "' + content + b'", "revised_prompt": "br' + odd + b'in"}]}')

    server.always = act
    images = run(tmp_path / "out", config(server))
    assert (tmp_path / images.rows[0].source).read_bytes() == fault_server.picture(1)
    assert str(images.rows[0]["revised_prompt"]).startswith("br")


def test_a_429_is_asked_again_at_no_cost(tmp_path, server):
    """Of a model that costs money too: nothing was made."""
    server.script = [saying(429, {"error": {"message": "slow down"}}, Retry_After="0.01")] * 2
    run(tmp_path / "out", config(server))
    assert spent(tmp_path / "out") == (1.0, {"error": 2, "image": 1})


def test_a_connection_cut_behind_the_image_has_brought_it(tmp_path, server):
    """Where all of an answer came and a promised rest did not, the image is kept."""

    def longer(handler: fault_server.Handler) -> None:
        send = handler.send_header

        def nine_more(keyword: str, value: str) -> None:
            send(keyword, str(int(value) + 9) if keyword == "Content-Length" else value)

        handler.send_header = nine_more
        fault_server.image(handler)
        handler.close_connection = True

    server.always = longer
    assert len(run(tmp_path / "out", config(server))) == 1


def error(status: int, **fields: Any) -> Fault:
    return saying(status, {"error": fields})


FILTERED, INNER = "content_filter", {"code": "ResponsibleAIPolicyViolation"}
AZURE = INNER | {"content_filter_results": {"violence": {"filtered": True}}}
POLICY, ZHIPU = "content_policy_violation", {"contentFilter": [{"role": "user", "level": 1}], "error": {"code": "1301"}}
REFUSALS: dict[str, tuple[Fault, str, float]] = {
    "moderation_blocked": (fault_server.refuse, "moderation_blocked", 0.0),
    "policy": (fault_server.refuse_by_policy, POLICY, 0.0),
    "contentFilter": (error(400, code="contentFilter", message="m"), "contentFilter", 1.0),
    "content_filter": (error(400, code=FILTERED, innererror=INNER), FILTERED, 1.0),
    "inner error": (error(400, code=POLICY, message="rejected", inner_error=AZURE), POLICY, 1.0),
    "only inner": (error(400, code="400", innererror=INNER), "ResponsibleAIPolicyViolation", 1.0),
    "Zhipu": (saying(400, ZHIPU), "contentFilter", 1.0),
    "422": (error(422, code="content_moderation", message="m"), "content_moderation", 1.0),
    "403": (error(403, code=POLICY), POLICY, 0.0),
    "words": (error(400, code=None, message="Rejected by our safety system."), "refused", 1.0),
    "text": (saying(400, {"error": "prompt violates the content policy"}), "refused", 1.0),
    "null": (saying(200, None), "no_image", 1.0),
    "data null": (saying(200, {"created": 1, "data": None}), "no_image", 1.0),
    "data empty": (saying(200, {"data": []}), "no_image", 1.0),
    "item null": (saying(200, {"data": [None]}), "no_image", 1.0),
    "image null": (saying(200, {"data": [{"b64_json": None, "url": None}]}), "no_image", 1.0),
    "reason": (saying(200, {"data": [{"b64_json": "", "finish_reason": "CONTENT_FILTERED"}]}), "CONTENT_FILTERED", 1.0),
}


@pytest.mark.parametrize(("fault", "code", "cost"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_counted_in_the_words_of_any_service(tmp_path, server, fault: Fault, code: str, cost: float):
    """It ends no run, is asked once in all, is listed by its code, and costs an image where it may be charged."""
    server.script = [fault]
    images = run(tmp_path / "out", config(server, n=3))
    assert len(images) == 2
    assert images.record["inputs"][0]["record"]["results"]["refused"] == {code: 1}
    kind = "refused_paid" if cost else "refused"
    assert spent(tmp_path / "out") == (2.0 + cost, {"image": 2, kind: 1})
    (tmp_path / "out").rename(tmp_path / "gone")
    run(tmp_path / "out", config(server, n=3))
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "message",
    ["Invalid value: 'lo'. Supported values for moderation are: low, auto.", "size is not supported", "too long"],
)
def test_a_wrong_request_is_no_refusal(tmp_path, server, message: str):
    """A 400 about a setting ends the run at its first request."""
    error = {"code": "invalid_value", "message": message, "param": "moderation", "type": "invalid_request_error"}
    server.always = saying(400, {"error": error})
    fails(tmp_path / "out", config(server, n=3), r"HTTP 400 invalid_value")
    assert len(server.asked) == 1


def test_refusals_that_may_be_paid_keep_to_the_limits(tmp_path, server):
    """Refusals for money count as images and as money; those for nothing as neither."""
    server.always = REFUSALS["data null"][0]
    with pytest.raises(BudgetSpent, match="3 of 3 images asked for, 3 requests refused"):
        imagine(tmp_path / "out", config(server, n=9, budget=None, max_images=3), show=False)
    assert len(server.asked) == 3
    server.always = fault_server.refuse
    fails(tmp_path / "free", config(server, n=9, budget=1.0), "all 9 requests were refused")


def test_more_images_after_refusals_are_counted_from_them(tmp_path, server, capsys, monkeypatch):
    """-n 8 after 6 were refused: the question says so, the last line counts 6 of 8, and two requests are sent."""
    server.script = [fault_server.refuse] * 6
    questions: list[str] = []
    limits = {"budget": None, "max_images": None}
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("COLUMNS", "150")
    fails(tmp_path / "out", config(server, n=6, **limits), "all 6 requests were refused", confirm=lambda question: True)
    imagine(tmp_path / "out", config(server, n=8, **limits), confirm=lambda question: not questions.append(question))
    assert "2 images of dear" in questions[0]
    assert "before: 0 images asked for, 6 requests refused, cost 0. Ask" in questions[0]
    said, shown = capsys.readouterr()
    assert "8/8" in shown
    assert "6 refused, cost 2 USD" in shown
    assert "refused: 6 of 8 requests (moderation_blocked 6)" in said
    assert len(server.asked) == 8


def test_a_price_of_nothing_cannot_stand_beside_prices_of_tokens(server):
    """`image` is what the budget reckons with: 0 with tokens that cost something would be no limit."""
    with pytest.raises(ConfigError, match="image is the most that one image costs"):
        config(server, prices={"dear": {"image": 0, "output_tokens": 30.0}})


def test_no_promise_is_broken_by_a_service_that_misbehaves_at_random(tmp_path):
    """250 orders of runs that are killed and given new budgets: charges within them, nothing paid lost or repeated."""
    tally = imagine_faults.attack(tmp_path, 250, seed=11)
    assert tally.orders >= 250
    assert tally.charged <= tally.booked + 1e-6
    assert tally.images > 100
    assert min(tally.killed, tally.faults["500"], tally.faults["data null"], tally.faults["address refused"]) > 0
