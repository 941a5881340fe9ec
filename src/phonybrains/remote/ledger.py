"""What was spent: a journal on the disk that no stopped run forgets, and the budget that no request passes.

A line is written before each request, and one when it is settled. A request whose end is not known (the connection was
cut, the process killed) may have been paid for, so it counts as one image at the price that was reserved for it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ServiceError

Outcome = Literal["image", "refused", "error", "unknown"]
PAID: tuple[Outcome, ...] = ("image", "unknown")
ROUNDING = 1e-9


class BudgetSpent(ServiceError):
    """The next request could pass the budget."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one request, at this price at most."""

    number: int
    reserved: float


class Ledger:
    """The journal of one folder of answers, for one process and any number of threads."""

    def __init__(self, path: Path, *, price: float, max_images: int | None = None, budget: float | None = None):
        """Read a journal, or begin one. price: the most that one image costs."""
        self.path, self.price, self.max_images, self.budget = path, price, max_images, budget
        self.images, self.cost, self.unknown, self._last = 0, 0.0, 0, 0
        self.outcomes: dict[str, int] = {}
        self._open: dict[int, float] = {}
        self._changed = threading.Condition()
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in _lines(path):
            self._replay(line)

    def _replay(self, line: dict[str, Any]) -> None:
        number = int(line["number"])
        self._last = max(self._last, number)
        if line["what"] == "sent":
            self._open[number] = float(line["reserved"])
        elif number in self._open:
            self._count(number, line["outcome"], float(line["cost"]))

    def _count(self, number: int, outcome: Outcome, cost: float) -> None:
        reserved = self._open.pop(number)
        self.images += outcome in PAID
        self.unknown += outcome == "unknown"
        self.cost += cost
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if cost > reserved:  # a table that is too cheap is believed once
            self.price = max(self.price, cost)

    def close_stopped(self, answered: dict[int, float]) -> None:
        """Settle what a stopped run left open: as an image at its cost where the answer is kept, else as unknown."""
        with self._changed:
            for number, reserved in list(self._open.items()):
                outcome: Outcome = "image" if number in answered else "unknown"
                self._write_end(number, outcome, answered.get(number, reserved))

    def reserve(self, request: str) -> Ticket:
        """Leave to send a request, once it is on the disk that it is sent.

        Waits while requests under way may leave enough. Raises BudgetSpent where none is left.
        """
        with self._changed:
            while not self._affordable():
                if not self._open:
                    raise BudgetSpent(self.summary())
                self._changed.wait()
            self._last += 1
            ticket = Ticket(self._last, self.price)
            self._append(what="sent", number=ticket.number, request=request, reserved=ticket.reserved)
            self._open[ticket.number] = ticket.reserved
            return ticket

    def settle(self, ticket: Ticket, outcome: Outcome, cost: float = 0.0) -> None:
        """Say how a request ended, and what it cost."""
        with self._changed:
            self._write_end(ticket.number, outcome, ticket.reserved if outcome == "unknown" else cost)
            self._changed.notify_all()

    def affords(self, images: int) -> bool:
        """Whether so many images more are within the budget, each at its highest price."""
        fits = self.max_images is None or self.images + images <= self.max_images
        return fits and (self.budget is None or self.cost + images * self.price <= self.budget + ROUNDING)

    def summary(self) -> str:
        """What is spent, of what, as a sentence's end."""
        of_images = "" if self.max_images is None else f" of {self.max_images}"
        of_money = "" if self.budget is None else f" of {self.budget:g}"
        doubt = f", {self.unknown} of them without an answer" if self.unknown else ""
        return f"{self.images}{of_images} images asked for{doubt}, cost {self.cost:.4g}{of_money}"

    def _affordable(self) -> bool:
        images, reserved = self.images + len(self._open) + 1, sum(self._open.values())
        fits = self.max_images is None or images <= self.max_images
        return fits and (self.budget is None or self.cost + reserved + self.price <= self.budget + ROUNDING)

    def _write_end(self, number: int, outcome: Outcome, cost: float) -> None:
        self._append(what="settled", number=number, outcome=outcome, cost=cost)
        self._count(number, outcome, cost)

    def _append(self, **line: Any) -> None:
        with self.path.open("ab+") as file:
            if file.tell() and not _ends_in_newline(self.path):
                file.write(b"\n")  # a power cut tore the last line
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal; one that was torn was never acted upon."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
