"""What is generated, and how; and whether a model knows the names in it, which is found out without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..config import Config, load_config
from ..errors import ConfigError
from ..model.captions import PROMPT, Described
from ..model.description import conditions_of, read_description
from ..model.finding import find_model, is_fine_tuned
from ..model.lora_description import read_lora
from ..model.masks import MaskFacts
from ..model.sampling import GAN, Engine, Precision, Sampling, check_one_evaluation, check_sampler
from ..networks.conditions import Value
from ..networks.shapes import Count
from ..wording import count_of
from .masks import MaskFolder
from .processes import Share

Images = Annotated[int, Field(ge=1, le=10_000_000)]
"""How many: of more, what each is to show would fill the memory before the first is drawn."""


class Request(Config):
    """So many images that show this: values of attributes the model knows; the rest is drawn as in training."""

    n: Images
    where: dict[str, Value] = {}


class HowDrawn(Config):
    """How images are drawn: the fields of Sampling that change an image, and which part of them is made."""

    seed: Annotated[int, Field(ge=0)] = Sampling.seed
    steps: Count | None = Sampling.steps
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Steps and guidance that are None are the model's own."""
    classifier_guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Sampling.classifier_guidance
    sampler: str = Sampling.sampler
    precision: Precision = "auto"
    engine: Engine = "auto"
    shard: str = ""
    """Which part of the images is made, such as "3/8", the third of eight; empty: all."""


class GenerateFile(HowDrawn):
    """What a TOML file for `generate` can say: all but the model and where its images go."""

    free_tables = ("where",)

    n: Images | None = None
    where: dict[str, Value] = {}
    prompt: str | None = None
    requests: tuple[Request, ...] = ()
    """Several of n and where, one after the other, in place of them."""
    mask: Path | None = None
    mask_split: Literal["train", "validation", "test"] | None = None
    watermark: Path | None = None
    """A file with the key."""
    batch_size: Count = 16
    grid: Path | None = None

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if self.requests and (self.n or self.where or self.prompt is not None):
            raise ConfigError("requests say n and where themselves: leave these, and prompt, out.")
        if self.prompt is not None and PROMPT in self.where:
            raise ConfigError("the prompt is asked for twice, in where and by itself. Say it once.")
        return self

    def asked(self, masks: MaskFolder | None) -> list[dict[str, Any]]:
        """The requests: those of the file, or the one of n, where and prompt. Raises ConfigError without a number."""
        prompt = {} if self.prompt is None else {PROMPT: self.prompt}
        one = {"n": 0 if self.requests else count(self.n, masks), "where": self.where | prompt}
        return [request.model_dump() for request in self.requests] or [one]


class GenerateConfig(HowDrawn):
    """What is generated, and how: requests one after the other."""

    requests: tuple[Request, ...]
    watermark: str = ""
    """The name of the key whose watermark the images carry; empty: none."""

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        shards = Share.read(self.shard).world
        if self.n < shards:
            few = f"{shards} shards of {count_of(self.n, 'image')}"
            raise ConfigError(
                f"--shard {self.shard}: {few}: each holds one at least. Take up to {count_of(self.n, 'shard')}."
            )
        return self

    @property
    def n(self) -> int:
        """How many images the requests make together, in all shards."""
        return sum(request.n for request in self.requests)

    @property
    def indices(self) -> range:
        """Which of them are made here."""
        return Share.read(self.shard).of(range(self.n))

    @property
    def sampling(self) -> Sampling:
        """How to sample, as far as that is said."""
        how = {"precision": self.precision, "classifier_guidance": self.classifier_guidance}
        return Sampling(self.seed, self.steps, Sampling.guidance, self.sampler, **how)

    def recorded(self) -> dict[str, Any]:
        """What a record says of it. What there was before there was a choice goes without saying."""
        unsaid = {"engine": self.engine == "torch", "classifier_guidance": not self.classifier_guidance}
        unsaid |= {"shard": not self.shard, "watermark": not self.watermark}
        return self.model_dump(mode="json", exclude={name for name, is_so in unsaid.items() if is_so})


def generate_config(n: int, where: Mapping[str, Value] | None = None, **how: Any) -> GenerateConfig:
    """One request for n images; how: fields of GenerateConfig. Raises ConfigError for what none of them can be."""
    return load_config(GenerateConfig, None, requests=[{"n": n, "where": dict(where or {})}], **how)


def open_masks(folder: str | Path | None, split: str | None = None) -> MaskFolder | None:
    """The masks of a folder, if there is one. Raises ConfigError for what is none, or for a split of no folder."""
    if folder is None and split is not None:
        raise ConfigError("--mask-split says which masks of --mask are taken. Give both.")
    return None if folder is None else MaskFolder.open(Path(folder), split)


def count(n: int | None, masks: MaskFolder | None) -> int:
    """How many images: as many as there are masks where nobody says. Raises ConfigError without either."""
    if n is None and masks is None:
        raise ConfigError("how many images? Say it with -n, for instance -n 95, or give masks to follow with --mask.")
    return len(masks) if n is None and masks else n or 0


def check_names(model: str | Path, config: GenerateConfig, masks: MaskFolder | None = None) -> Path:
    """The folder of a model of either kind, or of one that ships with the package, by name.

    Raises ModelError or ConfigError for a model, an attribute, a value or a sampler that is not known, and for masks
    that the model does not take: at once, as nothing here waits for torch.
    """
    folder = find_model(model)
    content = {} if is_fine_tuned(folder) else read_description(folder)
    if content.get("diffusion") == GAN:
        guidance = 1.0 if config.guidance is None else config.guidance
        check_one_evaluation(replace(config.sampling, guidance=guidance))
    if masks:
        taken = MaskFacts(**content["masks"]) if "masks" in content else None
        masks.check(folder.resolve().name, content.get("size", 0), taken)
    if is_fine_tuned(folder):
        facts, conditions = read_lora(folder)
        facts.check_sampler(config.sampler)
    else:
        conditions = conditions_of(folder)
        check_sampler(config.sampler)
    if not isinstance(conditions, Described) and any(PROMPT in r.where for r in config.requests):
        name = folder.resolve().name
        raise ConfigError(
            f"{name} reads no words: --prompt is for models that were fine-tuned from Stable Diffusion. "
            f"Say it with --where, for instance --where modality=CT ('phonybrains model info {quote(name)}' "
            "lists what it knows), or let 'phonybrains serve' read the words."
        )
    for request in config.requests:
        conditions.check(request.where)
    return folder
