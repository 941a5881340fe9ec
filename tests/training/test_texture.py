"""Texture: statistics that say how images differ, a network that closes the gap, and a model that carries it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm
from torch import Tensor

from phonybrains.imageset import ImageSet
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.networks.texture import Texture
from phonybrains.training.config import TextureConfig
from phonybrains.training.corpus import Corpus
from phonybrains.training.stage import train
from phonybrains.training.texture import TextureTask
from phonybrains.training.texture_statistics import GROUPS, RINGS, SPREADS, energy_distance, shown, texture_statistics
from tests.support.tiny_training import CPU, LOOP
from tests.training.conftest import beginning


def files(folder: Path) -> dict[str, bytes]:
    """The weights in a model folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*model.safetensors")}


def noise(n: int, deviation: float, seed: int = 0) -> Tensor:
    """White noise around mid-grey, (n, 1, 64, 64), its deviation in grey levels."""
    return deviation / 127.5 * torch.randn(n, 1, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_white_noise_has_its_power_in_every_ring() -> None:
    """Each coefficient of noise under a window has the power σ² Σ w²: the log of its mean within 2 %, in every ring."""
    window = torch.outer(torch.hann_window(64), torch.hann_window(64))
    wanted = np.log10(4.0**2 * float(window.square().sum()))
    found = texture_statistics(noise(256, 4.0))[:, 2:RINGS]
    mean = (10 ** found.double()).mean(dim=0).log10()
    assert mean.numpy() == pytest.approx(wanted, abs=0.03)


def test_shares_are_those_of_the_normal_distribution() -> None:
    """Neighbours of white noise differ by √2 σ: the shares are those of N(0, 2σ²), smoothed in the logarithm."""
    deviation, first = 4.0, sum(GROUPS[:3])
    found = texture_statistics(noise(64, deviation))[:, first : first + len(SPREADS)].mean(dim=0)
    differences = norm.ppf((np.arange(100_000) + 0.5) / 100_000, scale=2**0.5 * deviation)
    logs = np.log(differences**2 + 0.01) / 2
    wanted = [expit((np.log(level) - logs) / 0.35).mean() for level in SPREADS]
    assert found.numpy() == pytest.approx(np.array(wanted), abs=0.005)


def test_the_distance_is_unbiased_and_grows_with_the_difference() -> None:
    """Between samples of one distribution it is 0 on average; of N(0, 1) and N(1, 1) it is the known value."""
    rng = torch.Generator().manual_seed(0)
    one = torch.ones(1)
    pairs = torch.randn(4000, 2, 8, 1, generator=rng)
    same = torch.stack([energy_distance(a, b, one) for a, b in pairs])
    assert abs(float(same.mean())) < 4 * float(same.std()) / 4000**0.5
    x, y = torch.randn(20_000, 1, generator=rng), torch.randn(20_000, 1, generator=rng) + 1
    normal = torch.distributions.Normal(0, 1)
    half = torch.tensor(0.5**0.5)
    between = 2 * half * 2 * normal.log_prob(half).exp() + (2 * normal.cdf(half) - 1)  # E|X - Y|, X - Y ~ N(1, 2)
    within = 2 / torch.pi**0.5
    found = [energy_distance(a, b, one) for a, b in zip(x.split(500), y.split(500), strict=True)]
    assert float(torch.stack(found).mean()) == pytest.approx(float(2 * between - 2 * within), rel=0.05)


def test_pairs_within_are_counted_as_by_hand() -> None:
    """The mean over sorted values is the mean over pairs; weights count columns."""
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    far, weights = torch.full((2, 3), 1e3), torch.tensor([1.0, 2.0, 0.0])
    within = torch.stack([(x[i] - x[j]).abs() for i, j in combinations(range(7), 2)]).mean(dim=0)
    between = (far[0] - x).abs().mean(dim=0)
    wanted = float(((2 * between - within) * weights).sum())
    assert float(energy_distance(x, far, weights)) == pytest.approx(wanted, rel=1e-5)


def test_shown_is_what_a_file_holds_and_lets_gradients_pass() -> None:
    x = torch.tensor([[-1.2, -0.9999, 0.0021, 0.5, 3.0]], requires_grad=True)
    found = shown(x)
    found.sum().backward()
    assert ((found.detach() + 1) * 127.5).tolist()[0] == pytest.approx([0, 0, 128, 191, 255], abs=1e-3)
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0] * 5]


def test_a_new_network_adds_a_little_noise_and_nothing_else() -> None:
    """Before training the mean of an image stays, and about a grey level of grain is added."""
    network, x = Texture(["MR"]), noise(4, 20.0)
    rngs = [torch.Generator().manual_seed(i) for i in range(4)]
    with torch.no_grad():
        added = (network.draw(x, ["MR"] * 4, rngs) - x) * 127.5
    assert added.mean().abs() < 0.5
    assert 0.01 < added.std() < 3


def test_texture_is_drawn_from_each_images_own_generator() -> None:
    """The same generator gives the same image in any company; another gives another; a modality unknown is no error."""
    network, x = Texture(["CT", "MR"]), noise(3, 20.0)
    seeded = [torch.Generator().manual_seed(i) for i in (5, 6, 5)]
    with torch.no_grad():
        many = network.draw(x[:1].expand(3, -1, -1, -1), ["CT", "CT", "CT"], seeded)
        alone = network.draw(x[:1], ["CT"], [torch.Generator().manual_seed(5)])
        other = network.draw(x[:1], ["PET"], [torch.Generator().manual_seed(5)])
    assert torch.allclose(many[0], alone[0], atol=1e-6)
    assert torch.equal(many[0], many[2])
    assert not torch.allclose(many[0], many[1], atol=1e-4)
    assert not torch.allclose(alone, other, atol=1e-6)


