"""The embedding of images: what it says, that images keep to it, that its prior draws it, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.testing import assert_close

from phonybrains.editing.config import Vary
from phonybrains.editing.prior import Images, Prior
from phonybrains.editing.stage import edit
from phonybrains.editing.vary import varied
from phonybrains.errors import ConfigError, ModelError
from phonybrains.imageset import ImageSet, to_unit_range, write_metadata
from phonybrains.model.chains import CHAINS
from phonybrains.model.compiled import why_not
from phonybrains.model.description import read_description
from phonybrains.model.embedding import ImageEmbedding, pooled
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.model.sampling import Sampling
from phonybrains.model.summary import summary
from phonybrains.networks.condition_dropout import drop
from phonybrains.record import read_record
from phonybrains.training import augment
from phonybrains.training.config import load_train_config
from phonybrains.training.corpus import Corpus
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents
from phonybrains.training.stage import train
from phonybrains.training.start import start
from tests.support.in_turn import called
from tests.support.tiny_training import CPU, NAMES, Recorder, micro, weights
from tests.training.conftest import beginning

DIM = 8
PRIOR: dict[str, Any] = {"steps": 300, "batch_size": 64, "learning_rate": 2e-3, "validate_every": 300}
LEARNING: dict[str, Any] = {"steps": 300, "batch_size": 16, "learning_rate": 2e-3, "validate_every": 300}
EMBEDDING: dict[str, Any] = {"dim": DIM, "loop": PRIOR}


@pytest.fixture(scope="module")
def embedded(tiny_model: Path, phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model whose denoiser has learnt on with an embedding."""
    config = beginning(tiny_model, embedding=EMBEDDING, denoiser={"loop": LEARNING})
    return train(phantom_corpus, tmp_path_factory.mktemp("embedded") / "model", config, show=False)


@pytest.fixture(scope="module")
def model(embedded: Path) -> LatentDiffusion:
    return LatentDiffusion.load(embedded)


