"""The small protocol that a text-to-image service is asked by: order an image, then read what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .answers import Body, Suffix, printable
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

    paid: whether it may have been paid for, so that it is not sent again; wait_s: for how long the service asks to be
    left alone; hopeless: whether every other request will end alike; old: whether an earlier run has asked.
    """

    old = False

    def __init__(self, text: str, *, paid: bool = False, hopeless: bool = False, wait_s: float = 0):
        super().__init__(text)
        self.paid, self.hopeless, self.wait_s = paid, hopeless, wait_s


class Service(Protocol):
    """Makes images for money. What is raised never holds a key."""

    def order(self, parameters: Mapping[str, Any]) -> Body | Reply:
        """Send a request for one image, once: what was sent, not read yet, or a refusal. Raises Trouble."""
        ...

    def read(self, body: Body) -> Reply:
        """The image in what was sent, or a refusal; costs nothing, as often as it is done. Raises Trouble."""
        ...


def one_line(value: Any, key: Key) -> str:
    """A text of a service's without the key, on one line that can be printed."""
    return printable(key.hide(" ".join(str(value or "").split())[:LONGEST_MESSAGE]))
