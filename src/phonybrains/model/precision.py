"""The arithmetic of decoding: bf16 where the machine has it in hardware, float32 elsewhere.

The denoiser stays in float32: bf16 would lead its paths elsewhere, by up to 26 gray levels in the images.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import get_args

import torch

from ..errors import ConfigError
from .sampling import Precision


def check_precision(name: str) -> str:
    """The name of a precision. Raises ConfigError listing the names."""
    if name not in get_args(Precision):
        raise ConfigError(f"precision '{name}' is not known. Known: {', '.join(get_args(Precision))}.")
    return name


def settle_precision(name: str, device: torch.device) -> str:
    """bf16 or fp32; «auto» is the faster one on this device. Raises ConfigError listing the names."""
    return name if check_precision(name) != "auto" else "bf16" if has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 numbers in hardware; emulated, they are slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Meanwhile, this thread's matrix products and convolutions use this precision; sums and norms stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
