"""Pictures in a terminal, read back from the bytes, and by a terminal that answers."""

from __future__ import annotations

import base64
import os
import pty
import re
import select
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from phonybrains.reporting.terminal import CHUNK, kitty, protocol_of_terminal, sixel
from tests.support.places import ROOT

ASK = "from phonybrains.reporting.terminal import protocol_of_terminal as ask; print('found', repr(ask()))"


def picture(height: int = 37, width: int = 50) -> Image.Image:
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2).astype(np.uint8)
    return Image.fromarray(ramp)


def decoded(data: bytes) -> np.ndarray:
    """What a terminal draws of sixels, in percent: a reader of its own."""
    body = re.fullmatch(rb'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\\n?', data, re.DOTALL)
    assert body
    drawn = np.full((int(body[2]) + 5, int(body[1]), 3), -1)
    colours: dict[int, list[int]] = {}
    x = y = colour = 0
    for token in re.finditer(rb"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", body[3]):
        if token[1]:
            colours[int(token[1])] = [int(token[i]) for i in (2, 3, 4)]
        elif token[5]:
            colour = int(token[5])
        elif token[9]:
            x = 0
        elif token[10]:
            x, y = 0, y + 6
        else:
            bits, n = (token[7] or token[8])[0] - 63, int(token[6] or 1)
            for row in range(6):
                if bits >> row & 1:
                    drawn[y + row, x : x + n] = colours[colour]
            x += n
    return drawn[: int(body[2])]


def test_sixels_are_the_picture() -> None:
    """Each pixel is drawn, within the percent that a colour is given in, also in a last band that is not full."""
    grey = picture()
    found = decoded(sixel(grey))
    assert found.min() >= 0
    assert np.abs(found - np.asarray(grey)[..., None] / 2.55).max() <= 1


@pytest.mark.parametrize("size", [10, 5000, 3 * CHUNK // 4, 20000])
def test_kitty_gets_the_file(size: int) -> None:
    """The pieces, put together, are the PNG; only the last says that there is no more; none is longer than allowed."""
    png = np.random.default_rng(0).bytes(size)
    pieces = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty(png))
    assert base64.b64decode(b"".join(data for _, data in pieces)) == png
    assert all(len(data) <= CHUNK for _, data in pieces)
    assert pieces[0][0].startswith(b"a=T,f=100")
    assert [keys[-3:] for keys, _ in pieces] == [b"m=1"] * (len(pieces) - 1) + [b"m=0"]


def test_nobody_is_asked_where_nobody_looks() -> None:
    """Without a terminal the answer is none, and nothing is written."""
    assert protocol_of_terminal() == ""


@pytest.mark.parametrize(
    ("term", "answer", "found"),
    [
        ("xterm-kitty", b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", "kitty"),
        ("xterm-256color", b"\x1b[?62;4;22c", "sixel"),
        ("xterm-256color", b"\x1b[?62;22c", ""),
        ("xterm-256color", b"", ""),
        ("dumb", b"\x1b[?62;4c", ""),
    ],
)
def test_a_terminal_says_what_it_can(term: str, answer: bytes, found: str) -> None:
    """A terminal that never answers is not waited for, and one that cannot is not asked."""
    child, handle = pty.fork()
    if not child:
        os.environ |= {"TERM": term, "PYTHONPATH": str(ROOT / "src")}
        os.execv(sys.executable, [sys.executable, "-c", ASK])
    seen, until = b"", time.monotonic() + 60
    with suppress(OSError):  # until the child is gone: what it prints comes in pieces of any size
        while time.monotonic() < until:
            if not select.select([handle], [], [], 0.2)[0]:
                continue
            seen += os.read(handle, 4096)
            if seen.endswith(b"\x1b[c"):
                os.write(handle, answer)
                seen += b"asked"
    os.waitpid(child, 0)
    os.close(handle)
    assert f"found '{found}'".encode() in seen
    assert (b"asked" in seen) == (term != "dumb")
