"""Requests that wait, made in batches: images of several requests share one, and none depends on its neighbours.

What counts is work, steps × images × pixels, in images at the model's own steps and size. A batch gets a slice of
time at once; then it is the turn of the client who was served least, and of its requests of the one with least left to
do, so that a small request never waits for a large one to end.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from ..model.compiled import Compiled, workers
from ..model.latent_diffusion import LatentDiffusion
from ..model.workers import count_workers
from ..wording import count_of
from .batch import Batch, Image, Order, Place, Queued, make_batch
from .refusal import Refusal

LANES_CPU, LANES_GPU = 4, 16
"""Images in a batch. A CPU is nearly as fast with four as with more, and one image alone then waits for no more."""
GATHER_SECONDS = 0.01
"""How long a batch with free places waits for clients that ask at the same moment."""
SMALL = 0.1
"""Share of the budget below which a request is small, and SHARE of the queue that one client's others may fill."""
SHARE = 0.75


@dataclass
class Batcher:
    """Makes images for one event loop; `most_waiting` work may wait, and one request may ask for `budget`.

    Who asks for more than may wait is refused until some is done.
    """

    model: LatentDiffusion | Compiled
    most_waiting: float = 400
    budget: float = 100
    seconds: float = 0.2
    """A unit of work took about so long lately."""

    def __post_init__(self) -> None:
        if isinstance(self.model, Compiled):
            self.workers, self.lanes = workers(), 1
        else:
            self.workers = count_workers(self.model.device)
            self.lanes = LANES_CPU if self.model.device.type == "cpu" else LANES_GPU
        each = max(1, torch.get_num_threads() // self.workers)
        self._pool = ThreadPoolExecutor(self.workers, "batcher", initializer=torch.set_num_threads, initargs=(each,))
        self._queue: list[Queued] = []
        self._paused: list[Batch] = []
        self._running: list[Batch] = []
        self._turns: dict[str, float] = {}
        self._now = 0.0
        self._gathering = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopped = False

    @property
    def waiting(self) -> int:
        """Images that are not yet begun."""
        return sum(queued.left for queued in self._queue)

    async def generate(self, orders: Sequence[Order], frames: int = 0, client: str = "") -> list[Image]:
        """The images of these orders, or `frames` frames of one; whoever stops waiting for them frees their places.

        Raises Refusal where that is more work than the budget (413), too much waits (429) or the server stops (503).
        """
        work = len(orders) * self._work_of(orders[0])
        self._admit(work, orders, client)
        self._loop = asyncio.get_running_loop()
        queued = Queued(orders, self._loop.create_future(), work, client, frames)
        if not self._knows(client):
            self._turns[client] = self._now
        self._queue.append(queued)
        self._gather()
        try:
            return await queued.done
        finally:
            queued.gone = True
            self._queue.remove(queued)
            if not self._knows(client):
                self._turns.pop(client, None)

    def _knows(self, client: str) -> bool:
        return any(queued.client == client for queued in self._queue)

    def _work_of(self, order: Order) -> float:
        """Work of one image: 1 at the model's own steps, twice as much a step with guidance or by Heun's method."""
        how, weight = order.sampling, order.edited.weight if order.edited else 1
        return weight * (how.steps or 1) * (1 + (how.guidance != 1)) * (1 + (how.sampler == "heun")) / self.model.steps

    def stop_soon(self) -> None:
        """`stop`, said from a handler of signals."""
        self.stopped = True
        if self._loop:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Refuse what waits and what comes; batches that are being made are finished."""
        self.stopped = True
        self._paused.clear()
        under_way = set().union(*(batch.requests for batch in self._running))
        for queued in self._queue:
            if queued.left or queued not in under_way:
                queued.begun = len(queued.orders)
                queued.fail(_stopping())

    def close(self) -> None:
        """Wait for the batches under way, and end the threads."""
        self._pool.shutdown()

    def _admit(self, work: float, orders: Sequence[Order], client: str) -> None:
        if self.stopped:
            raise _stopping()
        if work > self.budget:
            size, steps = self.model.size, orders[0].sampling.steps or self.model.steps
            asked = (
                f"This asks for {count_of(len(orders), 'image')} of {count_of(steps, 'step')} and {size}×{size} pixels"
            )
            worth = f"the work of {work:g} images at {count_of(self.model.steps, 'step')}"
            limit = f"a request may ask for that of {self.budget:g}. Ask for fewer images or steps."
            raise Refusal(413, f"{asked}, {worth}; {limit}", code="work_limit_exceeded")
        in_all = sum(queued.work_left for queued in self._queue)
        own = sum(queued.work_left for queued in self._queue if queued.client == client)
        share = 1.0 if work <= SMALL * self.budget else SHARE
        if self._queue and (in_all + work > self.most_waiting or own + work > share * self.most_waiting):
            seconds = max(1, min(60, math.ceil(in_all * self.seconds / self.workers)))
            crowd = f"The work of {count_of(round(in_all), 'image')} waits already, that of {own:.0f} for you."
            headers = {"Retry-After": str(seconds)}
            raise Refusal(429, f"{crowd} Ask again in {seconds} s.", code="rate_limit_exceeded", headers=headers)

    @property
    def _can_begin(self) -> bool:
        return len(self._running) < self.workers and bool(self._paused or self.waiting)

    def _gather(self) -> None:
        """Begin a batch soon, if a worker is free: clients that ask at the same moment share it."""
        if self._can_begin and not self._gathering:
            self._gathering = True
            wait = 0.0 if self._paused or self.waiting >= self.lanes else GATHER_SECONDS
            asyncio.get_running_loop().call_later(wait, self._begin)

    def _begin(self) -> None:
        self._gathering = False
        while self._can_begin:
            batch = self._next_batch()
            self._running.append(batch)
            asyncio.ensure_future(self._run(batch)).add_done_callback(lambda _: self._gather())

    def _turn(self, queued: Queued) -> tuple[float, float]:
        """Whose turn it is: the client who was served least, and of its requests the one with least left to do."""
        return self._turns.get(queued.client, self._now), queued.work_left

    def _next_batch(self) -> Batch:
        """The batch whose turn it is: a paused one, or a new one, filled up with images that are made alike."""
        waiting = sorted((queued for queued in self._queue if queued.left), key=self._turn)
        paused = min(self._paused, key=lambda batch: min(map(self._turn, batch.wanted)), default=None)
        if paused and (not waiting or min(map(self._turn, paused.wanted)) <= self._turn(waiting[0])):
            self._paused.remove(paused)
            return paused
        first, places = waiting[0], list[Place]()
        lanes = 1 if first.alone else self.lanes
        for queued in waiting:
            alike = queued.orders[0].sampling == first.orders[0].sampling and not queued.alone
            if len(places) < lanes and (queued is first or alike):
                taken = min(queued.left, lanes - len(places))
                places += [(queued, i) for i in range(queued.begun, queued.begun + taken)]
                queued.begun += taken
        return Batch(places, make_batch(self.model, places, self.lanes))

    async def _run(self, batch: Batch) -> None:
        """Work on a batch for a slice in a thread, hand out what is finished; an error goes to all it has images of."""
        start, self._now = time.monotonic(), min(map(self._turn, batch.wanted))[0]
        try:
            images, steps = await asyncio.get_running_loop().run_in_executor(self._pool, batch.advance)
        except Exception as error:
            for queued in batch.requests:
                queued.fail(error)
        else:
            self._count(batch, steps, time.monotonic() - start)
            if images is None:
                self._paused.append(batch)
            else:
                batch.hand_out(images)
        finally:
            self._running.remove(batch)

    def _count(self, batch: Batch, steps: int, seconds: float) -> None:
        """Note how much of their work was done for the requests of a batch, and how fast."""
        done = 0.0
        for queued, place in batch.places:
            order = queued.orders[place]
            part = self._work_of(order) * steps / (order.sampling.steps or 1)
            queued.served += part
            if queued.client in self._turns:
                self._turns[queued.client] += part
            done += part
        if done:
            self.seconds += 0.2 * (seconds / done - self.seconds)


def _stopping() -> Refusal:
    return Refusal(503, "The server is stopping. Ask again when it runs.", headers={"Retry-After": "5"})
