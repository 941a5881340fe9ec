"""The key of a service is sent to the service, and found nowhere else, whatever the service does with it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.errors import ConfigError
from phonybrains.remote.config import load_imagine_config
from phonybrains.remote.key import Key, find_key
from phonybrains.workflows.imagine import imagine
from tests.support import fault_server
from tests.support.fault_server import KEY
from tests.support.imagining import answers_of, asking, fails, words
from tests.support.in_turn import in_turn

Fault = Callable[[fault_server.Handler], None]


def everything(folder: Path, *commands: list[str], **environment: str) -> tuple[list[int], bytes]:
    """How commands end, and all they print or write, names of files too.

    Cache, configuration and output lie below one folder, and every log is switched on.
    """
    env = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder)}
    env |= {"OPENAI_LOG": "debug", "HTTPX_LOG_LEVEL": "trace"} | environment
    codes, done = in_turn("phonybrains.cli.app:main", commands, folder, env)
    files = [path for path in folder.rglob("*") if path.name != "key.txt"]
    names, contents = [str(path).encode() for path in files], [path.read_bytes() for path in files if path.is_file()]
    return codes, b"\0".join([done.stdout.encode(), done.stderr.encode(), *names, *contents])


def test_the_key_is_in_no_byte_that_is_printed_or_written(tmp_path):
    """Neither when all goes well, with the key echoed as the revised prompt, nor when an error or a page echoes it."""
    faults = (None, fault_server.echo_key, fault_server.echo_key_in_refusal, fault_server.bad_request)
    (tmp_path / "key.txt").write_text(KEY + "\n")
    (tmp_path / "service.toml").write_text("retries = 1\n")
    more = ("-n", 2, "--config", tmp_path / "service.toml", "--key-file", tmp_path / "key.txt")
    with ExitStack() as stack:
        servers = [stack.enter_context(fault_server.serving()) for _ in range(5)]
        for server, fault in zip(servers, (*faults, fault_server.a_page), strict=True):
            server.always, server.revised = fault, f"a brain for {KEY}"
        commands = [words(server, tmp_path / f"{number}", *more) for number, server in enumerate(servers)]
        codes, found = everything(tmp_path, *commands, OPENAI_API_KEY="")
    assert codes == [0, 1, 1, 1, 1], found
    assert all(server.keys[0] == f"Bearer {KEY}" for server in servers)
    parts = [KEY[i : i + 8].encode() for i in range(len(KEY) - 7)]
    assert [part for part in parts if part in found] == []
    assert b"a brain for [key]" in found


def test_the_environment_gives_the_key(tmp_path, server):
    """OPENAI_API_KEY is used where no file is named, and is found nowhere afterwards."""
    codes, found = everything(tmp_path, words(server, tmp_path / "out", "-n", 2), OPENAI_API_KEY=KEY)
    assert codes == [0], found
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY.encode() not in found


@pytest.mark.parametrize("content", ["", "short", "with a blank inside", "ключ-ключ-ключ", "two\nlines-of-key"])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path, content: str):
    """An empty, short or torn key is refused by the name of its file, without its content."""
    path = tmp_path / "key.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no key") as caught:
        find_key(load_imagine_config("paper", n=1, key_file=path))
    assert not content or content not in str(caught.value)


def test_a_key_does_not_travel_in_the_clear(monkeypatch):
    """Over http it goes to this machine alone; a service elsewhere without a key is an error that tells what to do."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigError, match="not encrypted"):
        find_key(load_imagine_config("paper", n=1, base_url="http://images.example.org/v1"))
    assert find_key(load_imagine_config("paper", n=1, base_url="http://127.0.0.1:1/v1")).secret == KEY
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        find_key(load_imagine_config("paper", n=1))
    assert find_key(load_imagine_config("paper", n=1, base_url="http://localhost:1/v1")).secret == ""
    with pytest.raises(ConfigError, match="cannot be read"):
        find_key(load_imagine_config("paper", n=1, key_file=Path("nowhere")))


