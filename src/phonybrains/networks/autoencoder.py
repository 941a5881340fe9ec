"""The autoencoder, built from diffusers' parts: 8× smaller a side."""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

from .shapes import AutoencoderShape, explained


def build_autoencoder(shape: AutoencoderShape) -> AutoencoderDC:
    """A deep-compression autoencoder for one gray channel: (B, 1, H, W) ↔ (B, C, H/8, W/8).  [Chen 2025, DC-AE]

    Raises ConfigError for widths that it cannot have.
    """
    layers = (0, shape.layers, shape.layers, shape.layers)
    with explained("autoencoder", shape), torch.no_grad():
        autoencoder = AutoencoderDC(
            in_channels=1,
            latent_channels=shape.latent_channels,
            encoder_block_out_channels=shape.widths,
            decoder_block_out_channels=shape.widths,
            encoder_layers_per_block=layers,
            decoder_layers_per_block=layers,
            encoder_qkv_multiscales=((),) * 4,
            decoder_qkv_multiscales=((),) * 4,
        )
        autoencoder(torch.zeros(1, 1, 32, 32))
    return autoencoder
