"""Numbers of things in words."""

from __future__ import annotations


def count_of(n: int, one: str, many: str = "") -> str:
    """`1 reader`, `2 readers`; many: where that is not one with an s."""
    return f"{n} {one if n == 1 else many or one + 's'}"
