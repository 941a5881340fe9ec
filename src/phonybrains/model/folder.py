"""A model on disk, in the manner of diffusers: one sub-folder per component, safetensors and JSON, never pickle.

model.json                   format version, kind of diffusion, latent scale, image size, SHA-256 of every part
conditions.json              the attributes the model knows
autoencoder/, unet/          diffusers' config.json and weights; of a model of pixels no weights and patches.py
condition_embedding/         weights of the small network that embeds conditions
few_step_…/                  the same two, tuned for few steps, if the model has them
texture/                     what gives decoded images their fine grain, if the model has it
classifier/                  what tells an attribute from noisy latents, if the model has it
image_embedding/             what an image looks like in a few numbers, and what draws these, if the model has it
scheduler/                   the kind of diffusion as diffusers' configuration
pipeline.py …                what diffusers needs to open the folder: for_diffusers.py
README.md, record.json       model card and provenance
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DModel
from pydantic import ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ModelError
from ..networks.denoiser import Denoiser, build_embedding
from ..networks.patches import Patches
from ..networks.texture import Texture
from ..record import sha256_file
from ..tensors import brief, write_tensors
from .chains import chain_of
from .description import (
    AGAIN,
    CLASSIFIER,
    CODE,
    DESCRIPTION,
    EMBEDDING,
    FEW_STEP,
    FORMAT_VERSION,
    IMAGE_EMBEDDING,
    OPTIONAL,
    PARTS,
    PATCHES,
    PLAIN_VERSION,
    TEXTURE,
    UNET,
    WEIGHTS_NAME,
    check_parts,
    code_of,
    has,
    read_description,
    write_description,
)
from .finding import model_folder
from .for_diffusers import scheduler_of, write_for_diffusers
from .masks import MaskFacts
from .parts import LatentScale, ModelParts
from .schema import Finite, read_conditions

Widths = Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(min_length=1, max_length=16)]
Layers = Annotated[int, Field(ge=0, le=256)]


class Scheduler(TypedDict, total=False):
    """What is read of scheduler_config.json."""

    shift: Annotated[Finite, Field(gt=0, le=1000)]
    prediction_type: str
    clip_sample: bool
    clip_sample_range: Annotated[Finite, Field(gt=0, le=1000)]


class NetworkConfig(TypedDict, total=False):
    """What decides how large a network of config.json is; the rest is diffusers'."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    block_out_channels: Widths
    encoder_block_out_channels: Widths
    decoder_block_out_channels: Widths
    layers_per_block: Layers
    encoder_layers_per_block: list[Layers]
    decoder_layers_per_block: list[Layers]


