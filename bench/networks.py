"""What the figures need of networks: the model's images, reconstructions and loss."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from phonybrains.diffusion.objective import denoising_loss, draw_steps, draw_times
from phonybrains.diffusion.process import Schedule, q_sample
from phonybrains.imageset import Row, to_unit_range
from phonybrains.model.latent_diffusion import LatentDiffusion

Array = NDArray[Any]
Images = NDArray[np.uint8]
BATCH = 8
"""Images at a time through the autoencoder: few, so that on a CPU memory is reused and not fetched anew."""


@dataclass(frozen=True)
class Cache:
    """Arrays that depend on nothing but images and a name, kept in a folder under the hash of both."""

    folder: Path

    def of(self, name: str, images: Sequence[Images], make: Callable[..., Array]) -> Array:
        """What `make` gives for these images: read if it is there, else made and kept."""
        digest = hashlib.sha256(name.encode())
        for each in images:
            digest.update(str(each.shape).encode() + np.ascontiguousarray(each).tobytes())
        path = self.folder / f"{name}-{digest.hexdigest()[:32]}.npz"
        if path.is_file():
            with np.load(path) as stored:
                return stored["values"]
        values = make(*images)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")  # of this process: another may be making the same
        with partial.open("wb") as file:
            np.savez(file, values=values)
        partial.rename(path)
        return values


Steer = Callable[..., Tensor]
"""steer(x̂_0, x_t, t, condition, and a mask if there is one) is another prediction of the clean latents."""


class Steered(LatentDiffusion):
    """A model whose predictions are changed on the way; its few-step weights are not, and are left out."""

    def __init__(self, model: LatentDiffusion, steer: Steer) -> None:
        super().__init__(**vars(model))
        self.few_step, self.steer = None, steer

    def predict(self, x_t: Tensor, t: Tensor, condition: Tensor, *mask: Tensor) -> Tensor:
        return self.steer(super().predict(x_t, t, condition, *mask), x_t, t, condition, *mask)


def away_from(worse: LatentDiffusion, strength: float) -> Steer:
    """Autoguidance: predictions pushed away from those of a worse model, told the same.  [Karras 2024, eq. 3]"""

    def steer(x_0: Tensor, x_t: Tensor, t: Tensor, condition: Tensor, *mask: Tensor) -> Tensor:
        bad = worse.predict(x_t, t, condition, *mask)
        return bad + strength * (x_0 - bad)

    return steer


def conditions_of(model: LatentDiffusion, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What to ask a model for to get an image like each of these rows."""
    names = [a.name for a in model.conditions.attributes]
    return [{name: None if row[name] == "" else row[name] for name in names} for row in rows]


@torch.inference_mode()
def encoded(model: LatentDiffusion, images: Images, modality: str) -> Tensor:
    """Standardised latents of images of one modality, (n, C, h, w)."""
    parts = [to_unit_range(images[i : i + BATCH])[:, None] for i in range(0, len(images), BATCH)]
    return torch.cat([model.encode(part, [modality] * len(part)) for part in parts])


@torch.inference_mode()
def decoded(model: LatentDiffusion, latents: Tensor, modality: str) -> Images:
    """Latents of one modality as images again."""
    return np.concatenate([model.decode(part, [modality] * len(part)) for part in latents.split(BATCH)])


@torch.inference_mode()
def denoising_losses(
    model: LatentDiffusion, latents: Tensor, wanted: Sequence[Mapping[str, Any]], repeats: int = 4
) -> Array:
    """Training loss of the denoiser for each image, (n,), averaged over times and noises that are always the same."""
    process, objective = model.chain.process, model.chain.objective
    losses, times, noises = np.zeros(len(latents)), Generator().manual_seed(0), Generator().manual_seed(1)
    for rows in torch.arange(len(latents)).repeat(repeats).split(2 * BATCH):
        x_0, n = latents[rows], len(rows)
        t = draw_steps(n, process.T, times) if isinstance(process, Schedule) else draw_times(n, times)
        noise, t = torch.randn(x_0.shape, generator=noises).to(x_0), t.to(x_0.device)
        condition = model.conditions.encode([wanted[i] for i in rows.tolist()]).to(x_0)
        output = model.denoiser(q_sample(x_0, t, process, noise), process.fraction(t), condition)
        found = denoising_loss(output, x_0, noise, t, objective, process)
        np.add.at(losses, rows.numpy(), found.cpu().numpy() / repeats)
    return losses


@torch.no_grad()
def forward_flop(denoiser: nn.Module, latent_shape: Sequence[int], condition_width: int) -> int:
    """Operations of one evaluation of a denoiser for one image, a multiplication and a sum as two."""
    device = next(denoiser.parameters()).device
    x, time, condition = (torch.zeros(1, *shape, device=device) for shape in (latent_shape, (), (condition_width,)))
    with FlopCounterMode(display=False) as counter:
        denoiser(x, time, condition)
    return counter.get_total_flops()
