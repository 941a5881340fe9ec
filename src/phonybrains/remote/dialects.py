"""What a request says, in the words of a service."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from .config import SIZES, Dialect, ImagineConfig
from .prompts import Wanted


def dialect_of(config: ImagineConfig) -> Dialect:
    """The dialect that is given, or that the model's name tells."""
    return config.dialect or ("dall-e-3" if config.model.startswith("dall-e") else "gpt-image")


def parameters(wanted: Wanted, config: ImagineConfig) -> dict[str, Any]:
    """The body of a request for one image.

    One at a time, as dall-e-3 takes no more: then a refusal concerns one image, and so does an answer that is lost.
    Raises ConfigError for a setting that the dialect does not have.
    """
    dialect = dialect_of(config)
    other = "moderation" if dialect == "dall-e-3" else "style"
    if getattr(config, other) is not None:
        raise ConfigError(f"{other} does not go with the dialect {dialect}. Leave it out.")
    known = SIZES[dialect] if urlsplit(config.base_url).hostname == "api.openai.com" else None
    if config.size and (known := config.sizes or known) and config.size not in known:
        raise ConfigError(
            f"size '{config.size}': the service takes {', '.join(known)}, or \"\" for its own choice. "
            "If it takes more by now, list them as `sizes` in the configuration."
        )
    if clash := config.extra.keys() & {"model", "prompt", "n", "stream"}:
        raise ConfigError(f"extra: {', '.join(sorted(clash))} cannot be set there.")
    if dialect == "dall-e-3":
        own = {"response_format": "b64_json", "quality": config.quality, "style": config.style}
    else:
        fixed = {"output_format": "png", "background": "opaque"}
        own = fixed | {"quality": config.quality, "moderation": config.moderation}
    seed = {"seed": config.seed + wanted.index} if config.send_seed else {}
    body = {"model": config.model, "prompt": wanted.prompt, "n": 1, "size": config.size, **own, **seed, **config.extra}
    return {name: value for name, value in body.items() if value not in (None, "")}
