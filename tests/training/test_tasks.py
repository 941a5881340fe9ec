"""What the autoencoder and the denoiser are shown in training and in validation, and what their losses are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from phonybrains.diffusion.process import Schedule
from phonybrains.imageset import ImageSet
from phonybrains.model.chains import CHAINS
from phonybrains.training import augment
from phonybrains.training.autoencoder import AutoencoderTask
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents
from tests.support.tiny_training import CPU, Recorder, image_set, micro

WHOLE, EVEN, ODD = slice(0, 4, 1), slice(0, 4, 2), slice(1, 4, 2)


class Wrong(nn.Module):
    """A reconstruction that is off by 0.2 for dark images and by 0.02 for others; it must not be asked to learn."""

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        dark = x.mean(dim=(1, 2, 3), keepdim=True) < -0.5
        return x + torch.where(dark, 0.2, 0.02)


def test_psnr_by_hand(tmp_path: Any):
    """20·log10(2/error) for each modality, over whole validation images, without gradients being kept."""
    mr, ct = np.full((32, 32), 10, np.uint8), np.full((32, 32), 150, np.uint8)
    images = ImageSet.open(image_set(tmp_path / "set", [mr, ct, mr], modality=["MR", "CT", "MR"]))
    held = Corpus.open(images, check_corpus(images, (), 32), tmp_path, CPU)
    config = micro(autoencoder={"spectral": 0, "evenness": 0}).autoencoder
    task = AutoencoderTask(Wrong(), held, config, None, CPU)
    found = task.psnr(task.network)
    assert found == pytest.approx({"MR": 20, "CT": 40}, abs=1e-3)
    assert list(found) == ["MR", "CT"]
    assert task.validate(task.network) == pytest.approx((0.2 * 2 + 0.02) / 3 + 0.5 * (0.04 * 2 + 0.0004) / 3, rel=1e-4)


def test_the_autoencoder_is_trained_on_crops(corpus: Corpus):
    """Each step shows a batch of crops, with noise for their latents; two processes show half of it each."""
    config = micro(autoencoder={"equivariance": 0.0, "latent_noise": 0.05, "evenness": 0}).autoencoder
    network = Recorder(lambda x, *_: x)
    task = AutoencoderTask(network, corpus, config, None, CPU)
    for share in (WHOLE, EVEN, ODD):
        assert task.loss(network, Generator().manual_seed(3), share).item() == 0
    (whole, noise, scale), (even, even_noise, _), (odd, odd_noise, _) = network.calls
    assert whole.shape == (4, 1, 32, 32)
    assert noise.shape == (4, 4, 4, 4)
    assert noise.std().item() == pytest.approx(0.05, rel=0.2)
    assert scale == 1
    assert torch.equal(whole[::2], even)
    assert torch.equal(whole[1::2], odd)
    assert not torch.equal(even_noise, odd_noise)
    assert len({c.numpy().tobytes() for c in whole}) == 4


def test_equivariance_compares_with_the_shrunken_images(corpus: Corpus):
    """With shrunken latents the wanted image is the shrunken crop: who answers with it has no loss."""
    config = micro(autoencoder={"equivariance": 1.0, "evenness": 0}).autoencoder
    how: dict[str, Any] = {"mode": "bilinear", "antialias": True}
    network = Recorder(lambda x, noise, scale: nn.functional.interpolate(x, scale_factor=scale, **how))
    task = AutoencoderTask(network, corpus, config, None, CPU)
    assert task.loss(network, Generator().manual_seed(0), WHOLE).item() == 0
    assert network.calls[0][2] == 0.5


def some_latents(corpus: Corpus) -> Latents:
    """Latents of two versions whose every number tells version and row: 1000·version + row."""
    n, versions = len(corpus.modalities), torch.arange(2)
    codes = 1000.0 * versions[:, None] + torch.arange(n)
    parameters = versions[:, None, None].expand(-1, n, augment.WIDTH).float() / 10
    return Latents(codes[:, :, None, None, None].expand(-1, -1, 4, 4, 4), parameters, None)  # type: ignore[arg-type]


class Batches(DenoiserTask):
    """A task that keeps what it would show, and computes nothing: x_0, t, condition, augmentation, generator."""

    def errors(self, network: nn.Module, *batch: Any) -> Tensor:
        self.__dict__.setdefault("shown", []).append(batch)
        return batch[0][:, 0, 0, 0] * 0


def shown(corpus: Corpus, steps: list[tuple[int, slice]]) -> list[Any]:
    """What is shown in steps of these seeds and shares."""
    task = Batches(nn.Identity(), corpus, some_latents(corpus), CHAINS["flow"], micro().denoiser, CPU)
    for seed, share in steps:
        task.loss(task.network, Generator().manual_seed(seed), share)
    return task.__dict__["shown"]


def test_the_denoiser_sees_each_version_with_its_parameters(corpus: Corpus):
    """Latents, augmentation parameters and conditions of one image belong together, and are of training images."""
    null, kept, codes = corpus.conditions.null(1)[0], 0, set()
    for x_0, t, condition, augmentation, _ in shown(corpus, [(seed, WHOLE) for seed in range(40)]):
        assert bool(((t > 0) & (t < 1)).all())
        for code, asked, told in zip(x_0[:, 0, 0, 0].tolist(), condition, augmentation, strict=True):
            codes.add(code)
            version, row = divmod(int(code), 1000)
            assert row in corpus.train.tolist()
            assert told.tolist() == pytest.approx([version / 10] * augment.WIDTH)
            own = corpus.encoded[row]
            assert bool(((asked == own) | (asked == null)).all())
            kept += torch.equal(asked, own)
    assert len(codes) > 30
    assert {code // 1000 for code in codes} == {0, 1}
    assert 0.3 < kept / 160 < 0.9


def test_shares_make_up_the_batch_of_the_denoiser(corpus: Corpus):
    """Two processes show between them the images and times that one shows, each with noise of its own."""
    whole, even, odd = shown(corpus, [(3, WHOLE), (3, EVEN), (3, ODD)])
    for place in (0, 1):
        assert torch.equal(whole[place][::2], even[place])
        assert torch.equal(whole[place][1::2], odd[place])
    assert even[4].initial_seed() != odd[4].initial_seed()


@pytest.mark.parametrize(("chain", "expected"), [("flow", 2.0), ("ddpm", 1.0)])
def test_silence_has_the_loss_of_the_target(corpus: Corpus, chain: str, expected: float):
    """A network that answers zero errs by the target: ε - x_0 has variance 2 on standardised latents, ε has 1.

    Both are asked at shares of noise s / (a + s) from nearly none to nearly all.
    """
    values = torch.randn(1, len(corpus.modalities), 4, 4, 4, generator=Generator().manual_seed(77))
    latents = Latents(values, torch.zeros(1, len(corpus.modalities), augment.WIDTH), None)  # type: ignore[arg-type]
    network = Recorder()
    task = DenoiserTask(network, corpus, latents, CHAINS[chain], micro().denoiser, CPU)
    assert task.mean_error(network, corpus.train) == pytest.approx(expected, rel=0.05)
    process, fractions = CHAINS[chain].process, torch.cat([call[1] for call in network.calls])
    times = (fractions * process.T).round().long() if isinstance(process, Schedule) else fractions
    shares = process.noise(times) / (process.signal(times) + process.noise(times))
    assert 0 < shares.min() < 0.1
    assert 0.9 < shares.max() <= 1


def test_validation_is_the_same_every_time(corpus: Corpus):
    """Validation images as they are, all conditions told, no augmentation, the same noise: the same number."""
    network = Recorder(lambda x, *_: x)
    task = DenoiserTask(network, corpus, some_latents(corpus), CHAINS["flow"], micro().denoiser, CPU)
    first, again = task.validate(network), task.validate(network)
    assert first == again
    for x_t, _, condition, augmentation in network.calls:
        assert x_t.max() < 100  # version 1 begins at 1000
        assert not augmentation.any()
        assert bool((condition[:, None] == corpus.encoded[corpus.validation]).all(-1).any(-1).all())
    assert task.mean_error(network, corpus.train) != first
