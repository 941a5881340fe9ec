"""How long an answer takes when many readers read at once, and whether one is lost.

    python -m bench study_load [--readers 100] [--answers 20] [--think 2] [--size 256] [--database postgresql://…]

A real server in a process of its own; each reader is a script with a connection of its own that fetches the state and
the image, saves a draft, thinks (exponentially distributed, `--think` seconds on average) and answers. With --think 0
every reader answers as fast as the server does: a closed loop, in which the time of an answer is that of all others.
The time of an answer runs from the first byte sent to the last byte received; the server has committed it to the disk.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclopts import Parameter

from .options import measurement
from .timing import answer_times, children_cpu_s, serving

SERVER = "import sys; from pathlib import Path; from phonybrains.readerstudy.web.serve import serve_study; serve_study(Path(sys.argv[1]), port=0, database=sys.argv[2] or None)"  # noqa: E501


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """Who reads what, and how fast."""

    readers: int = 100
    answers: int = 20
    """Of each reader."""
    think: float = 2.0
    """Mean seconds between seeing an image and answering."""
    size: int = 256
    """Side of an image in pixels."""
    database: str = ""
    """PostgreSQL instead of SQLite."""


@dataclass
class Connection:
    """One reader's connection and cookies."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str
    cookie: str = ""
    csrf: str = ""

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        """Send a request; status and body of the response."""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}"]
        head += [f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
        head += [f"Cookie: {self.cookie}"] * bool(self.cookie) + [f"X-CSRF-Token: {self.csrf}"] * bool(self.csrf)
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        for line in lines:
            if line.lower().startswith("set-cookie:"):
                self.cookie = line.split(": ", 1)[1].split(";")[0]
        return int(lines[0].split()[1]), await self.reader.readexactly(int(headers.get("content-length", 0)))


@dataclass
class Result:
    """What the readers saw."""

    seconds: list[float] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)


async def join(host: str, port: int, path: str) -> Connection:
    """Redeem an invitation."""
    connection = Connection(*await asyncio.open_connection(host, port), f"{host}:{port}")
    _, page = await connection.ask("GET", path)
    csrf = re.search(rb'name="csrf" value="(\w+)"', page)
    assert csrf
    form = b"csrf=" + csrf[1]
    status, _ = await connection.ask("POST", path, form, "application/x-www-form-urlencoded")
    assert status == 303, status
    _, page = await connection.ask("GET", "/read")
    token = re.search(rb'data-csrf="(\w+)"', page)
    assert token
    connection.csrf = token[1].decode()
    return connection


async def read(connection: Connection, answers: int, think: float, rng: random.Random, result: Result) -> None:
    """Read as the viewer does."""
    await asyncio.sleep(rng.random() * think)
    _, body = await connection.ask("GET", "/api/state")
    state: dict[str, Any] = json.loads(body)
    for _ in range(answers):
        if state["current"] is None:
            break
        path = f"/api/presentations/{state['current']['id']}"
        status, image = await connection.ask("GET", f"{path}/image")
        assert status == 200, image
        said = {"call": rng.choice(["real", "phony", "unclear"]), "confidence": rng.randrange(101), "marks": []}
        said |= {"description": "looks smooth near the ventricles", "seconds": think, "revision": 1}
        await asyncio.sleep(rng.expovariate(1 / think) if think else 0)
        await connection.ask("PUT", f"{path}/draft", json.dumps(said).encode())
        start = time.perf_counter()
        status, body = await connection.ask("POST", f"{path}/answer", json.dumps(said).encode())
        result.seconds.append(time.perf_counter() - start)
        if status != 200:
            result.refused.append(status)
            break
        result.acknowledged.add(state["current"]["id"])
        state = json.loads(body)["next_state"]


async def drive(links: list[str], arguments: Options) -> tuple[Result, float]:
    result, (host, port) = Result(), re.findall(r"//([\d.]+):(\d+)/", links[0])[0]
    paths = [re.sub(r"^http://[^/]+", "", link) for link in links]
    connections = [await join(host, int(port), path) for path in paths]
    start = time.perf_counter()
    readers = (
        read(connection, arguments.answers, arguments.think, random.Random(number), result)
        for number, connection in enumerate(connections)
    )
    await asyncio.gather(*readers)
    return result, time.perf_counter() - start


def make_study(folder: Path, readers: int, size: int) -> Path:
    """A study of phantoms with so many readers."""
    from phonybrains.phantom.corpus import make_phantoms
    from phonybrains.readerstudy.config import StudyConfig
    from phonybrains.readerstudy.design.stage import design_study

    synthetic = make_phantoms(120, folder / "synthetic", seed=2, size=size)
    real = make_phantoms(120, folder / "real", seed=1, size=size, slices_per_patient=2, synthetic=False)
    names = tuple(f"reader {number}" for number in range(1, readers + 1))
    config = StudyConfig(readers=names, split="any", seed=1, match=())
    return design_study([synthetic], real, folder / "study", config, show=False)


app = measurement(__name__, __doc__)


@app.default
def main(arguments: Options = Options()) -> None:
    """Read, and count the answers."""
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), arguments.readers, arguments.size)
        command = [sys.executable, "-c", SERVER, str(study), arguments.database]
        with serving(command) as said:
            links = re.findall(r"http://\S+/join/\S+", "".join(said))
            result, seconds = asyncio.run(drive(links, arguments))
        report(study, result, seconds, arguments)
        print(f"the server used {children_cpu_s():.1f} s of a processor, its start among them")


def report(study: Path, result: Result, seconds: float, arguments: Options) -> None:
    from sqlalchemy import select

    from phonybrains.readerstudy.store import open_store
    from phonybrains.readerstudy.store.tables import answer
    from phonybrains.readerstudy.study import Study

    with open_store(Study.open(study), arguments.database or None, read_only=True) as store:
        stored = store.read(lambda connection: list(connection.scalars(select(answer.c.presentation_id))))
        store.verify_audit()
    count = len(result.seconds)
    print(
        f"{arguments.readers} readers, mean think time {arguments.think} s, images {arguments.size}²: "
        f"{count} answers in {seconds:.1f} s ({count / seconds:.0f}/s)"
    )
    print(answer_times(result.seconds))
    print(
        f"refused {len(result.refused)}, lost {len(result.acknowledged - set(stored))}, "
        f"double {len(stored) - len(set(stored))}, stored {len(stored)}; the audit log verifies"
    )
