"""The LoRA as a task of the training loop: its loss on captioned latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .cache import LatentDistributions, Texts
from .config import FinetuneConfig
from .noising import Noising

MOST, CHUNK, REPEATS = 256, 16, 4


@dataclass
class LoraTask:
    """A frozen network with a LoRA; each image of a batch has its own time, noise, latents and missing caption.

    train, validation: rows of the latents. side: of the images the network works at, which Stable Diffusion XL is told.
    """

    network: nn.Module
    family: str
    noising: Noising
    latents: LatentDistributions
    texts: Texts
    train: Tensor
    validation: Tensor
    side: int
    config: FinetuneConfig
    device: torch.device
    name: str = "lora"

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        size = self.config.loop.batch_size
        rows = self.train[torch.randint(len(self.train), (size,), generator=rng)][share]
        silent = (torch.rand(size, generator=rng) < self.config.caption_dropout)[share]
        times = self.noising.times(size, rng)[share]
        local = Generator(self.device).manual_seed(int(torch.randint(2**62, (1,), generator=rng)) + (share.start or 0))
        return self.errors(
            network, rows, times, torch.where(silent, self.texts.nothing, self.texts.captions[rows]), local
        ).mean()

    def errors(self, network: nn.Module, rows: Tensor, times: Tensor, captions: Tensor, rng: Generator) -> Tensor:
        """The squared error of each image, (B,)."""
        x_0 = self.latents.draw(rows, rng)
        noise = torch.randn(x_0.shape, generator=rng, device=x_0.device)
        if self.config.noise_offset:
            offset = torch.randn(*x_0.shape[:2], 1, 1, generator=rng, device=x_0.device)
            noise = noise + self.config.noise_offset * offset
        x_t, time, target = self.noising.noised(x_0, noise, times.to(x_0.device))
        texts = {name: tensor.to(x_0.device) for name, tensor in self.texts.of(captions).items()}
        return (self.predict(network, x_t, time, texts).float() - target).square().flatten(1).mean(dim=1)

    def predict(self, network: nn.Module, x_t: Tensor, time: Tensor, texts: dict[str, Tensor]) -> Tensor:
        """What the network says of noisy latents, given what its family takes beside them."""
        dtype = next(self.network.parameters()).dtype
        texts = {name: tensor.to(dtype) for name, tensor in texts.items()}
        given: dict[str, Any] = {"encoder_hidden_states": texts["prompt_embeds"], "return_dict": False}
        pooled = texts.get("pooled_prompt_embeds")
        if self.family == "sd3":
            given["pooled_projections"] = pooled
        if self.family == "sdxl":
            sides = torch.tensor([[self.side, self.side, 0, 0, self.side, self.side]], device=x_t.device)
            given["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sides.expand(len(x_t), -1).to(dtype)}
        return network(x_t.to(dtype), timestep=time, **given)[0]

    def validate(self, network: nn.Module) -> float:
        """Loss on the validation images with their captions, always at the same times and with the same noise."""
        return self.mean_error(network, self.validation)

    def mean_error(self, network: nn.Module, rows: Tensor) -> float:
        """Mean loss over up to MOST images, evenly picked, REPEATS times and noises each."""
        rows = rows[:: max(1, -(-len(rows) // MOST))]
        rng, local = Generator().manual_seed(0), Generator(self.device).manual_seed(1)
        total, count = 0.0, 0
        for part in rows.repeat(REPEATS).split(CHUNK):
            errors = self.errors(network, part, self.noising.times(len(part), rng), self.texts.captions[part], local)
            total, count = total + errors.double().sum().item(), count + len(part)
        return total / count
