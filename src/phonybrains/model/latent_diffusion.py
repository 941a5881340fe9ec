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
from torch.nn.functional import pad

from ..diffusion.guidance import guide
from ..diffusion.process import Predict, q_sample
from ..diffusion.sampler import SAMPLERS
from ..errors import ConfigError
from ..imageset import from_unit_range
from ..networks.conditions import Value
from ..networks.masks import encode_masks
from .backing import doubts
from .drawing import drawn, image_seed
from .masks import Mask, Masks, as_masks
from .parts import ModelParts
from .precision import computing_in, settle_precision
from .sampling import GAN, NO_CLASSIFIER, SHORTCUT, Sampling, check_integer, check_one_evaluation, settle
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
        for network in filter(None, (self.autoencoder, self.denoiser, self.few_step, self.texture)):
            network.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.size // self.autoencoder.spatial_compression_ratio
        return int(self.autoencoder.config["latent_channels"]), side, side

    def generate(
        self, n: int, where: Mapping[str, Value] | None = None, mask: Any = None, **sampling: Any
    ) -> Generated:
        """Make n images. Image i depends on (seed, i) alone; `sampling` takes the fields of Sampling.

        mask: one (H, W) or several, 0 outside and another value inside, or None for one that is not said: image i
        follows mask i, counted around. Warns where few training images or patients, or none, show what is asked for.
        Raises ConfigError for an attribute or value the model does not know, and for what is no mask.
        """
        check_integer("n", n, 0)
        settings = Sampling(**sampling)
        for doubt in self.doubts(where or {}):
            warnings.warn(doubt, stacklevel=2)
        masks = None if mask is None else as_masks(mask, self.size)
        if settings.classifier_guidance and self.classifier:
            self.classifier().places([self.conditions.check(where or {})])
        wanted = self.ask(range(n), where or {}, settings.seed)
        images = list(self.paint(range(n), wanted, settings, masks=masks))
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
        masks: Masks | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the images with these indices one by one, (H, W) uint8, computed in these batches, or `self.batches`.

        masks: image i follows mask i, counted around. The bits of an image depend on what is in its batch, by the
        rounding of a grey level. Raises ConfigError for masks where the model takes none.
        """
        sampling, workers = self.settle(sampling), count_workers(self.device)
        if masks is not None and not self.denoiser.takes_masks:
            raise ConfigError("this model takes no masks: it was trained without. Train one with --masks.")
        batches = self.batches(len(indices), sampling) if batches is None else batches

        def batch(part: slice) -> NDArray[np.uint8]:
            here = [masks[i % len(masks)] for i in indices[part]] if masks else None
            rngs = [image_rng(sampling.seed, i) for i in indices[part]]
            *_, latents = self.walk_with(rngs, wanted[part], sampling, here)
            with computing_in(sampling.precision, self.device):
                return self.decode(latents, [row.get("modality") for row in wanted[part]], rngs)

        for images in side_by_side(batch, batches, workers):
            yield from images

    def walk(
        self,
        indices: Sequence[int],
        wanted: Sequence[Mapping[str, Value]],
        sampling: Sampling,
        masks: Sequence[Mask | None] | None = None,
    ) -> Iterator[Tensor]:
        """Yield the latents of one batch from pure noise to the clean end, one for each step, (B, C, h, w).

        masks: one for each image.
        """
        yield from self.walk_with([image_rng(sampling.seed, i) for i in indices], wanted, sampling, masks)

    @torch.inference_mode()
    def walk_with(
        self,
        rngs: list[torch.Generator],
        wanted: Sequence[Mapping[str, Value]],
        sampling: Sampling,
        masks: Sequence[Mask | None] | None = None,
    ) -> Iterator[Tensor]:
        """`walk` with each image's own generator, so that images of several seeds share a batch."""
        sampling = self.settle(sampling)
        x = torch.stack([torch.randn(self.latent_shape, generator=rng) for rng in rngs]).to(self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        jumps = sampling.sampler == SHORTCUT and self.few_step
        drawn = self.embedding.draw(self.conditions.encode(wanted), rngs) if self.embedding and not jumps else None
        condition, null = self.told(wanted, drawn)
        mask = () if masks is None else (self.encode_masks(masks),)
        steps = sampling.steps or self.steps
        if self.few_step and jumps:
            predict = self.shortcut(self.few_step, condition, steps, *mask)
        else:
            predict = guide(self.predict, condition, null, sampling.guidance, *mask)
        if sampling.classifier_guidance and self.classifier:
            classifier, scale = self.classifier().to(self.device), sampling.classifier_guidance
            ancestral = self.chain.times(steps) if sampling.sampler == "ddpm" else ()
            predict = classifier.lead(predict, wanted, scale, self.chain.process, ancestral)
        yield x
        walk = SAMPLERS[sampling.sampler]
        yield from walk(predict, x, self.chain.times(steps, sampling.sampler), self.chain.process, rngs)

    def settle(self, sampling: Sampling) -> Sampling:
        """The sampling with nothing left open. Raises ConfigError for what this model cannot do."""
        if self.chain.name == GAN:
            check_one_evaluation(sampling)
        settled = settle(sampling, self.steps, self.chain.sampler, self.few_step is not None)
        if sampling.classifier_guidance and not self.classifier:
            raise ConfigError(NO_CLASSIFIER)
        return replace(settled, precision=settle_precision(sampling.precision, self.device))

    def told(self, wanted: Sequence[Mapping[str, Value]], embedded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the denoiser is told of these images, and what it is of any, (B, width) each.

        embedded: (B, D + 1), as an ImageEmbedding tells them, for a model that has one.
        """
        condition = self.conditions.encode(wanted).to(self.device)
        null = self.conditions.null(len(wanted)).to(self.device)
        if embedded is None:
            return condition, null
        return torch.cat([condition, embedded.to(condition)], dim=1), pad(null, (0, embedded.shape[1]))

    def encode_masks(self, masks: Sequence[Mask | None]) -> Tensor:
        """What the denoiser is told of masks, (B, MASK_CHANNELS, h, w): zeros for one that is not said."""
        arrays = np.stack([np.zeros((self.size, self.size), bool) if mask is None else mask for mask in masks])
        said = torch.tensor([mask is not None for mask in masks])[:, None, None, None]
        return (encode_masks(torch.from_numpy(arrays).float()[:, None]) * said).to(self.device)

    def predict(self, x_t: Tensor, t: Tensor, condition: Tensor, *mask: Tensor) -> Tensor:
        """The clean latents expected behind x_t; mask: as the denoiser is told it, if there is one."""
        told = (condition, None, *mask) if mask else (condition,)
        return self.chain.predicted(self.denoiser(x_t, self.chain.process.fraction(t), *told), x_t, t)

    def shortcut(self, network: nn.Module, condition: Tensor, steps: int, *mask: Tensor) -> Predict:
        """Few-step weights as a prediction for Euler's method in so many steps: each jump is told its length."""
        lengths = {t: t - r for t, r in pairwise(self.chain.times(steps))}

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            length = condition.new_full((len(condition), 1), lengths[t[0].item()])
            return self.chain.predicted(network(x_t, t, condition, length, *mask), x_t, t)

        return predict

    def decode(
        self, latents: Tensor, modalities: Sequence[Value], rngs: Sequence[torch.Generator] = ()
    ) -> NDArray[np.uint8]:
        """Standardised latents (B, C, h, w) to images (B, H, W) uint8.

        rngs: each image's generator, of which a model with texture draws it; without them there is none.
        """
        values = self.decoded(latents, modalities, rngs if self.texture else ())
        return from_unit_range(values[:, 0].float().cpu().numpy())

    @torch.inference_mode()
    def decoded(self, latents: Tensor, modalities: Sequence[Value], rngs: Sequence[torch.Generator] = ()) -> Tensor:
        """`decode` before rounding: (B, 1, H, W) in about -1…1."""
        restored = self.scale.restore(latents, modalities)
        size, found = DECODED_AT_ONCE if restored.device.type == "cpu" else len(restored), []
        for i in range(0, len(restored), size):
            values = self.autoencoder.decode(restored[i : i + size], return_dict=False)[0]
            if self.texture and rngs:
                values = self.texture.draw(values, modalities[i : i + size], rngs[i : i + size])
            found.append(values)
        return torch.cat(found)

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


def image_rng(seed: int, *index: int) -> torch.Generator:
    """The generator that image `index` of a run with this seed owns, or a draw of it."""
    return torch.Generator().manual_seed(image_seed(seed, *index))
