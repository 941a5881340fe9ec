"""Requests that wait, painted in batches: images of several requests share one, and none depends on its neighbours.

A network's kernels are chosen by the shape of what they compute, and another choice moves pixels by a gray level. So
every batch has the same shape: places that nobody asked for are filled up with copies of the last image.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.conditions import Value
from ..model.latent_diffusion import LatentDiffusion, Sampling, image_rng
from ..model.precision import computing_in
from ..model.workers import count_workers
from .refusal import Refusal

LANES_CPU, LANES_GPU = 4, 16
"""Images in a batch. A CPU is nearly as fast with four as with more, and one image alone then waits for no more."""
GATHER_SECONDS = 0.01
"""How long a batch with free places waits for clients that ask at the same moment."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Order:
    """One image that is asked for: its seed and index, its conditions, and the settled sampling."""

    seed: int
    index: int
    wanted: Mapping[str, Value]
    sampling: Sampling
    """What the images of one batch have in common."""


@dataclass(eq=False)
class Ticket:
    """A request while it waits: what is not yet begun, what is done by place, and whether anybody still wants it."""

    orders: Sequence[Order]
    done: asyncio.Future[list[Image]]
    frames: int = 0
    """More than 0: a film of its one image in so many frames instead of the image."""
    begun: int = 0
    images: dict[int, Image] = field(default_factory=dict)
    gone: bool = False

    @property
    def left(self) -> int:
        return len(self.orders) - self.begun


Place = tuple[Ticket, int]


@dataclass
class Painter:
    """Paints for one event loop; `most_waiting` images may wait, who asks for more is refused until some are done."""

    model: LatentDiffusion
    most_waiting: int = 200
    seconds: float = 1.0
    """A batch took about so long lately."""

    def __post_init__(self) -> None:
        threads, self.workers = torch.get_num_threads(), count_workers(self.model.device)
        self.lanes = LANES_CPU if self.model.device.type == "cpu" else LANES_GPU
        each = max(1, threads // self.workers)
        self._pool = ThreadPoolExecutor(self.workers, "painter", initializer=torch.set_num_threads, initargs=(each,))
        self._waiting: deque[Ticket] = deque()
        self._free = self.workers
        self._gathering = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopped = False

    @property
    def waiting(self) -> int:
        """Images that are not yet begun."""
        return sum(ticket.left for ticket in self._waiting)

    async def paint(self, orders: Sequence[Order], frames: int = 0) -> list[Image]:
        """The images of these orders, or `frames` frames of one; whoever stops waiting for them frees their places.

        Raises Refusal where too many wait (429) or the server stops (503).
        """
        self._admit(len(orders))
        self._loop = asyncio.get_running_loop()
        ticket = Ticket(orders, self._loop.create_future(), frames)
        self._waiting.append(ticket)
        self._gather()
        try:
            return await ticket.done
        finally:
            ticket.gone = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)

    def stop_soon(self) -> None:
        """`stop`, said from a handler of signals."""
        self.stopped = True
        if self._loop:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Refuse what waits and what comes; batches under way are finished."""
        self.stopped = True
        for ticket in self._waiting:
            if not ticket.done.done():
                ticket.done.set_exception(_stopping())
        self._waiting.clear()

    def close(self) -> None:
        """Wait for the batches under way, and end the threads."""
        self._pool.shutdown()

    def _admit(self, images: int) -> None:
        if self.stopped:
            raise _stopping()
        if self._waiting and self.waiting + images > self.most_waiting:
            batches = math.ceil(self.waiting / self.lanes / self.workers)
            seconds = max(1, min(60, math.ceil(batches * self.seconds)))
            raise Refusal(429, f"{self.waiting} images wait already. Ask again in {seconds} s.",
                          code="rate_limit_exceeded", headers={"Retry-After": str(seconds)})  # fmt: skip

    def _gather(self) -> None:
        """Begin a batch soon, if a worker is free: clients that ask at the same moment share it."""
        if self._free and self._waiting and not self._gathering:
            self._gathering = True
            wait = 0.0 if self.waiting >= self.lanes else GATHER_SECONDS
            asyncio.get_running_loop().call_later(wait, self._begin)

    def _begin(self) -> None:
        self._gathering = False
        while self._free and self._waiting:
            self._free -= 1
            task = asyncio.ensure_future(self._run(self._next_batch()))
            task.add_done_callback(lambda _: self._gather())

    def _next_batch(self) -> list[Place]:
        """The images of whoever waits longest, and of others that are painted alike; what is left of them queues again.

        So a request for many images does not keep those for one waiting.
        """
        first, batch = self._waiting[0], list[Place]()
        for ticket in list(self._waiting):
            alike = ticket.orders[0].sampling == first.orders[0].sampling and not ticket.frames and not first.frames
            if len(batch) < self.lanes and (ticket is first or alike):
                taken = min(ticket.left, self.lanes - len(batch))
                batch += [(ticket, i) for i in range(ticket.begun, ticket.begun + taken)]
                ticket.begun += taken
                self._waiting.remove(ticket)
                if ticket.left:
                    self._waiting.append(ticket)
        return batch

    async def _run(self, batch: list[Place]) -> None:
        """Paint a batch in a thread and hand the images out; an error goes to all whose images were in it."""
        start = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            images = await loop.run_in_executor(self._pool, paint_batch, self.model, batch, self.lanes)
        except Exception as error:
            for ticket in {ticket for ticket, _ in batch}:
                if not ticket.done.done():
                    ticket.done.set_exception(error)
        else:
            self.seconds += 0.2 * (time.monotonic() - start - self.seconds)
            self._hand_out(batch, images)
        finally:
            self._free += 1

    def _hand_out(self, batch: list[Place], images: list[Image]) -> None:
        if batch[0][0].frames:
            batch = [(batch[0][0], i) for i in range(len(images))]
        for (ticket, place), image in zip(batch, images, strict=False):
            ticket.images[place] = image
            if len(ticket.images) == (ticket.frames or len(ticket.orders)) and not ticket.done.done():
                ticket.done.set_result([ticket.images[i] for i in range(len(ticket.images))])


def paint_batch(model: LatentDiffusion, batch: Sequence[Place], lanes: int) -> list[Image]:
    """Paint a batch in the one shape that all have; none where nobody wants its images any more."""
    orders = [ticket.orders[i] for ticket, i in batch]
    padded = orders + [orders[-1]] * (lanes - len(orders))
    sampling, wanted = orders[0].sampling, [order.wanted for order in padded]
    frames = batch[0][0].frames
    film = []
    latents = None
    for latents in model.walk_with([image_rng(order.seed, order.index) for order in padded], wanted, sampling):
        if all(ticket.gone for ticket, _ in batch):
            return []
        if frames:
            film.append(latents[:1])
    assert latents is not None
    if frames:
        last = len(film) - 1
        latents = torch.cat([film[round(last * i / (frames - 1))] for i in range(frames)])
        wanted = [orders[0].wanted] * frames
    with computing_in(sampling.precision, model.device):
        images = model.decode(latents, [row.get("modality") for row in wanted])
    return list(images[: frames or len(orders)])


def _stopping() -> Refusal:
    return Refusal(503, "The server is stopping. Ask again when it runs.", headers={"Retry-After": "5"})