def write_model(model: ModelParts, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a model folder; weights are rounded to `dtype`, which halves the size."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_network(model.autoencoder, folder / "autoencoder", dtype)
    _save_denoiser(model.denoiser, folder, dtype)
    if model.few_step:
        _save_denoiser(model.few_step, folder, dtype, FEW_STEP)
    if model.texture:
        _save_network(model.texture, folder / TEXTURE, dtype)
    if model.classifier:
        _save_network(model.classifier(), folder / CLASSIFIER, dtype)
    if model.embedding:
        model.embedding.save(folder / IMAGE_EMBEDDING)
    scheduler_of(model).save_config(folder / "scheduler")
    (folder / "conditions.json").write_text(model.conditions.to_json() + "\n", encoding="utf-8")
    write_for_diffusers(model, folder)
    present = {FEW_STEP: model.few_step, TEXTURE: model.texture, CLASSIFIER: model.classifier}
    present |= {PATCHES: isinstance(model.autoencoder, Patches), IMAGE_EMBEDDING: model.embedding}
    parts = [*PARTS, *CODE, *(part for name in present if present[name] for files in OPTIONAL[name] for part in files)]
    newer = model.masks or model.texture or model.classifier or model.embedding or present[PATCHES]
    content = {
        "format_version": FORMAT_VERSION if newer else PLAIN_VERSION,
        "diffusion": model.chain.name,
        "size": model.size,
        "steps": model.steps,
        "augmentation_width": model.denoiser.extra_width,
        "latent_scale": model.scale.statistics,
        "units": model.units,
        "card": model.card,
        "min_patients": model.conditions.min_patients,
        "withdrawn": [str(one) for a in model.conditions.attributes for one in a.withdrawn],
        **({"masks": asdict(model.masks)} if model.masks else {}),
        "sha256": {part: sha256_file(folder / part) for part in parts},
    }
    write_description(folder, content)


def refresh_pipeline(folder: Path) -> None:
    """Write what is generated in a model folder, the files of for_diffusers.py, anew; all else stays to the byte.

    Raises ModelError if any other part is damaged.
    """
    content = read_description(folder)
    check_parts(folder, content, code=False)
    write_for_diffusers(_read(folder, content), folder)
    if "identity" not in content:
        content["formerly"] = [sha256_file(folder / DESCRIPTION)]
    content["sha256"] |= {part: sha256_file(folder / part) for part in code_of(content)}
    write_description(folder, content)


def read_model(name: str | Path) -> ModelParts:
    """Read and check a model folder, or a shipped model by name. Raises ModelError naming the part and what to do."""
    folder = model_folder(name)
    content = read_description(folder)
    check_parts(folder, content)
    return _read(folder, content)


def _read(folder: Path, content: Mapping[str, Any]) -> ModelParts:
    autoencoder = _load_network(Patches if has(content, PATCHES) else AutoencoderDC, folder / "autoencoder")
    units = content.get("units", {}).items()
    try:
        conditions = read_conditions(folder / "conditions.json", AGAIN)
        channels, width = autoencoder.config["latent_channels"], conditions.width
        embedding = _read_embedding(folder, channels, width) if has(content, IMAGE_EMBEDDING) else None
        width += embedding.width if embedding else 0
        denoiser = _load_denoiser(folder, width, int(content["augmentation_width"]))
        few_step = _load_denoiser(folder, width, 1, FEW_STEP) if has(content, FEW_STEP) else None
        masks = MaskFacts(**content["masks"]) if "masks" in content else None
        if any(one.takes_masks != bool(masks) for one in (denoiser, few_step) if one):
            raise ValueError("whether it takes masks is said in one way in model.json and in another by its networks")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json", Scheduler, AGAIN, ModelError)
        return ModelParts(
            autoencoder,
            denoiser,
            conditions,
            _read_scale(content["latent_scale"], channels),
            chain_of(content["diffusion"], scheduler),
            int(content["size"]),
            few_step,
            int(content.get("steps", 16)),
            {modality: (float(slope), float(intercept), str(unit)) for modality, (slope, intercept, unit) in units},
            content.get("card", {}),
            masks,
            _load_network(Texture, folder / TEXTURE) if has(content, TEXTURE) else None,
            cache(partial(_read_classifier, folder)) if has(content, CLASSIFIER) else None,
            embedding,
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: its parts do not fit together ({brief(error)}). {AGAIN}") from None


def _read_classifier(folder: Path) -> Any:
    from ..networks.noisy_classifier import NoisyClassifier  # only classifier guidance needs it

    with torch.inference_mode(False):
        return _load_network(NoisyClassifier, folder / CLASSIFIER)


def _read_embedding(folder: Path, channels: int, condition_width: int) -> Any:
    from .embedding import ImageEmbedding  # only models that have one need it

    return ImageEmbedding.load(folder / IMAGE_EMBEDDING, channels, condition_width)


def _read_scale(statistics: dict[str, Any], channels: int) -> LatentScale:
    table = torch.tensor(list(statistics.values()), dtype=torch.float32)
    if table.shape[1:] != (2, channels) or not table.isfinite().all() or not (table[:, 1] > 0).all():
        raise ValueError(f"latent_scale in model.json is not a mean and a deviation for each of {channels} channels")
    return LatentScale(statistics)


def _save_denoiser(denoiser: Denoiser, folder: Path, dtype: torch.dtype, prefix: str = "") -> None:
    _save_network(denoiser.unet, folder / f"{prefix}{UNET}", dtype)
    _write_weights(folder / f"{prefix}{EMBEDDING}" / WEIGHTS_NAME, denoiser.embed, dtype)


def _load_denoiser(folder: Path, condition_width: int, extra_width: int, prefix: str = "") -> Denoiser:
    unet = _load_network(UNet2DModel, folder / f"{prefix}{UNET}")
    denoiser = Denoiser(unet, build_embedding(unet, condition_width, extra_width))
    denoiser.embed.load_state_dict(_load_weights(folder / f"{prefix}{EMBEDDING}" / WEIGHTS_NAME))
    return denoiser.eval()


def _save_network(network: ModelMixin, folder: Path, dtype: torch.dtype) -> None:
    _write_weights(folder / WEIGHTS_NAME, network, dtype)
    network.save_config(folder)


def _write_weights(path: Path, network: torch.nn.Module, dtype: torch.dtype) -> None:
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, {name: tensor.to(dtype) for name, tensor in network.state_dict().items()})


def _load_network(kind: Any, folder: Path) -> Any:
    config = dict(read_json(folder / "config.json", NetworkConfig, AGAIN, ModelError))
    weights = _load_weights(folder / WEIGHTS_NAME)
    try:
        with torch.device("meta"):  # without memory, as a foreign configuration may ask for any amount of it
            network = kind.from_config(config)
        _check_shapes(network, weights)
        network.load_state_dict(weights, assign=True)
    except Exception as error:  # diffusers has errors of any kind for a configuration that it cannot have written
        raise ModelError(f"{folder}: the weights do not fit the configuration ({brief(error)}). {AGAIN}") from None
    return network.eval()


def _check_shapes(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless a network has these weights."""
    wanted, found = ({name: t.shape for name, t in of.items()} for of in (network.state_dict(), weights))
    if wrong := dict(wanted.items() ^ found.items()):
        raise ValueError(f"{min(wrong)} has another shape, or is in one of them alone")


def _load_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not readable safetensors ({error}). {AGAIN}") from None
    if broken := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        raise ModelError(f"{path}: {broken[0]} holds numbers that are not finite. {AGAIN}")
    return weights
