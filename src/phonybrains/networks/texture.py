"""The network that gives a decoded image its texture, as a component of diffusers. Model folders hold a copy of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

SPAN, MOST = 0.03, 0.25
"""What the network's outputs are worth in the range -1…1, four of 256 grey levels, and the most a pixel changes."""

MOST_STYLE = 16
"""So many numbers are drawn for an image's style, however few the network takes."""


class Texture(ModelMixin, ConfigMixin):
    """A decoded image and noise in, the image with the fine grain, the flat air and the flat bone that a decoder loses.

    A decoder is trained to be right on average, so what its latents do not tell is missing from its images; here it is
    drawn. Everything runs at half the resolution, where an image is four channels.
    """

    @register_to_config
    def __init__(self, modalities: Sequence[str], width: int = 16, layers: int = 3, style: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv2d(12, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(layers))
        self.told = nn.Linear(len(modalities) + style, 2 * width * (layers + 1))
        self.detail, self.sharpen = nn.Conv2d(width, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.amount, self.grain = nn.Conv2d(width, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.floors: Tensor
        self.register_buffer("floors", torch.zeros(len(modalities)))
        for layer in (self.detail, self.sharpen):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, noise: Tensor, style: Tensor, modality: Tensor) -> Tensor:
        """(B, 1, H, W) in about -1…1, for image and noise of that shape, style (B, style) and modality, one-hot (B, M).

        H and W are even; noise and style are standard normal. What lies outside -1…1 is meant to be cut off: air and
        bone are flat where it does.
        """
        edges = image - F.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
        parts, sharp, drawn = (F.pixel_unshuffle(x, 2) for x in (image, edges, noise))
        told = self.told(torch.cat([modality, style], dim=1)).unflatten(1, (len(self.middle) + 1, 2, -1, 1, 1))
        x = self.enter(torch.cat([parts, 8 * sharp, drawn], dim=1))
        x = F.silu(x * (1 + told[:, 0, 0]) + told[:, 0, 1])
        for i, layer in enumerate(self.middle, start=1):
            x = x + F.silu(layer(x) * (1 + told[:, i, 0]) + told[:, i, 1])
        fine = self.detail(x) + F.softplus(self.amount(x) - 1) * self.grain(drawn)
        change = F.pixel_shuffle(self.sharpen(sharp) + SPAN * fine, 2)
        return image + MOST * (change / MOST).tanh()

    def draw(self, images: Tensor, modalities: Sequence[object], rngs: Sequence[torch.Generator]) -> Tensor:
        """Images (B, 1, H, W) with texture, each with its own generator. [Karras 2019, sec. 3.2, noise by the pixel]"""
        many = images[0].numel() + MOST_STYLE
        drawn = torch.stack([torch.randn(many, generator=rng) for rng in rngs])
        return self.drawn(images, drawn.to(images), self.one_hot(modalities).to(images))

    def drawn(self, images: Tensor, drawn: Tensor, modality: Tensor) -> Tensor:
        """Images (B, 1, H, W) with the texture of what was drawn, (B, H·W + MOST_STYLE), for modality (B, M)."""
        pixels, style = images[0].numel(), int(self.config["style"])
        noise = drawn[:, :pixels].reshape(images.shape)
        return self.with_flat_air(self(images, noise, drawn[:, pixels : pixels + style], modality), modality)

    def with_flat_air(self, images: Tensor, modality: Tensor) -> Tensor:
        """Images (B, 1, H, W) whose air has one value, for modality (B, M).

        Air is where 5×5 pixels lie, on average, below their modality's `floors`, in grey levels, fading out over one
        more; its value is the mean there, as whole grey levels. A floor of 0 changes nothing.
        """
        grey = (images.clamp(-1, 1) + 1) * 127.5
        below = (modality @ self.floors.to(modality))[:, None, None, None]
        mean = F.avg_pool2d(grey, 5, stride=1, padding=2, count_include_pad=False)
        air = (below + 1 - mean).clamp(0, 1) * (below > 0)
        level = ((grey * air).sum((1, 2, 3), keepdim=True) / air.sum((1, 2, 3), keepdim=True).clamp(min=1)).round()
        return images + air * (level / 127.5 - 1 - images)

    def one_hot(self, modalities: Sequence[object]) -> Tensor:
        """(B, M): which of the modalities it knows each image has; zeros for others."""
        known = self.config["modalities"]
        return torch.tensor([[float(name == one) for one in known] for name in modalities])
