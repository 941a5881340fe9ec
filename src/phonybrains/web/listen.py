"""Where a server listens, and uvicorn set up with the limits of `limits`."""

from __future__ import annotations

import errno
import logging
import resource
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from ..errors import ConfigError
from .limits import Crowd, FewLines, PatientProtocol

KEEP_SECONDS = 75  # a person looks at an image for longer than uvicorn would wait
ACCEPT_AT_ONCE = 64
BACKLOG = 1024
FEW_LINES = FewLines()


def show_at_once(line: str) -> None:
    """Print a line also where the output is a file or a pipe."""
    print(line, flush=True)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free. Raises ConfigError naming what is in the way."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port}: ports are 0 to 65535. Give another --port.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"host '{host}': {error.strerror}. Give another --host.") from None
    except ValueError:
        raise ConfigError(f"host '{host}' cannot be a host's name. Give another --host.") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} of {host} is in use. Give another --port, or stop what uses it.") from None
        raise ConfigError(f"port {port} of {host}: {error.strerror}. Give another --host or --port.") from None
    return listener


def shown_host(host: str) -> str:
    """A host as it stands in a URL; this machine's name where the server listens on all addresses."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def settings(
    app: ASGIApp, *, stop_seconds: int, proxies: Sequence[str] = (), total: int = 600, per_peer: int = 200
) -> uvicorn.Config:
    """uvicorn's settings: limited connections and log; what `proxies` say of their clients is believed.

    total: most connections at once, fewer where this process may open few files; per_peer: of one client.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    total = min(total, files * 3 // 4) if files > 0 else total
    protocol = partial(PatientProtocol, Crowd(total, per_peer, proxies))
    config = uvicorn.Config(
        app,
        http=cast(Any, protocol),
        ws="none",
        loop="asyncio",
        lifespan="off",
        backlog=ACCEPT_AT_ONCE,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_keep_alive=KEEP_SECONDS,
        timeout_graceful_shutdown=stop_seconds,
    )
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(FEW_LINES)
    return config


class Server(uvicorn.Server):
    """Takes few connections at once, so that the limit holds in between, but lets many wait in the kernel."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio has set this to what it takes at once
