"""A batch of images: what one image is ordered by, the requests that share a batch, and the making of it.

A network's kernels are chosen by the shape of what they compute, and another choice moves pixels by a gray level. So
every batch has the same shape: places that nobody asked for are filled up with copies of the last image. A compiled
model makes each image by itself, so that a batch is one image and nothing is filled up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.compiled import Compiled
from ..model.drawing import image_noise
from ..model.latent_diffusion import LatentDiffusion, Sampling, image_rng
from ..model.precision import computing_in
from ..networks.conditions import Value
from .in_steps import in_steps

SLICE_SECONDS = 0.25
"""How long a batch is worked on before others get their turn."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Edited:
    """How an image is made that starts from a picture: by itself, in no batch.

    paint: makes it, and calls what it is given before each step. weight: the work of a step, in steps of generation.
    facts: what is told of it in place of the settings of a sampling.
    """

    paint: Callable[[Callable[[], None]], Image]
    weight: float
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Order:
    """One image that is asked for: its seed and index, its conditions, and the settled sampling."""

    seed: int
    index: int
    wanted: Mapping[str, Value]
    sampling: Sampling
    """What the images of one batch have in common."""
    edited: Edited | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The sampling, or the edit, as answers, images and records tell it."""
        if self.edited:
            return self.edited.facts
        return {name: getattr(self.sampling, name) for name in ("steps", "guidance", "sampler", "precision")}


@dataclass(eq=False)
class Queued:
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
    def alone(self) -> bool:
        """Whether its images share no batch."""
        return bool(self.frames or self.orders[0].edited)

    @property
    def work_left(self) -> float:
        return self.work - self.served

    @property
    def left(self) -> int:
        return len(self.orders) - self.begun

    def fail(self, error: Exception) -> None:
        """Raise an error to who waits, unless all is done."""
        if not self.done.done():
            self.done.set_exception(error)


Place = tuple[Queued, int]


@dataclass(eq=False)
class Batch:
    """A batch under way: its places, and the making of it, which goes on where it stopped."""

    places: list[Place]
    making: Iterator[list[Image] | None]

    @property
    def requests(self) -> set[Queued]:
        return {queued for queued, _ in self.places}

    @property
    def wanted(self) -> list[Queued]:
        """The requests in it that somebody still wants, or any where nobody does."""
        return [queued for queued, _ in self.places if not queued.gone] or [self.places[0][0]]

    def advance(self) -> tuple[list[Image] | None, int]:
        """Go on for a slice of time: the images if it is finished, and how many steps were made."""
        until, steps = time.monotonic() + SLICE_SECONDS, 0
        for images in self.making:
            if images is not None or time.monotonic() >= until:
                return images, steps + (images is None)
            steps += 1
        return [], steps

    def hand_out(self, images: list[Image]) -> None:
        """Give each request its images, and end its waiting with the last of them."""
        places = self.places
        if places[0][0].frames:
            places = [(places[0][0], i) for i in range(len(images))]
        for (queued, place), image in zip(places, images, strict=False):
            queued.images[place] = image
            if len(queued.images) == (queued.frames or len(queued.orders)) and not queued.done.done():
                queued.done.set_result([queued.images[i] for i in range(len(queued.images))])


def make_batch(model: LatentDiffusion | Compiled, places: Sequence[Place], lanes: int) -> Iterator[list[Image] | None]:
    """Make a batch in the one shape that all have: None after each step, then the images, none that nobody wants."""
    orders = [queued.orders[i] for queued, i in places]
    if edited := orders[0].edited:
        yield from _edit(edited, places[0][0])
        return
    padded = orders + [orders[-1]] * (lanes - len(orders))
    sampling, wanted = orders[0].sampling, [order.wanted for order in padded]
    frames = places[0][0].frames
    film, latents = [], None
    own: Callable[[int, int], Any] = image_noise if isinstance(model, Compiled) else image_rng
    rngs = [own(order.seed, order.index) for order in padded]
    for latents in _walk(model, padded, rngs):
        if all(queued.gone for queued, _ in places):
            return
        if frames:
            film.append(latents[:1])
        yield None
    assert latents is not None
    if frames:
        last = len(film) - 1
        latents = [film[round(last * i / (frames - 1))] for i in range(frames)]
        same = [rngs[0].clone_state() for _ in range(frames)]
        yield _decode(model, latents, [orders[0].wanted] * frames, same, sampling)
    else:
        yield _decode(model, [latents], wanted, rngs, sampling)[: len(orders)]


def _edit(edited: Edited, queued: Queued) -> Iterator[list[Image] | None]:
    """The one image of an edit, as long as somebody wants it."""
    with closing(in_steps(edited.paint)) as steps:
        for image in steps:
            if queued.gone:
                return
            yield None if image is None else [image]


def _walk(model: LatentDiffusion | Compiled, orders: Sequence[Order], rngs: list[Any]) -> Iterator[Any]:
    """The latents of these images after each step, all in one array; a compiled model makes one image at a time."""
    if isinstance(model, Compiled):
        (order,) = orders
        return model.walk(rngs[0], order.wanted, order.sampling)
    return model.walk_with(rngs, [order.wanted for order in orders], orders[0].sampling)


def _decode(
    model: LatentDiffusion | Compiled,
    latents: Sequence[Any],
    wanted: Sequence[Mapping[str, Value]],
    rngs: list[Any],
    sampling: Sampling,
) -> list[Image]:
    modalities = [row.get("modality") for row in wanted]
    if isinstance(model, Compiled):
        return [model.decode(*one) for one in zip(latents, modalities, rngs, strict=True)]
    with computing_in(sampling.precision, model.device):
        return list(model.decode(torch.cat(list(latents)), modalities, rngs))
