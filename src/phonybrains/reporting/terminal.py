"""Pictures in a terminal: by kitty's protocol or as sixels, where the terminal says that it knows one of them."""

from __future__ import annotations

import base64
import os
import re
import select
import sys
import termios
import time
import tty
from itertools import groupby
from typing import Literal

import numpy as np
from PIL import Image

CHUNK = 4096
QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
"""Whether a terminal takes pictures as kitty does, and what it is, which every terminal answers.
[kitty graphics protocol, "Querying support"; DEC STD 070, primary device attributes]"""
ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
SIXELS = b"4"
PATIENCE = 0.5
"""Seconds."""

Protocol = Literal["", "kitty", "sixel"]


def protocol_of_terminal() -> Protocol:
    """How this terminal takes pictures; "" where it does not, does not answer, or where nobody looks at the output."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "linux"):
        return ""
    answer = _asked(QUESTION)
    if b"\x1b_Gi=31;OK" in answer:
        return "kitty"
    found = ATTRIBUTES.search(answer)
    return "sixel" if found and SIXELS in found[1].split(b";") else ""


def _asked(question: bytes) -> bytes:
    """What the terminal answers, up to its attributes, without a key being pressed; what was typed before stays."""
    try:
        handle = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        if os.tcgetpgrp(handle) != os.getpgrp():  # in the background: to ask would stop this process
            return b""
        before = termios.tcgetattr(handle)
        tty.setcbreak(handle, termios.TCSANOW)
        try:
            os.write(handle, question)
            return _read(handle, time.monotonic() + PATIENCE)
        finally:
            termios.tcsetattr(handle, termios.TCSANOW, before)
    except (OSError, termios.error):
        return b""
    finally:
        os.close(handle)


def _read(handle: int, until: float) -> bytes:
    answer = b""
    while not ATTRIBUTES.search(answer) and (left := until - time.monotonic()) > 0:
        if select.select([handle], [], [], left)[0]:
            answer += os.read(handle, 1024)
    return answer


def kitty(png: bytes) -> bytes:
    """A PNG as kitty and its like take it, in pieces of 4096 letters.  [kitty graphics protocol, "Remote client"]"""
    data = base64.standard_b64encode(png)
    pieces = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
    keys = [b"a=T,f=100,q=2,", *[b""] * (len(pieces) - 1)]
    more = [b"m=1", *[b"m=1"] * (len(pieces) - 2), b"m=0"][-len(pieces) :]
    return b"".join(b"\x1b_G%b%b;%b\x1b\\" % parts for parts in zip(keys, more, pieces, strict=True)) + b"\n"


def sixel(picture: Image.Image) -> bytes:
    """A picture as sixels: bands of six rows, for each of up to 256 colours the pixels that have it.  [DEC STD 070]"""
    indexed = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    pixels = np.asarray(indexed)
    colours = np.rint(np.reshape(indexed.getpalette() or [], (-1, 3)) / 2.55).astype(int)
    parts = [f'\x1bPq"1;1;{picture.width};{picture.height}']
    parts += [f"#{i};2;{r};{g};{b}" for i, (r, g, b) in enumerate(colours)]
    for top in range(0, len(pixels), 6):
        band = pixels[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        parts.append("$".join(f"#{i}{_runs((band == i) * weights)}" for i in np.unique(band)) + "-")
    return "".join([*parts, "\x1b\\\n"]).encode()


def _runs(bits: np.ndarray) -> str:
    """The sixels of a colour, a letter each, those that repeat as their number and the letter."""
    runs = ((chr(63 + value), len(list(same))) for value, same in groupby(bits.sum(axis=0).tolist()))
    return "".join(f"!{n}{letter}" if n > 3 else letter * n for letter, n in runs)
