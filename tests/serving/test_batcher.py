"""The queue of a served model: shared batches, no image dependent on its neighbours, nobody starved, nobody in vain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.networks.texture import Texture
from phonybrains.serving import batch as batch_module
from phonybrains.serving import batcher as module
from phonybrains.serving.batch import Order
from phonybrains.serving.batcher import LANES_CPU, Batcher
from phonybrains.serving.refusal import Refusal
from tests.serving.conftest import Generated


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, int]]]:
    """(seed, index) of the images of each batch that is made."""
    seen: list[list[tuple[int, int]]] = []
    make = module.make_batch

    def watched(model: LatentDiffusion, places: Any, lanes: int) -> Any:
        seen.append([(queued.orders[i].seed, queued.orders[i].index) for queued, i in places])
        return make(model, places, lanes)

    monkeypatch.setattr(module, "make_batch", watched)
    return seen


def orders(model: LatentDiffusion, seed: int, n: int, **how: Any) -> list[Order]:
    sampling = model.settle(Sampling(**({"steps": 2} | how)))
    return [Order(seed, i, row, sampling) for i, row in enumerate(model.ask(range(n), {}, seed))]


def watch_steps(model: LatentDiffusion, patch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each step that the model makes: of how many steps in all."""
    walked: list[int] = []
    walk = model.walk_with

    def counted(rngs: Any, wanted: Any, sampling: Sampling) -> Any:
        for latents in walk(rngs, wanted, sampling):
            walked.append(sampling.steps or 0)
            yield latents

    patch.setattr(model, "walk_with", counted)
    return walked


def test_images_do_not_depend_on_what_they_are_painted_with(
    model: LatentDiffusion, generated: Generated, batches: list
):
    """Requests of many sizes, seeds and samplings at once: each gets, to the bit, what `generate` makes."""
    six = {"steps": 6}
    asked = [(7, 1, {}), (8, 5, {}), (9, 3, six), (7, 2, {}), (10, 1, six | {"guidance": 2.0}), (11, 4, {})]

    async def all_at_once() -> list[list[np.ndarray]]:
        batcher = Batcher(model)
        return await asyncio.gather(*(batcher.generate(orders(model, s, n, **how)) for s, n, how in asked))

    for (seed, n, how), images in zip(asked, asyncio.run(all_at_once()), strict=True):
        assert (np.stack(images) == generated(seed, n, **how)).all()
    assert len(batches) < sum(n for _, n, _ in asked) / 2
    assert any(len({seed for seed, _ in batch}) > 1 for batch in batches)
    assert all(len(batch) <= LANES_CPU for batch in batches)


def test_workers_side_by_side_paint_the_same(model: LatentDiffusion, generated: Generated, batches: list):
    """With two threads, two batches are painted at a time, and the images are those of one."""

    async def both() -> list[list[np.ndarray]]:
        batcher = Batcher(model)
        assert batcher.workers == 2
        return await asyncio.gather(*(batcher.generate(orders(model, seed, 4)) for seed in range(6)))

    torch.set_num_threads(2)
    try:
        found = asyncio.run(both())
    finally:
        torch.set_num_threads(1)
    assert len(batches) == 6
    for seed, images in enumerate(found):
        assert (np.stack(images) == generated(seed, 4)).all()


def test_a_large_request_does_not_starve_small_ones(model: LatentDiffusion, batches: list):
    """A request for one image is in one of the next two batches, however many images were asked for before it."""

    async def both() -> None:
        batcher = Batcher(model)
        large = asyncio.ensure_future(batcher.generate(orders(model, 1, 24)))
        await asyncio.sleep(0)
        await batcher.generate(orders(model, 2, 1))
        assert not large.done()
        await large

    asyncio.run(both())
    assert any((2, 0) in batch for batch in batches[:2])
    assert sum(map(len, batches)) == 25


def test_a_full_queue_refuses_and_says_when_to_ask_again(model: LatentDiffusion, generated: Generated):
    """More work than may wait is a 429 with Retry-After; what was taken is painted all the same."""

    async def crowd() -> list[Any]:
        batcher = Batcher(model, most_waiting=6)
        asks = (batcher.generate(orders(model, seed, 3, steps=model.steps)) for seed in range(6))
        return await asyncio.gather(*asks, return_exceptions=True)

    results = asyncio.run(crowd())
    refused = [result for result in results if isinstance(result, Refusal)]
    assert len(refused) == 4
    assert all(r.status == 429 and int(r.headers["Retry-After"]) >= 1 for r in refused)
    for seed in (0, 1):
        assert (np.stack(results[seed]) == generated(seed, 3, steps=model.steps)).all()


def test_more_work_than_the_budget_is_refused(model: LatentDiffusion):
    """Images × steps count, twice with guidance or Heun's method: over the budget it is a 413 that names the limit."""
    batcher, guided = Batcher(replace(model, steps=2), budget=8), {"guidance": 2.0, "sampler": "adams"}
    for n, how, work in (
        (9, {}, 9),
        (1, {"steps": 18}, 9),
        (4, {"steps": 6}, 12),
        (5, guided, 10),
        (5, {"sampler": "heun"}, 10),
    ):
        words = rf"{n} images? of .* steps .* work of {work} images .* that of 8\."
        with pytest.raises(Refusal, match=words) as caught:
            asyncio.run(batcher.generate(orders(model, 1, n, **how)))
        assert caught.value.status == 413
    assert len(asyncio.run(batcher.generate(orders(model, 1, 8)))) == 8


