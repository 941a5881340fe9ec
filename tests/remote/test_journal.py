"""The journal of requests shows every damage: what was spent is known, or nothing is asked for."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonybrains.errors import OutputError
from phonybrains.remote import journal
from phonybrains.remote.ledger import Ledger
from tests.support.imagining import answers_of, asking, run


def written(path: Path, images: int = 5, price: float = 0.5) -> list[bytes]:
    """A journal of some images and one request that is open; its lines."""
    ledger = Ledger(path, price=price)
    for i in range(images):
        ledger.settle(ledger.reserve(f"key-{i}"), "image", 0.25)
    ledger.reserve("open")
    return path.read_bytes().splitlines(keepends=True)


def without_chain(lines: list[bytes]) -> bytes:
    """The lines as versions without a chain wrote them."""
    entries = ({name: value for name, value in json.loads(line).items() if name != "chain"} for line in lines)
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def test_damage_anywhere_but_in_the_last_line_stops(tmp_path):
    """Each byte of each line changed in turn, and each line removed, doubled or moved: the line is named."""
    lines = written(tmp_path / "whole.jsonl", images=2)
    path = tmp_path / "ledger.jsonl"
    for i in range(len(lines) - 1):
        for j in range(len(lines[i])):
            changed = lines[i][:j] + bytes([lines[i][j] ^ 1]) + lines[i][j + 1 :]
            path.write_bytes(b"".join([*lines[:i], changed, *lines[i + 1 :]]))
            if changed.count(b"\n") == 0 and i == len(lines) - 2:  # two lines have become the last one
                ledger = Ledger(path, price=0.5)
                ledger.close_stopped({})
                assert (ledger.images, ledger.cost) == (3, 1.25)
                continue
            with pytest.raises(OutputError, match=r"ledger\.jsonl: line \d+ is damaged.*backup.*nothing was asked for"):
                Ledger(path, price=0.5)
    for i in range(len(lines) - 2):
        before, after = lines[:i], lines[i + 1 :]
        for rest in (before + after, [*before, lines[i], lines[i], *after], [*before, after[0], lines[i], *after[1:]]):
            path.write_bytes(b"".join(rest))
            with pytest.raises(OutputError, match="is damaged"):
                Ledger(path, price=0.5)


@settings(deadline=None, max_examples=200)
@given(cut=st.integers(1, 250), noise=st.binary(max_size=20), whole=st.booleans())
def test_a_last_line_that_is_torn_counts_as_sent(tmp_path_factory, cut: int, noise: bytes, whole: bool):
    """However a last "sent" line is torn or garbled, what is booked is never less than with the line itself."""
    path = tmp_path_factory.mktemp("journal") / "ledger.jsonl"
    *lines, last = written(path)
    torn = last[:-1][: max(1, len(last) - cut)] + noise.replace(b"\n", b"") + (b"\n" if whole else b"")
    path.write_bytes(b"".join(lines) + torn)
    for _ in range(2):
        ledger = Ledger(path, price=0.5)
        ledger.close_stopped({})
        assert (ledger.images, ledger.cost) == (6, pytest.approx(1.75))


def test_a_torn_end_of_a_request_leaves_it_open(tmp_path):
    """Where the line that settles a request is torn, it counts once, at what was reserved for it."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, price=0.5)
    ledger.settle(ledger.reserve("a"), "refused")
    for length in (25, 60, 100):
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b'{"what": "settled"') + length])
        again = Ledger(path, price=0.5)
        again.close_stopped({})
        assert (again.images, again.unknown, again.cost) == (1, 1, 0.5)


def test_a_journal_of_before_is_chained_from_its_next_line(tmp_path):
    """Lines without a chain count, go on, and from then on no line of theirs can be changed."""
    lines = written(tmp_path / "whole.jsonl")
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(without_chain(lines))
    ledger = Ledger(path, price=0.5)
    ledger.close_stopped({6: 0.1})
    assert (ledger.images, ledger.cost) == (6, pytest.approx(1.35))
    assert Ledger(path, price=0.5).cost == pytest.approx(1.35)
    content = path.read_bytes()
    for old, new in ((b"0.25", b"0.05"), (b'"key-2"', b'"key-3"'), (lines[2], b"")):
        path.write_bytes(content.replace(old, new, 1) if old in content else content.split(b"\n", 1)[1])
        with pytest.raises(OutputError, match="is damaged"):
            Ledger(path, price=0.5)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [lines[0][:-9], *lines[1:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [b'{"what": "sent"}\n', *lines],
        lambda lines: [b"[]\n", *lines],
        lambda lines: [lines[0].replace(b"0.5", b"-5.0"), *lines[1:]],
        lambda lines: [lines[0].replace(b"0.5", b"NaN"), *lines[1:]],
        lambda lines: [lines[0].replace(b": 1,", b": true,"), *lines[1:]],
    ],
)
def test_a_damaged_journal_of_before_stops_too(tmp_path, change: Callable[[list[bytes]], list[bytes]]):
    """A request that is missing, comes twice, or has no sound number or cost is not passed over."""
    lines = without_chain(written(tmp_path / "whole.jsonl")).splitlines(keepends=True)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(change(lines)))
    with pytest.raises(OutputError, match="is damaged"):
        Ledger(path, price=0.5)


@pytest.mark.parametrize("keep", [None, 0, 2, 3])
def test_a_journal_that_ends_before_its_answers_stops(tmp_path, server, keep: int | None):
    """Where the journal is gone or has lost its end, the answers beside it show that; nothing is asked for."""
    run(tmp_path / "out", asking(server, n=3, concurrency=1))
    path = answers_of(tmp_path / "out") / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink() if keep is None else path.write_bytes(b"".join(lines[:keep]))
    (tmp_path / "out").rename(tmp_path / "gone")
    with pytest.raises(OutputError, match=r"ledger\.jsonl: the journal ends at request \d, but request 3 was"):
        run(tmp_path / "out", asking(server, n=5, concurrency=1))
    assert len(server.asked) == 3


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    """A line that cannot be written whole is taken back: the next run reads the journal, and the request stays open."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, price=0.5)
    ticket = ledger.reserve("a")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ledger.settle(ticket, "image", 0.1)
    assert (ledger.images, ledger.cost) == (1, 0.5)
    monkeypatch.undo()
    again = Ledger(path, price=0.5)
    again.close_stopped({})
    assert (again.unknown, again.cost) == (1, 0.5)
