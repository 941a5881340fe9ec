"""Send requests, side by side, within the budget, waiting where the service asks to.

A request that was not paid for is sent again, and one that costs nothing; one that may have been paid for is not: what
it brought is read, and an image fetched from its address, as often as need be.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from ..errors import ServiceError
from .answers import Answers, RawAnswer, ServiceAnswer, sha256
from .config import ImagineConfig, Price
from .journal import Outcome
from .ledger import BudgetSpent, Ledger
from .prompts import Wanted
from .reply import Reply, Trouble
from .service import OpenAIService

FIRST_DELAY_S, LONGEST_DELAY_S, LONGEST_WAIT_S = 0.5, 30.0, 300.0
FAILURES_IN_A_ROW = 3
TOKENS = range(64, 1_000_001)
"""Of one image: what lies outside counts something else, or nothing."""
SAID = ("suffix", "code", "message", "revised_prompt", "request_id", "paid")
"""What an answer takes over from a reply."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A wanted image, the body of its request, and the name of its answer."""

    wanted: Wanted
    parameters: Mapping[str, Any]
    key: str


class Stopped(Exception):
    """Somebody else has found out that no more requests shall be sent."""


@dataclass
class Fetcher:
    """Brings answers, for any number of threads."""

    service: OpenAIService
    answers: Answers
    ledger: Ledger
    config: ImagineConfig
    say: Callable[[str], object] = lambda text: None
    stop: threading.Event = field(default_factory=threading.Event)
    not_before: float = 0.0

    def fetch(self, request: ServiceRequest) -> ServiceAnswer | Trouble:
        """The answer to a request, which is kept. Raises what ends all requests.

        Asks again only what was certainly not paid for; reads what an earlier run has left without asking.
        """
        body = self.answers.body(request.key)
        try:
            if body:
                return self._keep(request, self._read(request, body), body.number)
            return self._ask_until_paid(request)
        except Trouble as trouble:
            if trouble.hopeless:
                self.stop.set()
                raise ServiceError(f"{self.config.base_url}: {trouble}.") from None
            trouble.old = body is not None
            return trouble

    def _ask_until_paid(self, request: ServiceRequest) -> ServiceAnswer:
        price = self.config.price
        is_free = price is not None and price.image == 0
        for attempt in itertools.count():
            try:
                return self._ask(request)
            except Trouble as trouble:
                if 0 < trouble.wait_s <= LONGEST_WAIT_S:
                    self.not_before = max(self.not_before, time.monotonic() + trouble.wait_s)
                last = attempt == self.config.retries or trouble.wait_s > LONGEST_WAIT_S
                paid = trouble.paid and not (is_free and trouble.again)
                if paid or trouble.hopeless or last:
                    raise
                self._hold_off(trouble, attempt)
        raise AssertionError("unreachable")

    def _ask(self, request: ServiceRequest) -> ServiceAnswer:
        """Send a request, once, and keep what comes; the ledger has its end, whatever that is."""
        self._wait_until(self.not_before)
        number = self.ledger.reserve(request.key)
        if self.stop.is_set():
            self.ledger.settle(number, "error")
            raise Stopped
        try:
            sent = self.service.order(request.parameters)
            if isinstance(sent, RawAnswer):
                body = replace(sent, number=number)
                self.answers.keep_body(request.key, body)
                sent = self._read(request, body)
            answer = self._keep(request, sent, number)
        except BaseException as error:
            unpaid = isinstance(error, Trouble) and not error.paid
            self.ledger.settle(number, "error" if unpaid else "unknown")
            raise
        refusal: Outcome = "refused_paid" if answer.paid else "refused"
        self.ledger.settle(number, refusal if answer.refused else "image", answer.cost or 0.0)
        return answer

    def _read(self, request: ServiceRequest, body: RawAnswer) -> Reply:
        try:
            return self.service.read(body)
        except Trouble as trouble:
            file = self.answers.body_file(request.key)
            text = f"{trouble}; it may be paid for and is kept, so it is not ordered again unless you remove {file}"
            raise Trouble(text, paid=True, again=False, hopeless=trouble.hopeless) from None

    def _keep(self, request: ServiceRequest, reply: Reply, number: int) -> ServiceAnswer:
        price = self.config.price
        answer = ServiceAnswer(
            image_sha256=sha256(reply.image) if reply.image else "",
            cost=cost_of(reply, price) if price else None,
            currency=price.currency if price else "",
            number=number,
            **{name: getattr(reply, name) for name in SAID},
        )
        self.answers.keep(request.key, answer, reply.image)
        return answer

    def _hold_off(self, trouble: Trouble, attempt: int) -> None:
        """Wait as long as the service asks, and all other requests too; else ever longer, by a little chance."""
        delay = min(FIRST_DELAY_S * 2**attempt, LONGEST_DELAY_S) * random.uniform(0.75, 1)
        delay = trouble.wait_s or delay
        self.say(f"{trouble}; again in {delay:.0f} s" if delay >= 1 else f"{trouble}; again")
        self._wait_until(time.monotonic() + delay)

    def _wait_until(self, moment: float) -> None:
        if self.stop.wait(max(0.0, moment - time.monotonic())):
            raise Stopped


def cost_of(reply: Reply, price: Price) -> float:
    """What a reply costs: by its tokens where they are priced and a plausible number is given, else as an image does.

    A refusal costs nothing, or as much as an image where it may have been paid for.
    """
    if not reply.image:
        return price.image if reply.paid else 0.0
    made, read = reply.usage.get("output_tokens"), reply.usage.get("input_tokens", 0)
    if price.output_tokens is None or not _counted(made, TOKENS) or not _counted(read, range(TOKENS.stop)):
        return price.image
    return (made * price.output_tokens + read * (price.input_tokens or 0.0)) / 1e6


def _counted(tokens: object, plausible: range) -> TypeGuard[int]:
    return isinstance(tokens, int) and not isinstance(tokens, bool) and tokens in plausible


def fetch_all(requests: Sequence[ServiceRequest], fetcher: Fetcher) -> Iterator[ServiceAnswer | Trouble]:
    """Bring the answers to all requests, as they come, at most `concurrency` at a time.

    Raises ServiceError when the service ends all hope, or fails a few times in a row; BudgetSpent. Stopped or failing,
    it lets the requests under way come home first, as they are paid for.
    """
    pool, in_a_row = ThreadPoolExecutor(fetcher.config.concurrency), 0
    try:
        spent: BudgetSpent | None = None
        for future in as_completed([pool.submit(fetcher.fetch, request) for request in requests]):
            try:
                result = future.result()
            except BudgetSpent as error:
                spent = error
                continue
            except Stopped:  # whoever stopped the others says why
                continue
            if not isinstance(result, Trouble):
                in_a_row = 0
            elif not result.old:
                in_a_row += 1
            yield result
            if in_a_row == FAILURES_IN_A_ROW:
                raise ServiceError(f"{fetcher.config.base_url} fails again and again: {result}.")
        if spent:
            raise spent
    finally:
        fetcher.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
