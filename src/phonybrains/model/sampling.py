"""How to sample: the settings, checked without torch, and the names of what can be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal

from ..errors import ConfigError

Precision = Literal["auto", "bf16", "fp32"]
Engine = Literal["auto", "torch", "compiled"]
"""What computes the networks of a model folder: torch, or what `model compile` made of them for this machine."""
SHORTCUT = "shortcut"
SAMPLER_NAMES = ("heun", "adams", "ddim", "ddpm", "euler", SHORTCUT)
"""What `diffusion/sampler.py` has, by name."""
GAN = "gan"
"""The kind of model that makes an image in one evaluation, and knows nothing between noise and image."""
FEW, FULL = 4, 16
"""Up to how many steps a model with few-step weights uses them, and how many stand for the whole path."""

NO_CLASSIFIER = "this model has no classifier to be guided by. Train one: phonybrains train … --classifier ATTRIBUTE."


@dataclass(frozen=True)
class Sampling:
    """How to sample: seed, steps (none: the model's own), guidance, sampler (empty: the best for them), batch size.

    classifier_guidance: how strongly the model's classifier leads to what is asked; 0 is without it.
    precision: of decoding: bf16, fp32, or auto for the faster on this machine; up to 5 gray levels apart.
    """

    seed: int = 0
    steps: int | None = None
    guidance: float = 1.0
    sampler: str = ""
    batch_size: int = 16
    precision: str = "auto"
    classifier_guidance: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigError for what no model can do."""
        check_integer("seed", self.seed, 0, 2**63 - 1)
        check_integer("batch_size", self.batch_size, 1)
        if self.steps is not None:
            check_integer("steps", self.steps, 1)
        for name, plain in (("guidance", "1 for the plain model"), ("classifier_guidance", "0 for none")):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ConfigError(f"{name} {value}: it is a number from 0 on, {plain}.")


def check_integer(name: str, value: object, least: int, most: int = 2**31 - 1) -> None:
    """Raise ConfigError unless a setting is a whole number in these bounds."""
    if not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ConfigError(f"{name} {value}: it is a whole number from {least} to {most}.")


def check_sampler(name: str) -> None:
    """Raise ConfigError, listing the known names, for a sampler that is none of them; empty is the best one."""
    if name and name not in SAMPLER_NAMES:
        raise ConfigError(f"sampler '{name}' is not known. Known: {', '.join(SAMPLER_NAMES)}.")


def check_one_evaluation(sampling: Sampling) -> None:
    """Raise ConfigError for settings of a walk, which a GAN does not make."""
    none = {"steps": (None, 1), "guidance": (1,), "sampler": ("", "euler"), "classifier_guidance": (0,)}
    for name, free in none.items():
        if (value := getattr(sampling, name)) not in free:
            why = "this model is a GAN, which makes an image in one evaluation"
            raise ConfigError(f"{name} {value}: {why}. Leave {name} out.")


def settle(sampling: Sampling, steps: int, sampler: str, few_step: bool) -> Sampling:
    """Steps and sampler, where they are open, those of a model; few_step: whether it has weights for few steps.

    Of a model whose own number is a few, what these weights cannot do, guidance and other samplers, takes FULL steps.
    Raises ConfigError for what no such model can do.
    """
    plain = sampling.guidance == 1 and not sampling.classifier_guidance
    jumps = sampling.sampler in ("", SHORTCUT) and plain
    own = FULL if few_step and steps <= FEW and not jumps else steps
    steps = own if sampling.steps is None else sampling.steps
    sampler = sampling.sampler or (SHORTCUT if few_step and steps <= FEW else sampler)
    check_sampler(sampler)
    if sampler == SHORTCUT and not few_step:
        raise ConfigError(f"sampler '{sampler}': this model has no few-step weights. Leave the sampler open.")
    if sampler == SHORTCUT and sampling.guidance != 1:
        why = "few-step weights have theirs built in"
        raise ConfigError(f"guidance {sampling.guidance:g}: {why}. Give more than {FEW} steps, or another sampler.")
    if sampler == SHORTCUT and sampling.classifier_guidance:
        why = "few-step weights jump past the noise that a classifier looks at"
        raise ConfigError(f"classifier guidance: {why}. Give more than {FEW} steps, or another sampler.")
    return replace(sampling, steps=steps, sampler=sampler)
