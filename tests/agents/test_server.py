"""`phonybrains mcp`, started as agents start it and asked by the SDK's own client over standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent
from PIL import Image

from phonybrains.agents.command import run_command
from phonybrains.agents.root import Root
from phonybrains.cli.agents import mcp
from phonybrains.errors import ConfigError
from phonybrains.imageset import ImageSet
from tests.support.web_server import until


def ask(root: Path, talk: Callable[[Client], Awaitable[None]]) -> None:
    """Start the server over a folder and talk to it."""
    arguments = ["-m", "phonybrains", "mcp", "--root", str(root)]

    async def session() -> None:
        async with Client(
            StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
        ) as client:
            await talk(client)

    asyncio.run(session())


async def done(client: Client, tool: str, watch: Any = None, **given: Any) -> dict[str, Any]:
    """What a tool answers, which is its structured answer and the same as text."""
    answer = await client.call_tool(tool, given, progress_callback=watch)
    assert not answer.is_error, answer.content
    assert answer.structured_content == json.loads(text_of(answer))
    return json.loads(text_of(answer))


def text_of(answer: CallToolResult) -> str:
    (content,) = answer.content
    assert isinstance(content, TextContent)
    return content.text


def test_from_pictures_to_a_verdict(tmp_path: Path, phantom_corpus: Path, tiny_model: Path):
    """Pictures are imported, images generated, measured against the corpus and traced back, with short answers.

    While a long call works, the server tells how far it is, and answers others.
    """
    for name, folder in (("corpus", phantom_corpus), ("model", tiny_model)):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "scans").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "scans" / f"{number}.png")

    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["import", "generate", "evaluate", "verify"]
        assert tools["generate"].input_schema["properties"]["n"]["minimum"] == 1
        given = {"sources": ["scans"], "out": "imported", "modality": "MR", "size": 64}
        imported = await done(client, "import", **given)
        assert (imported["out"], imported["images"]) == ("./imported", 3)
        assert imported["said"][0] == "imported: 3 images"
        assert not any(letter in line for line in imported["said"] for letter in "│━\x1b")
        assert len(ImageSet.open(tmp_path / "imported")) == 3

        progress: list[tuple[float, float | None, str | None]] = []
        listed = []

        async def watch(*told: Any) -> None:
            progress.append(told)
            listed.append(len((await client.list_tools(cache_mode="bypass")).tools))

        order = {"model": "model", "n": 2, "steps": 2, "out": "samples", "where": {"modality": "CT"}, "seed": 3}
        assert (await done(client, "generate", watch, **order))["images"] == 2
        assert (2.0, 2.0, "generating") in progress
        assert set(listed) == {4}
        rows = ImageSet.open(tmp_path / "samples").rows
        assert [(row.modality, row.attributes["seed"]) for row in rows] == [("CT", 3)] * 2

        measured = await done(
            client, "evaluate", samples="samples", against="corpus", out="seen", only=["memorisation"]
        )
        assert (tmp_path / measured["report"]).is_file()
        scores, audit = (json.loads((tmp_path / "seen" / f"{name}.json").read_text()) for name in ("scores", "audit"))
        assert [line.partition(":")[0] for line in measured["glance"]] == [
            f"{one['question']} {one['answer']}" for one in scores["glance"]
        ]
        assert len(measured["glance"]) == 4
        assert measured["audit"] == audit["verdict"] == "undecided"

        picture = tmp_path / rows[0].file_name.replace("images", "samples/images")
        picture.write_bytes(picture.read_bytes()[:-20])
        after = await done(client, "verify", path="samples")
        assert after["verdict"] == "changed"
        assert "image" in [link["what"] for link in after["links"] if link["word"] == "changed"]

    ask(tmp_path, talk)


def test_what_is_refused_says_why_and_writes_nothing(tmp_path: Path, tiny_model: Path):
    """Paths out of the root, options in disguise and what the command line refuses are errors of the tool, in words."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "pictures").mkdir()
    order = {"model": "heads", "n": 1, "out": "new"}
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("generate", order | {"out": "../outside/new"}, "is not inside of the root"),
        ("generate", order | {"out": str(outside / "new")}, "is not inside of the root"),
        ("generate", order | {"out": "link/new"}, "is not inside of the root"),
        ("generate", order | {"model": str(tiny_model)}, "is not inside of the root"),
        ("generate", order | {"out": "a\0b"}, "cannot be a path"),
        ("generate", order | {"n": 0}, "greater than or equal to 1"),
        ("evaluate", {"samples": "a", "against": "b", "out": "c", "only": ["beauty"]}, "'bias' or 'utility'"),
        ("verify", {"path": "pictures", "near": [".."]}, "is not inside of the root"),
        ("import", {"sources": ["pictures"], "out": "new"}, "pictures"),
        ("generate", order | {"model": "pictures"}, "pictures"),
    ]

    async def talk(client: Client) -> None:
        for tool, given, why in refused:
            answer = await client.call_tool(tool, given)
            assert answer.is_error, (tool, given)
            assert why in text_of(answer)
            assert "Traceback" not in text_of(answer)

    ask(root, talk)
    assert [Root(root).inside(word) for word in ("--help", "dimse://pacs/A")] == ["./--help", "./dimse:/pacs/A"]
    assert sorted(path.name for path in root.iterdir()) == ["link", "new.import.csv", "pictures"]
    assert list(outside.iterdir()) == []


def test_a_root_that_is_not_there_and_a_missing_package_are_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The command line ends with a sentence before any agent is answered."""
    with pytest.raises(ConfigError, match=r"--root .*nowhere: there is no such folder"):
        mcp(root=tmp_path / "nowhere")
    monkeypatch.setattr("phonybrains.cli.agents.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'phonybrains\[mcp\]'"):
        mcp(root=tmp_path)


def test_who_no_longer_waits_stops_the_work(tmp_path: Path):
    """A call that is cancelled ends its command, and nothing half made has the name of a set."""

    def children() -> str:
        return "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))

    async def progress(*_: Any) -> None:
        """Nobody asks."""

    async def cancelled() -> None:
        before = children()
        work = asyncio.create_task(run_command(["phantom", "-n=9999", "--out=./many"], tmp_path, progress))
        await asyncio.to_thread(until, lambda: any(tmp_path.iterdir()))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await asyncio.to_thread(until, lambda: children() == before)

    asyncio.run(cancelled())
    assert not (tmp_path / "many").exists()
