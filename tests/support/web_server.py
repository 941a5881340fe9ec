"""A small application behind the real server with its limits, in a thread, and connections that misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp

from phonybrains.web.listen import Server, listen, settings

PATIENCE = 120
"""Seconds until a wait gives up: a passing test waits for none of it."""
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def running(app: ASGIApp, **limits: int | list[str]) -> Iterator[int]:
    """Serve until the end of the block; the port."""
    with listen("127.0.0.1", 0) as listener:
        server = Server(settings(app, stop_seconds=1, **limits))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(PATIENCE)


@contextmanager
def in_thread(serve: Callable[..., None], *given: Any, **options: Any) -> Iterator[list[str]]:
    """Run what serves, on a free port, in a thread until the end of the block; the lines that it shows."""
    servers: list[Server] = []
    said: list[str] = []
    startup = Server.startup

    async def watched(self: Server, sockets: list[socket.socket] | None = None) -> None:
        await startup(self, sockets)
        servers.append(self)

    options = {"port": 0, "show": said.append, **options}
    thread = threading.Thread(target=serve, args=given, kwargs=options, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "startup", watched)
        thread.start()
        until(lambda: bool(servers) or not thread.is_alive())
    assert servers, "the server did not start"
    try:
        yield said
    finally:
        servers[0].should_exit = True
        thread.join(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it never came true")
        time.sleep(0.01)


def begin(port: int, sent: bytes) -> socket.socket:
    """A connection that has sent so much and waits."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed a connection, whatever it said before."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(PATIENCE)


def response(connection: socket.socket) -> bytes:
    """What comes until the head of a response is whole; empty where the server closes."""
    said = b""
    while b"\r\n\r\n" not in said:
        try:
            more = connection.recv(65536)
        except ConnectionError:
            more = b""
        if not more:
            return said
        said += more
    return said


def status(port: int, request: bytes) -> int:
    """The status that a request gets on a connection of its own; 0 where the connection is closed without a word."""
    with begin(port, request) as connection:
        said = response(connection)
    return int(said.split(b" ", 2)[1]) if said else 0
