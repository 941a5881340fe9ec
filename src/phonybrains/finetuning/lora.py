"""The LoRA itself: where it is put on a network, and how it is written so that every diffusers loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from ..model.lora_description import WEIGHTS
from ..model.stable_diffusion import backbone
from ..tensors import write_tensors

ATTENTION = {
    "unet": ("to_k", "to_q", "to_v", "to_out.0"),
    "transformer": (
        "attn.add_k_proj",
        "attn.add_q_proj",
        "attn.add_v_proj",
        "attn.to_add_out",
        "attn.to_k",
        "attn.to_q",
        "attn.to_v",
        "attn.to_out.0",
    ),
}
"""The projections of the attention layers, those of diffusers' own training scripts."""


def add_lora(pipeline: Any, rank: int, targets: tuple[str, ...], dtype: torch.dtype) -> Any:
    """Freeze the network in `dtype` and put a float32 LoRA on it, which changes nothing yet; returns the network.

    Raises ConfigError if no layer has such a name.
    """
    from peft import LoraConfig

    name, network = backbone(pipeline)
    network.requires_grad_(False).to(dtype)
    config = LoraConfig(
        r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets or ATTENTION[name])
    )
    try:
        network.add_adapter(config)
    except ValueError as error:
        if "not found in the base model" not in str(error):
            raise
        raise ConfigError(f"targets: no layer of the {name} is named {', '.join(targets)}.") from None
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return network


def write_lora(pipeline: Any, folder: Path) -> None:
    """Write the LoRA as diffusers' `save_lora_weights` does, its rank and layers in the file's metadata."""
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
    from peft import get_peft_model_state_dict

    name, network = backbone(pipeline)
    facts = {
        f"{name}.{key}": sorted(value) if isinstance(value, set) else value
        for key, value in network.peft_config["default"].to_dict().items()
    }
    text = json.dumps(facts, indent=2, sort_keys=True, default=str)
    metadata = {LORA_ADAPTER_METADATA_KEY: text}  # one entry: safetensors puts several in any order, byte for byte

    def whole(tensors: dict[str, torch.Tensor], path: str) -> None:
        write_tensors(Path(path), {key: tensor.float() for key, tensor in tensors.items()}, metadata)

    pipeline.save_lora_weights(
        folder, **{f"{name}_lora_layers": get_peft_model_state_dict(network)}, weight_name=WEIGHTS, save_function=whole
    )
