"""The command of text-to-image services: `phonybrains imagine`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import ConfigError
from .options import Amount, Modality, Seed, Whole
from .working import working


@Parameter(name="*")
@dataclass(frozen=True)
class Service:
    """Who is asked, and how."""

    model: str | None = None
    """Name of the model (gpt-image-2.6-sunburst)."""
    base_url: str | None = None
    """Address of the service (https://api.openai.com/v1)."""
    dialect: Literal["gpt-image", "dall-e-3"] | None = None
    """How the service is asked; told by the model's name if not given."""
    size: str | None = None
    """Size of the originals (1024x1024); "" leaves it to the service."""
    quality: str | None = None
    """Quality, as the service calls it."""
    seed: Seed | None = None
    """Start of the random numbers of drawn prompts, and of what is sent with send_seed."""
    key_file: Path | None = None
    """File that holds the key, instead of the environment."""


@Parameter(name="*")
@dataclass(frozen=True)
class Limits:
    """What it may cost, and how much at a time."""

    budget: Amount | None = None
    """Most that all runs of this command may cost together."""
    max_images: Whole | None = None
    """Most images that all runs of this command may ask for together."""
    concurrency: Whole | None = None
    """Requests at a time (4)."""


@working("quiet")
def imagine(
    prompt: str | None = None,
    /,
    *,
    n: Annotated[Whole | None, Parameter(name=["-n", "--n"])] = None,
    out: Path,
    prompts: Path | None = None,
    preset: str | None = None,
    config: Path | None = None,
    modality: Modality | None = None,
    service: Service = Service(),
    limits: Limits = Limits(),
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
    """
    from ..remote.config import load_imagine_config

    if [prompt, prompts, preset].count(None) != 2:
        raise ConfigError("say what to ask for: one prompt, or --prompts FILE, or --preset paper.")
    given: dict[str, Any] = {"prompts": None if prompt is None else [{"text": prompt}]}
    given |= {"n": n, "modality": modality} | asdict(service) | asdict(limits)
    settings = load_imagine_config(preset, config, prompts, **given)
    from ..workflows.imagine import imagine

    imagine(out, settings, confirm=_confirm if sys.stdin.isatty() and sys.stderr.isatty() else None)


def _confirm(question: str) -> bool:
    from rich.console import Console
    from rich.prompt import Confirm

    return Confirm.ask(question, default=False, console=Console(stderr=True, markup=False, highlight=False))
