"""`phonybrains serve` as a process: started, locked, crowded, stopped, in the way of another."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.served_model import ask, command, serving, start, waiting

pytest.importorskip("openai")


def test_a_token_is_asked_for(tiny_model: Path):
    """Nothing is painted or told without it; the page is there, and asks for it; the link on the terminal has it."""
    import openai

    with serving(tiny_model, "--token", "pälme 7") as locked:
        assert "/#token=p%C3%A4lme%207" in "".join(locked.said)
        with pytest.raises(openai.AuthenticationError, match="asks for its token"):
            locked.client("wrong").models.list()
        assert ask(locked, {"prompt": "CT"})[0] == 401
        with urllib.request.urlopen(locked.base + "/") as page:
            assert "Token of this server" in page.read().decode()
        status, answer, _ = ask(locked, {"prompt": "CT", "steps": 1}, headers={"Authorization": "Bearer p\u00e4lme 7"})
        assert (status, len(answer["data"])) == (200, 1)


def test_a_full_queue_says_when_to_ask_again(tiny_model: Path):
    """429 with Retry-After; OpenAI's client, which heeds it, gets its images in the end."""
    with serving(tiny_model, "--queue", "4", "--budget", "1000") as small:
        body = {"prompt": "CT", "n": 32, "seed": 1, "steps": 20}
        with ThreadPoolExecutor(2) as pool:
            busy = pool.submit(ask, small, body)
            while not waiting(small):
                assert not busy.done()
                time.sleep(0.01)
            status, content, headers = ask(small, body)
            assert (status, content["error"]["type"]) == (429, "rate_limit_error")
            assert int(headers["retry-after"]) >= 1
            patient = small.client(max_retries=30)
            assert len(patient.images.generate(prompt="MRI", n=1, extra_body={"steps": 1}).data) == 1
            assert busy.result()[0] == 200


def test_more_work_than_the_budget_is_a_413(tiny_model: Path):
    """Steps × images over the budget are refused at once, with the limit in the message; half of it is painted."""
    with serving(tiny_model, "--budget", "5") as served:
        steps = json.load(urllib.request.urlopen(f"{served.base}/v1/models"))["data"][0]["steps"]
        status, content, _ = ask(served, {"prompt": "CT", "n": 2, "steps": 3 * steps})
        assert (status, content["error"]["code"]) == (413, "work_limit_exceeded")
        assert "the work of 6 images" in content["error"]["message"]
        assert "may ask for that of 5." in content["error"]["message"]
        assert ask(served, {"prompt": "CT", "n": 1, "steps": 3 * steps})[0] == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly(tiny_model: Path, how: signal.Signals):
    """What is under way is finished, what waits is told, nothing is printed, the status is 0."""
    running = start(tiny_model)
    results: list[int] = []
    body = {"prompt": "CT", "n": 4, "steps": 300}
    threads = [threading.Thread(target=lambda: results.append(ask(running, body)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    while waiting(running) < 12:
        assert not results
        time.sleep(0.01)
    assert running.stop(how) == (0, "")
    for thread in threads:
        thread.join()
    assert sorted(results) == [200, 503, 503, 503]


def test_a_taken_port_and_a_wrong_model_are_explained(tiny_model: Path, tmp_path: Path):
    """In one line, before the model is loaded; an open door is warned of."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run = subprocess.run(command(tiny_model, "--port", port), capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == (
        f"phonybrains: port {port} of 127.0.0.1 is in use. Give another --port, or stop what uses it.\n"
    )
    run = subprocess.run(command(tmp_path / "none"), capture_output=True, text=True)
    assert run.returncode == 1
    assert "is not a model folder" in run.stderr
    with serving(tiny_model, "--host", "0.0.0.0") as wide:
        assert "WARNING: 0.0.0.0 can be reached from other machines" in wide.said[0]
        assert "--token" in wide.said[0]


def test_a_fault_is_told_without_its_insides(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    """An error that nobody foresaw is a 500 in OpenAI's format that names the request, and nothing else."""
    from starlette.testclient import TestClient

    from phonybrains.serving.app import make_app
    from phonybrains.serving.serve import open_gallery

    gallery = open_gallery(tiny_model, "", 10)

    async def fail(*_: object) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(gallery.painter, "paint", fail)
    client = TestClient(make_app(gallery, local=False), raise_server_exceptions=False)
    response = client.post("/v1/images/generations", json={"prompt": "CT"})
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in response.text
