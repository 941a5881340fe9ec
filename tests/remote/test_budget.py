"""What imagine may spend: asked before the first request, and passed by no request, run or crash."""

from __future__ import annotations

import json
import os
import pty
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.errors import ConfigError
from phonybrains.remote.config import ImagineConfig, Price
from phonybrains.remote.fetching import cost_of
from phonybrains.remote.ledger import BudgetSpent, Ledger
from phonybrains.remote.service import Reply
from phonybrains.workflows.imagine import imagine
from tests.support import fault_server
from tests.support.fault_server import FaultServer
from tests.support.imagining import asking, fails, run
from tests.support.in_turn import called

PRICES = {"dear": {"image": 0.25}}
TOKENS = {"dear": {"image": 0.25, "input_tokens": 5.0, "output_tokens": 30.0}}


def config(server: FaultServer, n: int = 8, **given: Any) -> ImagineConfig:
    return asking(server, **{"n": n, "model": "dear", "prices": PRICES} | given)


def test_nothing_is_spent_without_leave(tmp_path, server):
    """Without a limit and without somebody to ask, no request is sent; the error names what it would cost."""
    fails(tmp_path / "out", config(server), r"at most 8 × 0.25 = 2.00 USD: nobody is here", ConfigError)
    fails(tmp_path / "out", config(server), "nothing was asked for", ConfigError, confirm=lambda question: False)
    assert server.asked == []


def test_an_unknown_price_is_asked_about_and_cannot_be_a_budget(tmp_path, server):
    """Another machine's model without a price: its cost is unknown, so only images can be limited."""
    settings = config(server, model="new", base_url="https://images.example.org/v1")
    fails(tmp_path / "out", settings, "at a price that is not known", ConfigError)
    fails(tmp_path / "out", settings.model_copy(update={"budget": 5.0}), "--budget needs a price of new", ConfigError)


def test_a_yes_is_for_what_was_shown(tmp_path, server):
    """The question tells images and money, and a yes allows these images and none in doubt beyond."""
    questions: list[str] = []
    server.script = [fault_server.cut]
    with pytest.raises(BudgetSpent, match=r"8 of 8 images asked for, 1 of them without an answer, cost 2."):
        run(tmp_path / "out", config(server), confirm=lambda question: not questions.append(question))
    assert questions == [f"8 images of dear at {server.address}, at most 8 × 0.25 = 2.00 USD. Ask for them?"]
    assert len(server.asked) == 8
    assert len(run(tmp_path / "out", config(server), confirm=lambda question: not questions.append(question))) == 8
    assert "1 image of dear" in questions[1]
    assert "before: 8 images asked for, 1 of them without an answer, cost 2." in questions[1]


@pytest.mark.parametrize("limit", [{"max_images": 5}, {"budget": 1.3}], ids=["images", "money"])
def test_the_limit_is_kept_and_raised(tmp_path, server, limit: dict[str, Any]):
    """Five images of 0.25 come within either limit, whatever runs side by side; a higher one brings the rest."""
    for _ in range(2):
        fails(tmp_path / "out", config(server, concurrency=8, **limit), r"Raise --budget|goes on", BudgetSpent)
        assert len(server.asked) == 5
    assert not (tmp_path / "out").exists()
    assert len(run(tmp_path / "out", config(server, budget=2.0))) == 8
    assert len(server.asked) == 8


def test_what_may_have_been_paid_counts(tmp_path, server):
    """If every connection is cut, no more requests are sent than images are allowed, over all runs."""
    server.always = fault_server.cut
    for _ in range(2):
        fails(tmp_path / "out", config(server, max_images=3, concurrency=2), "")
    assert len(server.asked) == 3


def test_refusals_and_errors_leave_the_budget_alone(tmp_path, server):
    """A refusal and a 429 cost nothing: the images that were allowed still come."""
    server.script = [fault_server.refuse, fault_server.too_many]
    images = run(tmp_path / "out", config(server, n=4, budget=0.75, concurrency=1))
    assert len(images) == 3
    assert sum(row["cost"] for row in images.rows) == 0.75


def test_cost_is_told_by_the_tokens(tmp_path, server):
    """1200 tokens of output at 30 and 40 of input at 5 for a million cost 0.0362; the reserve is given back."""
    server.usage = {"input_tokens": 40, "output_tokens": 1200}
    images = run(tmp_path / "out", config(server, n=6, budget=0.5, prices=TOKENS))
    assert {row["cost"] for row in images.rows} == {0.0362}
    results = images.record["inputs"][0]["record"]["results"]
    assert results["cost"] == pytest.approx(6 * 0.0362)
    assert results["currency"] == "USD"


def test_an_answer_without_usage_costs_the_price_of_an_image():
    """Where tokens are priced but not counted, or counted as nonsense, the most is assumed."""
    price = Price(image=0.25, output_tokens=30.0, input_tokens=5.0)
    nonsense: list[Any] = [None, "many", 0, 1, -1000, True, 1200.5, float("nan"), float("inf"), 10**9, [1200], {}]
    for usage in ({}, *({"output_tokens": odd} for odd in nonsense)):
        assert cost_of(Reply(image=b"x", usage=usage), price) == 0.25
    for odd in (-1, -(10**9), "few", None, 10**9, float("nan")):
        assert cost_of(Reply(image=b"x", usage={"output_tokens": 1000, "input_tokens": odd}), price) == 0.25
    assert cost_of(Reply(image=b"x", usage={"output_tokens": 1000}), price) == pytest.approx(0.03)
    assert cost_of(Reply(code="moderation_blocked"), price) == 0