@pytest.fixture(scope="module")
def heads(phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training phantoms as a set."""
    folder = tmp_path_factory.mktemp("heads") / "set"
    shutil.copytree(phantom_corpus, folder)
    rows = [row for row in ImageSet.open(folder).rows if row.split == "train"]
    write_metadata(folder, rows[:24])
    return folder


def of_images(model: LatentDiffusion, pixels: Images, modalities: list[Any]) -> Tensor:
    """The embeddings of images, without the one that says that they are given."""
    return model.embedding.of(model.encode(to_unit_range(pixels)[:, None], modalities))[:, :-1]


def test_it_is_the_principal_components_of_pooled_latents_in_units_of_their_deviations():
    """On latents whose pooled features are known: no mean, no correlation, deviation 1, and the rest explains less."""
    z = torch.randn(500, 3, 8, 8, generator=Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.2])[:, None, None]
    own = ImageEmbedding.fit(z, 5, 2)
    told = own.of(z)
    assert told.shape == (500, own.width)
    assert bool((told[:, -1] == 1).all())
    assert_close(told[:, :-1].mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    assert_close(told[:, :-1].T.cov(correction=0), torch.eye(5), atol=1e-3, rtol=0)
    variances = torch.linalg.eigvalsh(pooled(z).T.cov(correction=0)).flip(0)
    assert_close(own.axes.norm(dim=0), variances[:5].rsqrt(), rtol=1e-3, atol=0)
    by_hand = torch.stack([z[:, 1, 2:4, 4:6].mean(dim=(1, 2)), z[:, 1, 2:4, 4:6].flatten(1).std(1, correction=0)])
    assert_close(pooled(z)[:, [16 + 6, 3 * 16 + 16 + 6]].T, by_hand, atol=1e-5, rtol=1e-4)


def test_images_varied_by_embedding_keep_it(model: LatentDiffusion, heads: Path):
    """They are nearer in embedding to their source than images drawn of the same noise and what is shown are, whose
    embedding the prior draws: in the mean by a tenth, and for two of three images of 24.

    Told the embedding of another image instead, they are no nearer to their own source than those of the prior.
    """
    images = ImageSet.open(heads)
    pixels = np.stack([np.asarray(images.pixels(i), np.uint8) for i in range(len(images))])
    wanted = [model.conditions.of(row) for row in images.rows]
    modalities = [row.modality for row in images.rows]
    prior = Prior(model, wanted, [image_rng(3, i) for i in range(len(images))])
    with torch.inference_mode():
        own = varied(pixels, prior, Vary(by="embedding"))
        drawn = np.stack(list(model.paint(range(len(images)), wanted, Sampling(seed=3))))
    source = of_images(model, pixels, modalities)
    near, far = ((of_images(model, made, modalities) - source).norm(dim=1) for made in (own, drawn))
    others = (of_images(model, own, modalities) - source.roll(1, 0)).norm(dim=1)
    assert near.mean() < 0.9 * far.mean()
    assert (near < far).float().mean() > 2 / 3
    assert near.mean() < 0.9 * others.mean()


def test_the_prior_draws_embeddings_as_images_have_them(model: LatentDiffusion, phantom_corpus: Path):
    """By modality, means within .5 and deviations within a factor of 2 of those of training images.

    A modality has 16 images or so, whose mean is uncertain by .25; a prior that is told nothing would be off by the
    distance of the modalities, which is more than 1 in the first component.
    """
    rows = [row for row in ImageSet.open(phantom_corpus).rows if row.split == "train"]
    images = replace(ImageSet.open(phantom_corpus), rows=tuple(rows))
    pixels = np.stack([np.asarray(images.pixels(i), np.uint8) for i in range(len(rows))])
    modalities = [row.modality for row in rows]
    real = of_images(model, pixels, modalities)
    shown = model.conditions.encode([model.conditions.of(row) for row in rows])
    drawn = model.embedding.draw(shown.repeat(8, 1), Generator().manual_seed(0))[:, :-1].unflatten(0, (8, len(rows)))
    for name in sorted({*modalities}):
        which = torch.tensor([modality == name for modality in modalities])
        one, other = real[which], drawn[:, which].flatten(0, 1)
        assert_close(other.mean(0), one.mean(0), atol=0.5, rtol=0)
        assert 0.5 < (other.std(0) / one.std(0)).mean() < 2


def test_it_is_drawn_of_each_images_own_numbers(model: LatentDiffusion):
    """Image i is (seed, i) alone, but for the rounding of what shares a batch; equal seeds give equal bits."""
    found = model.generate(4, seed=7, steps=3).images
    assert np.array_equal(found, model.generate(4, seed=7, steps=3).images)
    alone = next(model.paint([2], model.ask([2], {}, 7), Sampling(seed=7, steps=3)))
    assert np.abs(alone.astype(int) - found[2]).max() <= 1


def test_dropped_it_changes_nothing(model: LatentDiffusion):
    """Zeros are what a missing embedding is told as, whatever it is; one that is given changes the prediction."""
    rng = Generator().manual_seed(0)
    x, t = torch.randn(2, *model.latent_shape, generator=rng), torch.tensor([0.3, 0.8])
    told = model.embedding.draw(model.conditions.null(2), rng)
    condition, null = model.told([{"modality": "MR"}] * 2, told)
    short = model.conditions.encode([{"modality": "MR"}] * 2)
    assert torch.equal(null[:, model.conditions.width :], torch.zeros_like(told))
    with torch.no_grad():
        plain = model.denoiser(x, t, short)
        assert torch.equal(model.denoiser(x, t, torch.cat([short, torch.zeros_like(told)], dim=1)), plain)
        assert (model.denoiser(x, t, condition) - plain).abs().max() > 1e-3
    gone = drop(condition, model.conditions, rng, everything=1.0)
    assert torch.equal(gone, null)


def test_it_is_hidden_as_often_as_an_attribute_and_as_a_whole(model: LatentDiffusion):
    """Missing with 1-(1-all)(1-each), always whole; what is drawn for attributes without it stays to the bit."""
    shown = model.conditions.encode([{"modality": "MR", "plane": "axial"}] * 20_000)
    told = torch.cat([shown, torch.ones(len(shown), DIM + 1)], dim=1)
    kept = drop(told, model.conditions, Generator().manual_seed(0), everything=0.1, each=0.2)[:, -DIM - 1 :]
    gone = (kept == 0).all(dim=1)
    assert bool((gone | (kept == 1).all(dim=1)).all())
    assert gone.float().mean().item() == pytest.approx(1 - 0.9 * 0.8, abs=0.012)


def test_a_model_says_that_it_has_one(embedded: Path, tiny_model: Path):
    """Description, summary, record and card tell of it; without one nothing does; it is not compiled."""
    content = read_description(embedded)
    assert content["format_version"] == 2
    assert {name for name in content["sha256"] if name.startswith("image_embedding/")} == {
        "image_embedding/projection.safetensors",
        "image_embedding/vectors.safetensors",
        "image_embedding/vectors.json",
    }
    assert "embedding's prior, loss" in content["card"]
    assert "--by embedding" in summary(embedded)
    assert "--by embedding" not in summary(tiny_model)
    assert read_record(embedded)["config"]["embedding"]["dim"] == DIM
    assert "embedding" not in read_record(tiny_model)["config"]
    assert "embedding" in why_not(embedded, Sampling())


def test_a_damaged_part_is_refused(embedded: Path, tmp_path: Path):
    """By its name."""
    folder = tmp_path / "model"
    shutil.copytree(embedded, folder)
    part = folder / "image_embedding" / "projection.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match=r"projection\.safetensors is damaged"):
        LatentDiffusion.load(folder)


def test_a_start_learns_it_from_where_it_was_and_can_lose_it_again(
    embedded: Path, tiny_model: Path, phantom_corpus: Path
):
    """What is predicted where no embedding is told is what the start did; the latents' embedding stays with them."""
    images = ImageSet.open(phantom_corpus)
    x, t = torch.randn(2, 4, 8, 8, generator=Generator().manual_seed(0)), torch.tensor([0.2, 0.7])
    more = beginning(tiny_model, embedding=EMBEDDING, denoiser={"loop": LEARNING})
    for folder, config, kept in (
        (tiny_model, more, False),
        (embedded, beginning(embedded), False),
        (embedded, beginning(embedded, embedding=EMBEDDING), True),
    ):
        old, new = LatentDiffusion.load(folder), start(images, (), config)
        null = old.conditions.null(2)
        with torch.no_grad():
            assert_close(new.denoiser.eval()(x, t, null), old.denoiser(x, t, null), rtol=0, atol=1e-5)
        assert (new.embedding is not None) == kept
        assert any("has an embedding; this one" in line for line in new.said) == (folder == embedded and not kept)


def test_what_cannot_be_is_said_before_the_work(tiny_model: Path, heads: Path, phantom_corpus: Path, tmp_path: Path):
    """A model without one, a strength beside it, a GAN, too few images, and a denoiser that does not learn it."""
    with pytest.raises(ConfigError, match=r"--by embedding: this model has no embedding.*--embedding 64"):
        edit(heads, tmp_path / "out", Vary(by="embedding"), model=tiny_model, show=False)
    words = ("edit", "vary", heads, "--model", tiny_model, "--out", tmp_path / "out", "--by", "embedding")
    assert called(*words, "--strength", "0.3", folder=tmp_path) == 1
    with pytest.raises(ConfigError, match=r"diffusion = gan needs embedding\.dim = 0"):
        load_train_config("gan", embedding={"dim": 8})
    images = ImageSet.open(phantom_corpus)
    with pytest.raises(ConfigError, match=r"embedding\.dim is 512: \d+ training images differ"):
        start(images, (), micro(embedding={"dim": 512}, conditions=NAMES, min_patients=0))
    with pytest.raises(ConfigError, match="its denoiser makes no steps here"):
        start(images, (), beginning(tiny_model, embedding=EMBEDDING))
    assert list(tmp_path.iterdir()) == []


def test_from_the_command_line(embedded: Path, heads: Path, tmp_path: Path):
    """A set of variations by embedding says so in its table and record, and those by noise say what they did before."""
    words = ("edit", "vary", heads, "--model", embedded, "-n", 1, "--steps", 1)
    assert called(*words, "--by", "embedding", "--out", tmp_path / "by", folder=tmp_path) == 0
    assert called(*words, "--out", tmp_path / "noise", folder=tmp_path) == 0
    by, noise = (ImageSet.open(tmp_path / name).rows[0] for name in ("by", "noise"))
    assert (by["edit_by"], by["edit_strength"]) == ("embedding", None)
    assert (noise["edit_by"], noise["edit_strength"]) == (None, 0.5)
    assert read_record(tmp_path / "by")["config"]["by"] == "embedding"
    assert "by" not in read_record(tmp_path / "noise")["config"]


def test_a_stopped_training_ends_where_an_undisturbed_one_does(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped after the prior, in the middle of the denoiser: the same files."""
    config = micro(embedding={"dim": 4, "loop": {"steps": 2}}, conditions=NAMES, min_patients=0)
    parts = ("image_embedding/projection.safetensors", "image_embedding/vectors.safetensors")

    def made(folder: Path) -> list[bytes]:
        return [*weights(folder).values(), *((folder / part).read_bytes() for part in parts)]

    whole = made(train(phantom_corpus, tmp_path / "whole", config, show=False))
    with monkeypatch.context() as patch:
        patch.setattr("phonybrains.training.stage.DenoiserTask", _stop)
        with pytest.raises(KeyboardInterrupt):
            train(phantom_corpus, tmp_path / "stopped", config, show=False)
    assert made(train(phantom_corpus, tmp_path / "stopped", config, show=False)) == whole


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_denoiser_is_told_each_version_its_own(corpus: Corpus):
    """Columns behind the attributes are those of the version and the row, in training and in validation."""
    n = len(corpus.pixels)
    told = torch.stack([torch.arange(n) + 1.0, torch.arange(n) + 1001.0])[:, :, None]
    values = told[:, :, :, None, None].expand(2, n, 1, 4, 4)
    latents = Latents(values, torch.zeros(2, n, augment.WIDTH), None, embedded=told)  # type: ignore[arg-type]
    network = Recorder(lambda x, *_: torch.zeros_like(x))
    task = DenoiserTask(network, corpus, latents, CHAINS["flow"], micro().denoiser, CPU)
    task.times = lambda n, rng: torch.zeros(n)  # type: ignore[method-assign]
    task.loss(network, Generator().manual_seed(0), slice(None))
    task.plain_errors(network, corpus.validation, torch.zeros(len(corpus.validation)), Generator())
    (x, _, learnt, *_), (y, _, held, *_) = network.calls
    given = learnt[:, -1] != 0
    assert bool(given.any())
    assert torch.equal(learnt[given, -1], x[given, 0, 0, 0])
    assert torch.equal(held[:, -1], y[:, 0, 0, 0])
    assert torch.equal(held[:, -1], corpus.validation + 1.0)
