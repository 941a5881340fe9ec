"""`study serve` as it runs: in a process of its own, stopped, killed, started twice, out of disk."""

from __future__ import annotations

import itertools
import os
import random
import re
import resource
import signal
import socket
import time
from functools import partial
from pathlib import Path

import pytest

from phonybrains.errors import ConfigError, StudyError
from phonybrains.readerstudy.store import open_store
from phonybrains.readerstudy.store.tables import answer
from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.web.serve import serve_study
from phonybrains.web.listen import listen
from tests.support.study_server import HttpReader, Nursery, ReadingThread, StudyProcess, free_port, serving
from tests.support.web_server import PATIENCE, begin, in_thread, is_closed, status, until


def test_it_serves_without_what_is_slow_to_import_and_stops_cleanly(study_folder: Path):
    """Neither torch nor what draws, learns or prints reports is imported; Ctrl-C and SIGTERM end it.

    Where no database has to be made or migrated, Alembic is not imported either.
    """
    server = StudyProcess(study_folder, {"new_links": True})
    for how, ended in ((signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)):
        reader = server.start().reader()
        assert reader.answer(reader.state()["current"]["id"])[0] == 200
        assert server.stop(how) == ""  # a slow import in the process would say so here
        assert server.process.returncode == ended
        server.before = "sys.modules['alembic'] = None"
    with open_store(Study.open(study_folder), read_only=True) as store:
        assert len(store.answers()) == 2
        store.verify_audit()


def port_in(said: list[str]) -> int:
    return int(re.findall(r":(\d+)\. Stop with", said[-1])[0])


def test_links_are_shown_once_and_made_new_when_asked(study_folder: Path):
    """The first start shows all links, the next the investigator's; --new-links makes new ones, and old ones end."""
    links: dict[str, str] = {}
    for new_links, expected in ((False, 2), (False, 0), (True, 2)):
        with in_thread(serve_study, study_folder, new_links=new_links) as said:
            found = dict(re.findall(r"(reader \d): http://[^/]+(/join/\S+)", "\n".join(said)))
            assert len(found) == expected
            assert sum("/investigator/" in line for line in said) == 1
            links = links or found
            holds = found if new_links else links  # those of the first start, until new ones are made
            assert HttpReader(port_in(said), holds["reader 1"]).state()["total"] == 34
            if new_links:
                with pytest.raises(AssertionError):
                    HttpReader(port_in(said), links["reader 1"])


def test_a_second_server_and_a_taken_port_are_refused(study_folder: Path):
    """A second server on the same answers, or on a port in use, says so in one line and changes nothing."""
    with in_thread(serve_study, study_folder) as said:
        with pytest.raises(StudyError, match=r"study\.db is in use by another phonybrains.*Stop that one first\.$"):
            serve_study(study_folder, port=0)
        port = port_in(said)
        taken = rf"^port {port} of 127\.0\.0\.1 is in use\. Give another --port, or stop what uses it\.$"
        with pytest.raises(ConfigError, match=taken):
            serve_study(study_folder, port=port)


def test_hosts_that_cannot_be_are_named():
    """A host that is none, and an address of another machine, are refused by name."""
    for host, named in (("no.such.host.invalid", "host 'no.such.host.invalid'"), ("192.0.2.1", "port 0 of 192.0.2.1")):
        with pytest.raises(ConfigError, match=re.escape(named)):
            listen(host, 0)


def test_an_open_door_without_https_is_warned_of(study_folder: Path):
    """A host that others can reach gives a warning without HTTPS, and https links with it."""
    for https in (False, True):
        with in_thread(serve_study, study_folder, host="0.0.0.0", https=https, new_links=True) as said:
            pass
        assert any("without encryption" in line for line in said) is not https
        start = f"{'https' if https else 'http'}://{socket.gethostname()}"
        assert [sum(f"  reader {n}: {start}" in line for line in said) for n in (1, 2)] == [1, 1]


def test_no_acknowledged_answer_is_lost_when_the_server_is_killed_twenty_times(study_folder: Path):
    """kill -9 while answering, twenty times: each acknowledged answer is there, once, and the log verifies."""
    port, rng = free_port(), random.Random(0)
    with open_store(Study.open(study_folder)) as store:
        paths = [f"/join/{store.add_reader(f'reader {number}')}" for number in range(1, 61)]
    readers = [ReadingThread(port, paths[n::4]) for n in range(4)]
    nursery, taken = Nursery(study_folder, port), list[int]()

    def acknowledged() -> dict[str, str]:
        return {shown: note for reader in readers for shown, note in list(reader.acknowledged.items())}

    def serve_until_answers_come() -> int:
        before, server = len(acknowledged()), nursery.start()
        until(lambda: len(acknowledged()) > before)
        time.sleep(rng.random() * 0.03)
        taken.append(len(acknowledged()) - before)
        return server

    for reader in readers:
        reader.start()
    for _ in range(20):
        os.kill(serve_until_answers_come(), signal.SIGKILL)
    last = serve_until_answers_come()
    for reader in readers:
        reader.enough.set()
    for reader in readers:
        reader.join(PATIENCE)
        assert reader.failure is None
    os.kill(last, signal.SIGTERM)
    nursery.close()
    with open_store(Study.open(study_folder), read_only=True) as store:
        rows = store.read(lambda connection: connection.execute(answer.select()).all())
        store.verify_audit()
    stored = {row.presentation_id: row.description for row in rows}
    assert min(taken) > 0  # each server was taking answers when it was killed
    assert len(rows) == len(stored)
    assert stored == acknowledged()  # what was not acknowledged was sent again, so that in the end all is


