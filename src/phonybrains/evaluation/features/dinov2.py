"""DINOv2's vision transformer, its size read off the weights, so that the file alone is needed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, PATCH, HEAD = 224, 14, 64  # pixels, pixels, channels of an attention head in every published size
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours it was trained on, 0…1


class Block(nn.Module):
    """Attention, then a perceptron, each scaled and added to its input.  [Dosovitskiy 2021; LayerScale: Touvron 2021]

    The names are those of the published weights.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.ls1["gamma"] * self.attn["proj"](seen)
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Dinov2(nn.Module):
    """Images (B, 1, H, W) in 0…1 to their class tokens (B, width).

    Raises KeyError, ValueError or RuntimeError for other weights.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        state = {name: value for name, value in weights.items() if name != "mask_token"}  # used in training only
        self.width = state["cls_token"].shape[-1]
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        self.cls_token = nn.Parameter(torch.empty(1, 1, self.width))
        self.pos_embed = nn.Parameter(torch.empty_like(state["pos_embed"]))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, self.width, PATCH, stride=PATCH)})
        self.blocks = nn.Sequential(*(Block(self.width, max(1, self.width // HEAD)) for _ in range(depth)))
        self.norm = nn.LayerNorm(self.width, eps=1e-6)
        self.load_state_dict(state)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        x = F.interpolate(images, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        mean, deviation = (x.new_tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        x = self.patch_embed["proj"]((x - mean) / deviation).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self._positions()
        return self.norm(self.blocks(x))[:, 0]

    def _positions(self) -> Tensor:
        """The embedding of positions, its grid made as large as SIDE needs."""
        first, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        old, new = round(grid.shape[1] ** 0.5), SIDE // PATCH
        grid = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1)
