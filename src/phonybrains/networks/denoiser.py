"""The denoiser: a U-Net on latents, built from diffusers' parts, with its condition."""

from __future__ import annotations

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import ConfigError
from .condition_embedding import ConditionEmbedding
from .masks import MASK_CHANNELS
from .shapes import DenoiserShape, explained


def build_unet(shape: DenoiserShape, channels: int, size: int, masks: bool = False) -> UNet2DModel:
    """A U-Net for latents of `channels` × `size` × `size`; its output and every residual branch start at zero.

    masks: it has input channels for a mask, to which it does not listen at first.
    Raises ConfigError for widths that it cannot have, and for more of them than the latents can be halved.
    """
    depth, inputs = len(shape.widths), channels + MASK_CHANNELS * masks
    if size % 2 ** (depth - 1):
        raise ConfigError(
            f"denoiser.shape: {depth} widths halve the latents {depth - 1} times, but these are {size}×{size}. "
            "Give fewer widths or other images."
        )
    with explained("denoiser", shape), torch.no_grad():
        unet = UNet2DModel(
            sample_size=size,
            in_channels=inputs,
            out_channels=channels,
            block_out_channels=shape.widths,
            layers_per_block=shape.layers,
            down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (depth - 1)),
            up_block_types=(*["AttnUpBlock2D"] * (depth - 1), "UpBlock2D"),
            attention_head_dim=min(32, shape.widths[-1]),
            norm_num_groups=min(32, shape.widths[0] // 2),
            resnet_time_scale_shift="scale_shift",
            dropout=shape.dropout,
            class_embed_type="identity",
        )
        unet.eval()(torch.zeros(1, inputs, size, size), 0, torch.zeros(1, 4 * shape.widths[0]))
    unet.train()
    for name, module in unet.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith((".conv2", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    nn.init.zeros_(unet.conv_in.weight[:, channels:])
    return unet


def build_embedding(unet: UNet2DModel, condition_width: int, extra_width: int) -> ConditionEmbedding:
    """The network that turns a condition, and what else the U-Net is told, into what its blocks listen to."""
    return ConditionEmbedding(condition_width, extra_width, 4 * unet.config["block_out_channels"][0])


class Denoiser(nn.Module):
    """The U-Net with its condition: forward(x_t, fraction of time, condition, extra, mask) → (B, C, h, w).

    embed: a ConditionEmbedding.
    condition: (B, condition_width), of which columns at the end may be missing: an image's embedding, then zeros.
    extra: (B, extra_width), zeros if not given: the augmentation that training images
    went through, or for few-step weights the length of the jump.
    mask: (B, MASK_CHANNELS, h, w) as `encode_masks` gives it, for a U-Net that takes masks; missing if not given.
    """

    def __init__(self, unet: UNet2DModel, embed: ModelMixin) -> None:
        super().__init__()
        self.unet = unet
        self.embed = embed
        self.condition_width: int = embed.config["condition_width"]
        self.extra_width: int = embed.config["extra_width"]

    @property
    def takes_masks(self) -> bool:
        """Whether the U-Net has input channels for a mask."""
        return self.unet.config["in_channels"] > self.unet.config["out_channels"]

    def forward(
        self, x_t: Tensor, fraction: Tensor, condition: Tensor, extra: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        x, embedded = self._told(x_t, condition, extra, mask)
        return self.unet(x, (fraction * 1000).float(), embedded, return_dict=False)[0]

    def features(
        self, x_t: Tensor, fraction: Tensor, condition: Tensor, extra: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """What `forward` makes of x_t at each resolution on its way down and in the middle, and what its blocks hear.

        The last maps before each halving, and that of the middle block; (B, 4 widths[0]).
        """
        unet = self.unet
        x, embedded = self._told(x_t, condition, extra, mask)
        heard = embedded + unet.time_embedding(unet.time_proj((fraction * 1000).float()).to(x.dtype))
        x, maps = unet.conv_in(x), list[Tensor]()
        for block in unet.down_blocks:
            x, states = block(x, heard)
            maps.append(states[unet.config["layers_per_block"] - 1])
        middle: nn.Module = unet.mid_block  # type: ignore[assignment]
        return [*maps, middle(x, heard)], heard

    def _told(self, x_t: Tensor, condition: Tensor, extra: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the U-Net is shown, and what it is told beside the time."""
        if missing := self.condition_width - condition.shape[1]:
            condition = pad(condition, (0, missing))
        if extra is None:
            extra = condition.new_zeros(len(condition), self.extra_width)
        if mask is None and self.takes_masks:
            mask = x_t.new_zeros(len(x_t), MASK_CHANNELS, *x_t.shape[2:])
        if mask is not None:
            x_t = torch.cat([x_t, mask.to(x_t)], dim=1)
        return x_t, self.embed(torch.cat([condition, extra], dim=1).to(x_t.dtype))
