"""A Stable Diffusion checkpoint fine-tuned on a corpus: a standard LoRA beside what it takes to use it.

pytorch_lora_weights.safetensors   the LoRA, as diffusers' load_lora_weights reads it
finetune.json                      the base (name, commit, hash), sizes, caption template, SHA-256 of the parts
conditions.json                    the attributes of the captions, and how often each combination occurred
README.md, record.json             model card and provenance
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ConfigError, ModelError
from ..networks.conditions import Conditions, Value
from ..record import RECORD_NAME, sha256_file
from .backing import doubts, drawn
from .captions import PROMPT, Captions, Described
from .folder import CARD
from .latent_diffusion import Sampling, image_rng
from .precision import Precision, has_bf16
from .schema import Finite, read_conditions
from .seal import is_sound, sealed
from .stable_diffusion import Base, Family, draw

DESCRIPTION, WEIGHTS, SCHEMA = "finetune.json", "pytorch_lora_weights.safetensors", "conditions.json"
PARTS = (WEIGHTS, SCHEMA)
AGAIN = "Copy the folder again from where it was made."
Side = Annotated[int, Field(ge=8, le=8192)]
ALL_FILES = (DESCRIPTION, *PARTS, CARD, RECORD_NAME)
FREE = ("base",)
"""A base in a folder may be moved."""
FORMAT_VERSION = 1
SAMPLERS = {
    "sd": {
        "ddim": "DDIMScheduler",
        "ddpm": "DDPMScheduler",
        "euler": "EulerDiscreteScheduler",
        "heun": "HeunDiscreteScheduler",
    },
    "sd3": {"euler": "FlowMatchEulerDiscreteScheduler", "heun": "FlowMatchHeunDiscreteScheduler"},
}
SAMPLERS["sdxl"] = SAMPLERS["sd"]


class Versioned(TypedDict, total=False):
    """What every version of finetune.json may hold."""

    format_version: int


@dataclass(frozen=True)
class Facts:
    """What finetune.json says. base: a name on the Hub, or a folder, as seen from the model's folder.

    size: side in pixels that the base draws at; image_size: side of the images; units: slope, intercept and unit of
    their pixels by modality; sha256: of the base's files; parts: of the folder's.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    family: Family
    base: str
    sha256: str
    size: Side
    image_size: Side
    caption: str
    words: Mapping[str, Mapping[str, str]]
    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance: Annotated[Finite, Field(ge=0)]
    local: bool = False
    revision: str = ""
    variant: str | None = None
    t5: bool = True
    rank: int = 16
    units: Mapping[str, tuple[Finite, Finite, str]] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION


