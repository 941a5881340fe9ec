"""How long a served model's answers take when many clients ask at once, and whether one is lost or wrong.

    python -m bench serve_load [--model heads] [--clients 20] [--requests 3] [--images 1] [--steps 16]

A real server, `phonybrains serve`, in a process of its own; each client is OpenAI's own, with a connection of its own,
and asks as soon as it has its answer: a closed loop, in which the time of an answer is that of all others. Prompts and
seeds differ from request to request. Afterwards every image is made once more by `LatentDiffusion.generate`, on one
thread and in batches of four as the server's, and compared to the bit.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from cyclopts import Parameter
from numpy.typing import NDArray
from openai import AsyncOpenAI
from PIL import Image

from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.serving.batcher import LANES_CPU
from phonybrains.serving.prompt import understand
from phonybrains.serving.vocabulary import Vocabulary

from .options import measurement
from .timing import PHONYBRAINS, answer_times, children_cpu_s, serving


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is asked of the server."""

    model: str = "heads"
    clients: int = 20
    requests: int = 3
    """Of each client."""
    images: int = 1
    """Of each request."""
    steps: int = 0
    """The model's own if 0."""


@dataclass
class Result:
    """What the clients saw: the time of each answer, and the images by prompt and seed."""

    seconds: list[float] = field(default_factory=list)
    images: dict[tuple[str, int], NDArray[np.uint8]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def pixels(b64: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(b64))) as image:
        return np.asarray(image)


async def client(base: str, number: int, prompts: list[str], arguments: Options, result: Result) -> None:
    """One client: asks, waits, asks again."""
    async with AsyncOpenAI(base_url=base, api_key="none", timeout=1800, max_retries=0) as own:
        for turn in range(arguments.requests):
            seed = number * arguments.requests + turn
            prompt = prompts[seed % len(prompts)]
            start = time.perf_counter()
            try:
                more = {"seed": seed, "steps": arguments.steps}
                answer = await own.images.generate(prompt=prompt, n=arguments.images, extra_body=more)
            except Exception as error:
                result.refused.append(str(error))
                continue
            result.seconds.append(time.perf_counter() - start)
            assert answer.data
            result.images[prompt, seed] = np.stack([pixels(item.b64_json or "") for item in answer.data])


async def drive(base: str, prompts: list[str], arguments: Options) -> tuple[Result, float]:
    result, start = Result(), time.perf_counter()
    await asyncio.gather(*(client(base, number, prompts, arguments, result) for number in range(arguments.clients)))
    return result, time.perf_counter() - start


def wrong_images(model: LatentDiffusion, result: Result, arguments: Options) -> int:
    """How many images are not, to the bit, those of the same seed and conditions made alone."""
    vocabulary, wrong = Vocabulary(model.conditions), 0
    whole = -(-arguments.images // LANES_CPU) * LANES_CPU
    for (prompt, seed), images in result.images.items():
        where = understand(prompt, vocabulary)[0]
        made = model.generate(whole, where, seed=seed, steps=arguments.steps, batch_size=LANES_CPU).images
        wrong += int((made[: arguments.images] != images).any(axis=(1, 2)).sum())
    return wrong


app = measurement(__name__, __doc__)


@app.default
def main(arguments: Options = Options()) -> None:
    """Ask, and check the answers."""
    model = LatentDiffusion.load(arguments.model)
    arguments = replace(arguments, steps=arguments.steps or model.steps)
    prompts = [f"{values[0]} of the head" for values, _ in model.conditions.combinations if values[0] is not None]
    with serving([*PHONYBRAINS, "serve", arguments.model, "--port", "0"]) as said:
        (base,) = re.findall(r"protocol:\s+(\S+)", "".join(said))
        result, seconds = asyncio.run(drive(base, prompts, arguments))
    cpu = children_cpu_s()
    torch.set_num_threads(1)
    wrong = wrong_images(model, result, arguments)
    asked = arguments.clients * arguments.requests
    images = sum(map(len, result.images.values()))
    print(
        f"{arguments.clients} clients, {asked} requests for {arguments.images} image(s) of {arguments.steps} steps: "
        f"{images} images in {seconds:.1f} s, {images / seconds:.2f} images/s"
    )
    print(answer_times(result.seconds))
    print(f"refused {len(result.refused)}, lost {asked - len(result.seconds) - len(result.refused)}, wrong {wrong}")
    print(f"the server used {cpu:.1f} s of a processor, {cpu / images:.3f} s an image, its start among them")
