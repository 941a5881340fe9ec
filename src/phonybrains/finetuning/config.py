"""Configuration of `phonybrains finetune`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..config import Config
from ..model.captions import WORDS
from ..networks.shapes import Count
from ..optimising.config import LoopConfig, Rate, Share, Weight


class LoraLoop(LoopConfig):
    """The loop that trains a LoRA."""

    steps: Annotated[int, Field(ge=1)] = 2000
    batch_size: Count = 8
    learning_rate: Rate = 1e-4
    averages: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.99, 0.999)


class FinetuneConfig(Config):
    """How a checkpoint is fine-tuned."""

    free_tables = ("words",)

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    caption: str | None = None
    """Template of the captions; None: plane, modality, diagnosis and hemorrhage, as far as the corpus has them."""
    min_patients: Annotated[int, Field(ge=0)] = 5
    """A value that fewer patients of a modality have is in no caption; 0 or 1 keeps all, at the price of redrawing."""
    words: dict[str, dict[str, str]] = WORDS
    """Words for labels in captions: attribute → label → words."""
    revision: str | None = None
    """Branch, tag or commit of the base on the Hub."""
    variant: str | None = None
    """The base's weights of this name, as fp16; None: the plain ones."""
    t5: bool = True
    """Stable Diffusion 3: use its T5 text encoder (about 10 GB at half precision), if it has one."""
    size: Count | None = None
    """Side in pixels that the base draws at; None: the side it was trained at. Images keep the corpus's side."""
    rank: Count = 16
    targets: tuple[str, ...] = ()
    """Names (ends of names) of the layers that are adapted; none: the projections of all attention layers."""
    caption_dropout: Share = 0.1
    """Share of training images shown without their caption, for classifier-free guidance.  [Ho 2022, alg. 1]"""
    noise_offset: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Noise that moves a whole channel of an image; dark and bright images are learnt sooner. Not for sd3."""
    gradient_checkpointing: bool = False
    """Half the memory of training, at a third more time."""
    loop: LoraLoop = LoraLoop()
    steps: Annotated[int, Field(ge=1, le=1000)] = 30
    """Steps that `generate` takes where none are asked for."""
    guidance: Weight | None = None
    """Guidance of `generate` where none is asked for; None: that of the base's own pipeline."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"

    @property
    def loops(self) -> dict[str, LoopConfig]:
        return {"loop": self.loop}
