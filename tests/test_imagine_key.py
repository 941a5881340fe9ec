"""The key of a service is sent to the service, and found nowhere else, whatever the service does with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fault_server
from fault_server import KEY, FaultServer
from phonybrains.errors import ConfigError
from phonybrains.remote.config import load_imagine_config
from phonybrains.remote.key import Key, find_key

Fault = Callable[[fault_server.Handler], None]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with fault_server.serving() as state:
        yield state


def run(server: FaultServer, folder: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command, with its cache, configuration and output below one folder, and every log switched on."""
    env = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder)}
    (folder / "service.toml").write_text("retries = 1\n")
    env |= {"OPENAI_LOG": "debug", "HTTPX_LOG_LEVEL": "trace"} | environment
    return subprocess.run(
        [sys.executable, "-m", "phonybrains", "imagine", "--preset", "paper", "-n", "2", "--out", folder / "out",
         "--base-url", server.address, "--model", "free", "--config", folder / "service.toml", *more],
        env=env, capture_output=True, cwd=folder,
    )  # fmt: skip


def everything(done: subprocess.CompletedProcess[bytes], folder: Path) -> bytes:
    """All that was printed or written, names of files too."""
    files = [path for path in folder.rglob("*") if path.name != "key.txt"]
    return b"\0".join([done.stdout, done.stderr, *(str(path).encode() for path in files),
                       *(path.read_bytes() for path in files if path.is_file())])  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "code"),
    [(None, 0), (fault_server.echo_key, 1), (fault_server.echo_key_in_refusal, 1), (fault_server.bad_request, 1),
     (fault_server.a_page, 1)],
    ids=["images", "401", "refusal", "400", "page"],
)  # fmt: skip
def test_the_key_is_in_no_byte_that_is_printed_or_written(tmp_path, server, fault: Fault | None, code: int):
    """Neither when all goes well, with the key echoed as the revised prompt, nor when an error echoes it."""
    server.always, server.revised = fault, f"a brain for {KEY}"
    (tmp_path / "key.txt").write_text(KEY + "\n")
    done = run(server, tmp_path, "--key-file", str(tmp_path / "key.txt"), OPENAI_API_KEY="")
    assert done.returncode == code, done.stderr.decode()
    assert server.keys[0] == f"Bearer {KEY}"
    found = everything(done, tmp_path)
    assert len(found) > 500
    parts = [KEY[i : i + 8].encode() for i in range(len(KEY) - 7)]
    assert [part for part in parts if part in found] == []
    if fault is None:
        assert b"a brain for [key]" in found


def test_the_environment_gives_the_key(tmp_path, server):
    """OPENAI_API_KEY is used where no file is named, and is found nowhere afterwards."""
    done = run(server, tmp_path, OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr.decode()
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY.encode() not in everything(done, tmp_path)


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


@given(st.text(), st.text(), st.integers(0, len(KEY) - 8), st.integers(8, len(KEY)))
def test_no_long_part_of_a_key_is_left_in_a_text(before: str, after: str, start: int, length: int):
    """Whatever eight characters in a row of the key a text holds, they are taken out; other text stays."""
    hidden = Key(KEY).hide(before + KEY[start : start + length] + after)
    assert not any(KEY[i : i + 8] in hidden for i in range(len(KEY) - 7))
    assert Key(KEY).hide("Slow down.") == "Slow down."
    assert "Zq7v" not in repr(Key(KEY))
