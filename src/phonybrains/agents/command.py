"""A command of phonybrains in a process of its own: what it says, how far it is, and its end if nobody waits."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp.server.mcpserver.exceptions import ToolError

Progress = Callable[[float, float | None, str], Awaitable[None]]
WATCHED = {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "160"}
"""What makes the command draw its bars, though a pipe is no terminal."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BAR = re.compile(r"(?P<what>\S.*?)\s+[━╸╺]+\s+(?P<done>\d+)/(?P<total>\d+)\s")
TABLE = tuple("┏┃┡│└╭╰├")
ERROR = re.compile(r"^phonybrains: (.*)", re.MULTILINE | re.DOTALL)
CHUNK = 2**16


@dataclass(frozen=True)
class Finished:
    """What a command that came to its end said on standard output, and what it warned of on standard error."""

    out: str
    warnings: list[str]

    @property
    def lines(self) -> list[str]:
        """Sentences and warnings, each once, without the tables, which are for people."""
        said = (line.strip() for line in (*self.warnings, *_plain(self.out).splitlines()))
        return [line for line in dict.fromkeys(said) if line and not line.startswith(TABLE)]


async def run_command(words: Sequence[str], folder: Path, progress: Progress) -> Finished:
    """Run a command in a folder; progress is told of its bars: how much is done, of how much, of what.

    Raises ToolError with its own sentence where it fails. Whoever cancels the waiting stops it as Ctrl-C does, so that
    the same command goes on later.
    """
    program = (sys.executable, "-P", "-m", "phonybrains")  # -P: no module is taken from the folder
    environment = os.environ | WATCHED
    process = await asyncio.create_subprocess_exec(
        *program, *words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd=folder, env=environment
    )
    assert process.stdout
    assert process.stderr
    try:
        out, said = await asyncio.gather(process.stdout.read(), _follow(process.stderr, progress))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
    if error := ERROR.search(said):
        raise ToolError(error[1].strip())
    if code < 0 or "Traceback" in said:
        raise ToolError(f"{words[0]} broke off (exit code {code}): {said.strip().rpartition(chr(10))[2]}")
    return Finished(out.decode(errors="replace"), [line for line in said.splitlines() if line.startswith("WARNING")])


async def _follow(stream: asyncio.StreamReader, progress: Progress) -> str:
    """Read what a command says while it works, and tell of its bars; in the end the lines, without them."""
    said, told = bytearray(), None
    while chunk := await stream.read(CHUNK):
        said += chunk
        bars = BAR.findall(_plain(chunk.decode(errors="replace")))
        if bars and bars[-1] != told:
            told = what, done, total = bars[-1]
            await progress(float(done), float(total), what)
    return _plain(said.decode(errors="replace"))


def _plain(text: str) -> str:
    return CONTROL.sub("", text).replace("\r", "\n")
