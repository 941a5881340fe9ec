"""The network that embeds conditions, as a component of diffusers. Model folders hold a copy of this file."""

from __future__ import annotations

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class ConditionEmbedding(ModelMixin, ConfigMixin):
    """Two linear layers: condition and what else the U-Net is told, (B, condition_width + extra_width) → (B, width)."""

    @register_to_config
    def __init__(self, condition_width: int, extra_width: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(condition_width + extra_width, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, condition: Tensor) -> Tensor:
        return self.linear_2(nn.functional.silu(self.linear_1(condition)))