def test_air_has_one_value_below_its_floor() -> None:
    """The image's own: the mean there as a whole grey level; brighter pixels stay, and all without a floor."""
    network, x = Texture(["CT", "MR"]), noise(2, 0.2)
    network.floors[0] = 2.0
    x[0, :, :, :32] += 1.3 / 127.5 - 1
    x[1, :, :, :32] += 0.2 / 127.5 - 1
    told = network.one_hot(["CT", "CT"])
    flat = network.with_flat_air(x, told)
    grey = ((flat.clamp(-1, 1) + 1) * 127.5).round()
    assert [grey[i, :, :, :29].unique().tolist() for i in (0, 1)] == [[1.0], [0.0]]
    assert torch.equal(flat[:, :, :, 34:], x[:, :, :, 34:])
    assert torch.equal(network.with_flat_air(x, network.one_hot(["MR", "PET"])), x)


def test_a_floor_is_found_where_real_air_is_flat(corpus: Corpus) -> None:
    """Of images whose air is not quite black, those with a floor are nearer to real ones, and it is found."""
    torch.manual_seed(0)
    rows = corpus.train
    real = corpus.images(rows)
    hazy = real + (real == -1) * (0.8 + 0.6 * torch.rand(real.shape)) / 127.5
    network = Texture(sorted({corpus.modalities[i] for i in rows.tolist()}))
    config = TextureConfig(loop=LOOP | {"learning_rate": 4e-3})  # type: ignore[arg-type]
    task = TextureTask(network, corpus, hazy[:, 0], rows, config, None, CPU)
    task.find_floors(network)
    assert (network.floors > 0).all()
    told = [corpus.modalities[i] for i in rows.tolist()]
    with torch.no_grad():
        made = shown(network.draw(hazy, told, [torch.Generator().manual_seed(i) for i in rows.tolist()]))
    found = [image[truth == -1].unique(return_counts=True)[1] for image, truth in zip(made, real, strict=True)]
    shares = [float(counts.max() / counts.sum()) for counts in found if counts.sum() > 1000]
    assert len(shares) > 5
    assert min(shares) > 0.8


def test_smooth_images_learn_the_grain_of_real_ones(corpus: Corpus) -> None:
    """Images without their grain come to half the distance from real ones, and their means over 8×8 pixels stay."""
    torch.manual_seed(0)
    rows = corpus.train
    real = corpus.images(rows)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(real, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    config = TextureConfig(loop=LOOP | {"steps": 200, "batch_size": 8, "learning_rate": 4e-3})  # type: ignore[arg-type]
    network = Texture(sorted({corpus.modalities[i] for i in rows.tolist()}))
    task = TextureTask(network, corpus, smooth[:, 0], rows, config, None, CPU)
    before = task.validate(network)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99))
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 200)
        optimizer.zero_grad()
        task.loss(network, torch.Generator().manual_seed(step), slice(None)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.loop.clip)
        optimizer.step()
    assert task.validate(network) < 0.5 * before
    with torch.no_grad():
        told = [corpus.modalities[i] for i in rows.tolist()]
        made = network.draw(smooth, told, [torch.Generator().manual_seed(i) for i in rows.tolist()])
    moved = torch.nn.functional.avg_pool2d(made.clamp(-1, 1) - smooth, 8) * 127.5
    assert float(moved.abs().mean()) < 2


def test_a_model_is_given_texture_and_keeps_it(tiny_model: Path, phantom_corpus: Path, tmp_path: Path) -> None:
    """Texture alone is learnt: all other weights stay; images change, and are the same in any batch."""
    loop = LOOP | {"batch_size": 4, "learning_rate": 4e-3}
    made = beginning(tiny_model, texture={"loop": loop, "images": 6, "reconstructed": 4}, steps=2)
    folder = train(phantom_corpus, tmp_path / "textured", made, show=False)
    plain, textured = LatentDiffusion.load(tiny_model), LatentDiffusion.load(folder)
    assert plain.texture is None
    assert textured.texture is not None
    assert textured.card["texture is off that of real images by"] > 0
    kept = files(folder)
    assert {name for name in kept if name not in files(tiny_model)} == {"texture/diffusion_pytorch_model.safetensors"}
    assert all(files(tiny_model)[name] == content for name, content in kept.items() if not name.startswith("texture"))
    four, one = textured.generate(4, seed=3, steps=2).images, textured.generate(4, seed=3, steps=2, batch_size=1).images
    assert np.abs(four.astype(int) - one.astype(int)).max() <= 1
    assert (four != plain.generate(4, seed=3, steps=2).images).mean() > 0.05
    again = files(train(phantom_corpus, tmp_path / "again", beginning(folder), show=False))
    part = "texture/diffusion_pytorch_model.safetensors"
    assert again[part] == kept[part]
    images = ImageSet.open(phantom_corpus)
    back = textured.decode(textured.encode(next(images.batches(2)), ["MR", "MR"]), ["MR", "MR"])
    assert np.array_equal(back, plain.decode(plain.encode(next(images.batches(2)), ["MR", "MR"]), ["MR", "MR"]))
