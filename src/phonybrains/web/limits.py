"""Limits on slow and greedy clients: deadlines that uvicorn lacks, and a bound on connections that shuts nobody out.

A client owes the rest of a request's headers, then of its body, then the taking of the response. Who does not pay in
time is cut off. Where there are too many connections, the newest stays and an older one that asks for nothing goes:
of the address that holds most, the oldest. So a flood displaces itself, and a reader behind the same address gets in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from time import monotonic
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0
DRAIN_SECONDS = 30.0
DRAIN_BYTES = 30 * 1024
"""A client that takes less of a response in `DRAIN_SECONDS` is cut off."""


def peer_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which one customer has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


class Crowd:
    """The open connections of a server, oldest first: at most `total`, and `per_peer` of one client, proxies apart."""

    def __init__(self, total: int, per_peer: int, proxies: Collection[str] = ()) -> None:
        self.total, self.per_peer, self.proxies = total, per_peer, {peer_of(proxy) for proxy in proxies}
        self._peers: dict[PatientProtocol, str] = {}

    def enter(self, newcomer: PatientProtocol, address: str) -> None:
        """Count a connection, and close another, or this one, where that makes too many."""
        peer = peer_of(address)
        self._peers[newcomer] = peer
        mine = [connection for connection, its in self._peers.items() if its == peer]
        if len(mine) > self.per_peer and peer not in self.proxies:
            self._close_one(mine, newcomer)
        elif len(self._peers) > self.total:
            idle = Counter(its for connection, its in self._peers.items() if connection.is_waiting)
            most = idle.most_common(1)[0][0]
            self._close_one([c for c, its in self._peers.items() if its == most], newcomer)

    def leave(self, connection: PatientProtocol) -> None:
        self._peers.pop(connection, None)

    def _close_one(self, candidates: Iterable[PatientProtocol], newcomer: PatientProtocol) -> None:
        loser = next((c for c in candidates if c.is_waiting and c is not newcomer), newcomer)
        self.leave(loser)
        loser.transport.abort()


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with deadlines for what the client owes."""

    def __init__(self, crowd: Crowd, **options: Any) -> None:
        super().__init__(**options)
        self._crowd = crowd
        self._owed: object = None
        self._clocks: dict[str, asyncio.TimerHandle] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether it is the client's turn: no whole request is here that has no response yet."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that `pause_writing` tells of whatever is not taken at once
        self._watch()
        self._crowd.enter(self, self.client[0] if self.client else "")

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._clocks):
            self._stop(name)
        self._crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._watch()
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("drain", DRAIN_SECONDS, self._check_drain, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("drain")

    def _watch(self) -> None:
        """Start the clock for what is owed now; one that runs already goes on, however many bytes drip in."""
        if self.conn.their_state is self._owed:
            return
        self._owed = self.conn.their_state
        self._stop("request")
        if self._owed is h11.IDLE:
            self._start("request", HEADER_SECONDS, self.transport.abort)
        elif self._owed is h11.SEND_BODY:
            self._start("request", BODY_SECONDS + HEADER_SECONDS, self.transport.abort)  # the guard says 408 before

    def _check_drain(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left > before - DRAIN_BYTES:
            self.transport.abort()
        else:
            self._start("drain", DRAIN_SECONDS, self._check_drain, left)

    def _start(self, name: str, seconds: float, action: Any, *arguments: object) -> None:
        self._stop(name)
        self._clocks[name] = self.loop.call_later(seconds, action, *arguments)

    def _stop(self, name: str) -> None:
        if name in self._clocks:
            self._clocks.pop(name).cancel()


class FewLines(logging.Filter):
    """Lets `most` lines a minute through, so that a flood of bad requests cannot fill a disk with its log."""

    def __init__(self, most: int = 20) -> None:
        super().__init__()
        self.most, self._since, self._count = most, monotonic(), 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = monotonic()
        if now - self._since > 60:
            self._since, self._count = now, 0
        self._count += 1
        if self._count == self.most:
            record.msg, record.args = f"{record.getMessage()} (more lines of this minute are left out)", ()
        return self._count <= self.most