def test_a_table_that_is_too_cheap_is_believed_once(tmp_path, server):
    """An image that cost more than the table's most makes the next requests reckon with what it cost."""
    server.usage = {"output_tokens": 20_000}
    fails(tmp_path / "out", config(server, budget=1.0, prices=TOKENS, concurrency=1), r"cost 0.6 of 1", BudgetSpent)
    assert len(server.asked) == 1


def test_no_schedule_of_threads_passes_the_budget(tmp_path):
    """Sixteen threads with random ends and costs: what is spent and under way never exceeds either limit."""
    ledger = Ledger(tmp_path / "ledger.jsonl", price=1.0, max_images=60, budget=40.0)
    worst: list[float] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        while True:
            try:
                ticket = ledger.reserve("request")
            except BudgetSpent:
                return
            worst.append(ledger.cost + sum(ledger._open.values()))
            end = ("image", "unknown", "error", "refused")[rng.integers(4)]
            ledger.settle(ticket, end, rng.uniform(0.2, 1.0) if end == "image" else 0.0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) <= 40.0 + 1e-9
    assert ledger.images <= 60
    assert ledger.images == 60 or ledger.cost > 39.0
    again = Ledger(tmp_path / "ledger.jsonl", price=1.0)
    assert (again.images, again.unknown, again.outcomes) == (ledger.images, ledger.unknown, ledger.outcomes)
    assert again.cost == pytest.approx(ledger.cost)


def test_a_torn_journal_still_counts(tmp_path):
    """A last line that a power cut tore is left behind, and what was open before it counts as paid."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, price=0.5)
    ledger.settle(ledger.reserve("a"), "image", 0.4)
    ledger.reserve("b")
    with path.open("a") as file:
        file.write('{"what": "settled", "num')
    again = Ledger(path, price=0.5)
    again.close_stopped({})
    assert (again.images, again.unknown, again.cost) == (2, 1, pytest.approx(0.9))
    again.settle(again.reserve("c"), "image", 0.1)
    whole = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert whole[-1].items() >= {"what": "settled", "number": 3, "outcome": "image", "cost": 0.1}.items()
    assert Ledger(path, price=0.5).cost == pytest.approx(1.0)


def test_an_answer_that_was_kept_before_the_crash_costs_what_it_cost(tmp_path):
    """A request that the journal left open, but whose answer is there, counts at its cost and not in doubt."""
    ledger = Ledger(tmp_path / "ledger.jsonl", price=0.5)
    ledger.reserve("a")
    again = Ledger(tmp_path / "ledger.jsonl", price=0.5)
    again.close_stopped({1: 0.1})
    assert (again.images, again.unknown, again.cost) == (1, 0, 0.1)


@pytest.mark.parametrize(("typed", "images"), [(b"y\n", 2), (b"n\n", 0)])
def test_at_a_terminal_the_command_asks(tmp_path, server, capsys, monkeypatch, typed: bytes, images: int):
    """With a terminal the question is shown, y asks the service, n asks for nothing and exits with 1."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    settings = tmp_path / "service.toml"
    settings.write_text(f'model = "dear"\nbase_url = "{server.address}"\n[prices.dear]\nimage = 0.25\n')
    keyboard, terminal = pty.openpty()
    os.write(keyboard, typed)
    command = ("imagine", "--preset", "paper", "-n", "2", "--out", tmp_path / "out", "--config", settings)
    with os.fdopen(terminal) as stdin:
        code = called(*command, stdin=stdin)
    assert "at most 2 × 0.25 = 0.50 USD. Ask for them?" in capsys.readouterr().err.replace("\n", " ")
    assert len(server.asked) == images
    assert code == (0 if images else 1)


def test_without_a_terminal_the_command_asks_for_nothing(tmp_path, server, capsys):
    """Where nobody can say yes: exit code 1, no request, and the limits that would help are named."""
    command = ("imagine", "--preset", "paper", "-n", "2", "--out", tmp_path / "out", "--base-url", server.address)
    with Path(os.devnull).open() as nobody:
        assert called(*command, stdin=nobody) == 1
    assert "Set a limit with --budget or --max-images" in capsys.readouterr().err
    assert server.asked == []


def test_a_price_that_was_corrected_counts_from_then_on(tmp_path):
    """Images that were paid at a price too high do not keep it for the next ones."""
    ledger = Ledger(tmp_path / "ledger.jsonl", price=0.25)
    ledger.settle(ledger.reserve("a"), "image", 0.25)
    assert Ledger(tmp_path / "ledger.jsonl", price=0.04).price == 0.04


def test_what_is_missing_is_said_before_anybody_is_asked(tmp_path, server, monkeypatch):
    """Without the openai package, or without a key, the question about money does not come up."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'phonybrains\[remote\]'"):
        imagine(tmp_path / "out", config(server), confirm=lambda question: pytest.fail(question), show=False)
    monkeypatch.delenv("OPENAI_API_KEY")
    settings = config(server, base_url="https://images.example.org/v1")
    fails(tmp_path / "out", settings, "OPENAI_API_KEY", ConfigError, confirm=lambda question: pytest.fail(question))