@contextmanager
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that leads nowhere: its address, and what the first bytes of each connection said."""
    said: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                said.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield "http://{}:{}".format(*listener.getsockname()), said
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("fault", [None, fault_server.by_address], ids=["image", "address"])
def test_no_proxy_stands_between_this_machine_and_itself(tmp_path, server, monkeypatch, fault: Fault | None):
    """With every variable for proxies set, a server here is asked directly, and so is where its images lie."""
    server.always = fault
    with proxy() as (address, said):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, address)
            monkeypatch.setenv(name.lower(), address)
        settings = asking(server, n=1)
        imagine(tmp_path / "out", settings, show=False)
        assert said == []
    assert len(server.asked) == 1


def test_a_proxy_elsewhere_sees_where_but_not_what(tmp_path, monkeypatch):
    """To another machine a proxy is used, by CONNECT: it reads a host's name and no key, and costs nothing."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with proxy() as (address, said):
        monkeypatch.setenv("HTTPS_PROXY", address)
        settings = load_imagine_config("paper", n=1, base_url="https://images.example.org/v1", budget=1.0, retries=0)
        fails(tmp_path / "out", settings, r"cannot be reached .ProxyError")
    assert said[0].startswith(b"CONNECT images.example.org:443 ")
    assert KEY.encode() not in b"".join(said)
    assert '"outcome": "error"' in (answers_of(tmp_path / "out") / "ledger.jsonl").read_text()


def test_a_proxy_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    """A word in HTTPS_PROXY that is no address is an error with a line, before anything is asked."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy:x")
    settings = load_imagine_config("paper", n=1, base_url="https://images.example.org/v1", budget=1.0)
    fails(tmp_path / "out", settings, "a proxy of the environment cannot be used", ConfigError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_does_not_lead_the_key_away(tmp_path, server, status: int):
    """The service's word that it lives elsewhere ends the run with a line; elsewhere nobody is asked."""
    with fault_server.serving() as other:
        server.always = fault_server.saying(status, {}, Location=f"{other.address}/images/generations")
        settings = asking(server, n=2, concurrency=1)
        fails(tmp_path / "out", settings, f"HTTP {status}: the service sends on to 127.0.0.1, where the key")
        assert other.keys == []
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "host", ["images.example.org", "127.0.0.1.example.org", "localhost.example.org", "0.0.0.0", "10.0.0.1"]
)
def test_only_this_machine_is_this_machine(monkeypatch, host: str):
    """However it is written, an address elsewhere gets no key over http."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigError, match="not encrypted"):
        find_key(load_imagine_config("paper", n=1, base_url=f"HTTP://{host}/v1"))


@pytest.mark.parametrize(
    "address", ["http://LOCALHOST:1/v1", "http://127.0.0.2:1", "http://[::1]:1/v1", "HTTPS://x/v1"]
)
def test_this_machine_has_several_names(monkeypatch, address: str):
    """All addresses of the loopback, and any that is encrypted, may have the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert find_key(load_imagine_config("paper", n=1, base_url=address)).secret == KEY


def test_the_key_is_in_no_body_that_is_kept(tmp_path, server):
    """An answer that cannot be read and that echoes the key is kept without it."""
    server.always = lambda handler: handler.send(200, f"<html>{KEY} {KEY[:-4]}**** it works</html>".encode())
    settings = asking(server, n=1)
    fails(tmp_path / "out", settings, r"cannot be read")
    body = next(answers_of(tmp_path / "out").glob("*.body")).read_bytes()
    assert b"[key] [key]**** it works" in body


@given(st.text(), st.text(), st.integers(0, len(KEY) - 8), st.integers(8, len(KEY)))
def test_no_long_part_of_a_key_is_left_in_a_text(before: str, after: str, start: int, length: int):
    """Whatever eight characters in a row of the key a text holds, they are taken out; other text stays."""
    hidden = Key(KEY).hide(before + KEY[start : start + length] + after)
    assert not any(KEY[i : i + 8] in hidden for i in range(len(KEY) - 7))
    assert Key(KEY).hide("Slow down.") == "Slow down."
    assert "Zq7v" not in repr(Key(KEY))
