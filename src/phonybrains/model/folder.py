"""A model on disk, in the manner of diffusers: one sub-folder per component, safetensors and JSON, never pickle.

model.json                   format version, kind of diffusion, latent scale, image size, SHA-256 of every part
conditions.json              the attributes the model knows
autoencoder/, unet/          diffusers' config.json and weights
condition_embedding/         weights of the small network that embeds conditions
few_step_…/                  the same two, tuned for few steps, if the model has them
scheduler/                   the kind of diffusion as diffusers' configuration
pipeline.py …                what diffusers needs to open the folder: for_diffusers.py
README.md, record.json       model card and provenance
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.unets.unet_2d import UNet2DModel
from pydantic import ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ModelError
from ..networks.denoiser import Denoiser, build_embedding
from ..record import RECORD_NAME, sha256_file
from ..tensors import brief, write_tensors
from .for_diffusers import CODE, EMBEDDING, FEW_STEP, FEW_STEP_CODE, UNET, scheduler_of, write_for_diffusers
from .latent_diffusion import LatentDiffusion, LatentScale
from .sampling import CHAINS
from .schema import Finite, read_conditions
from .seal import is_sound, sealed

Widths = Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(min_length=1, max_length=16)]
Layers = Annotated[int, Field(ge=0, le=256)]
FORMAT_VERSION = 1
DESCRIPTION, CARD = "model.json", "README.md"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"


def _denoiser_parts(prefix: str = "") -> tuple[str, ...]:
    return (f"{prefix}{UNET}/config.json", f"{prefix}{UNET}/{WEIGHTS_NAME}", f"{prefix}{EMBEDDING}/{WEIGHTS_NAME}")


PARTS = (
    "conditions.json",
    "autoencoder/config.json",
    f"autoencoder/{WEIGHTS_NAME}",
    "scheduler/scheduler_config.json",
    *_denoiser_parts(),
)
FEW_STEP_PARTS = _denoiser_parts(FEW_STEP)
ALL_FILES = (DESCRIPTION, CARD, RECORD_NAME, *PARTS, *CODE, *FEW_STEP_PARTS, *FEW_STEP_CODE)
AGAIN = "Copy the folder again from where it was made, or train it again."


class Versioned(TypedDict):
    """What every version of model.json holds."""

    format_version: int


class Description(TypedDict):
    """What model.json holds; size: side of the images in pixels."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    format_version: int
    diffusion: Literal["flow", "ddpm"]
    size: Annotated[int, Field(ge=8, le=8192, multiple_of=8)]
    augmentation_width: Annotated[int, Field(ge=0, le=1024)]
    latent_scale: Annotated[dict[str, tuple[list[Finite], list[Finite]]], Field(min_length=1)]
    sha256: dict[str, str]
    steps: NotRequired[Annotated[int, Field(ge=1, le=1000)]]
    units: NotRequired[dict[str, tuple[Finite, Finite, str]]]
    card: NotRequired[dict[str, Any]]


class Scheduler(TypedDict, total=False):
    """What is read of scheduler_config.json."""

    shift: Annotated[Finite, Field(gt=0, le=1000)]


class NetworkConfig(TypedDict, total=False):
    """What decides how large a network of config.json is; the rest is diffusers'."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    block_out_channels: Widths
    encoder_block_out_channels: Widths
    decoder_block_out_channels: Widths
    layers_per_block: Layers
    encoder_layers_per_block: list[Layers]
    decoder_layers_per_block: list[Layers]


def shipped_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    root = Path(str(resources.files("phonybrains"))) / "shipped"
    return {path.parent.name: path.parent for path in sorted(root.glob("*/model.json"))}


def model_folder(name: str | Path) -> Path:
    """The folder of a model that ships with the package, by name, or the path. Raises ModelError if it is no model."""
    shipped = shipped_models()
    folder = shipped.get(str(name), Path(name))
    if not (folder / DESCRIPTION).is_file():
        known = ", ".join(shipped) or "none"
        raise ModelError(f"{folder} is not a model folder: it has no model.json. Shipped models: {known}.")
    return folder


def model_files(folder: Path) -> list[str]:
    """The files that a model is made of, its training's log apart. Raises ModelError if its description is none."""
    content = _read_description(folder)
    listed = [part for part in (*_parts(content), *_code(content)) if part in content["sha256"]]
    return [DESCRIPTION, *listed, *(name for name in (CARD, RECORD_NAME) if (folder / name).is_file())]


