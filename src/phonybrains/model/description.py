"""model.json: what a model folder holds, the hash of each part, and the identity of the model.

The identity is what a model is: its weights, configuration and conditions. The files that are generated for diffusers
are code, and have the version of their generator; a card and an audit are about the model. None of these is in it.
A model.json of before there were identities has that of then, the SHA-256 of the file. When its code is written anew it
gets one, and lists that of before as `formerly`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from ..errors import ConfigError, ModelError
from ..networks.conditions import Conditions
from ..record import RECORD_NAME
from .sampling import GAN
from .schema import Finite, read_conditions
from .seal import check_part, read_sealed, sealed

FORMAT_VERSION, PLAIN_VERSION = 2, 1
"""What is written of models of pixels, with masks, texture, a classifier or an embedding: they are newer; of others."""
DESCRIPTION, CARD = "model.json", "README.md"
AGAIN = "Copy the folder again from where it was made, or train it again."
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
UNET, EMBEDDING, FEW_STEP, TEXTURE = "unet", "condition_embedding", "few_step_", "texture"
PATCHES = "autoencoder/patches"
"""How the one file begins that a model of pixels has more."""
CLASSIFIER, IMAGE_EMBEDDING = "classifier", "image_embedding"
DENOISER_PARTS = (f"{UNET}/config.json", f"{UNET}/{WEIGHTS_NAME}", f"{EMBEDDING}/{WEIGHTS_NAME}")
PARTS = (
    "conditions.json",
    "autoencoder/config.json",
    f"autoencoder/{WEIGHTS_NAME}",
    "scheduler/scheduler_config.json",
    *DENOISER_PARTS,
)
FEW_STEP_PARTS = tuple(f"{FEW_STEP}{part}" for part in DENOISER_PARTS)
CODE = ("pipeline.py", "model_index.json", f"{EMBEDDING}/config.json", f"{EMBEDDING}/{EMBEDDING}.py")
FEW_STEP_CODE = tuple(f"{FEW_STEP}{part}" for part in CODE if part.startswith(EMBEDDING))
TEXTURE_PARTS, TEXTURE_CODE = (f"{TEXTURE}/config.json", f"{TEXTURE}/{WEIGHTS_NAME}"), (f"{TEXTURE}/{TEXTURE}.py",)
CLASSIFIER_PARTS = (f"{CLASSIFIER}/config.json", f"{CLASSIFIER}/{WEIGHTS_NAME}")
IMAGE_EMBEDDING_PARTS = tuple(
    f"{IMAGE_EMBEDDING}/{part}" for part in ("projection.safetensors", "vectors.safetensors", "vectors.json")
)
OPTIONAL = {
    FEW_STEP: (FEW_STEP_PARTS, FEW_STEP_CODE),
    TEXTURE: (TEXTURE_PARTS, TEXTURE_CODE),
    CLASSIFIER: (CLASSIFIER_PARTS, ()),
    IMAGE_EMBEDDING: (IMAGE_EMBEDDING_PARTS, ()),
    PATCHES: ((), (f"{PATCHES}.py",)),
}
"""How the names of what a model may have begin; its parts, and those of them that are generated for diffusers."""
ALL_FILES = (
    DESCRIPTION,
    CARD,
    RECORD_NAME,
    *PARTS,
    *CODE,
    *(part for parts in OPTIONAL.values() for files in parts for part in files),
)
CONFIGURATION = ("diffusion", "size", "steps", "augmentation_width", "latent_scale", "units")


class MasksTaken(TypedDict):
    """What model.json says of the masks that a model takes: `MaskFacts`."""

    outline: str
    images: dict[str, Annotated[int, Field(ge=1)]]
    empty: Annotated[int, Field(ge=0)]


class Description(TypedDict):
    """What model.json holds; size: side of the images in pixels."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    format_version: int
    diffusion: Literal["flow", "ddpm", "gan"]
    size: Annotated[int, Field(ge=8, le=8192, multiple_of=8)]
    augmentation_width: Annotated[int, Field(ge=0, le=1024)]
    latent_scale: Annotated[dict[str, tuple[list[Finite], list[Finite]]], Field(min_length=1)]
    sha256: dict[str, str]
    identity: NotRequired[str]
    formerly: NotRequired[list[str]]
    steps: NotRequired[Annotated[int, Field(ge=1, le=1000)]]
    units: NotRequired[dict[str, tuple[Finite, Finite, str]]]
    card: NotRequired[dict[str, Any]]
    masks: NotRequired[MasksTaken]


