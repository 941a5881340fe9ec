"""`phonybrains serve` as it starts and stops: locked, crowded, stopped by signals, in the way of another."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from phonybrains.errors import ConfigError, ModelError
from phonybrains.serving.app import make_app
from phonybrains.serving.serve import made_at, open_context, serve_model
from tests.support.served_model import ServedModel, address_in, serving
from tests.support.web_server import until

pytest.importorskip("openai")

HELD = """
import os, sys, time
from pathlib import Path
from phonybrains.cli import app
from phonybrains.serving import batcher, serve
gate = Path(sys.argv[2])
sys.argv = ["phonybrains", "serve", sys.argv[1], "--port", "0"]
make_batch = batcher.make_batch
def held(*given):
    while not gate.exists():
        time.sleep(0.01)
    yield from make_batch(*given)
batcher.make_batch = held
for _ in range(2):
    child = os.fork()
    if not child:
        app.main()
    print("child", child, flush=True)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""
"""Two servers, one after the other, that make no image until a file is there."""


def test_a_token_is_asked_for(tiny_model: Path):
    """Nothing is made or told without it; the page is there, and asks for it; the link on the terminal has it."""
    import openai

    with serving(tiny_model, token="pälme 7") as locked:
        assert "/#token=p%C3%A4lme%207" in "".join(locked.said)
        with pytest.raises(openai.AuthenticationError, match="asks for its token"):
            locked.client("wrong").models.list()
        assert locked.ask({"prompt": "CT"})[0] == 401
        assert "Token of this server" in locked.get("/").decode()
        status, answer, _ = locked.ask({"prompt": "CT", "steps": 1}, Authorization="Bearer p\u00e4lme 7")
        assert (status, len(answer["data"])) == (200, 1)


def test_a_full_queue_says_when_to_ask_again(tiny_model: Path):
    """429 with Retry-After; OpenAI's client, which heeds it, gets its images in the end.

    Steps × images over the budget are refused at once, by a 413 with the limit in its message.
    """
    with serving(tiny_model, queue=4, budget=40) as small, ThreadPoolExecutor(2) as pool:
        steps = json.loads(small.get("/v1/models"))["data"][0]["steps"]
        status, content, _ = small.ask({"prompt": "CT", "n": 21, "steps": 2 * steps})
        assert (status, content["error"]["code"]) == (413, "work_limit_exceeded")
        assert "the work of 42 images" in content["error"]["message"]
        assert "may ask for that of 40." in content["error"]["message"]
        body = {"prompt": "CT", "n": 10, "seed": 1, "steps": 4 * steps}
        busy = pool.submit(small.ask, body)
        until(lambda: small.waiting() > 0)
        status, content, headers = small.ask(body)
        assert (status, content["error"]["type"]) == (429, "rate_limit_error")
        assert int(headers["retry-after"]) >= 1
        patient = small.client(max_retries=30)
        assert len(patient.images.generate(prompt="MRI", n=1, extra_body={"steps": 1}).data) == 1
        assert busy.result()[0] == 200


def test_it_stops_cleanly(tiny_model: Path, tmp_path: Path):
    """At SIGTERM and SIGINT what is under way is finished, what waits is told, nothing is printed, the status is 0."""
    gate, body = tmp_path / "gate", {"prompt": "CT", "n": 4, "steps": 2}
    command = [sys.executable, "-c", HELD, str(tiny_model), str(gate)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes) as nursery:
        assert nursery.stdout
        assert nursery.stderr
        for how in (signal.SIGTERM, signal.SIGINT):
            said: list[str] = []
            while not said or not said[-1].startswith("Serving"):
                said.append(nursery.stdout.readline())
                assert said[-1], nursery.stderr.read()
            served, child = ServedModel(address_in(said), said), int(said[0].removeprefix("child "))
            with ThreadPoolExecutor(4) as pool:
                asked = [pool.submit(served.ask, body) for _ in range(4)]
                until(lambda served=served: served.waiting() == 12)
                os.kill(child, how)
                until(lambda asked=asked: sum(one.done() for one in asked) == 3)
                gate.touch()
            assert sorted(one.result()[0] for one in asked) == [200, 503, 503, 503]
            assert nursery.stdout.readline() == "ended 0\n"
            gate.unlink()
        assert nursery.stderr.read() == ""


def test_a_taken_port_and_a_wrong_model_are_explained(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In one line, before the model is loaded; an open door is warned of."""
    with serving(tiny_model, host="0.0.0.0") as wide:
        assert "WARNING: 0.0.0.0 can be reached from other machines" in wide.said[0]
        assert "--token" in wide.said[0]
    monkeypatch.setattr("phonybrains.serving.serve.open_context", None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            serve_model(tiny_model, port=port)
    assert str(refused.value) == f"port {port} of 127.0.0.1 is in use. Give another --port, or stop what uses it."
    with pytest.raises(ModelError, match="is not a model folder"):
        serve_model(tmp_path / "none")


def test_a_fault_is_told_without_its_insides(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    """An error that nobody foresaw is a 500 in OpenAI's format that names the request, and nothing else."""
    context = open_context(tiny_model, "", 10)

    async def fail(*_: object) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(context.batcher, "generate", fail)
    client = TestClient(make_app(context, local=False), raise_server_exceptions=False)
    response = client.post("/v1/images/generations", json={"prompt": "CT"})
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in response.text


@pytest.mark.parametrize(
    ("record", "seconds"),
    [({"created": "1970-01-01T00:01:00+00:00"}, 60), ({}, 0), ({"created": "soon"}, 0), ({"created": 5}, 0)],
)
def test_a_record_that_tells_no_time_is_no_fault(monkeypatch: pytest.MonkeyPatch, record: dict, seconds: int):
    """A model whose record has no time, or none that can be, is served as one of 1970."""
    monkeypatch.setattr("phonybrains.serving.serve.read_record", lambda _: record)
    assert made_at(Path()) == seconds
