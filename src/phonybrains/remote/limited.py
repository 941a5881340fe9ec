"""Answers are read up to a size and for a time, whatever a server sends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any


def limited(stream: Any, megabytes: int, seconds: float) -> Any:
    """A stream of httpx2 that raises Trouble when it is longer than `megabytes`, or takes longer than `seconds`."""
    import httpx2

    from .service import Trouble

    class Limited(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size, end = 0, time.monotonic() + seconds
            for chunk in stream:
                size += len(chunk)
                if size > megabytes * 1_000_000:
                    raise Trouble(f"an answer of more than {megabytes} MB", paid=True, again=False)
                if time.monotonic() > end:
                    raise Trouble(f"an answer that took more than {seconds:g} s", paid=True)
                yield chunk

        def close(self) -> None:
            stream.close()

    return Limited()