def read_description(folder: Path) -> dict[str, Any]:
    """The content of model.json, as it is written. Raises ModelError if it is damaged, newer or none."""
    content = read_sealed(folder / DESCRIPTION, Description, FORMAT_VERSION, AGAIN)
    if content.get("identity", "") not in ("", identity_of(content)):
        raise ModelError(f"{folder / DESCRIPTION} is damaged: its identity is that of another model. {AGAIN}")
    return content


def write_description(folder: Path, content: Mapping[str, Any]) -> None:
    """Write model.json with its identity and seal."""
    content = sealed({**content, "identity": identity_of(content)}, DESCRIPTION)
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def identity_of(content: Mapping[str, Any]) -> str:
    """SHA-256 over what a model is, out of its description: the configuration, and the hashes of PARTS."""
    hashes = {part: content["sha256"].get(part) for part in parts_of(content)}
    said = {key: content.get(key) for key in CONFIGURATION} | {"sha256": hashes}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def parts_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts that are weights, configuration or conditions."""
    return PARTS + sum((parts for name, (parts, _) in OPTIONAL.items() if has(content, name)), ())


def code_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts that are generated for diffusers."""
    return CODE + sum((code for name, (_, code) in OPTIONAL.items() if has(content, name)), ())


def has(content: Mapping[str, Any], optional: str) -> bool:
    """Whether a model has FEW_STEP weights, TEXTURE, a CLASSIFIER or an IMAGE_EMBEDDING, or is of PATCHES."""
    return any(part.startswith(optional) for part in content["sha256"])


def check_parts(folder: Path, content: Mapping[str, Any], code: bool = True) -> None:
    """Raise ModelError for a part of a model folder that is missing or is not the one of model.json."""
    for part in (*parts_of(content), *(code_of(content) if code else ())):
        listed = part in content["sha256"] or part not in code_of(content)
        if listed or (folder / part).exists():  # the first models had no code
            check_part(folder / part, content["sha256"].get(part), DESCRIPTION, AGAIN)


def check_denoises(folder: Path, what: str) -> None:
    """Raise ConfigError for a model folder without a denoiser, which a task needs that is called `what`: a GAN."""
    if read_description(folder)["diffusion"] == GAN:
        raise ConfigError(
            f"{folder.resolve().name} is a GAN: it makes images of pure noise, and knows nothing in between, which "
            f"{what} asks for. Take a model of a diffusion."
        )


def check_model(folder: Path) -> None:
    """Raise ModelError unless all parts of a model folder are those of its description."""
    check_parts(folder, read_description(folder))


def model_files(folder: Path) -> list[str]:
    """The files that a model is made of, its training's log apart. Raises ModelError if its description is none."""
    content = read_description(folder)
    listed = [part for part in parts_of(content) + code_of(content) if part in content["sha256"]]
    return [DESCRIPTION, *listed, *(name for name in (CARD, RECORD_NAME) if (folder / name).is_file())]


def conditions_of(folder: Path) -> Conditions:
    """What a model folder can be asked for. Raises ModelError where it is damaged. Needs no torch."""
    path = folder / "conditions.json"
    check_part(path, read_description(folder)["sha256"].get(path.name), DESCRIPTION, AGAIN)
    return read_conditions(path, AGAIN)
