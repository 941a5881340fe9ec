"""The model card: what the model is, what it was trained on and under which licences, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..imageset import ImageSet
from ..model.conditions import Category
from ..model.latent_diffusion import LatentDiffusion
from ..model.share import NO_SOURCES


def model_card(model: LatentDiffusion, images: ImageSet, figures: Mapping[str, Any]) -> str:
    """The text of a model folder's README.md, with the metadata block that model hubs read."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    attributes = "\n".join(f"- `{a.name}`: " + (", ".join(a.labels) if isinstance(a, Category)
                           else f"{a.low:g} to {a.high:g}") for a in model.conditions.attributes)  # fmt: skip
    return f"""---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [phonybrains, medical-imaging, brain, latent-diffusion, synthetic]
{_licence(images)}---
# A latent diffusion model of head images

Trained with phonybrains. It makes **synthetic** images of {model.size}×{model.size} pixels for research and teaching.
They show no patient and must not be used for diagnosis.

## Training data

{len(images)} images; {_splits(images)}.

{_sources(images)}

## What it can be asked for

{attributes}

## Figures

| what | value |
|---|---|
{rows}
"""


def _splits(images: ImageSet) -> str:
    counts = {split: sum(row.split == split for row in images.rows) for split in ("train", "validation", "test")}
    methods = images.record.get("results", {}).get("split", {})
    split = "; ".join(f"{modality} split {method}" for modality, method in methods.items())
    return ", ".join(f"{count} for {name}" for name, count in counts.items()) + (f" ({split})" if split else "")


def _sources(images: ImageSet) -> str:
    sources = images.record.get("sources") or []
    lines = [f"- {s.get('name', '')}: {s.get('attribution', '')} {s.get('licence', '')} {s.get('url', '')}".rstrip()
             for s in sources]  # fmt: skip
    return "\n".join(lines) or NO_SOURCES


def _licence(images: ImageSet) -> str:
    """The line with the licence, as hubs spell it, where all sources have the same one."""
    licences = {source.get("licence", "") for source in images.record.get("sources") or []}
    return f"license: {'-'.join(licences.pop().lower().split())}\n" if len(licences) == 1 and any(licences) else ""
