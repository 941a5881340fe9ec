"""The two networks: shapes, starting points, and shapes that cannot be built."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from phonybrains.errors import ConfigError
from phonybrains.networks.autoencoder import build_autoencoder
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.networks.shapes import AutoencoderShape, DenoiserShape
from phonybrains.training.config import load_train_config

SMALL = DenoiserShape(widths=(16, 32), layers=1, dropout=0.3)


def denoiser(condition_width: int = 5, extra_width: int = 6) -> Denoiser:
    torch.manual_seed(0)
    unet = build_unet(SMALL, 4, 8)
    return Denoiser(unet, build_embedding(unet, condition_width, extra_width))


def stirred(network: nn.Module) -> nn.Module:
    """The network with every weight random, so that no branch is silent."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2)
    return network.eval()


@pytest.mark.parametrize(("channels", "side"), [(1, 32), (4, 64), (8, 96)])
def test_autoencoder_shapes(channels: int, side: int):
    """(B, 1, H, W) becomes (B, C, H/8, W/8) and comes back, for sides that differ too."""
    coder = build_autoencoder(AutoencoderShape(latent_channels=channels, widths=(8, 8, 16, 32), layers=1))
    x = torch.zeros(2, 1, side, 64)
    z = coder.encode(x, return_dict=False)[0]
    assert z.shape == (2, channels, side // 8, 8)
    assert coder.decode(z, return_dict=False)[0].shape == x.shape


@pytest.mark.parametrize("widths", [(16,), (16, 32), (16, 32, 64)])
def test_denoiser_shapes(widths: tuple[int, ...]):
    """Latents in, latents out, of the same shape."""
    unet = build_unet(DenoiserShape(widths=widths, layers=1), 4, 8)
    network = Denoiser(unet, build_embedding(unet, 5, 6))
    y = network(torch.randn(3, 4, 8, 8), torch.rand(3), torch.zeros(3, 5), torch.zeros(3, 6))
    assert y.shape == (3, 4, 8, 8)


def test_denoiser_starts_at_zero():
    """Before training the output is zero whatever goes in, and every residual branch ends in zeros."""
    network = denoiser()
    assert not network(torch.randn(3, 4, 8, 8), torch.rand(3), torch.randn(3, 5), torch.randn(3, 6)).any()
    ends = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and n.endswith((".conv2", "conv_out"))}
    assert len(ends) >= 6
    assert all(not m.weight.any() and m.bias is not None and not m.bias.any() for m in ends.values())


def test_denoiser_hears_time_condition_and_augmentation():
    """Each of the three changes the output; leaving the augmentation out is the same as zeros."""
    network = stirred(denoiser())
    x, t, c, a = torch.randn(2, 4, 8, 8), torch.full((2,), 0.5), torch.zeros(2, 5), torch.zeros(2, 6)
    plain = network(x, t, c)
    torch.testing.assert_close(network(x, t, c, a), plain, rtol=0, atol=0)
    for other in (network(x, t + 0.1, c, a), network(x, t, c + 1, a), network(x, t, c, a + 1)):
        assert (other - plain).abs().max() > 1e-3


def test_each_image_has_its_own_condition():
    """The condition of one image does not leak into the output of another."""
    network = stirred(denoiser())
    x, t, c = torch.randn(2, 4, 8, 8), torch.rand(2), torch.zeros(2, 5)
    changed = c.clone()
    changed[1] = 1
    before, after = network(x, t, c), network(x, t, changed)
    torch.testing.assert_close(before[0], after[0], rtol=1e-5, atol=1e-5)
    assert (before[1] - after[1]).abs().max() > 1e-3


def test_time_is_read_as_a_fraction():
    """A double in 0…1, the process's own kind, and the same in float32 give the same output in float32."""
    network = stirred(denoiser())
    x, c = torch.randn(2, 4, 8, 8), torch.zeros(2, 5)
    double = network(x, torch.tensor([0.25, 1.0], dtype=torch.float64), c)
    assert double.dtype == torch.float32
    torch.testing.assert_close(double, network(x, torch.tensor([0.25, 1.0]), c), rtol=0, atol=0)


def test_dropout_only_in_training():
    """Two passes agree in evaluation mode, and differ while training."""
    network = stirred(denoiser())
    x, t, c = torch.randn(2, 4, 8, 8), torch.rand(2), torch.zeros(2, 5)
    assert torch.equal(network(x, t, c), network(x, t, c))
    network.train()
    assert not torch.equal(network(x, t, c), network(x, t, c))


def test_built_networks_are_ready_to_train():
    """The trial run inside leaves them in training mode, with gradients and without any computed."""
    coder, unet = build_autoencoder(AutoencoderShape(widths=(8, 8, 16, 16), layers=1)), build_unet(SMALL, 4, 8)
    for network in (coder, unet):
        assert network.training
        assert all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize(("widths", "size"), [((16, 32), 5), ((16, 32, 32), 6), ((16, 16, 16, 16, 16), 8)])
def test_odd_latents_are_refused(widths: tuple[int, ...], size: int):
    """A U-Net that would have to halve an odd side is refused with both numbers, not broken in the middle."""
    with pytest.raises(ConfigError, match=rf"denoiser\.shape: {len(widths)} widths .* {size}×{size}\."):
        build_unet(DenoiserShape(widths=widths), 4, size)


def test_widths_that_do_not_fit_are_refused():
    """What diffusers would fail on later, or with a bare assertion, is an error that names the shape."""
    with pytest.raises(ConfigError, match=r"denoiser\.shape: .*\(16, 50\).*divisible"):
        build_unet(DenoiserShape(widths=(16, 50), layers=1), 4, 8)
    with pytest.raises(ConfigError, match=r"autoencoder\.shape: .*\(3, 5, 7, 9\)"):
        build_autoencoder(AutoencoderShape(widths=(3, 5, 7, 9)))
    for widths in ((), (1, 2), (0,)):
        with pytest.raises(ValidationError):
            DenoiserShape(widths=widths)


@pytest.mark.parametrize(
    ("preset", "autoencoder_parameters", "denoiser_parameters"),
    [("tiny", (20e3, 60e3), (80e3, 400e3)), ("cpu", (1.2e6, 2.5e6), (4e6, 11e6)), ("gpu", (1.2e6, 2.5e6), (4e6, 11e6))],
)
def test_presets_have_the_sizes_the_recipe_names(
    preset: str, autoencoder_parameters: tuple[float, float], denoiser_parameters: tuple[float, float]
):
    """About 1.9 M parameters for the autoencoder and at most 10.7 M for the denoiser: 30 MB in half precision."""
    config = load_train_config(preset)
    shape = config.autoencoder.shape
    counts = [
        sum(p.numel() for p in network.parameters())
        for network in (build_autoencoder(shape), build_unet(config.denoiser.shape, shape.latent_channels, 8))
    ]
    for count, (low, high) in zip(counts, (autoencoder_parameters, denoiser_parameters), strict=True):
        assert low < count < high
    assert 2 * sum(counts) < 30e6
