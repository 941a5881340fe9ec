"""`phonybrains study serve`: the server of a reader study, one process, started and stopped by hand."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import StudyError
from ...web import listen as web
from ...web.guard import is_local
from ...wording import count_of
from ..store import Store, access, open_store
from ..store.readers import list_readers
from ..store.writer import Writing
from ..study import Study
from .address import Address
from .app import make_app

STOP_SECONDS = 10


def serve_study(
    study: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    database: str | None = None,
    https: bool = False,
    public_url: str | None = None,
    proxy: str | None = None,
    new_links: bool = False,
    show: Callable[[str], None] = web.show_at_once,
) -> None:
    """Serve a study until it is stopped by Ctrl-C or SIGTERM; every answer that was acknowledged is on the disk.

    Reads   study (a study folder)
    Writes  study/study.db, or `database`
    Shows   the investigator's link, new at each start, and the links of readers who have none yet; with `new_links`, of
            all who have not finished. `https` where a proxy in front speaks HTTPS; `public_url` is where browsers find
            the study then, and `proxy` the address it comes from, if not this machine's.
    Raises  StudyError if the study or its database cannot be used, ConfigError if the host or the port cannot
    """
    opened, address = Study.open(study), Address.parse(public_url) if public_url else None
    if https and address and not address.https:
        raise StudyError(f"public URL '{public_url}': does not begin with https, but --https was given.")
    if proxy and not _is_address(proxy):
        raise StudyError(f"proxy '{proxy}': not an address. Give the one it comes from, e.g. 10.0.0.7.")
    https = address.https if address else https
    proxies = [proxy] if proxy else ["127.0.0.1", "::1"] if https or address else []
    with web.listen(host, port) as listener, open_store(opened, database) as store:
        here = f"{'https' if https else 'http'}://{web.shown_host(host)}:{listener.getsockname()[1]}"
        base = str(address or here)
        app = make_app(opened, store, https=https, address=address)
        for line in [*_warnings(store, host, https), *_links(store, base, new_links)]:
            show(line)
        store.note("server started")
        show(f"Serving '{opened.config.name}' on {base}. Stop with Ctrl-C.")
        with suppress(KeyboardInterrupt):
            web.Server(web.settings(app, stop_seconds=STOP_SECONDS, proxies=proxies)).run(sockets=[listener])
        store.note("server stopped")


def _links(store: Store, base: str, new_links: bool) -> list[str]:
    """Add the planned readers that are missing; the lines with the links that were made."""
    days = store.study.config.days_valid

    def make(writing: Writing) -> list[tuple[str, str]]:
        known = list_readers(writing.connection)
        missing = [name for name in store.study.config.readers if name not in {reader.name for reader in known}]
        made = [(name, store.enter_reader(writing, name, "invited")) for name in missing]
        if new_links:
            made += [(r.name, access.invite(writing, r.id, r.name, days)) for r in known if r.is_invited]
        return made

    made = [] if store.closed_at is not None else store.write(make)
    told = ["Readers: their links hold; make a new one on the investigator's page, or all with --new-links."]
    if made:
        told = [f"Readers (one link each, valid for {count_of(days, 'day')}, shown only now):"]
        told += [f"  {name}: {base}/join/{token}" for name, token in made]
    own = f"  {base}/investigator/{store.investigator_link()}"
    return ["Investigator (new at each start, do not pass it on):", own, *told]


def _warnings(store: Store, host: str, https: bool) -> list[str]:
    lines = list(store.notices)
    try:
        store.verify_audit()
    except StudyError as error:
        lines.append(f"WARNING: {error}")
    if not https and not is_local(host):
        reached = f"{host} can be reached from other machines, without encryption"
        lines.append(f"WARNING: {reached}. Put a proxy with HTTPS in front, and say --https.")
    if store.closed_at is not None:
        lines.append(f"This study was closed at {store.closed_at}: no answers are taken any more.")
    return lines


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False
