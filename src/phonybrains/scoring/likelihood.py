"""The density of images' latents under a model, conditioned on what the images show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..diffusion.likelihood import log_likelihood, rademacher, rising_times
from ..model.latent_diffusion import LatentDiffusion
from ..networks.conditions import Value
from .config import ScoreConfig


def bits_per_dim(
    model: LatentDiffusion,
    pixels: NDArray[np.float32],
    wanted: Sequence[Mapping[str, Value]],
    rngs: Sequence[torch.Generator],
    how: ScoreConfig,
) -> list[float]:
    """-log2 p(z | what it shows) / D of the latents z of images (B, 1, H, W) in -1…1, D numbers each.

    The density is that of the latents as the autoencoder gives them, so that modalities, which are standardised each by
    itself, can be compared. wanted: what each shows; rngs: of which each one's probes are drawn.
    """
    modalities = [one.get("modality") for one in wanted]
    z = model.encode(pixels, modalities).clone()  # of inference mode, in which nothing has a derivative
    condition, process = model.conditions.encode(wanted).to(z), model.chain.process

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return model.predict(x_t, t, condition)

    nats = log_likelihood(predict, z, rising_times(process, how.steps), process, rademacher(z, how.probes, rngs))
    _, deviation = model.scale.columns(modalities, z)
    scale = deviation.double().log().sum((1, 2, 3)) * z[0, 0].numel()
    return ((scale - nats) / (z[0].numel() * math.log(2))).tolist()
