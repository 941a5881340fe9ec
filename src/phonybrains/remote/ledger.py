"""What was spent: a journal on the disk that no stopped run forgets, and the budget that no request passes.

A line is written before each request, and one when it is settled. What may have been paid for counts as paid: a request
whose end is not known (the service failed, the connection was cut, the process killed) is one image at the price that
was reserved for it, and so is a line of the journal that a power cut tore.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from ..errors import OutputError, ServiceError
from ..wording import count_of
from .journal import Journal, Line, Outcome, Sent, Settled

PAID: tuple[Outcome, ...] = ("image", "refused_paid", "unknown")
ROUNDING = 1e-9


class BudgetSpent(ServiceError):
    """The next request could pass the budget."""


class Ledger:
    """The journal of one folder of answers, for one process and any number of threads."""

    def __init__(self, path: Path, *, price: float, max_images: int | None = None, budget: float | None = None):
        """Read a journal, or begin one. price: the most that one image costs.

        Raises OutputError where the journal is damaged before its last line.
        """
        self.path, self.price, self.max_images, self.budget = path, price, max_images, budget
        self.images, self.cost, self._last = 0, 0.0, 0
        self.outcomes: Counter[str] = Counter()
        self._open: dict[int, float] = {}
        self._changed = threading.Condition()
        self._journal = Journal(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines, torn_sent = self._journal.read()
        for i, line in enumerate(lines, start=1):
            if not self._replay(line):
                raise self._journal.damaged(i)
        if torn_sent:
            self._send("", price)

    def _replay(self, line: Line) -> bool:
        """Count a line; whether it can come here."""
        if isinstance(line, Sent):
            fits = line.number == self._last + 1
            self._last = line.number
            self._open[line.number] = line.reserved
        else:
            fits = line.number in self._open
            if fits:
                self._count(line.number, line.outcome, line.cost)
        return fits

    def covers(self, number: int) -> None:
        """Make sure that the journal goes as far as this number, of an answer that is kept. Raises OutputError."""
        if number > self._last:
            raise OutputError(
                f"{self.path}: the journal ends at request {self._last}, but request {number} was "
                "answered, so that what was spent is not known. Restore the file from a backup, or "
                "choose another --out; nothing was asked for."
            )

    def _send(self, request: str, reserved: float) -> int:
        sent = Sent(number=self._last + 1, request=request, reserved=reserved)
        self._journal.append(sent)
        self._replay(sent)
        return sent.number

    def _count(self, number: int, outcome: Outcome, cost: float) -> None:
        reserved = self._open.pop(number)
        self.images += outcome in PAID
        self.cost += cost
        self.outcomes[outcome] += 1
        if cost > reserved:  # a table that is too cheap is believed once
            self.price = max(self.price, cost)

    def close_stopped(self, answered: dict[int, float]) -> None:
        """Settle what a stopped run left open: as an image at its cost where the answer is kept, else as unknown."""
        with self._changed:
            for number, reserved in list(self._open.items()):
                outcome: Outcome = "image" if number in answered else "unknown"
                self._write_end(number, outcome, answered.get(number, reserved))

    def reserve(self, request: str) -> int:
        """Leave to send a request, once it is on the disk that it is sent: its number.

        Waits while requests under way may leave enough. Raises BudgetSpent where none is left.
        """
        with self._changed:
            while not self.affords_one():
                if not self._open:
                    raise BudgetSpent(self.summary())
                self._changed.wait()
            return self._send(request, self.price)

    def settle(self, number: int, outcome: Outcome, cost: float = 0.0) -> None:
        """Say how a request ended, and what it cost."""
        with self._changed:
            try:
                self._write_end(number, outcome, self._open[number] if outcome == "unknown" else cost)
            finally:
                self._changed.notify_all()

    def affords_one(self) -> bool:
        """Whether an image more is within the limits, it and those under way each at its highest price."""
        fits = self.max_images is None or self.images + len(self._open) + 1 <= self.max_images
        most = self.cost + sum(self._open.values()) + self.price
        return fits and (self.budget is None or most <= self.budget + ROUNDING)

    @property
    def refused(self) -> int:
        """Requests that were refused, paid for or not."""
        return self.outcomes["refused"] + self.outcomes["refused_paid"]

    @property
    def unknown(self) -> int:
        """Requests without an answer."""
        return self.outcomes["unknown"]

    def summary(self) -> str:
        """What is spent, of what, as a sentence's end."""
        of = "" if self.max_images is None else f"{self.images} of "
        images = of + count_of(self.images if self.max_images is None else self.max_images, "image")
        of_money = "" if self.budget is None else f" of {self.budget:g}"
        doubt = f", {self.unknown} of them without an answer" if self.unknown else ""
        refused = f", {count_of(self.refused, 'request')} refused" if self.refused else ""
        return f"{images} asked for{doubt}{refused}, cost {self.cost:.4g}{of_money}"

    def _write_end(self, number: int, outcome: Outcome, cost: float) -> None:
        try:
            self._journal.append(Settled(number=number, outcome=outcome, cost=cost))
        except OSError:  # on the disk it stays open, so that the next run will say the same
            self._count(number, "unknown", self._open[number])
            raise
        self._count(number, outcome, cost)
