"""finetune.json: what a fine-tuned checkpoint is and what it was made from. Read here without torch.

pytorch_lora_weights.safetensors   the LoRA, as diffusers' load_lora_weights reads it
finetune.json                      the base (name, commit, hash), sizes, caption template, SHA-256 of the parts
conditions.json                    the attributes of the captions, and how often each combination occurred
README.md, record.json             model card and provenance
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ..documents import as_kind
from ..errors import ConfigError
from ..networks.conditions import Conditions
from ..record import RECORD_NAME, sha256_file
from .captions import Captions, Described
from .description import CARD
from .schema import Finite, read_conditions
from .seal import check_part, read_sealed, sealed

DESCRIPTION, WEIGHTS, SCHEMA = "finetune.json", "pytorch_lora_weights.safetensors", "conditions.json"
PARTS = (WEIGHTS, SCHEMA)
AGAIN = "Copy the folder again from where it was made."
ALL_FILES = (DESCRIPTION, *PARTS, CARD, RECORD_NAME)
FREE = ("base",)
"""A base in a folder may be moved."""
FORMAT_VERSION = 1
Family = Literal["sd", "sdxl", "sd3"]
Side = Annotated[int, Field(ge=8, le=8192)]
_DIFFUSION_SAMPLERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "euler": "EulerDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
}
SAMPLERS: dict[Family, dict[str, str]] = {
    "sd": _DIFFUSION_SAMPLERS,
    "sdxl": _DIFFUSION_SAMPLERS,
    "sd3": {"euler": "FlowMatchEulerDiscreteScheduler", "heun": "FlowMatchHeunDiscreteScheduler"},
}
"""For each family, diffusers' classes by the names that samplers have here."""


@dataclass(frozen=True)
class LoraFacts:
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

    def check_sampler(self, name: str) -> None:
        """Raise ConfigError, listing the known names, for a sampler that the base's family does not have."""
        known = SAMPLERS[self.family]
        if name and name not in known:
            raise ConfigError(f"sampler '{name}' is not known to this model. Known: {', '.join(known)}.")


def read_lora(folder: Path) -> tuple[LoraFacts, Described]:
    """The description and the conditions of a checked folder. Raises ModelError naming the part and what to do."""
    content = read_sealed(folder / DESCRIPTION, LoraFacts, FORMAT_VERSION, AGAIN, "parts", FREE)
    facts = as_kind(content, LoraFacts)
    for part in PARTS:
        check_part(folder / part, facts.parts.get(part), DESCRIPTION, AGAIN)
    captions = Captions(facts.caption, facts.words)
    return facts, Described(**vars(read_conditions(folder / SCHEMA, AGAIN)), captions=captions)


def write_description(folder: Path, facts: LoraFacts, conditions: Conditions) -> None:
    """Write conditions.json, and finetune.json with the hashes of the parts, beside the weights."""
    (folder / SCHEMA).write_text(conditions.to_json() + "\n", encoding="utf-8")
    parts = {name: sha256_file(folder / name) for name in PARTS}
    (folder / DESCRIPTION).write_bytes(_description(replace(facts, parts=parts)))


def shared_files(folder: Path) -> dict[str, Path | bytes]:
    """What is passed on of a fine-tuned model: its files, checked, by name; the log of its training stays.

    A base in a folder is looked for beside the copy, under its name: where it lies here is nobody's business.
    Raises ModelError if the model is damaged.
    """
    facts, _ = read_lora(folder)
    files: dict[str, Path | bytes] = {name: folder / name for name in ALL_FILES if (folder / name).is_file()}
    if facts.local:
        name = Path(os.path.normpath(folder.resolve() / facts.base)).name
        files[DESCRIPTION] = _description(replace(facts, base=f"../{name}"))
    return files


def _description(facts: LoraFacts) -> bytes:
    return json.dumps(sealed(asdict(facts), DESCRIPTION, "parts", FREE), indent=1).encode() + b"\n"
