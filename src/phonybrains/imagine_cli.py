"""The command of text-to-image services: `phonybrains imagine`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from .errors import ConfigError

Whole = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Money = Annotated[float, Parameter(validator=validators.Number(gte=0))]


def imagine(
    prompt: str | None = None,
    /,
    *,
    n: Annotated[Whole | None, Parameter(name=["-n", "--n"])] = None,
    out: Path,
    prompts: Path | None = None,
    preset: str | None = None,
    config: Path | None = None,
    modality: Literal["MR", "CT"] | None = None,
    model: str | None = None,
    base_url: str | None = None,
    dialect: Literal["gpt-image", "dall-e-3"] | None = None,
    size: str | None = None,
    quality: str | None = None,
    seed: int | None = None,
    budget: Money | None = None,
    max_images: Whole | None = None,
    concurrency: Whole | None = None,
    key_file: Path | None = None,
) -> None:
    """Ask a text-to-image service for images, as an image set.

    The key is taken from the environment variable OPENAI_API_KEY. The same command again goes on where it was stopped,
    and never pays twice.

    Args:
        prompt: What to ask for.
        n: How many images (1).
        out: Folder of the image set; the originals lie beside it, in OUT.originals.
        prompts: TOML file with prompts and attributes, see docs/text-to-image.md.
        preset: paper: brain MRI and CT, as in the paper.
        config: TOML file with any of the settings of docs/text-to-image.md; the options here win.
        modality: Modality of prompts that do not say theirs.
        model: Name of the model (gpt-image-2.6-sunburst).
        base_url: Address of the service (https://api.openai.com/v1).
        dialect: How the service is asked; told by the model's name if not given.
        size: Size of the originals (1024x1024); "" leaves it to the service.
        quality: Quality, as the service calls it.
        seed: Start of the random numbers of drawn prompts, and of what is sent with send_seed.
        budget: Most that all runs of this command may cost together.
        max_images: Most images that all runs of this command may ask for together.
        concurrency: Requests at a time (4).
        key_file: File that holds the key, instead of the environment.
    """
    from .remote.config import load_imagine_config
    from .text_to_image import imagine

    if [prompt, prompts, preset].count(None) != 2:
        raise ConfigError("say what to ask for: one prompt, or --prompts FILE, or --preset paper.")
    given: dict[str, Any] = {"prompts": None if prompt is None else [{"text": prompt}]}
    settings = load_imagine_config(
        preset, config, prompts, **given, n=n, modality=modality, model=model, base_url=base_url, dialect=dialect,
        size=size, quality=quality, seed=seed, budget=budget, max_images=max_images, concurrency=concurrency,
        key_file=key_file,
    )  # fmt: skip
    imagine(out, settings, confirm=_confirm if sys.stdin.isatty() else None)


def _confirm(question: str) -> bool:
    from rich.console import Console
    from rich.prompt import Confirm

    return Confirm.ask(question, default=False, console=Console(stderr=True, markup=False, highlight=False))
