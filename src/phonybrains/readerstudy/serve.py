"""`phonybrains study serve`: the server of a reader study, one process, started and stopped by hand."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from ..errors import StudyError
from .store import Store, access, open_store
from .store.readers import list_readers
from .store.writer import Writing
from .study import Study
from .web.app import make_app

STOP_SECONDS = 10
KEEP_SECONDS = 75  # a reader looks at an image for longer than uvicorn would wait


def show_at_once(line: str) -> None:
    """Print a line also where the output is a file or a pipe."""
    print(line, flush=True)


def serve_study(
    study: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    database: str | None = None,
    https: bool = False,
    public_url: str | None = None,
    new_links: bool = False,
    show: Callable[[str], None] = show_at_once,
) -> None:
    """Serve a study until it is stopped by Ctrl-C or SIGTERM; every answer that was acknowledged is on the disk.

    Reads   study (a study folder)
    Writes  study/study.db, or `database`
    Shows   the investigator's link, new at each start, and the links of readers who have none yet; with `new_links`, of
            all who have not finished. `https` where a proxy in front speaks HTTPS; `public_url` is how links begin.
    Raises  StudyError if the study, its database or the port cannot be used.
    """
    opened = Study.open(study)
    with listen(host, port) as listener, open_store(opened, database) as store:
        port = listener.getsockname()[1]
        base = (public_url or f"{'https' if https else 'http'}://{_shown_host(host)}:{port}").rstrip("/")
        app = make_app(opened, store, https=https)
        for line in [*_warnings(store, host, https), *_links(store, base, new_links)]:
            show(line)
        store.note("server started")
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=https,
            timeout_keep_alive=KEEP_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            lifespan="off",
        )
        show(f"Serving '{opened.config.name}' on {base}. Stop with Ctrl-C.")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        store.note("server stopped")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises StudyError naming what is in the way."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StudyError(f"host '{host}': {error.strerror}. Give another --host.") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StudyError(f"port {port} of {host} is in use. Give another --port, or stop what uses it.") from None
        raise StudyError(f"port {port} of {host}: {error.strerror}. Give another --host or --port.") from None
    return listener


def _links(store: Store, base: str, new_links: bool) -> list[str]:
    """Add the planned readers that are missing; the lines with the links that were made."""
    days = store.study.config.days_valid

    def make(writing: Writing) -> list[tuple[str, str]]:
        known = {reader.name for reader in list_readers(writing.connection)}
        missing = [name for name in store.study.config.readers if name not in known]
        made = [(name, store.enter_reader(writing, name, "invited")) for name in missing]
        if new_links:
            reading = [
                r
                for r in list_readers(writing.connection)
                if r.state in ("invited", "reading") and r.source == "invited"
            ]
            made += [(r.name, access.invite(writing, r.id, r.name, days)) for r in reading if r.name not in missing]
        return made

    made = [] if store.closed_at is not None else store.write(make)
    lines = [
        "Investigator (new at each start, do not pass it on):",
        f"  {base}/investigator/{store.investigator_link()}",
    ]
    if made:
        lines.append(f"Readers (one link each, valid for {days} days, shown only now):")
        lines += [f"  {name}: {base}/join/{token}" for name, token in made]
    else:
        lines.append("Readers: their links hold; make a new one on the investigator's page, or all with --new-links.")
    return lines


def _warnings(store: Store, host: str, https: bool) -> list[str]:
    lines = list(store.notices)
    try:
        store.verify_audit()
    except StudyError as error:
        lines.append(f"WARNING: {error}")
    if not https and not _is_local(host):
        lines.append(f"WARNING: {host} can be reached from other machines, without encryption. Put a proxy with HTTPS "
                     "in front, and say --https.")  # fmt: skip
    if store.closed_at is not None:
        lines.append(f"This study was closed at {store.closed_at}: no answers are taken any more.")
    return lines


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown_host(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