@dataclass
class FineTuned:
    """A fine-tuned checkpoint that can be asked for images, as a LatentDiffusion can. Its weights load when it draws.

    Image i depends on (seed, i) alone, up to the rounding of batches of another size.
    """

    folder: Path
    facts: Facts
    conditions: Described
    device: torch.device

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> FineTuned:
        """Read and check the folder, the base's weights apart. Raises ModelError naming the part and what to do."""
        folder = Path(folder)
        path = folder / DESCRIPTION
        version = read_json(path, Versioned, AGAIN, ModelError).get("format_version", 1)
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{path}: format version {version} is newer than this phonybrains reads "
                f"({FORMAT_VERSION}). Upgrade phonybrains."
            )
        facts = read_json(path, Facts, AGAIN, ModelError)
        if not is_sound(json.loads(path.read_text(encoding="utf-8")), DESCRIPTION, "parts", FREE):
            raise ModelError(f"{path} is damaged: it is not what its own SHA-256 says. {AGAIN}")
        for part in PARTS:
            if not (folder / part).is_file():
                raise ModelError(f"{folder / part} is missing. {AGAIN}")
            if sha256_file(folder / part) != facts.parts.get(part):
                raise ModelError(f"{folder / part} is damaged: its SHA-256 is not the one in {DESCRIPTION}. {AGAIN}")
        schema = read_conditions(folder / SCHEMA, AGAIN)
        captions = Captions(facts.caption, facts.words)
        return cls(folder, facts, Described(**vars(schema), captions=captions), torch.device(device))

    @property
    def size(self) -> int:
        return self.facts.image_size

    @property
    def units(self) -> Mapping[str, tuple[float, float, str]]:
        return {modality: (float(a), float(b), str(unit)) for modality, (a, b, unit) in self.facts.units.items()}

    def ask(self, indices: Sequence[int], where: Mapping[str, Value], seed: int) -> list[dict[str, Value]]:
        """The attributes and the prompt of the images with these indices: as asked, the rest drawn as in training."""
        return drawn(self.conditions, indices, where, seed)

    def doubts(self, where: Mapping[str, Value]) -> list[str]:
        """What there is to say against what is asked for, by attributes or by what a prompt names of them."""
        checked = self.conditions.check(where)
        read = self.conditions.captions.read(str(checked.get(PROMPT, "")), self.conditions)
        return doubts(self.conditions, read | checked)

    def settle(self, sampling: Sampling) -> Sampling:
        """The sampling with nothing left open. Raises ConfigError for what this model cannot do.

        Looks for the base too, so that what is wrong with it shows before anything is written.
        """
        steps = sampling.steps or self.facts.steps
        known = SAMPLERS[self.facts.family]
        if sampling.sampler and sampling.sampler not in known:
            raise ConfigError(f"sampler '{sampling.sampler}' is not known to this model. Known: {', '.join(known)}.")
        precision = sampling.precision
        if precision not in get_args(Precision):
            raise ConfigError(f"precision '{precision}' is not known. Known: {', '.join(get_args(Precision))}.")
        if precision == "auto":
            precision = "bf16" if self.device.type == "cuda" and has_bf16(self.device) else "fp32"
        _ = self.base
        return replace(sampling, steps=steps, precision=precision)

    def batches(self, n: int, sampling: Sampling) -> list[slice]:
        """How n images are parted, in order, into those that are drawn together."""
        return [slice(i, min(i + sampling.batch_size, n)) for i in range(0, n, sampling.batch_size)]

    def paint(
        self,
        indices: Sequence[int],
        wanted: Sequence[Mapping[str, Value]],
        sampling: Sampling,
        batches: Sequence[slice] | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the images with these indices one by one, (H, W) uint8, drawn in these batches, or `self.batches`."""
        sampling = self.settle(sampling)
        pipeline = self.pipeline(sampling) if indices else None
        for part in self.batches(len(indices), sampling) if batches is None else batches:
            rngs = [image_rng(sampling.seed, i) for i in indices[part]]
            prompts = [str(row[PROMPT]) for row in wanted[part]]
            yield from draw(
                pipeline,
                rngs,
                self.facts.size,
                sampling.steps or self.facts.steps,
                sampling.guidance,
                self.size,
                prompt=prompts,
            )

    def pipeline(self, sampling: Sampling) -> Any:
        """The base with the LoRA on it, on the device. Raises ModelError if the base is not the one trained on."""
        dtype = torch.bfloat16 if sampling.precision == "bf16" else torch.float32
        pipeline = self.base.load(dtype)
        pipeline.load_lora_weights(self.folder, weight_name=WEIGHTS)
        if sampling.sampler:
            import diffusers

            kind = getattr(diffusers, SAMPLERS[self.facts.family][sampling.sampler])
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        return pipeline.to(self.device)

    @cached_property
    def base(self) -> Base:
        """The checkpoint it was made from, found and compared with what it was."""
        facts = self.facts
        name = os.path.normpath(self.folder.resolve() / facts.base) if facts.local else facts.base
        if facts.local and not Path(name).is_dir():
            raise ModelError(
                f"{self.folder}: its base is to be in {name}, and is not. Put it there, or write where it "
                f'is, as seen from {self.folder.name}, into "base" in {DESCRIPTION}.'
            )
        base = Base.find(name, facts.revision or None, facts.variant, facts.t5)
        if base.fingerprint() != facts.sha256:
            raise ModelError(
                f"{name} is not the base that {self.folder} was made from: its files have another "
                "SHA-256. Get that one, or fine-tune again."
            )
        return base


def write_description(folder: Path, facts: Facts, conditions: Conditions) -> None:
    """Write conditions.json, and finetune.json with the hashes of the parts, beside the weights."""
    (folder / SCHEMA).write_text(conditions.to_json() + "\n", encoding="utf-8")
    parts = {name: sha256_file(folder / name) for name in PARTS}
    (folder / DESCRIPTION).write_bytes(_description(replace(facts, parts=parts)))


def shared_files(folder: Path) -> dict[str, Path | bytes]:
    """What is passed on of a fine-tuned model: its files, checked, by name; the log of its training stays.

    A base in a folder is looked for beside the copy, under its name: where it lies here is nobody's business.
    Raises ModelError if the model is damaged.
    """
    facts = FineTuned.load(folder).facts
    files: dict[str, Path | bytes] = {name: folder / name for name in ALL_FILES if (folder / name).is_file()}
    if facts.local:
        name = Path(os.path.normpath(folder.resolve() / facts.base)).name
        files[DESCRIPTION] = _description(replace(facts, base=f"../{name}"))
    return files


def _description(facts: Facts) -> bytes:
    return json.dumps(sealed(asdict(facts), DESCRIPTION, "parts", FREE), indent=1).encode() + b"\n"