def test_a_full_disk_is_told_and_overcome(study_folder: Path):
    """Without room an answer gives 507 and a sentence, reading goes on being possible, and with room it is taken.

    A limit on the size of files stands for the full disk: the kernel refuses the write, as it does for a quota.
    """
    with serving(study_folder) as server:
        reader, limit = server.reader(), partial(resource.prlimit, server.process.pid, resource.RLIMIT_FSIZE)
        size = (study_folder / "study.db-wal").stat().st_size
        limit((size + 60_000, resource.RLIM_INFINITY))
        taken, status, long_text = -1, 200, "ä" * 1990
        while status == 200:
            shown = reader.state()["current"]["id"]
            status, body = reader.answer(shown, description=long_text, seconds=1)
            taken += 1
        assert status == 507
        assert body["error"] == "The server's disk is full; your answer is kept in this browser and sent again."
        assert reader.answer(shown, description=long_text)[0] == 507
        assert reader.state()["current"]["id"] == shown
        assert reader.ask("GET", f"/api/presentations/{shown}/image")[0] == 200
        limit((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        status, body = reader.answer(shown, description=long_text)
        assert status == 200
        assert body["next_state"]["done"] == taken + 1
    with open_store(Study.open(study_folder), read_only=True) as store:
        assert len(store.answers()) == taken + 1
        store.verify_audit()


def test_half_open_connections_shut_no_reader_out(study_folder: Path):
    """1200 connections that never finish their headers or their body: a reader reads on, and few of them stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this process may not open 1300 connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    halves = (b"", b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nx")
    with serving(study_folder) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))  # as most shells have it
        flood = [begin(server.port, halves[number % 3]) for number in range(1200)]
        reader = server.reader()
        for _ in range(5):
            shown = reader.state()["current"]["id"]
            assert reader.ask("GET", f"/api/presentations/{shown}/image")[0] == 200
            assert reader.answer(shown)[0] == 200
        until(lambda: sum(not is_closed(connection) for connection in flood) <= 200)
        for connection in flood:
            connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HOSTILE = [
    *(b"", b" ", b"https://[::1", b"[", b"]", b"h:99999", b"-1", b"9" * 400, b"%00", b"\xff\xfe", b"\x80" * 50),
    *(b"a" * 5000, b'; ; =; "', b"\xc3\xa9=\xc3\xa9", b'for="[::1', b"1.2.3.4:port, [", b"chunked, gzip"),
    *(b"multipart/form-data", b"multipart/form-data; boundary=\xff", b"text/html; charset=nope", b"bytes=9-1"),
    *(b"x" * 90, b"../../etc"),
]
NAMES = [
    *(b"Host", b"Origin", b"Referer", b"Content-Length", b"Cookie", b"X-Forwarded-For", b"X-Forwarded-Proto"),
    *(b"Forwarded", b"X-Forwarded-Host", b"Sec-Fetch-Site", b"Content-Type", b"X-CSRF-Token", b"User-Agent"),
    *(b"Range", b"If-Modified-Since", b"Expect", b"Transfer-Encoding", b"Connection", b"Upgrade", b"X-Background"),
    b"Authorization",
]
PATHS = [
    *(b"/%00", b"/%ff", b"/%ed%a0%80", b"/%", b"/%zz", b"/static/%00", b"/static/" + b"a" * 3000, b"//", b"/read/"),
    *(b"/static/%2e%2e/app.py", b"*", b"/read?a=%", b"/join/%00", b"/join/%ff%fe", b"/join/" + b"%f0%9f%a7%a0" * 500),
    *(b"/investigator/%0d%0aSet-Cookie:x", b"/api/presentations/%5b/image", b"/%5b::1", b"http://[::1/"),
    *(b"http://h/read", b"/?" + b"%" * 999, b"/sub/path", b"/sub/path/", b"/sub/path/join/%00", b"/sub/path//read"),
    *(b"/\xc3\xa9", b"/#", b"/static/../static/"),
]
METHODS = (b"GET", b"HEAD", b"POST", b"DELETE", b"TRACE", b"CONNECT", b"NOPE", b"\xff")


def test_no_request_however_written_is_a_fault(study_folder: Path):
    """Headers, paths and methods as attackers write them get a 4xx or a page, never a 5xx, and no traceback."""
    server = StudyProcess(study_folder, {"public_url": "https://study.example/sub/path"}).start()
    token = server.links["reader 1"].rpartition("/")[2].encode()
    lines = b"GET /sub/path/read", b"POST /sub/path/join/" + token, b"PUT /api/presentations/x/draft"
    requests = []
    for (i, name), (j, value) in itertools.product(enumerate(NAMES), enumerate(HOSTILE)):
        host = b"" if name == b"Host" else b"Host: study.example\r\n"
        requests.append(b"%s HTTP/1.1\r\n%s%s: %s\r\n\r\n" % (lines[(i + j) % 3], host, name, value))
    for path, method in itertools.product(PATHS, METHODS):
        requests.append(b"%s %s HTTP/1.1\r\nHost: study.example\r\nConnection: close\r\n\r\n" % (method, path))
    assert [request for request in requests if not 200 <= status(server.port, request) < 500] == []
    assert "Traceback" not in server.stop()
