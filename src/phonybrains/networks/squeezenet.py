"""SqueezeNet 1.1's convolutions, loaded from a safetensors file in torchvision's names."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ModelError
from ..tensors import brief

FIRE = {
    3: (64, 16, 64),
    4: (128, 16, 64),
    6: (128, 32, 128),
    7: (256, 32, 128),
    9: (256, 48, 192),
    10: (384, 48, 192),
    11: (384, 64, 256),
    12: (512, 64, 256),
}
MEAN = (123.68, 116.779, 103.939)  # of red, green and blue in 0…255, which the weights were trained without


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1×1 and 3×3.  [Iandola 2016, sec. 3.2]"""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)


class SqueezeNet(nn.Module):
    """The layers `features` of SqueezeNet 1.1, fixed. Raises ModelError where the file is not theirs."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        layers += [Fire(*FIRE[i]) if i in FIRE else nn.MaxPool2d(3, 2, ceil_mode=True) for i in range(3, 13)]
        self.features = nn.Sequential(*layers)
        try:
            self.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{weights}: not SqueezeNet 1.1 features ({brief(error)}). Leave `features` out, or give "
                "the file in torchvision's names."
            ) from None
        self.requires_grad_(False).eval()
