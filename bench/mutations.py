"""Broken inputs, made of whole ones: bytes, tables and documents, each from its own seeded random numbers."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

LENGTHS = tuple(
    value.to_bytes(width, "little")
    for width in (1, 2, 4, 8)
    for value in (0, 2 ** (8 * width) - 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1))
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**70, -(2**70), 1e308, -1e-308, float("nan"), float("inf"))
TEXTS = ("", " ", "x" * 5000, "\0", "\ud800", "é\u0301", "../../etc/passwd", "/", "nan", "1e999", "true", "[]", "ſ")
NESTED = ([], {}, [[]], {"": {}}, [None], [0] * 300, {"a": [1, {"b": None}]}, ["x", 1, None], [[1.0, 2.0]])
ODD: tuple[Any, ...] = (None, True, False, *NUMBERS, *TEXTS, *NESTED)
ODD_CELLS = ("nan", "inf", "-1", "1e999", "1_2", "0x10", "٣", "true", "=1+1", "", " ", "x" * 5000, "\0", "é", "\ufeff")
DELIMITERS = ('"', '"a""b"', "a,b", "a;b", "a\tb", "a\nb", "\r")
CELLS = (*ODD_CELLS, *DELIMITERS, "../../x.png", "/etc/passwd", "images", ".", "C:\\x")
Rng = random.Random


def mutate_bytes(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:
    """One to four changes: bits, lengths, cuts, copies, noise, or a splice with another file."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = rng.choice(CHANGES)(rng, content, others)
    return content


def _bits(rng: Rng, content: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _bit in range(rng.choice((1, 1, 2, 8, 32))):
        if changed:
            changed[_place(rng, len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _length(rng: Rng, content: bytes, _: Sequence[bytes]) -> bytes:
    value, at = rng.choice(LENGTHS), _place(rng, len(content))
    return content[:at] + value + content[at + len(value) :]


def _cut(rng: Rng, content: bytes, _: Sequence[bytes]) -> bytes:
    return content[: _place(rng, len(content))]


def _without(rng: Rng, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(rng, len(content))
    return content[:at] + content[at + rng.choice((1, 2, 4, 8, 100)) :]


def _twice(rng: Rng, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(rng, len(content))
    piece = content[at : at + rng.choice((1, 4, 16, 200))]
    return content[:at] + piece * rng.choice((2, 2, 50)) + content[at + len(piece) :]


def _noise(rng: Rng, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(rng, len(content))
    return content[:at] + rng.randbytes(rng.choice((1, 4, 64))) + content[at:]


def _splice(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: _place(rng, len(content))] + other[_place(rng, len(other)) :]


Mutate = Callable[[Rng, bytes, Sequence[bytes]], bytes]
CHANGES: tuple[Mutate, ...] = (_bits, _bits, _length, _length, _cut, _without, _twice, _noise, _splice)


def _place(rng: Rng, length: int) -> int:
    """A place in a file, half of the time in its first 400 bytes, where the headers are."""
    return rng.randrange(min(length, rng.choice((400, length))) or 1) if length else 0


def _or_bytes(mutate: Callable[[Rng, bytes], bytes]) -> Mutate:
    """A mutation that, one time in four, changes bytes instead."""

    def either(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:
        return mutate_bytes(rng, content, others) if rng.random() < 0.25 else mutate(rng, content)

    return either


@_or_bytes
def mutate_document(rng: Rng, content: bytes) -> bytes:
    """JSON with other types in place of values, keys gone, doubled or moved."""
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        document = _changed(rng, document)
    return json.dumps(document, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")


def _changed(rng: Rng, document: Any) -> Any:
    places = list(_places(document))
    if not places or rng.random() < 0.02:
        return copy.deepcopy(rng.choice(ODD))
    holder, key = rng.choice(places)
    what = rng.randrange(5)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[rng.choice(("", "x", "sha256", "name", f"{key} "))] = holder.pop(key)
    elif what == 2:
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[name]))
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD))  # so that a later change does not change it here
    return document


def _places(document: Any) -> Any:
    """Every (holder, key or index) of a document."""
    if isinstance(document, (dict, list)):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from _places(document[key])


@_or_bytes
def mutate_table(rng: Rng, content: bytes) -> bytes:
    """CSV with other cells, columns moved, doubled or gone, other delimiters and line ends."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rng.choice(rows) if rng.random() < 0.7 else rows[0]
        column, what = rng.randrange(len(row)) if row else 0, rng.randrange(7)
        if what == 0:
            rows.append(list(row))
        elif what == 1:
            row.insert(column, rng.choice(CELLS))
        elif what == 2 and row:
            del row[column]
        elif what == 3:
            other = rng.randrange(max(1, len(row)))
            for each in rows:
                if max(column, other) < len(each):
                    each[column], each[other] = each[other], each[column]
        elif row:
            row[column] = rng.choice(CELLS)
    delimiter = rng.choice((",", ",", ",", ",", ";", "\t", " "))
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(delimiter.join(row) for row in rows)
    return rng.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")) + text.encode("utf-8", "surrogatepass")


@_or_bytes
def mutate_settings(rng: Rng, content: bytes) -> bytes:
    """TOML with other values, lines doubled, moved or gone."""
    lines = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, what = rng.randrange(len(lines)), rng.randrange(5)
        key, _, _ = lines[at].partition("=")
        if what == 0:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif what == 1 and len(lines) > 1:
            del lines[at]
        elif what == 2:
            lines.insert(at, f"[{rng.choice(('', 'x', 'sources', 'prices', 'loop', 'a.b'))}]")
        else:
            lines[at] = f"{key.strip() or 'x'} = {_toml(rng, rng.choice(ODD))}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _toml(rng: Rng, value: Any) -> str:
    if value is None or isinstance(value, dict):
        return rng.choice(("{}", "{ a = 1 }", "1979-05-27T07:32:00Z", "nan", "-inf", "0x7f", "''", "[{}]"))
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").replace("null", "0")
