"""Weights of the networks whose features are compared: the names and shapes of the published ones, other numbers."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench import fidelity
from phonybrains.networks.squeezenet import SqueezeNet

INCEPTION = "inception-v3-compat"


def asked_of_a_file(network: Any, *arguments: Any) -> dict[str, Tensor]:
    """Every tensor that a network wants to load when it is made, by name."""
    found: dict[str, Tensor] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load_state_dict", lambda self, _: found.update(self.state_dict()))
        network(*arguments)
    return found


def squeezenet_file(folder: Path) -> Path:
    """A file of SqueezeNet's features with random numbers."""
    save_file({}, folder / "none.safetensors")
    found = asked_of_a_file(SqueezeNet, folder / "none.safetensors")
    torch.manual_seed(0)
    save_file({name: torch.randn_like(value) * 0.05 for name, value in found.items()}, folder / "s.safetensors")
    return folder / "s.safetensors"


@functools.cache
def inception_weights() -> dict[str, Tensor]:
    """torch-fidelity's Inception as it is before its weights are loaded; skips the test where there is none."""
    if fidelity.is_missing():
        pytest.skip("torch-fidelity is not installed")
    network = fidelity.metric("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    with tempfile.TemporaryDirectory() as folder:
        torch.save({}, Path(folder) / "none.pth")
        return asked_of_a_file(network, INCEPTION, ["2048"], str(Path(folder) / "none.pth"))


def dinov2_weights(width: int = 64, depth: int = 2) -> dict[str, Tensor]:
    """Random weights with the names of DINOv2's, tiny."""
    torch.manual_seed(0)
    shapes = {
        "cls_token": (1, 1, width),
        "mask_token": (1, width),
        "pos_embed": (1, 1 + 37 * 37, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for block in (f"blocks.{i}" for i in range(depth)):
        for name, (after, before) in linear.items():
            shapes[f"{block}.{name}.weight"] = (after * width, before * width)
            shapes[f"{block}.{name}.bias"] = (after * width,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"{block}.{name}"] = (width,)
    return {name: torch.randn(shape) * 0.2 for name, shape in shapes.items()}
