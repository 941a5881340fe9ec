"""Requests that wait, painted in batches: images of several requests share one, and none depends on its neighbours.

What counts is work, steps × images × pixels, in images at the model's own steps and size. A batch is painted a slice of
time at once; then it is the turn of the client who was served least, and of its requests of the one with least left to
do, so that a small request never waits for a large one to end.

A network's kernels are chosen by the shape of what they compute, and another choice moves pixels by a gray level. So
every batch has the same shape: places that nobody asked for are filled up with copies of the last image.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.latent_diffusion import LatentDiffusion, image_rng
from ..model.precision import computing_in
from ..model.sampling import Sampling
from ..model.workers import count_workers
from ..networks.conditions import Value
from .refusal import Refusal

LANES_CPU, LANES_GPU = 4, 16
"""Images in a batch. A CPU is nearly as fast with four as with more, and one image alone then waits for no more."""
GATHER_SECONDS = 0.01
"""How long a batch with free places waits for clients that ask at the same moment."""
SLICE_SECONDS = 0.25
"""How long a batch is painted before others get their turn."""
SMALL = 0.1
"""Share of the budget below which a request is small, and SHARE of the queue that one client's others may fill."""
SHARE = 0.75

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
    work: float
    client: str = ""
    frames: int = 0
    """More than 0: a film of its one image in so many frames instead of the image."""
    served: float = 0.0
    """Work that was done for it."""
    begun: int = 0
    images: dict[int, Image] = field(default_factory=dict)
    gone: bool = False

    @property
    def left(self) -> int:
        return len(self.orders) - self.begun


Place = tuple[Ticket, int]


@dataclass(eq=False)
class Batch:
    """A batch under way: its places, and the painting of it, which goes on where it stopped."""

    places: list[Place]
    painting: Iterator[list[Image] | None]

    @property
    def wanted(self) -> list[Ticket]:
        """The requests in it that somebody still wants, or any where nobody does."""
        return [ticket for ticket, _ in self.places if not ticket.gone] or [self.places[0][0]]

    def advance(self) -> tuple[list[Image] | None, int]:
        """Paint for a slice of time: the images if it is finished, and how many steps were made."""
        until, steps = time.monotonic() + SLICE_SECONDS, 0
        for images in self.painting:
            if images is not None or time.monotonic() >= until:
                return images, steps + (images is None)
            steps += 1
        return [], steps


