"""The model card: what the model is, what it was trained on and under which licences, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..imageset import ImageSet
from ..model.backing import counts_in_words, in_words, rule_in_words
from ..model.latent_diffusion import LatentDiffusion
from ..model.masks import masks_in_words
from ..model.sampling import GAN
from ..model.training_data import licence, sources, splits
from ..wording import count_of


def model_card(model: LatentDiffusion, images: ImageSet, figures: Mapping[str, Any]) -> str:
    """The text of a model folder's README.md, with the metadata block that model hubs read."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    attributes = "\n".join(f"- `{a.name}`: {in_words(a)}" for a in model.conditions.attributes)
    if model.masks:
        attributes += f"\n- a mask of what the image is to show: {masks_in_words(model.masks)}"
    gan = model.chain.name == GAN
    kind, tag = ("GAN on latents", "gan") if gan else ("latent diffusion model", "latent-diffusion")
    counts = "\n".join(f"- {line}" for line in counts_in_words(model.conditions))
    return f"""---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [phonybrains, medical-imaging, brain, {tag}, synthetic]
{licence(images)}---
# A {kind} of head images

Trained with phonybrains. It makes **synthetic** images of {model.size}×{model.size} pixels for research and teaching.
They show no patient and must not be used for diagnosis.

## Training data

{count_of(len(images), "image")}; {splits(images)}.

{sources(images)}

## What it can be asked for

{attributes}

{rule_in_words(model.conditions)}

{counts}

## Figures

| what | value |
|---|---|
{rows}
"""
