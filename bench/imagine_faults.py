"""What `phonybrains imagine` pays and keeps when a service goes wrong at random: real HTTP, real runs, kill -9.

Each campaign is one --out, run again and again with a budget that is raised by chance, until all is there. The service
charges for whatever it may have charged, and notes what it sent whole. Raises AssertionError where a promise is broken:
charges stay within the budget; every image that was sent whole is on the disk; nothing that was is ordered again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .faulty_service import INPUT, KEY, OUTPUT, PRICE, Service, serving
from .options import measurement


def settings(service: Service, n: int, **given: Any) -> dict[str, Any]:
    price = {"image": PRICE, "input_tokens": INPUT, "output_tokens": OUTPUT}
    asked = {"n": n, "base_url": service.address, "model": "dear", "prices": {"dear": price}}
    return asked | {"send_seed": True, "budget": service.budget, "retries": 3} | given


def work(folder: Path, run: int, given: dict[str, Any]) -> None:
    """One run, in a process of its own: 0 when all is there, 1 for an error with a line, anything else is a fault."""
    from phonybrains.errors import PhonyBrainsError
    from phonybrains.remote import fetching
    from phonybrains.remote.config import load_imagine_config
    from phonybrains.remote.stage import ask_service

    os.environ |= {"OPENAI_API_KEY": KEY, "OPENAI_CUSTOM_HEADERS": f"X-Run: {run}"}
    fetching.FIRST_DELAY_S = 0.01
    try:
        ask_service(folder, load_imagine_config("paper", **given), show=False)
    except PhonyBrainsError as error:
        (folder.parent / "said.txt").write_text(str(error), encoding="utf-8")
        sys.exit(1)


def open_requests(folder: Path) -> set[str]:
    """Names of the requests that a journal says are sent and not settled."""
    path = folder / ".answers" / "ledger.jsonl"
    found: dict[int, str] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["what"] == "sent":
            found[entry["number"]] = entry["request"]
        else:
            found.pop(entry["number"], None)
    return set(found.values())


@dataclass
class Tally:
    """What came of some campaigns."""

    campaigns: int = 0
    runs: int = 0
    killed: int = 0
    orders: int = 0
    charged: float = 0.0
    booked: float = 0.0
    images: int = 0
    unread: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def campaign(folder: Path, seed: int, tally: Tally) -> None:
    """Run one command again and again until all is there. Raises AssertionError where a promise is broken."""
    rng = random.Random(seed)
    n, concurrency = rng.randint(10, 150), rng.choice([1, 2, 4, 8])
    with serving(seed) as service:
        service.budget = rng.uniform(0, n * PRICE)
        for run in range(1, 200):
            service.budget += rng.choice([0.0, rng.uniform(0, n * PRICE / 2)])
            service.behaves = run > 12
            if service.behaves:
                service.budget += n * PRICE
            hangs = not service.behaves and rng.random() < 0.02
            if hangs:
                service.hangs.add(run)
            given = settings(service, n, concurrency=concurrency, timeout_s=0.3 if hangs else 240.0)
            patience = rng.uniform(0.1, 1.5) if rng.random() < 0.3 and not service.behaves else None
            code = run_once(folder, run, given, patience)
            assert code in (0, 1, -signal.SIGKILL), f"run {run} of campaign {seed} ended with {code}"
            if code < 0:
                tally.killed += 1
                service.lost |= {(order, run) for order in under_way(folder, given)}
            tally.runs += 1
            if code == 0 or (service.behaves and code == 1):
                break
        check(folder, service, tally)
        tally.campaigns += 1
        tally.orders += service.orders
        tally.charged += service.charged
        tally.faults += service.faults


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["openai.resources.images", "httpcore2", "PIL.PngImagePlugin", "phonybrains.remote.stage"]
)


def run_once(folder: Path, run: int, given: dict[str, Any], patience: float | None) -> int:
    """The exit code of a run; of one that was killed, after so many seconds, that of the signal."""
    process = CONTEXT.Process(target=work, args=(folder, run, given))
    process.start()
    process.join(patience)
    if process.is_alive():
        process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def under_way(folder: Path, given: dict[str, Any]) -> set[int]:
    """Seeds of the requests that a killed run had sent, and of which nothing had come."""
    from phonybrains.remote.config import load_imagine_config
    from phonybrains.remote.stage import tasks_of

    names = open_requests(folder)
    answers = folder / ".answers"
    kept = {path.stem for kind in ("body", "json") for path in answers.glob(f"*.{kind}")}
    tasks = tasks_of(load_imagine_config("paper", **given))
    return {task.parameters["seed"] for task in tasks if task.key in names - kept}


def check(folder: Path, service: Service, tally: Tally) -> None:
    """Raise AssertionError where a promise was broken."""
    from phonybrains.remote.ledger import Ledger

    assert not service.broken, service.broken[0]
    answers = folder / ".answers"
    images = {hashlib.sha256(path.read_bytes()).hexdigest() for path in answers.glob("*.image")}
    whole = {order: digest for order, digest in service.sent.items() if digest and order not in service.lost}
    gone = [order for order, digest in whole.items() if digest not in images]
    assert not gone, f"images that were paid for and sent whole are lost: {gone}"
    ledger = Ledger(answers / "ledger.jsonl", price=PRICE)
    ledger.close_stopped({})
    assert ledger.cost >= service.charged - 1e-6, f"booked {ledger.cost}, charged {service.charged}"
    held = [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert not held, f"the key is in {held}"
    tally.booked += ledger.cost
    tally.images += len(images)
    tally.unread += len(list(answers.glob("*.body")))


def attack(folder: Path, requests: int, seed: int) -> Tally:
    """Campaigns until so many requests were ordered."""
    tally = Tally()
    while tally.orders < requests:
        campaign(folder / str(tally.campaigns) / "out", seed * 100_000 + tally.campaigns, tally)
    return tally


app = measurement(__name__, __doc__)


@app.default
def main(*, requests: int = 10_000, seed: int = 0) -> None:
    """Run campaigns.

    Args:
        requests: Orders of all campaigns together.
        seed: Start of the random numbers.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = attack(Path(folder), requests, seed)
    print(
        f"{tally.orders} orders in {tally.runs} runs ({tally.killed} killed) of {tally.campaigns} commands, "
        f"{time.monotonic() - start:.0f} s: {tally.images} images kept, {tally.unread} answers not readable; "
        f"charged {tally.charged:.2f}, booked {tally.booked:.2f}; no promise broken."
    )
    print(", ".join(f"{name} {count}" for name, count in tally.faults.most_common()))