@dataclass
class Painter:
    """Paints for one event loop; `most_waiting` work may wait, and one request may ask for `budget`.

    Who asks for more than may wait is refused until some is done.
    """

    model: LatentDiffusion
    most_waiting: float = 400
    budget: float = 100
    seconds: float = 0.2
    """A unit of work took about so long lately."""

    def __post_init__(self) -> None:
        threads, self.workers = torch.get_num_threads(), count_workers(self.model.device)
        self.lanes = LANES_CPU if self.model.device.type == "cpu" else LANES_GPU
        each = max(1, threads // self.workers)
        self._pool = ThreadPoolExecutor(self.workers, "painter", initializer=torch.set_num_threads, initargs=(each,))
        self._tickets: list[Ticket] = []
        self._paused: list[Batch] = []
        self._painted: list[Batch] = []
        self._turns: dict[str, float] = {}
        self._now = 0.0
        self._free = self.workers
        self._gathering = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopped = False

    @property
    def waiting(self) -> int:
        """Images that are not yet begun."""
        return sum(ticket.left for ticket in self._tickets)

    async def paint(self, orders: Sequence[Order], frames: int = 0, client: str = "") -> list[Image]:
        """The images of these orders, or `frames` frames of one; whoever stops waiting for them frees their places.

        Raises Refusal where that is more work than the budget (413), too much waits (429) or the server stops (503).
        """
        work = len(orders) * self._work_of(orders[0])
        self._admit(work, orders, client)
        self._loop = asyncio.get_running_loop()
        ticket = Ticket(orders, self._loop.create_future(), work, client, frames)
        if all(other.client != client for other in self._tickets):
            self._turns[client] = self._now
        self._tickets.append(ticket)
        self._gather()
        try:
            return await ticket.done
        finally:
            ticket.gone = True
            self._tickets.remove(ticket)
            if all(other.client != client for other in self._tickets):
                self._turns.pop(client, None)

    def _work_of(self, order: Order) -> float:
        """Work of one image: 1 at the model's own steps, twice as much a step with guidance or by Heun's method."""
        how = order.sampling
        return (how.steps or 1) * (1 + (how.guidance != 1)) * (1 + (how.sampler == "heun")) / self.model.steps

    def stop_soon(self) -> None:
        """`stop`, said from a handler of signals."""
        self.stopped = True
        if self._loop:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Refuse what waits and what comes; batches that are being painted are finished."""
        self.stopped = True
        self._paused.clear()
        painted = {ticket for batch in self._painted for ticket, _ in batch.places}
        for ticket in self._tickets:
            if (ticket.left or ticket not in painted) and not ticket.done.done():
                ticket.begun = len(ticket.orders)
                ticket.done.set_exception(_stopping())

    def close(self) -> None:
        """Wait for the batches under way, and end the threads."""
        self._pool.shutdown()

    def _admit(self, work: float, orders: Sequence[Order], client: str) -> None:
        if self.stopped:
            raise _stopping()
        if work > self.budget:
            size = self.model.size
            asked = f"{len(orders)} images of {orders[0].sampling.steps} steps and {size}×{size} pixels"
            own = f"the work of {work:g} images at {self.model.steps} steps"
            raise Refusal(
                413,
                f"This asks for {asked}, {own}; a request may ask for that of {self.budget:g}. "
                "Ask for fewer images or steps.",
                code="work_limit_exceeded",
            )
        left = {key: sum(t.work - t.served for t in self._tickets if key in (None, t.client)) for key in (None, client)}
        share = 1.0 if work <= SMALL * self.budget else SHARE
        if self._tickets and (left[None] + work > self.most_waiting or left[client] + work > share * self.most_waiting):
            seconds = max(1, min(60, math.ceil(left[None] * self.seconds / self.workers)))
            much = f"The work of {left[None]:.0f} images waits already, that of {left[client]:.0f} for you."
            raise Refusal(
                429,
                f"{much} Ask again in {seconds} s.",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(seconds)},
            )

    def _gather(self) -> None:
        """Begin a batch soon, if a worker is free: clients that ask at the same moment share it."""
        if self._free and (self._paused or self.waiting) and not self._gathering:
            self._gathering = True
            wait = 0.0 if self._paused or self.waiting >= self.lanes else GATHER_SECONDS
            asyncio.get_running_loop().call_later(wait, self._begin)

    def _begin(self) -> None:
        self._gathering = False
        while self._free and (self._paused or self.waiting):
            self._free -= 1
            task = asyncio.ensure_future(self._run(self._next_batch()))
            task.add_done_callback(lambda _: self._gather())

    def _turn(self, ticket: Ticket) -> tuple[float, float]:
        """Whose turn it is: the client who was served least, and of its requests the one with least left to do."""
        return self._turns.get(ticket.client, self._now), ticket.work - ticket.served

    def _next_batch(self) -> Batch:
        """The batch whose turn it is: a paused one, or a new one, filled up with images that are painted alike."""
        waiting = sorted((ticket for ticket in self._tickets if ticket.left), key=self._turn)
        paused = min(self._paused, key=lambda batch: min(map(self._turn, batch.wanted)), default=None)
        if paused and (not waiting or min(map(self._turn, paused.wanted)) <= self._turn(waiting[0])):
            self._paused.remove(paused)
            return paused
        first, places = waiting[0], list[Place]()
        for ticket in waiting:
            alike = ticket.orders[0].sampling == first.orders[0].sampling and not ticket.frames and not first.frames
            if len(places) < self.lanes and (ticket is first or alike):
                taken = min(ticket.left, self.lanes - len(places))
                places += [(ticket, i) for i in range(ticket.begun, ticket.begun + taken)]
                ticket.begun += taken
        return Batch(places, paint_batch(self.model, places, self.lanes))

    async def _run(self, batch: Batch) -> None:
        """Paint a slice of a batch in a thread, hand out what is finished; an error goes to all whose images it had."""
        self._painted.append(batch)
        start, self._now = time.monotonic(), min(map(self._turn, batch.wanted))[0]
        try:
            images, steps = await asyncio.get_running_loop().run_in_executor(self._pool, batch.advance)
        except Exception as error:
            for ticket in {ticket for ticket, _ in batch.places}:
                if not ticket.done.done():
                    ticket.done.set_exception(error)
        else:
            self._count(batch, steps, time.monotonic() - start)
            if images is None:
                self._paused.append(batch)
            else:
                self._hand_out(batch.places, images)
        finally:
            self._painted.remove(batch)
            self._free += 1

    def _count(self, batch: Batch, steps: int, seconds: float) -> None:
        """Note how much of their work was done for the requests of a batch, and how fast."""
        done = 0.0
        for ticket, place in batch.places:
            order = ticket.orders[place]
            part = self._work_of(order) * steps / (order.sampling.steps or 1)
            ticket.served += part
            if ticket.client in self._turns:
                self._turns[ticket.client] += part
            done += part
        if done:
            self.seconds += 0.2 * (seconds / done - self.seconds)

    def _hand_out(self, batch: list[Place], images: list[Image]) -> None:
        if batch[0][0].frames:
            batch = [(batch[0][0], i) for i in range(len(images))]
        for (ticket, place), image in zip(batch, images, strict=False):
            ticket.images[place] = image
            if len(ticket.images) == (ticket.frames or len(ticket.orders)) and not ticket.done.done():
                ticket.done.set_result([ticket.images[i] for i in range(len(ticket.images))])


def paint_batch(model: LatentDiffusion, batch: Sequence[Place], lanes: int) -> Iterator[list[Image] | None]:
    """Paint a batch in the one shape that all have: None after each step, then the images, none that nobody wants."""
    orders = [ticket.orders[i] for ticket, i in batch]
    padded = orders + [orders[-1]] * (lanes - len(orders))
    sampling, wanted = orders[0].sampling, [order.wanted for order in padded]
    frames = batch[0][0].frames
    film = []
    latents = None
    for latents in model.walk_with([image_rng(order.seed, order.index) for order in padded], wanted, sampling):
        if all(ticket.gone for ticket, _ in batch):
            return
        if frames:
            film.append(latents[:1])
        yield None
    assert latents is not None
    if frames:
        last = len(film) - 1
        latents = torch.cat([film[round(last * i / (frames - 1))] for i in range(frames)])
        wanted = [orders[0].wanted] * frames
    with computing_in(sampling.precision, model.device):
        images = model.decode(latents, [row.get("modality") for row in wanted])
    yield list(images[: frames or len(orders)])


def _stopping() -> Refusal:
    return Refusal(503, "The server is stopping. Ask again when it runs.", headers={"Retry-After": "5"})
