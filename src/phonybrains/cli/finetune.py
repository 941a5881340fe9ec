"""The command `phonybrains finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from ..startup import say

Whole = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def finetune(
    base: str,
    corpus: Path,
    /,
    *,
    out: Path,
    config: Path | None = None,
    caption: str | None = None,
    size: Whole | None = None,
    revision: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
) -> None:
    """Fine-tune a Stable Diffusion checkpoint on an image set, as a LoRA.

    Args:
        base: USER/NAME on the Hugging Face Hub, or a folder, in diffusers' format: SD 1 and 2, SDXL, SD 3.
        corpus: An image set.
        out: Folder of the LoRA, for generate.
        config: TOML file with any of the settings of docs/finetune.md; the options here win.
        caption: Template of the captions, as "{plane} {modality} of the brain, {diagnosis}".
        size: Side in pixels that the base draws at (the one it was trained at); images keep the corpus's side.
        revision: Branch, tag or commit of the base on the Hub.
        variant: The base's weights of this name, as fp16.
        seed: Start of the random numbers.
    """
    from ..config import load_config
    from ..finetuning.config import FinetuneConfig
    from ..finetuning.stage import finetune

    settings = load_config(
        FinetuneConfig, config, caption=caption, size=size, revision=revision, variant=variant, seed=seed
    )
    finetune(base, corpus, out, settings)
    say(f"{out} is fine-tuned. Next: phonybrains generate {out} -n 8 --out samples/")
