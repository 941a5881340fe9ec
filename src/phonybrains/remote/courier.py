"""Send requests, side by side, each until it has an answer: waiting where the service asks to, within the budget."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from ..errors import ServiceError
from .answers import Answer, Answers, sha256
from .config import ImagineConfig, Price
from .ledger import BudgetSpent, Ledger
from .prompts import Wanted
from .service import Reply, Service, Trouble

FIRST_DELAY_S, LONGEST_DELAY_S, LONGEST_WAIT_S = 0.5, 30.0, 300.0
FAILURES_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A wanted image, the body of its request, and the name of its answer."""

    wanted: Wanted
    parameters: Mapping[str, Any]
    key: str


class Stopped(Exception):
    """Somebody else has found out that no more requests shall be sent."""


@dataclass
class Courier:
    """Brings answers, for any number of threads."""

    service: Service
    answers: Answers
    ledger: Ledger
    config: ImagineConfig
    say: Callable[[str], object] = lambda text: None
    stop: threading.Event = field(default_factory=threading.Event)
    not_before: float = 0.0

    def fetch(self, task: Task) -> Answer | Trouble:
        """Ask until there is an answer, which is kept, or no more tries are left. Raises what ends all requests."""
        for attempt in range(self.config.retries + 1):
            self._wait_until(self.not_before)
            ticket = self.ledger.reserve(task.key)
            if self.stop.is_set():
                self.ledger.settle(ticket, "error")
                raise Stopped
            try:
                reply = self.service.ask(task.parameters)
            except Trouble as trouble:
                self.ledger.settle(ticket, "unknown" if trouble.paid else "error")
                if trouble.hopeless:
                    raise ServiceError(f"{self.config.base_url}: {trouble}.") from None
                if not trouble.again or attempt == self.config.retries or trouble.wait_s > LONGEST_WAIT_S:
                    return trouble
                self._hold_off(trouble, attempt)
                continue
            except BaseException:
                self.ledger.settle(ticket, "unknown")
                raise
            answer = self._answer(reply, ticket.number)
            self.answers.keep(task.key, answer, reply.image)
            self.ledger.settle(ticket, "refused" if answer.refused else "image", answer.cost or 0.0)
            return answer
        raise AssertionError("unreachable")

    def _answer(self, reply: Reply, number: int) -> Answer:
        price, digest = self.config.price, sha256(reply.image) if reply.image else ""
        cost = None if price is None else cost_of(reply, price)
        return Answer(digest, reply.suffix, reply.code, reply.message, reply.revised_prompt, reply.request_id, cost,
                      price.currency if price else "", number)  # fmt: skip

    def _hold_off(self, trouble: Trouble, attempt: int) -> None:
        """Wait as long as the service asks, and all other requests too; else ever longer, by a little chance."""
        delay = min(FIRST_DELAY_S * 2**attempt, LONGEST_DELAY_S) * random.uniform(0.75, 1)
        if trouble.wait_s:
            delay = trouble.wait_s
            self.not_before = max(self.not_before, time.monotonic() + delay)
        self.say(f"{trouble}; again in {delay:.0f} s" if delay >= 1 else f"{trouble}; again")
        self._wait_until(time.monotonic() + delay)

    def _wait_until(self, moment: float) -> None:
        if self.stop.wait(max(0.0, moment - time.monotonic())):
            raise Stopped


def cost_of(reply: Reply, price: Price) -> float:
    """What a reply costs: by its tokens where they are counted and priced, else as an image does; a refusal nothing."""
    if not reply.image:
        return 0.0
    if price.output_tokens is None:
        return price.image
    try:
        made, read = float(reply.usage["output_tokens"]), float(reply.usage.get("input_tokens", 0))
    except (LookupError, TypeError, ValueError):
        return price.image
    return max(0.0, made * price.output_tokens + read * (price.input_tokens or 0.0)) / 1e6


def fetch_all(tasks: Sequence[Task], courier: Courier) -> Iterator[tuple[Task, Answer | Trouble]]:
    """Bring the answers to all tasks, as they come, at most `concurrency` at a time.

    Raises ServiceError when the service ends all hope, or fails a few times in a row; BudgetSpent. Stopped or failing,
    it lets the requests under way come home first, as they are paid for.
    """
    pool, in_a_row = ThreadPoolExecutor(courier.config.concurrency), 0
    try:
        futures = {pool.submit(courier.fetch, task): task for task in tasks}
        spent: BudgetSpent | None = None
        for future in as_completed(futures):
            try:
                result = future.result()
            except BudgetSpent as error:
                spent = error
                continue
            in_a_row = in_a_row + 1 if isinstance(result, Trouble) else 0
            yield futures[future], result
            if in_a_row == FAILURES_IN_A_ROW:
                raise ServiceError(f"{courier.config.base_url} fails again and again: {result}.")
        if spent:
            raise spent
    except Stopped:  # the first one that stopped the others has said why
        raise ServiceError(f"{courier.config.base_url}: stopped.") from None
    finally:
        courier.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
