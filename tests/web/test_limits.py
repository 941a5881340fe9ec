"""Slow and greedy clients against the server that the study and the model share."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from phonybrains.errors import ConfigError
from phonybrains.web import guard, limits
from phonybrains.web.limits import FewLines, peer_of
from phonybrains.web.listen import listen
from tests.support.web_server import WHOLE, begin, is_closed, response, running, status, until
from tests.web.test_guard import OpenGuard

HALF_HEADER = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx"
HALVES = pytest.mark.parametrize("half", [b"", b"G", HALF_HEADER, HALF_BODY], ids=["none", "byte", "header", "body"])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


def close(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def drip_until_closed(connection) -> None:
    """Send a byte now and then, as slow attackers do, until the server has had enough."""

    def dripped() -> bool:
        try:
            connection.sendall(b"x")
        except OSError:
            return True
        return is_closed(connection)

    until(dripped)


def test_headers_that_drip_are_cut_off_and_idle_readers_are_not(monkeypatch: pytest.MonkeyPatch):
    """Bytes that trickle in do not extend the time for headers; a connection that waits between requests stays."""
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.3)
    with running(hello) as port, begin(port, WHOLE) as good:
        assert b"200 OK" in response(good)
        for sent in (b"", HALF_HEADER):
            with begin(port, sent) as slow:
                if sent:
                    drip_until_closed(slow)
                else:
                    until(lambda slow=slow: is_closed(slow))
        assert not is_closed(good)
        good.sendall(WHOLE)
        assert b"200 OK" in response(good)
        good.sendall(b"GET")  # a second request is owed in time as the first was
        drip_until_closed(good)


def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch):
    """A body that does not come in time gets 408, and the connection ends."""
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    with running(OpenGuard(hello)) as port, begin(port, HALF_BODY) as slow:
        assert b" 408 " in response(slow)
        drip_until_closed(slow)


def test_a_body_nobody_reads_is_cut_off_too(monkeypatch: pytest.MonkeyPatch):
    """Where a response was sent before the body had come, dripping on does not keep the connection."""
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.2)
    with running(hello) as port, begin(port, HALF_BODY) as slow:
        assert b"200 OK" in response(slow)
        drip_until_closed(slow)


def test_a_response_that_is_not_taken_is_dropped(monkeypatch: pytest.MonkeyPatch):
    """Who asks for much and reads nothing loses the connection; the server is not held by it."""
    monkeypatch.setattr(limits, "DRAIN_SECONDS", 0.3)
    gone = asyncio.Event()

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(b"x" * 30_000_000)(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    with running(large) as port, begin(port, WHOLE):
        until(gone.is_set)


@HALVES
def test_a_flood_of_one_client_displaces_itself(half: bytes):
    """Of one client's unfinished connections the oldest go: what is open stays bounded, and a request gets through."""
    with running(OpenGuard(hello), per_peer=4) as port:
        flood = [begin(port, half) for _ in range(40)]
        assert status(port, WHOLE) == 200
        until(lambda: sum(not is_closed(c) for c in flood) <= 4)
        assert is_closed(flood[0])
        close(flood)


@HALVES
def test_a_flood_through_a_proxy_is_bounded_in_all(half: bytes):
    """A proxy may hold more connections than a client, but not more than there are in all; requests get through."""
    with running(OpenGuard(hello), per_peer=2, total=8, proxies=["127.0.0.1"]) as port:
        few = [begin(port, half) for _ in range(7)]
        assert status(port, WHOLE) == 200
        assert not any(map(is_closed, few))
        flood = [begin(port, half) for _ in range(40)]
        assert status(port, WHOLE) == 200
        until(lambda: sum(not is_closed(c) for c in [*few, *flood]) <= 8)
        close([*few, *flood])


def test_work_under_way_is_never_displaced():
    """A request that is being worked on keeps its connection, however many come after it."""
    go_on, begun = asyncio.Event(), []

    async def slow_work(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/work":
            begun.append(asyncio.get_running_loop())
            await go_on.wait()
        await hello(scope, receive, send)

    with running(slow_work, per_peer=3) as port, begin(port, WHOLE.replace(b"/ ", b"/work ", 1)) as working:
        until(lambda: bool(begun))
        flood = [begin(port, b"G") for _ in range(20)]
        assert status(port, WHOLE) == 200
        begun[0].call_soon_threadsafe(go_on.set)
        assert b"200 OK" in response(working)
        close(flood)


def test_a_flood_of_bad_requests_writes_little(caplog: pytest.LogCaptureFixture):
    """Of a thousand lines within a minute twenty are written, the last of which says that others are not."""
    few, logger = FewLines(20), logging.getLogger("phonybrains.test.flood")
    logger.addFilter(few)
    for number in range(1000):
        logger.warning("bad request %s", number)
    assert len(caplog.records) == 20
    assert caplog.records[-1].getMessage() == "bad request 19 (more lines of this minute are left out)"
    few._since = time.monotonic() - 61
    logger.warning("a minute later")
    assert caplog.records[-1].getMessage() == "a minute later"


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_a_customers_network(address: str, peer: str):
    """All addresses of one IPv6 customer count as one client, and an IPv4 address is the same in either notation."""
    assert peer_of(address) == peer


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_ports_that_cannot_be_are_named(port: int):
    """A port outside 0 to 65535 is refused in one line, and so is a host that is no name."""
    with pytest.raises(ConfigError, match=rf"port {port}: ports are 0 to 65535"):
        listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match="cannot be a host's name"):
        listen("a" * 70 + ".example", 0)
