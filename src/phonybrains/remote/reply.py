"""How a request ends: with a reply, an image or a refusal, or in trouble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .answers import Suffix, printable
from .key import Key

LONGEST_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Reply:
    """An image as it came, or why there is none (code, message); paid: whether such a refusal may have cost money."""

    image: bytes = b""
    suffix: Suffix = ""
    code: str = ""
    message: str = ""
    revised_prompt: str = ""
    request_id: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    paid: bool = False


class Trouble(Exception):
    """A request that brought nothing.

    paid: whether it may have been paid for; again: whether it would be of use to send it again, wait_s seconds later if
    the service says so; hopeless: whether every other request will end alike; old: whether an earlier run has asked.
    """

    old = False

    def __init__(self, text: str, *, paid: bool = False, again: bool = True, hopeless: bool = False, wait_s: float = 0):
        super().__init__(text)
        self.paid, self.again, self.hopeless, self.wait_s = paid, again, hopeless, wait_s


def one_line(value: Any, key: Key) -> str:
    """A text of a service's without the key, on one line that can be printed."""
    return printable(key.hide(" ".join(str(value or "").split())[:LONGEST_MESSAGE]))