@pytest.mark.parametrize("clients", [("a", "a", "a"), ("a", "b", "c"), ("a", "a", "b")])
def test_two_greedy_requests_keep_nobody_waiting(
    model: LatentDiffusion, generated: Generated, monkeypatch: pytest.MonkeyPatch, clients: tuple[str, ...]
):
    """While two requests of many steps are painted, one of few steps is done after its own steps and two of theirs
    a step, whoever asks; all images are those of `generate`."""
    monkeypatch.setattr(batch_module, "SLICE_SECONDS", 0.0)
    asked = {1: (5, 15), 2: (5, 16), 3: (2, 4)}  # images and steps by seed; the first two need two batches

    async def all_three() -> tuple[list[int], list[list[np.ndarray]]]:
        batcher = Batcher(model, budget=1e6, most_waiting=1e6)

        def ask(seed: int, client: str) -> asyncio.Future[list[np.ndarray]]:
            n, steps = asked[seed]
            return asyncio.ensure_future(batcher.generate(orders(model, seed, n, steps=steps), client=client))

        greedy = [ask(1, clients[0]), ask(2, clients[1])]
        while len(walked) < 6:
            await asyncio.sleep(0.001)
        before = len(walked)
        small = await ask(3, clients[2])
        between = walked[before:]
        assert not any(task.done() for task in greedy)
        return between, [*(await asyncio.gather(*greedy)), small]

    with monkeypatch.context() as patch:
        walked = watch_steps(model, patch)
        between, images = asyncio.run(all_three())
    assert between.count(4) == 5
    assert len(between) - 5 <= 2 * 5 + 2
    for (seed, (n, steps)), made in zip(asked.items(), images, strict=True):
        assert (np.stack(made) == generated(seed, n, steps=steps)).all()


def test_one_client_cannot_fill_the_queue(model: LatentDiffusion):
    """Of the queue one client has three quarters; what is left is for others, and for small requests of its own."""

    async def crowd() -> list[Any]:
        batcher = Batcher(model, most_waiting=40, budget=20)
        sizes = [(20, "a"), (10, "a"), (10, "a"), (2, "a"), (8, "b"), (2, "b")]
        asks = (batcher.generate(orders(model, i, n, steps=model.steps), client=c) for i, (n, c) in enumerate(sizes))
        tasks = [asyncio.ensure_future(ask) for ask in asks]
        await asyncio.sleep(0)
        refused = [task.done() and isinstance(task.exception(), Refusal) for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return refused

    assert asyncio.run(crowd()) == [False, False, True, False, False, True]


def test_who_goes_away_frees_the_work(model: LatentDiffusion, batches: list):
    """What is cancelled while it waits is never begun; what is under way for nobody is broken off between steps."""

    async def leave() -> int:
        batcher = Batcher(model)
        with pytest.MonkeyPatch.context() as patch:
            walked = watch_steps(model, patch)
            begun = asyncio.ensure_future(batcher.generate(orders(model, 1, 4, steps=400)))
            while not walked:
                await asyncio.sleep(0.01)
            waiting = asyncio.ensure_future(batcher.generate(orders(model, 2, 8)))
            await asyncio.sleep(0)
            assert batcher.waiting == 8
            for task in (begun, waiting):
                task.cancel()
            await asyncio.gather(begun, waiting, return_exceptions=True)
            assert batcher.waiting == 0
            await batcher.generate(orders(model, 3, 1))
        return len(walked)

    assert asyncio.run(leave()) < 200
    assert {seed for batch in batches for seed, _ in batch} == {1, 3}


def test_stopping_refuses_what_waits_and_finishes_what_is_begun(
    model: LatentDiffusion, generated: Generated, batches: list
):
    """Who waits is told with 503, who comes later too; the batch under way is handed out."""

    async def stop() -> list[Any]:
        batcher = Batcher(model)
        begun = asyncio.ensure_future(batcher.generate(orders(model, 1, 4, steps=20)))
        while not batches:
            await asyncio.sleep(0.001)
        waiting = asyncio.ensure_future(batcher.generate(orders(model, 2, 1)))
        await asyncio.sleep(0)
        batcher.stop()
        later = asyncio.ensure_future(batcher.generate(orders(model, 3, 1)))
        return await asyncio.gather(begun, waiting, later, return_exceptions=True)

    begun, waiting, later = asyncio.run(stop())
    assert (np.stack(begun) == generated(1, 4, steps=20)).all()
    assert [error.status for error in (waiting, later)] == [503, 503]


def test_a_fault_reaches_those_whose_batch_it_was_and_no_others(
    model: LatentDiffusion, generated: Generated, monkeypatch: pytest.MonkeyPatch
):
    """An error in a batch is raised to its requests; the next batch is painted."""

    async def fail() -> list[Any]:
        batcher = Batcher(model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model, "decode", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
            first = await asyncio.gather(batcher.generate(orders(model, 1, 1)), return_exceptions=True)
        return [*first, await batcher.generate(orders(model, 1, 1))]

    error, images = asyncio.run(fail())
    assert str(error) == "out of memory"
    assert (images[0] == generated(1, 1)[0]).all()


@pytest.mark.parametrize("textured", [False, True])
def test_a_film_ends_in_the_image(model: LatentDiffusion, textured: bool):
    """As many frames as asked for, from noise to the very image that the same order gives, its texture included."""
    if textured:
        torch.manual_seed(0)
        texture = Texture(["MR", "CT"], width=8, layers=1)
        torch.nn.init.normal_(texture.detail.weight, std=0.1)
        model = replace(model, texture=texture)

    async def film() -> tuple[list[np.ndarray], list[np.ndarray]]:
        batcher = Batcher(model)
        asked = orders(model, 5, 3, steps=6)
        return await asyncio.gather(batcher.generate(asked[2:], frames=4), batcher.generate(asked))

    frames, images = asyncio.run(film())
    assert len(frames) == 4
    assert (frames[-1] == images[2]).all()
    assert np.abs(frames[0].astype(int) - images[2]).mean() > 10
