"""A perceptual distance from SqueezeNet 1.1's features, loaded from a safetensors file in torchvision's names."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ModelError
from ..model.tensors import brief

FIRE = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128),
        9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip
TAPS = (1, 4, 7, 12)


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


class PerceptualDistance(nn.Module):
    """Mean squared distance of unit-length features at four depths, (B,) for images (B, 1, H, W) in -1…1.

    [Zhang 2018, eq. 1, without its learned weights]
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        layers += [Fire(*FIRE[i]) if i in FIRE else nn.MaxPool2d(3, 2, ceil_mode=True) for i in range(3, 13)]
        self.features = nn.Sequential(*layers)
        try:
            self.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(f"{weights}: not SqueezeNet 1.1 features ({brief(error)}). Leave `features` out, or give "
                             "the file in torchvision's names.") from None  # fmt: skip
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        both = torch.cat([x, y]) * 127.5 + 127.5
        z = both - both.new_tensor([123.68, 116.779, 103.939]).reshape(1, 3, 1, 1)
        distance = z.new_zeros(len(x))
        for depth, layer in enumerate(self.features):
            z = layer(z)
            if depth in TAPS:
                a, b = F.normalize(z, dim=1, eps=1e-6).chunk(2)
                distance = distance + (a - b).square().sum(dim=1).mean(dim=(1, 2))
        return distance / len(TAPS)
