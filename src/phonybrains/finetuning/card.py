"""The card of a fine-tuned checkpoint: its base, its captions, its training data and licences, its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..imageset import ImageSet
from ..model.backing import counts_in_words, told
from ..model.captions import Captions
from ..model.lora_description import LoraFacts
from ..model.training_data import licence, sources, splits
from ..networks.conditions import Conditions
from ..wording import count_of

MOST_FREQUENT = 12


def model_card(
    facts: LoraFacts, images: ImageSet, captions: Captions, texts: Sequence[str], conditions: Conditions
) -> str:
    """The text of README.md, with the metadata block that model hubs read. texts: the captions of all images."""
    link = f"[{facts.base}](https://huggingface.co/{facts.base})"
    base = "a checkpoint in a folder of its own" if facts.local else link
    known = "" if facts.local else f"base_model: {facts.base}\n"
    commit = f", commit `{facts.revision}`" if facts.revision else ""
    counts = "\n".join(f"- {line}" for line in (*told(conditions), *counts_in_words(conditions)))
    frequent = "\n".join(f"- {text} ({count})" for text, count in Counter(texts).most_common(MOST_FREQUENT))
    figures = "\n".join(f"| {name} | {value} |" for name, value in facts.card.items())
    return f"""---
library_name: diffusers
pipeline_tag: text-to-image
{known}tags: [phonybrains, medical-imaging, brain, lora, stable-diffusion, synthetic]
{licence(images)}---
# A LoRA for head images

Made with phonybrains from {base}{commit}. It makes **synthetic** images of {facts.image_size}×{facts.image_size}
pixels, drawn at {facts.size}×{facts.size}, for research and teaching. They show no patient and must not be used for
diagnosis.

## The base

The licence of the base holds for the images and for this LoRA too, whatever the licence of the training data says: read
it where the base comes from. The base was trained on pictures from the web, and brings their biases with it.
SHA-256 of its files: `{facts.sha256}`.

## Training data

{count_of(len(images), "image")}; {splits(images)}. Trained on the first alone.

{sources(images)}

## Captions

Template: `{captions.template}`. Most frequent:

{frequent}

{counts}

## Figures

| what | value |
|---|---|
{figures}

## Use

```python
pipeline = diffusers.DiffusionPipeline.from_pretrained("{"BASE" if facts.local else facts.base}")
pipeline.load_lora_weights("this folder")
```
"""