def save_model(model: LatentDiffusion, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a model folder; weights are rounded to `dtype`, which halves the size."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_network(model.autoencoder, folder / "autoencoder", dtype)
    _save_denoiser(model.denoiser, folder, dtype)
    if model.few_step:
        _save_denoiser(model.few_step, folder, dtype, FEW_STEP)
    scheduler_of(model).save_config(folder / "scheduler")
    (folder / "conditions.json").write_text(model.conditions.to_json() + "\n", encoding="utf-8")
    write_for_diffusers(model, folder)
    parts = (*PARTS, *CODE, *((*FEW_STEP_PARTS, *FEW_STEP_CODE) if model.few_step else ()))
    content = {
        "format_version": FORMAT_VERSION,
        "diffusion": model.chain.name,
        "size": model.size,
        "steps": model.steps,
        "augmentation_width": model.denoiser.extra_width,
        "latent_scale": model.scale.statistics,
        "units": model.units,
        "card": model.card,
        "min_patients": model.conditions.min_patients,
        "withdrawn": [str(one) for a in model.conditions.attributes for one in a.withdrawn],
        "sha256": {part: sha256_file(folder / part) for part in parts},
    }
    _write_description(folder, content)


def refresh_pipeline(folder: Path) -> None:
    """Write what is generated in a model folder, the files of for_diffusers.py, anew; all else stays to the byte.

    Raises ModelError if any other part is damaged.
    """
    content = _read_description(folder)
    model = _load(folder, content, _parts(content))
    write_for_diffusers(model, folder)
    content["sha256"] |= {part: sha256_file(folder / part) for part in _code(content)}
    _write_description(folder, content)


def check_model(folder: Path) -> None:
    """Raise ModelError for a part of a model folder that is missing or is not the one of model.json."""
    content = _read_description(folder)
    for part in (*_parts(content), *_code(content)):
        _check(folder, part, content["sha256"])


def load_model(name: str | Path) -> LatentDiffusion:
    """Read and check a model folder, or a shipped model by name. Raises ModelError naming the part and what to do."""
    folder = model_folder(name)
    content = _read_description(folder)
    return _load(folder, content, (*_parts(content), *_code(content)))


def _load(folder: Path, content: dict[str, Any], checked: Sequence[str]) -> LatentDiffusion:
    for part in checked:
        _check(folder, part, content["sha256"])
    autoencoder = _load_network(AutoencoderDC, folder / "autoencoder")
    try:
        conditions = read_conditions(folder / "conditions.json", AGAIN)
        denoiser = _load_denoiser(folder, conditions.width, int(content["augmentation_width"]))
        few_step = _load_denoiser(folder, conditions.width, 1, FEW_STEP) if _has_few_step(content) else None
        scale = _read_scale(content["latent_scale"], autoencoder.config["latent_channels"])
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json", Scheduler, AGAIN, ModelError)
        shift = scheduler.get("shift", 1.0)
        return LatentDiffusion(
            autoencoder,
            denoiser,
            conditions,
            scale,
            replace(CHAINS[content["diffusion"]], shift=shift),
            int(content["size"]),
            few_step=few_step,
            steps=int(content.get("steps", 16)),
            units=_read_units(content.get("units", {})),
            card=content.get("card", {}),
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: its parts do not fit together ({brief(error)}). {AGAIN}") from None


def _read_units(units: dict[str, Any]) -> dict[str, tuple[float, float, str]]:
    return {modality: (float(a), float(b), str(unit)) for modality, (a, b, unit) in units.items()}


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    version = read_json(path, Versioned, AGAIN, ModelError)["format_version"]
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{path}: format version {version} is newer than this phonybrains reads ({FORMAT_VERSION}). "
            "Upgrade phonybrains."
        )
    read_json(path, Description, AGAIN, ModelError)
    content = read_json(path, dict[str, Any], AGAIN, ModelError)  # as it is written
    if not is_sound(content, DESCRIPTION):
        raise ModelError(f"{path} is damaged: it is not what its own SHA-256 says. {AGAIN}")
    return content


def _write_description(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps(sealed(content, DESCRIPTION), indent=1) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def _check(folder: Path, part: str, hashes: dict[str, Any]) -> None:
    path = folder / part
    if part in (*CODE, *FEW_STEP_CODE) and part not in hashes and not path.exists():
        return  # the first models had none
    if not path.is_file():
        raise ModelError(f"{path} is missing. {AGAIN}")
    if sha256_file(path) != hashes.get(part):
        raise ModelError(f"{path} is damaged: its SHA-256 is not the one in model.json. {AGAIN}")


def _parts(content: dict[str, Any]) -> tuple[str, ...]:
    return (*PARTS, *(FEW_STEP_PARTS if _has_few_step(content) else ()))


def _code(content: dict[str, Any]) -> tuple[str, ...]:
    return (*CODE, *(FEW_STEP_CODE if _has_few_step(content) else ()))


def _has_few_step(content: dict[str, Any]) -> bool:
    return any(part.startswith(FEW_STEP) for part in content["sha256"])


def _read_scale(statistics: dict[str, Any], channels: int) -> LatentScale:
    table = torch.tensor(list(statistics.values()), dtype=torch.float32)
    if table.shape[1:] != (2, channels) or not bool(table.isfinite().all()) or not bool((table[:, 1] > 0).all()):
        raise ValueError(f"latent_scale in model.json is not a mean and a deviation for each of {channels} channels")
    return LatentScale(statistics)


def _save_denoiser(denoiser: Denoiser, folder: Path, dtype: torch.dtype, prefix: str = "") -> None:
    _save_network(denoiser.unet, folder / f"{prefix}{UNET}", dtype)
    path = folder / f"{prefix}{EMBEDDING}" / WEIGHTS_NAME
    path.parent.mkdir(exist_ok=True)
    _write_weights(path, denoiser.embed, dtype)


def _load_denoiser(folder: Path, condition_width: int, extra_width: int, prefix: str = "") -> Denoiser:
    unet = _load_network(UNet2DModel, folder / f"{prefix}{UNET}")
    denoiser = Denoiser(unet, build_embedding(unet, condition_width, extra_width))
    denoiser.embed.load_state_dict(_load_weights(folder / f"{prefix}{EMBEDDING}" / WEIGHTS_NAME))
    return denoiser.eval()


def _save_network(network: AutoencoderDC | UNet2DModel, folder: Path, dtype: torch.dtype) -> None:
    folder.mkdir(exist_ok=True)
    network.save_config(folder)
    _write_weights(folder / WEIGHTS_NAME, network, dtype)


def _write_weights(path: Path, network: torch.nn.Module, dtype: torch.dtype) -> None:
    write_tensors(path, {name: tensor.to(dtype) for name, tensor in network.state_dict().items()})


def _load_network(kind: Any, folder: Path) -> Any:
    config = dict(read_json(folder / "config.json", NetworkConfig, AGAIN, ModelError))
    weights = _load_weights(folder / WEIGHTS_NAME)
    try:
        with torch.device("meta"):  # without memory, as a foreign configuration may ask for any amount of it
            _check_shapes(kind.from_config(config), weights)
        network = kind.from_config(config)
        network.load_state_dict(weights)
    except Exception as error:  # diffusers has errors of any kind for a configuration that it cannot have written
        raise ModelError(f"{folder}: the weights do not fit the configuration ({brief(error)}). {AGAIN}") from None
    return network.eval()


def _check_shapes(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless a network has these weights."""
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    wrong = [
        name
        for name in wanted.keys() | weights.keys()
        if name not in wanted or name not in weights or wanted[name] != weights[name].shape
    ]
    if wrong:
        raise ValueError(f"{min(wrong)} has another shape, or is in one of them alone")


def _load_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not readable safetensors ({error}). {AGAIN}") from None
    if broken := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        raise ModelError(f"{path}: {broken[0]} holds numbers that are not finite. {AGAIN}")
    return weights
