"""A classifier of noisy latents: which of several classes, at whatever time of a diffusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_blocks import DownBlock2D
from torch import Tensor, nn

from ..diffusion.classifier_guidance import lead
from ..diffusion.process import Predict, Process
from ..errors import ConfigError
from .conditions import Value, class_of, near


class NoisyClassifier(ModelMixin, ConfigMixin):
    """The downward half of a U-Net told the time, pooled to p(class | x_t, t).  [Dhariwal 2021, sec. 4]

    classes: their names, those of an attribute or the two sides of a density ratio; attribute: what they are of.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int,
        classes: Sequence[str],
        attribute: str = "",
        block_out_channels: Sequence[int] = (32, 64, 64),
    ) -> None:
        super().__init__()
        widths = [block_out_channels[0], *block_out_channels]
        groups, told = min(32, widths[0] // 2), 4 * widths[0]
        how = {"dropout": 0.1, "resnet_groups": groups, "resnet_time_scale_shift": "scale_shift"}
        self.time = nn.Sequential(Timesteps(widths[0], True, 0), TimestepEmbedding(widths[0], told))
        self.enter = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            DownBlock2D(widths[i - 1], widths[i], told, add_downsample=i < len(widths) - 1, **how)
            for i in range(1, len(widths))
        )
        self.norm = nn.GroupNorm(groups, widths[-1])
        self.leave = nn.Linear(widths[-1], len(classes))
        self.prior = nn.Parameter(torch.zeros(len(classes)))

    def forward(self, x_t: Tensor, fraction: Tensor, signal: Tensor) -> Tensor:
        """Logits (B, classes) for x_t (B, C, h, w), the fraction of time (B,) and a(t), the signal's share.

        What x_t tells is multiplied by a(t), as it is in truth near pure noise: so (s² / a) ∇ stays finite.
        """
        x, told = self.enter(x_t), self.time((fraction * 1000).to(x_t))
        for block in self.down:
            x, _ = block(x, told)
        pooled = nn.functional.silu(self.norm(x)).mean(dim=(2, 3))
        return signal.reshape(-1, 1).to(pooled) * self.leave(pooled) + self.prior

    def places(self, wanted: Iterable[Mapping[str, Value]]) -> list[int]:
        """Which of the classes each image is wanted to show. Raises ConfigError where it is none of them."""
        name, classes, found = self.config["attribute"], list(self.config["classes"]), list[int]()
        for one in (class_of(row.get(name)) for row in wanted):
            if not one:
                why = f"classifier guidance leads to a {name}, and none is asked for: --where {name}=…"
                raise ConfigError(f"{why}.{near('', classes)}")
            if one not in classes:
                raise ConfigError(f"{name} '{one}' is none that the model's classifier tells.{near(one, classes)}")
            found.append(classes.index(one))
        return found

    def lead(
        self,
        predict: Predict,
        wanted: Iterable[Mapping[str, Value]],
        scale: float,
        process: Process,
        ancestral: Sequence[float] = (),
    ) -> Predict:
        """`classifier_guidance.lead` to what each image of a batch is wanted to show."""
        places = self.places(wanted)

        def log_density(x_t: Tensor, t: Tensor) -> Tensor:
            logits = self(x_t, process.fraction(t), process.signal(t))
            return logits.log_softmax(dim=1)[torch.arange(len(logits)), places]

        return lead(predict, log_density, scale, process, ancestral)
