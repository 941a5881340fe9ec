"""Configuration of `phonybrains imagine`: the prompts, the service, what it may cost."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from ..config import Config, load_config
from ..errors import ConfigError

PAPER = Path(__file__).with_name("paper.toml")
PRESETS = {"paper": PAPER}
SIZES = {
    "gpt-image": ("1024x1024", "1536x1024", "1024x1536", "auto"),
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
}
"""What OpenAI's service takes, by dialect."""

LIMITS = {"budget", "max_images", "prices", "sizes", "concurrency", "retries", "timeout_s", "max_megabytes", "key_file"}
"""Settings that do not change what is asked."""

Count = Annotated[int, Field(ge=1)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Value = str | int | float
Dialect = Literal["gpt-image", "dall-e-3"]


class Prompt(Config):
    """A prompt or a template of one: `{name}` stands for an attribute, which has one value or a list of them."""

    text: Annotated[str, Field(min_length=1)]
    modality: Literal["", "MR", "CT"] = ""
    """Told from the words of the prompt (MRI, CT …) where it is given nowhere."""
    attributes: dict[str, Value | Annotated[list[Value], Field(min_length=1)]] = {}


class Price(Config):
    """What a model costs. The budget reckons with `image`, the most that one image costs, before an answer is there."""

    image: Money
    input_tokens: Money | None = None
    """For a million tokens of the prompt, where the service counts tokens; the answer then tells the true cost."""
    output_tokens: Money | None = None
    currency: str = "USD"

    @model_validator(mode="after")
    def _is_the_most(self) -> Self:
        if not self.image and (self.input_tokens or self.output_tokens):
            raise ValueError("image is the most that one image costs, so it cannot be 0 where tokens cost something")
        return self


def is_loopback(host: str | None) -> bool:
    """Whether a host's name or address is this machine itself."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


class ImagineConfig(Config):
    """What is asked for, of which service, and within which limits."""

    free_tables = ("extra",)

    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1)]
    n: Count = 1
    modality: Literal["", "MR", "CT"] = ""
    """Of the prompts that do not say theirs."""
    combine: Literal["all", "draw"] = "all"
    """all: every combination of the attributes in turn; draw: by the seed."""
    seed: Annotated[int, Field(ge=0)] = 0
    side: Annotated[int, Field(ge=16, le=4096)] = 256
    """Side of the images of the set, in pixels."""

    base_url: str = "https://api.openai.com/v1"
    model: Annotated[str, Field(min_length=1)] = "gpt-image-2.6-sunburst"
    dialect: Dialect | None = None
    """None: dall-e-3 for models of that name, else gpt-image."""
    size: str = "1024x1024"
    """Of the original, as the service writes it; "" leaves it to the service."""
    sizes: tuple[str, ...] | None = None
    """The sizes that the service takes; None: those of SIZES at OpenAI, any elsewhere."""
    quality: str | None = None
    style: str | None = None
    """dall-e-3 only: vivid or natural."""
    moderation: str | None = None
    """gpt-image only: auto or low."""
    send_seed: bool = False
    """Send seed + index as `seed`, for servers whose images depend on it."""
    extra: dict[str, JsonValue] = {}
    """More parameters, sent as they are."""
    licence: str = "the terms of the service"

    budget: Money | None = None
    """Most that all runs of this command may cost together, in the currency of the price."""
    max_images: Count | None = None
    """Most images that all runs of this command may ask for together."""
    prices: dict[str, Price] = {"gpt-image-2.6-sunburst": Price(image=0.25, input_tokens=5.0, output_tokens=30.0)}
    """By model. Check them against the service's own list."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 240.0
    max_megabytes: Count = 64
    """A larger answer is not read."""
    key_file: Path | None = None

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address such as https://api.openai.com/v1 is needed")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("no user, password or query here: it goes into the record. Keys belong in OPENAI_API_KEY")
        return address.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _can_be_sent(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        json.dumps(extra, allow_nan=False)
        return extra

    @model_validator(mode="after")
    def _names_are_used(self) -> Self:
        for prompt in self.prompts:
            for name in prompt.attributes.keys() & type(self).model_fields.keys():
                if f"{{{name}}}" not in prompt.text and name != "modality":
                    raise ValueError(
                        f"{name} stands among the attributes of a prompt that has no {{{name}}}: it is a "
                        "setting of the whole file, and is written above the first line in brackets"
                    )
        return self

    @property
    def is_local(self) -> bool:
        """Whether the service runs on this machine."""
        return is_loopback(urlsplit(self.base_url).hostname)

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        return urlsplit(self.base_url).scheme == "https"

    @property
    def price(self) -> Price | None:
        """The price of the model; nothing for a server on this machine that has none; None where it is not known."""
        return self.prices.get(self.model) or (Price(image=0) if self.is_local else None)

    def settings(self) -> dict[str, Any]:
        """What determines the requests, for the record: neither limits, nor anything about the key."""
        return self.model_dump(mode="json", exclude=LIMITS)


def load_imagine_config(preset: str | None, *paths: str | Path | None, **given: Any) -> ImagineConfig:
    """Read a preset and TOML files, later ones laid over earlier ones, and the given values on top.

    Raises ConfigError naming the file, the key and what is wrong with its value.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"preset '{preset}' is not known. Known: {', '.join(PRESETS)}.")
    return load_config(ImagineConfig, PRESETS[preset] if preset else None, *paths, **given)
