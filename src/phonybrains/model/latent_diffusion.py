"""The latent diffusion model: conditions and noise in, images out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..diffusion.guidance import guide
from ..diffusion.process import Predict, q_sample
from ..diffusion.sampler import SAMPLERS
from ..imageset import from_unit_range
from ..networks.conditions import Value
from .backing import doubts
from .drawing import drawn, image_seed
from .parts import ModelParts
from .precision import computing_in, settle_precision
from .sampling import SHORTCUT, Sampling, check_integer, settle
from .workers import count_workers, even_batches, side_by_side

DECODED_AT_ONCE = 4
"""Images on a CPU: their activations stay in its caches, and memory stays low."""


@dataclass(frozen=True)
class Generated:
    """Synthetic images (n, H, W) uint8 and what each was asked to show."""

    images: NDArray[np.uint8]
    conditions: list[dict[str, Value]]


class LatentDiffusion(ModelParts):
    """A model that can be asked for images: its parts, joined."""

    own_guidance = Sampling.guidance

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> LatentDiffusion:
        """Load a model folder, or a model that ships with the package by its name.

        Raises ModelError if a part is missing, damaged or of a newer format, before anything is computed.
        """
        from .folder import read_model

        return cls(**vars(read_model(folder))).to(device)

    def save(self, folder: str | Path) -> None:
        """Write the model folder: one sub-folder per component, safetensors and JSON, with the hash of every part."""
        from .folder import write_model

        write_model(self, Path(folder))

    def to(self, device: str) -> LatentDiffusion:
        """Move the networks to a device, in the memory format that convolutions are fastest in."""
        for network in filter(None, (self.autoencoder, self.denoiser, self.few_step)):
            network.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        channels = int(self.autoencoder.config["latent_channels"])
        return channels, self.size // 8, self.size // 8

    def generate(self, n: int, where: Mapping[str, Value] | None = None, **sampling: Any) -> Generated:
        """Make n images. Image i depends on (seed, i) alone; `sampling` takes the fields of Sampling.

        Warns where few training images or patients, or none, show what is asked for. Raises ConfigError for an
        attribute or value the model does not know.
        """
        check_integer("n", n, 0)
        settings = Sampling(**sampling)
        for doubt in self.doubts(where or {}):
            warnings.warn(doubt, stacklevel=2)
        wanted = self.ask(range(n), where or {}, settings.seed)
        images = list(self.paint(range(n), wanted, settings))
        return Generated(np.stack(images) if images else np.empty((0, self.size, self.size), np.uint8), wanted)

    def ask(self, indices: Sequence[int], where: Mapping[str, Value], seed: int) -> list[dict[str, Value]]:
        """The full conditions of the images with these indices: what is asked for, the rest drawn as in training."""
        return drawn(self.conditions, indices, where, seed)

    def doubts(self, where: Mapping[str, Value]) -> list[str]:
        """What there is to say against what is asked for: sentences of `backing.doubts`."""
        return doubts(self.conditions, self.conditions.check(where))

    def batches(self, n: int, sampling: Sampling) -> list[slice]:
        """How n images are parted, in order, into those that are computed together."""
        return even_batches(n, sampling.batch_size, count_workers(self.device))

    def paint(
        self,
        indices: Sequence[int],
        wanted: Sequence[Mapping[str, Value]],
        sampling: Sampling,
        batches: Sequence[slice] | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the images with these indices one by one, (H, W) uint8, computed in these batches, or `self.batches`.

        The bits of an image depend on what is in its batch, by the rounding of a grey level.
        """
        sampling, workers = self.settle(sampling), count_workers(self.device)
        batches = self.batches(len(indices), sampling) if batches is None else batches

        def batch(part: slice) -> NDArray[np.uint8]:
            *_, latents = self.walk(indices[part], wanted[part], sampling)
            with computing_in(sampling.precision, self.device):
                return self.decode(latents, [row.get("modality") for row in wanted[part]])

        for images in side_by_side(batch, batches, workers):
            yield from images

    def walk(
        self, indices: Sequence[int], wanted: Sequence[Mapping[str, Value]], sampling: Sampling
    ) -> Iterator[Tensor]:
        """Yield the latents of one batch from pure noise to the clean end, one for each step, (B, C, h, w)."""
        yield from self.walk_with([image_rng(sampling.seed, i) for i in indices], wanted, sampling)

    @torch.inference_mode()
    def walk_with(
        self, rngs: list[torch.Generator], wanted: Sequence[Mapping[str, Value]], sampling: Sampling
    ) -> Iterator[Tensor]:
        """`walk` with each image's own generator, so that images of several seeds share a batch."""
        sampling = self.settle(sampling)
        x = torch.stack([torch.randn(self.latent_shape, generator=rng) for rng in rngs]).to(self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        condition = self.conditions.encode(wanted).to(self.device)
        null = self.conditions.null(len(wanted)).to(self.device)
        steps = sampling.steps or self.steps
        if sampling.sampler == SHORTCUT and self.few_step:
            predict = self.shortcut(self.few_step, condition, steps)
        else:
            predict = guide(self.predict, condition, null, sampling.guidance)
        yield x
        walk = SAMPLERS[sampling.sampler]
        yield from walk(predict, x, self.chain.times(steps), self.chain.process, rngs)

    def settle(self, sampling: Sampling) -> Sampling:
        """The sampling with nothing left open. Raises ConfigError for what this model cannot do."""
        settled = settle(sampling, self.steps, self.chain.sampler, self.few_step is not None)
        return replace(settled, precision=settle_precision(sampling.precision, self.device))

    def predict(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The clean latents expected behind x_t."""
        process, objective = self.chain.process, self.chain.objective
        return objective.to_x0(self.denoiser(x_t, process.fraction(t), condition), x_t, t, process)

    def shortcut(self, network: nn.Module, condition: Tensor, steps: int) -> Predict:
        """Few-step weights as a prediction for Euler's method in so many steps: each jump is told its length."""
        process, objective = self.chain.process, self.chain.objective
        lengths = {t: t - r for t, r in pairwise(self.chain.times(steps))}

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            length = condition.new_full((len(condition), 1), lengths[t[0].item()])
            return objective.to_x0(network(x_t, t, condition, length), x_t, t, process)

        return predict

    @torch.inference_mode()
    def decode(self, latents: Tensor, modalities: Sequence[Value]) -> NDArray[np.uint8]:
        """Standardised latents (B, C, h, w) to images (B, H, W) uint8."""
        restored = self.scale.restore(latents, modalities)
        parts = restored.split(DECODED_AT_ONCE if restored.device.type == "cpu" else len(restored))
        values = torch.cat([self.autoencoder.decode(part, return_dict=False)[0] for part in parts])
        return from_unit_range(values[:, 0].float().cpu().numpy())

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.float32], modalities: Sequence[Value]) -> Tensor:
        """Images (B, 1, H, W) in -1…1 to standardised latents (B, C, h, w)."""
        x = torch.from_numpy(pixels).to(self.device).contiguous(memory_format=torch.channels_last)
        return self.scale.standardise(self.autoencoder.encode(x, return_dict=False)[0], modalities)

    @torch.inference_mode()
    def diffuse(self, latents: Tensor, frames: int, seed: int) -> list[Tensor]:
        """The forward process: the same latents with ever more noise, `frames` + 1 tensors from t = 0 to the end."""
        noise = torch.randn(latents.shape, generator=image_rng(seed, 0)).to(latents)
        ends = [self.chain.time(i / frames).to(latents.device).expand(len(latents)) for i in range(frames + 1)]
        return [q_sample(latents, t, self.chain.process, noise) for t in ends]


def image_rng(seed: int, index: int) -> torch.Generator:
    """The generator that image `index` of a run with this seed owns."""
    return torch.Generator().manual_seed(image_seed(seed, index))
