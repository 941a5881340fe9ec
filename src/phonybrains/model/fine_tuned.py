"""A Stable Diffusion checkpoint fine-tuned on a corpus: a standard LoRA beside what it takes to use it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ConfigError, ModelError
from ..networks.conditions import Value
from .backing import doubts
from .captions import PROMPT, Described
from .drawing import drawn
from .latent_diffusion import image_rng
from .lora_description import DESCRIPTION, SAMPLERS, WEIGHTS, LoraFacts, read_lora
from .precision import check_precision, has_bf16
from .sampling import NO_CLASSIFIER, Sampling
from .stable_diffusion import Base, draw


@dataclass
class FineTuned:
    """A fine-tuned checkpoint that can be asked for images, as a LatentDiffusion can. Its weights load when it draws.

    Image i depends on (seed, i) alone, up to the rounding of batches of another size.
    """

    folder: Path
    facts: LoraFacts
    conditions: Described
    device: torch.device

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> FineTuned:
        """Read and check the folder, the base's weights apart. Raises ModelError naming the part and what to do."""
        facts, conditions = read_lora(Path(folder))
        return cls(Path(folder), facts, conditions, torch.device(device))

    @property
    def size(self) -> int:
        return self.facts.image_size

    @property
    def own_guidance(self) -> float:
        return self.facts.guidance

    @property
    def units(self) -> Mapping[str, tuple[float, float, str]]:
        return {modality: (float(a), float(b), str(unit)) for modality, (a, b, unit) in self.facts.units.items()}

    def ask(self, indices: Sequence[int], where: Mapping[str, Value], seed: int) -> list[dict[str, Value]]:
        """The attributes and the prompt of the images with these indices: as asked, the rest drawn as in training."""
        return drawn(self.conditions, indices, where, seed)

    def doubts(self, where: Mapping[str, Value]) -> list[str]:
        """What there is to say against what is asked for, by attributes or by what a prompt names of them."""
        checked = self.conditions.check(where)
        read = self.conditions.captions.read(str(checked.get(PROMPT, "")), self.conditions)
        return doubts(self.conditions, read | checked)

    def settle(self, sampling: Sampling) -> Sampling:
        """The sampling with nothing left open. Raises ConfigError for what this model cannot do.

        Looks for the base too, so that what is wrong with it shows before anything is written.
        """
        self.facts.check_sampler(sampling.sampler)
        if sampling.classifier_guidance:
            raise ConfigError(NO_CLASSIFIER)
        precision = check_precision(sampling.precision)
        if precision == "auto":
            precision = "bf16" if self.device.type == "cuda" and has_bf16(self.device) else "fp32"
        _ = self.base
        return replace(sampling, steps=sampling.steps or self.facts.steps, precision=precision)

    def batches(self, n: int, sampling: Sampling) -> list[slice]:
        """How n images are parted, in order, into those that are drawn together."""
        return [slice(i, min(i + sampling.batch_size, n)) for i in range(0, n, sampling.batch_size)]

    def paint(
        self,
        indices: Sequence[int],
        wanted: Sequence[Mapping[str, Value]],
        sampling: Sampling,
        batches: Sequence[slice] | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the images with these indices one by one, (H, W) uint8, drawn in these batches, or `self.batches`."""
        sampling = self.settle(sampling)
        pipeline = self.pipeline(sampling) if indices else None
        steps = sampling.steps or self.facts.steps
        for part in self.batches(len(indices), sampling) if batches is None else batches:
            rngs = [image_rng(sampling.seed, i) for i in indices[part]]
            prompts = [str(row[PROMPT]) for row in wanted[part]]
            yield from draw(pipeline, rngs, self.facts.size, steps, sampling.guidance, self.size, prompt=prompts)

    def pipeline(self, sampling: Sampling) -> Any:
        """The base with the LoRA on it, on the device. Raises ModelError if the base is not the one trained on."""
        dtype = torch.bfloat16 if sampling.precision == "bf16" else torch.float32
        pipeline = self.base.load(dtype)
        pipeline.load_lora_weights(self.folder, weight_name=WEIGHTS)
        if sampling.sampler:
            import diffusers

            kind = getattr(diffusers, SAMPLERS[self.facts.family][sampling.sampler])
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        return pipeline.to(self.device)

    @cached_property
    def base(self) -> Base:
        """The checkpoint it was made from, found and compared with what it was."""
        facts = self.facts
        name = os.path.normpath(self.folder.resolve() / facts.base) if facts.local else facts.base
        if facts.local and not Path(name).is_dir():
            how = f'Put it there, or write where it is, as seen from {self.folder.name}, into "base" in {DESCRIPTION}.'
            raise ModelError(f"{self.folder}: its base is to be in {name}, and is not. {how}")
        base = Base.find(name, facts.revision or None, facts.variant, facts.t5)
        if base.fingerprint() != facts.sha256:
            why = "its files have another SHA-256. Get that one, or fine-tune again."
            raise ModelError(f"{name} is not the base that {self.folder} was made from: {why}")
        return base
