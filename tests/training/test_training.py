"""Training: what the networks are shown, what is written, and which corpora and settings are refused in time."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Generator, Tensor, nn

import phonybrains.training.stage as stage
from phonybrains.errors import ConfigError, ImageSetError, ModelError, OutputError, TrainingError
from phonybrains.imageset import FIXED_COLUMNS, ImageSet, Row, to_unit_range, write_metadata, write_png
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.seal import sealed
from phonybrains.model.training_data import shared_units
from phonybrains.networks.autoencoder import build_autoencoder
from phonybrains.networks.conditions import Number
from phonybrains.networks.shapes import AutoencoderShape
from phonybrains.optimising.cache import keep
from phonybrains.training import augment
from phonybrains.training.autoencoder import AutoencoderTask
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents, encode_latents, load_latents
from phonybrains.training.stage import train

CPU = torch.device("cpu")
LOOP = {"steps": 4, "batch_size": 4, "warmup": 1, "validate_every": 2, "checkpoint_every": 2}
PARTS = ("autoencoder", "unet", "condition_embedding")
FEW_STEP_PARTS = ("few_step_unet", "few_step_condition_embedding")


def micro(**values: Any) -> TrainConfig:
    """The tiny preset, with three times four steps."""
    parts = {part: {"loop": LOOP} | values.pop(part, {}) for part in ("autoencoder", "denoiser", "few_step")}
    return load_train_config("tiny", **{"precision": "fp32"} | parts | values)


def image_set(
    folder: Path, pixels: list[np.ndarray], split: str = "train", modality: str = "MR", **columns: Any
) -> Path:
    """An image set of the given images."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, image in enumerate(pixels):
        digest = write_png(folder / f"images/{i}.png", image)
        rows.append(Row(f"images/{i}.png", digest, modality, split=split, attributes=columns))
    write_metadata(folder, rows)
    return folder


def noise_images(n: int, side: int = 32, dtype: Any = np.uint8) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, np.iinfo(dtype).max, (side, side), dtype, endpoint=True) for _ in range(n)]


def weights(folder: Path, parts: tuple[str, ...] = PARTS) -> dict[str, bytes]:
    return {part: (folder / part / "diffusion_pytorch_model.safetensors").read_bytes() for part in parts}


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def corpus(phantom_corpus: Path, tmp_path: Path) -> Corpus:
    images = ImageSet.open(phantom_corpus)
    return Corpus.open(images, check_corpus(images, ("plane", "age_years"), 32), tmp_path, CPU)


# What is shown to the networks


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_corpus_holds_the_pixels_of_the_set(tmp_path: Path, dtype: Any):
    """Images by row number, in any order, 8 or 16 bit, come out as the set itself gives them, in -1…1."""
    pixels = noise_images(5, dtype=dtype)
    images = ImageSet.open(image_set(tmp_path / "set", pixels))
    held = Corpus.open(images, check_corpus(images, (), 32), tmp_path, CPU)
    rows = torch.tensor([4, 0, 0, 2])
    expected = torch.from_numpy(to_unit_range(np.stack(pixels)))[rows][:, None]
    torch.testing.assert_close(held.images(rows), expected, rtol=0, atol=1e-6)
    crops = held.crops(rows, torch.tensor([[0, 0], [3, 5], [16, 16], [1, 0]]), torch.tensor([0, 1, 0, 1]).bool(), 16)
    for crop, image, (y, x), mirrored in zip(
        crops, expected, [(0, 0), (3, 5), (16, 16), (1, 0)], (0, 1, 0, 1), strict=True
    ):
        part = image[:, y : y + 16, x : x + 16]
        torch.testing.assert_close(crop, part.flip(2) if mirrored else part, rtol=0, atol=1e-6)


def test_the_pixel_cache_is_written_once(tmp_path: Path):
    """The second opening reads the file; no partial file stays."""
    images = ImageSet.open(image_set(tmp_path / "set", noise_images(3)))
    conditions = check_corpus(images, (), 32)
    first = Corpus.open(images, conditions, tmp_path, CPU).images(torch.arange(3))
    shutil.rmtree(tmp_path / "set")
    assert torch.equal(Corpus.open(images, conditions, tmp_path, CPU).images(torch.arange(3)), first)
    assert {p.name for p in tmp_path.iterdir()} == {"pixels.npy", "pixels.sha256"}


@pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "no digest", "a bit of the digest"])
def test_a_damaged_pixel_cache_is_made_anew(tmp_path: Path, damage: str):
    """One flipped bit, a file of length 0 or a lost digest: the pixels are read from the set again."""
    images = ImageSet.open(image_set(tmp_path / "set", noise_images(3)))
    conditions, cache = check_corpus(images, (), 32), tmp_path / "pixels.npy"
    first = Corpus.open(images, conditions, tmp_path, CPU).images(torch.arange(3))
    whole, seal = cache.read_bytes(), tmp_path / "pixels.sha256"
    flipped = whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:]
    {
        "a bit": lambda: cache.write_bytes(flipped),
        "cut": lambda: cache.write_bytes(whole[:-1]),
        "empty": lambda: cache.write_bytes(b""),
        "no digest": seal.unlink,
        "a bit of the digest": lambda: seal.write_bytes(b"\xff" + seal.read_bytes()[1:]),
    }[damage]()
    assert torch.equal(Corpus.open(images, conditions, tmp_path, CPU).images(torch.arange(3)), first)
    assert cache.read_bytes() == whole


def test_splits_are_kept_apart(corpus: Corpus, phantom_corpus: Path, tmp_path: Path):
    """Train and validation rows are those of the set, test rows are in neither; conditions come from train alone."""
    rows = ImageSet.open(phantom_corpus).rows
    assert {rows[i].split for i in corpus.train.tolist()} == {"train"}
    assert {rows[i].split for i in corpus.validation.tolist()} == {"validation"}
    assert len(corpus.train) + len(corpus.validation) < len(rows)
    folder = image_set(tmp_path / "set", noise_images(3))
    three = ((20.0, "train"), (30.0, "train"), (90.0, "validation"))
    found = zip(ImageSet.open(folder).rows, three, strict=True)
    write_metadata(folder, [replace(r, split=split, attributes={"age": age}) for r, (age, split) in found])
    assert check_corpus(ImageSet.open(folder), ("age",), 32).attributes[1] == Number("age", 20.0, 30.0)


def test_without_a_validation_split_the_training_images_serve(tmp_path: Path):
    """A corpus whose images are all for training is validated on them."""
    images = ImageSet.open(image_set(tmp_path / "set", noise_images(3)))
    held = Corpus.open(images, check_corpus(images, (), 32), tmp_path, CPU)
    assert held.validation.tolist() == held.train.tolist() == [0, 1, 2]


class Wrong(nn.Module):
    """A reconstruction that is off by 0.2 for dark images and by 0.02 for others; it must not be asked to learn."""

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        dark = x.mean(dim=(1, 2, 3), keepdim=True) < -0.5
        return x + torch.where(dark, 0.2, 0.02)


def test_psnr_by_hand(tmp_path: Path):
    """20·log10(2/error) for each modality, over whole validation images, without gradients being kept."""
    mr, ct = np.full((32, 32), 10, np.uint8), np.full((32, 32), 150, np.uint8)
    folder = image_set(tmp_path / "set", [mr, ct, mr])
    rows = [replace(r, modality=m) for r, m in zip(ImageSet.open(folder).rows, ("MR", "CT", "MR"), strict=True)]
    write_metadata(folder, rows)
    images = ImageSet.open(folder)
    held = Corpus.open(images, check_corpus(images, (), 32), tmp_path, CPU)
    task = AutoencoderTask(
        Wrong(), held, micro(autoencoder={"loop": LOOP, "spectral": 0, "evenness": 0}).autoencoder, None, CPU
    )
    found = task.psnr(task.network)
    assert found == pytest.approx({"MR": 20, "CT": 40}, abs=1e-3)
    assert list(found) == ["MR", "CT"]
    assert task.validate(task.network) == pytest.approx((0.2 * 2 + 0.02) / 3 + 0.5 * (0.04 * 2 + 0.0004) / 3, rel=1e-4)


class Recorder(nn.Module):
    """Returns what it is given, and keeps it."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.answer = answer

    def forward(self, *inputs: Any) -> Tensor:
        self.calls.append(inputs)
        return inputs[0] if self.answer is None else self.answer(*inputs)


def test_the_autoencoder_is_trained_on_crops(corpus: Corpus):
    """Each step shows a batch of crops, with noise for their latents; two processes show half of it each."""
    config = micro(autoencoder={"equivariance": 0.0, "latent_noise": 0.05, "evenness": 0}).autoencoder
    network = Recorder()
    task = AutoencoderTask(network, corpus, config, None, CPU)
    for share in (slice(0, 4, 1), slice(0, 4, 2), slice(1, 4, 2)):
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
    network = Recorder(
        lambda x, noise, scale: nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)
    )
    task = AutoencoderTask(network, corpus, config, None, CPU)
    assert task.loss(network, Generator().manual_seed(0), slice(0, 4, 1)).item() == 0
    assert network.calls[0][2] == 0.5


def some_latents(corpus: Corpus, versions: int = 2) -> Latents:
    """Latents whose every number tells version and row: 1000·version + row."""
    n = len(corpus.modalities)
    values = (1000.0 * torch.arange(versions)[:, None] + torch.arange(n))[:, :, None, None, None].expand(
        -1, -1, 4, 4, 4
    )
    parameters = torch.arange(versions)[:, None, None].expand(-1, n, augment.WIDTH).float() / 10
    return Latents(values, parameters, None)  # type: ignore[arg-type]


def test_the_denoiser_sees_each_version_with_its_parameters(corpus: Corpus):
    """Latents, augmentation parameters and conditions of one image belong together, and are of training images."""
    at_the_end: list[tuple[Tensor, ...]] = []

    class Clean(DenoiserTask):
        def errors(self, network: nn.Module, *batch: Any) -> Tensor:
            at_the_end.append(batch[:4])
            return batch[0][:, 0, 0, 0] * 0

    task = Clean(nn.Identity(), corpus, some_latents(corpus), CHAINS["flow"], micro().denoiser, CPU)
    null, kept = corpus.conditions.null(1)[0], 0
    for seed in range(40):
        task.loss(task.network, Generator().manual_seed(seed), slice(0, 4, 1))
    for x_0, t, condition, augmentation in at_the_end:
        assert bool(((t > 0) & (t < 1)).all())
        for code, asked, told in zip(x_0[:, 0, 0, 0].tolist(), condition, augmentation, strict=True):
            version, row = divmod(int(code), 1000)
            assert row in corpus.train.tolist()
            assert told.tolist() == pytest.approx([version / 10] * augment.WIDTH)
            own = corpus.encoded[row]
            assert bool(((asked == own) | (asked == null)).all())
            kept += torch.equal(asked, own)
    codes = {int(c) for x_0, *_ in at_the_end for c in x_0[:, 0, 0, 0].tolist()}
    assert len(codes) > 30
    assert {c // 1000 for c in codes} == {0, 1}
    assert 0.3 < kept / 160 < 0.9


def test_shares_make_up_the_batch_of_the_denoiser(corpus: Corpus):
    """Two processes show between them the images and times that one shows, each with noise of its own."""
    batches: list[Any] = []

    class Recorded(DenoiserTask):
        def errors(self, network: nn.Module, *batch: Any) -> Tensor:
            batches.append((batch[0], batch[1], batch[4].initial_seed()))
            return batch[0][:, 0, 0, 0] * 0

    task = Recorded(nn.Identity(), corpus, some_latents(corpus), CHAINS["flow"], micro().denoiser, CPU)
    for share in (slice(0, 4, 1), slice(0, 4, 2), slice(1, 4, 2)):
        task.loss(task.network, Generator().manual_seed(3), share)
    whole, even, odd = batches
    for place in (0, 1):
        assert torch.equal(whole[place][::2], even[place])
        assert torch.equal(whole[place][1::2], odd[place])
    assert even[2] != odd[2]


@pytest.mark.parametrize(("chain", "expected"), [("flow", 2.0), ("ddpm", 1.0)])
def test_silence_has_the_loss_of_the_target(corpus: Corpus, chain: str, expected: float):
    """A network that answers zero errs by the target: ε - x_0 has variance 2 on standardised latents, ε has 1."""
    values = torch.randn(1, len(corpus.modalities), 4, 4, 4, generator=Generator().manual_seed(77))
    latents = Latents(values, torch.zeros(1, len(corpus.modalities), augment.WIDTH), None)  # type: ignore[arg-type]
    network = Recorder(lambda x, *_: torch.zeros_like(x))
    task = DenoiserTask(network, corpus, latents, CHAINS[chain], micro().denoiser, CPU)
    assert task.mean_error(network, corpus.train) == pytest.approx(expected, rel=0.05)
    times = torch.cat([call[1] for call in network.calls])
    assert 0 < times.min() < 0.1
    assert 0.9 < times.max() <= 1


def test_validation_is_the_same_every_time(corpus: Corpus):
    """Validation images as they are, all conditions told, no augmentation, the same noise: the same number."""
    network = Recorder()
    task = DenoiserTask(network, corpus, some_latents(corpus), CHAINS["flow"], micro().denoiser, CPU)
    first, again = task.validate(network), task.validate(network)
    assert first == again
    for x_t, _, condition, augmentation in network.calls:
        assert x_t.max() < 100  # version 1 begins at 1000
        assert not augmentation.any()
        assert bool((condition[:, None] == corpus.encoded[corpus.validation]).all(-1).any(-1).all())
    assert task.mean_error(network, corpus.train) != first


# Latents


@pytest.fixture
def coder() -> Any:
    torch.manual_seed(0)
    return build_autoencoder(AutoencoderShape(latent_channels=4, widths=(8, 8, 16, 16), layers=1)).eval()


def encode(coder: Any, corpus: Corpus, path: Path, seed: int = 0, **values: Any) -> list[tuple[int, int]]:
    return list(encode_latents(coder, corpus, micro(denoiser=values).denoiser, seed, path, CPU))


def test_latents_are_of_the_images_and_their_versions(corpus: Corpus, coder: Any, tmp_path: Path):
    """Version 0 encodes the image itself, the others its augmented versions by their parameters, in half precision."""
    progress = encode(coder, corpus, tmp_path / "z.safetensors", variants=3, augment=0.5)
    assert progress[-1] == (144, 144)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    stored, rows = load_file(tmp_path / "z.safetensors"), torch.arange(48)
    assert stored["values"].shape == (3, 48, 4, 8, 8)
    assert stored["values"].dtype == torch.float16
    assert not stored["parameters"][0].any()
    assert 0.3 < (stored["parameters"][1:] != 0).float().mean() < 0.7
    for version in range(3):
        x = augment.augment(corpus.images(rows), stored["parameters"][version].float())
        with torch.no_grad():
            expected = coder.encode(x).latent
        torch.testing.assert_close(stored["values"][version].float(), expected, rtol=0.02, atol=0.02)


def test_latents_depend_on_the_seed(corpus: Corpus, coder: Any, tmp_path: Path):
    """The same seed draws the same augmentations, another seed others; every version has its own."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        encode(coder, corpus, tmp_path / name, seed, variants=3)
    a, b, c = (load_file(tmp_path / name)["parameters"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a[1], a[2])


def test_latents_are_encoded_once(corpus: Corpus, coder: Any, tmp_path: Path):
    """A cache that is there is taken as it is; a stop in the middle leaves none."""
    path = tmp_path / "z.safetensors"
    stopped = encode_latents(coder, corpus, micro().denoiser, 0, path, CPU)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert not path.exists()
    encode(coder, corpus, path)
    before = path.read_bytes()
    assert encode(coder, corpus, path, seed=7) == []
    assert path.read_bytes() == before


def test_latents_are_standardised_by_the_training_images(corpus: Corpus, coder: Any, tmp_path: Path):
    """Per modality, version 0 of the training rows has mean 0 and deviation 1; other rows do not change the scale."""
    path = tmp_path / "z.safetensors"
    encode(coder, corpus, path)
    first = load_latents(path, corpus)
    for modality in ("MR", "CT"):
        rows = [i for i in corpus.train.tolist() if corpus.modalities[i] == modality]
        torch.testing.assert_close(first.values[0, rows].mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-3)
        torch.testing.assert_close(first.values[0, rows].std((0, 2, 3)), torch.ones(4), rtol=0, atol=1e-3)
    stored = load_file(path)["values"].float()
    torch.testing.assert_close(first.scale.standardise(stored[1], corpus.modalities), first.values[1])
    only_train = replace(
        corpus,
        modalities=tuple(m if i in set(corpus.train.tolist()) else "PET" for i, m in enumerate(corpus.modalities)),
    )
    assert load_latents(path, only_train).scale == first.scale
    assert set(first.scale.statistics) == {"MR", "CT"}


def test_latents_without_variance_do_not_become_nan(corpus: Corpus, tmp_path: Path):
    """A channel that is the same everywhere is divided by something small, not by nothing."""
    n = len(corpus.modalities)
    keep(tmp_path / "z", {"values": torch.ones(1, n, 4, 2, 2), "parameters": torch.zeros(1, n, augment.WIDTH)})
    assert not load_latents(tmp_path / "z", corpus).values.any()


# The stage


def test_losses_fall_on_phantoms(tiny_model: Path):
    """In 60 steps the autoencoder's validation loss falls by a tenth and more, the denoiser's likewise."""
    for task in ("autoencoder", "denoiser"):
        losses = [e[f"{task}/loss"] for e in log_of(tiny_model) if f"{task}/loss" in e]
        validations = [e[f"{task}/validation"] for e in log_of(tiny_model) if f"{task}/validation" in e]
        assert losses[-1] < 0.85 * losses[0]
        assert validations[-1] < 0.95 * validations[0]


def test_the_model_folder_is_complete(tiny_model: Path, phantom_corpus: Path):
    """A model that loads, a card, a record that leads to the corpus, sheets, logs; nothing of the work is left."""
    model = LatentDiffusion.load(tiny_model)
    assert model.few_step
    assert model.few_step.extra_width == 1
    assert [a.name for a in model.conditions.attributes] == ["modality", "plane", "hemorrhage", "age_years"]
    assert model.size == 64
    record = json.loads((tiny_model / "record.json").read_text())
    assert record["stage"] == "train"
    assert record["seed"] == 0
    assert record["inputs"][0]["name"] == phantom_corpus.name
    assert record["inputs"][0]["record"]["stage"] == "phantom"
    assert record["results"] == model.card | {"withdrawn": [], "threads": torch.get_num_threads()}
    assert {
        "validation loss",
        "autoencoder PSNR MR, dB",
        "autoencoder PSNR CT, dB",
        "few steps end off the full path by",
    } <= set(model.card)
    assert model.card["paths walked for few-step weights"] == 40 * 2
    assert all(math.isfinite(v) for v in model.card.values())
    card = (tiny_model / "README.md").read_text()
    for words in (
        "48 images; 32 for train",
        "CC0-1.0",
        "must not be used for diagnosis",
        "`plane`: axial, coronal",
        str(model.card["validation loss"]),
    ):
        assert words in card
    names = {p.name for p in (tiny_model / "training").iterdir()}
    assert names == {
        "log.jsonl",
        "tensorboard",
        *(f"{t}-00000{s}.png" for t in ("autoencoder", "denoiser") for s in (30, 60)),
        *(f"few_step-00000{s}.png" for s in (20, 40)),
    }
    assert not (tiny_model / "work").exists()
    assert not list(tiny_model.parent.glob(f".{tiny_model.name}.*"))
    assert all(column not in card for column in FIXED_COLUMNS if column == "patient_id")


def test_tensorboard_and_jsonl_agree(tiny_model: Path):
    """Every number of the JSONL log is in TensorBoard's at the same step."""
    events = EventAccumulator(str(tiny_model / "training" / "tensorboard"))
    events.Reload()
    entries = log_of(tiny_model)
    assert [e["step"] for e in entries] == [20, 30, 40, 50, 60] * 2 + [20, 40]
    tasks = ("autoencoder", "denoiser", "few_step")
    for tag in (f"{task}/{kind}" for task in tasks for kind in ("loss", "validation")):
        there = {s.step: s.value for s in events.Scalars(tag)}
        assert there == pytest.approx({e["step"]: e[tag] for e in entries if tag in e})


def test_the_same_seed_gives_the_same_weights(phantom_corpus: Path, tmp_path: Path):
    """Bit for bit, with the scale and the log; another seed gives another model."""
    a, b, other = (
        train(phantom_corpus, tmp_path / n, micro(seed=s), show=False) for n, s in (("a", 3), ("b", 3), ("c", 4))
    )
    assert weights(a, PARTS + FEW_STEP_PARTS) == weights(b, PARTS + FEW_STEP_PARTS)
    assert (a / "model.json").read_text() == (b / "model.json").read_text()
    assert log_of(a) == log_of(b)
    assert all(weights(a, (part,)) != weights(other, (part,)) for part in PARTS + FEW_STEP_PARTS)


def test_the_paper_objective_trains(phantom_corpus: Path, tmp_path: Path):
    """DDPM noise prediction starts near the loss 1 of silence and falls; the model knows its chain and generates."""
    loop = LOOP | {"steps": 40, "validate_every": 20, "learning_rate": 2e-3, "batch_size": 8}
    config = micro(diffusion="ddpm", denoiser={"loop": loop})
    folder = train(phantom_corpus, tmp_path / "model", config, show=False)
    losses = [e["denoiser/loss"] for e in log_of(folder) if "denoiser/loss" in e]
    assert losses[0] == pytest.approx(1, abs=0.1)
    assert losses[-1] < 0.95
    model = LatentDiffusion.load(folder)
    assert model.chain == CHAINS["ddpm"]
    assert model.generate(2, steps=5).images.std() > 1
    assert_without_few_step_weights(folder)
    assert model.generate(2, steps=2).images.std() > 1


def test_few_step_weights_can_be_left_out(phantom_corpus: Path, tmp_path: Path):
    """With no steps there are none, in folder, log and card; the other weights are the same; `steps` is kept."""
    nothing = {"loop": LOOP | {"steps": 0}}
    plain = train(phantom_corpus, tmp_path / "plain", micro(few_step=nothing, steps=7), show=False)
    tuned = train(phantom_corpus, tmp_path / "tuned", micro(), show=False)
    assert_without_few_step_weights(plain)
    assert weights(plain) == weights(tuned)
    assert [LatentDiffusion.load(folder).steps for folder in (plain, tuned)] == [7, 16]
    whole = LatentDiffusion.load(tuned).card
    assert LatentDiffusion.load(plain).card == {k: v for k, v in whole.items() if "few" not in k}
    assert log_of(tuned)[: len(log_of(plain))] == log_of(plain)


def assert_without_few_step_weights(folder: Path) -> None:
    assert LatentDiffusion.load(folder).few_step is None
    assert not list(folder.glob("few_step*"))
    assert not list((folder / "training").glob("few_step*"))
    assert not [key for entry in log_of(folder) for key in entry if "few_step" in key]
    assert not [key for key in LatentDiffusion.load(folder).card if "few" in key]


def test_a_finished_training_is_not_repeated(tiny_model: Path, phantom_corpus: Path, monkeypatch: pytest.MonkeyPatch):
    """The same command again returns at once."""
    monkeypatch.setattr(stage, "_train_both", lambda *_: pytest.fail("it trained again"))
    names = ("plane", "hemorrhage", "age_years")
    config = load_train_config("tiny", conditions=names, min_patients=0, precision="fp32")
    assert train(phantom_corpus, tiny_model, config, show=False) == tiny_model


def test_other_settings_do_not_overwrite(tiny_model: Path, phantom_corpus: Path):
    """A finished model in the way is an error, and stays."""
    with pytest.raises(OutputError, match="already exists and was not made by this command"):
        train(phantom_corpus, tiny_model, micro(), show=False)
    LatentDiffusion.load(tiny_model)


def test_other_settings_do_not_take_up_the_draft(phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stopped run's draft belongs to its settings: another seed starts afresh, the first goes on in its own."""
    out = tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr(stage, "encode_latents", interrupted)
        for seed in (0, 1):
            with pytest.raises(KeyboardInterrupt):
                train(phantom_corpus, out, micro(seed=seed), show=False)
    drafts = sorted(tmp_path.glob(".model.*.partial"))
    assert len(drafts) == 2
    first, second = (load_file(d / "work" / "autoencoder.safetensors") for d in drafts)
    assert not all(torch.equal(first[name], second[name]) for name in first)
    train(phantom_corpus, out, micro(seed=1), show=False)
    alone = train(phantom_corpus, tmp_path / "alone", micro(seed=1), show=False)
    assert weights(out) == weights(alone)
    assert len(list(tmp_path.glob(".model.*.partial"))) == 1


def interrupted(*_: Any) -> Iterator[tuple[int, int]]:
    raise KeyboardInterrupt
    yield 0, 0


def test_precision_may_change_between_trainings(phantom_corpus: Path, tmp_path: Path):
    """accelerate's state is global to a process; one training does not bind the next."""
    train(phantom_corpus, tmp_path / "a", micro(precision="fp32"), show=False)
    assert AcceleratorState._shared_state == {}
    train(phantom_corpus, tmp_path / "b", micro(precision="bf16"), show=False)
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


def test_training_can_start_from_a_model(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """With no steps to make, weights and scale are those of the start; other conditions or shapes are refused."""
    nothing = {"loop": LOOP | {"steps": 0}}
    names = ("plane", "hemorrhage", "age_years")
    config = micro(conditions=names, min_patients=0, start=str(tiny_model), autoencoder=nothing, denoiser=nothing)
    same = train(phantom_corpus, tmp_path / "same", config, show=False)
    assert weights(same) == weights(tiny_model)
    assert LatentDiffusion.load(same).scale == LatentDiffusion.load(tiny_model).scale
    config = micro(
        conditions=names, min_patients=0, start=str(tiny_model), autoencoder=nothing, denoiser=nothing, few_step=nothing
    )
    idle = train(phantom_corpus, tmp_path / "idle", config, show=False)
    assert weights(idle, FEW_STEP_PARTS) == weights(tiny_model, FEW_STEP_PARTS)
    shutil.rmtree(idle)
    config = micro(conditions=names, min_patients=0, start=str(tiny_model), autoencoder=nothing, few_step=nothing)
    plain = LatentDiffusion.load(train(phantom_corpus, tmp_path / "plain", config, show=False))
    assert plain.few_step is None
    assert not [key for key in plain.card if "few" in key]
    shutil.rmtree(tmp_path / "plain")
    assert [i["name"] for i in json.loads((same / "record.json").read_text())["inputs"]] == [
        "phantoms",
        tiny_model.name,
    ]
    with pytest.raises(ConfigError, match="knows other conditions"):
        train(phantom_corpus, tmp_path / "b", micro(start=str(tiny_model)), show=False)
    wide = {"shape": {"widths": [16, 48]}, "loop": LOOP}
    with pytest.raises(ConfigError, match="networks of other shapes"):
        train(
            phantom_corpus,
            tmp_path / "b",
            micro(conditions=names, min_patients=0, start=str(tiny_model), denoiser=wide),
            show=False,
        )
    with pytest.raises(ModelError, match="nowhere is not a model folder"):
        train(phantom_corpus, tmp_path / "b", micro(start=str(tmp_path / "nowhere")), show=False)
    assert {p.name for p in tmp_path.iterdir()} == {"same"}


def test_a_decoder_learns_alone(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """The encoder and the latents' scale stay, and so does everything that was learnt on those latents."""
    nothing, names = {"loop": LOOP | {"steps": 0}}, ("plane", "hemorrhage", "age_years")
    alone = {"loop": LOOP, "decoder_only": True}
    config = micro(
        conditions=names, min_patients=0, start=str(tiny_model), autoencoder=alone, denoiser=nothing, few_step=nothing
    )
    found = LatentDiffusion.load(train(phantom_corpus, tmp_path / "sharper", config, show=False))
    before = LatentDiffusion.load(tiny_model)
    kept = ("unet", "condition_embedding", *FEW_STEP_PARTS)
    assert weights(tmp_path / "sharper", kept) == weights(tiny_model, kept)
    assert found.scale == before.scale
    same = {
        name: torch.equal(tensor, before.autoencoder.state_dict()[name])
        for name, tensor in found.autoencoder.state_dict().items()
    }
    assert all(equal for name, equal in same.items() if name.startswith("encoder."))
    assert not any(equal for name, equal in same.items() if name.startswith("decoder.") and name.endswith(".weight"))
    with pytest.raises(ConfigError, match="needs `start`"):
        micro(autoencoder=alone)


def test_few_step_weights_for_a_model_that_is_there(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """Other parts make no steps and stay as they are; what was measured of the start's images is not said of others."""
    started = Path(shutil.copytree(tiny_model, tmp_path / "started"))
    description = json.loads((started / "model.json").read_text())
    description["card"] |= {"images seen by the denoiser": 1000, "a figure of the start": 0.5, "parameters": 1}
    (started / "model.json").write_text(json.dumps(sealed(description, "model.json")))
    nothing, names = {"loop": LOOP | {"steps": 0}}, ("plane", "hemorrhage", "age_years")
    settings = {"conditions": names, "min_patients": 0, "start": str(started), "autoencoder": nothing, "seed": 5}
    tuned = train(phantom_corpus, tmp_path / "tuned", micro(**settings, denoiser=nothing), show=False)
    assert weights(tuned) == weights(tiny_model)
    assert all(weights(tuned, (part,)) != weights(tiny_model, (part,)) for part in FEW_STEP_PARTS)
    assert {*weights(tuned, ("few_step_unet",)).values()}.isdisjoint(weights(tuned, ("unet",)).values())
    card = LatentDiffusion.load(tuned).card
    distances = [entry["few_step/validation"] for entry in log_of(tuned) if "few_step/validation" in entry]
    assert card["few steps end off the full path by"] == pytest.approx(min(distances), abs=1e-4)
    assert card["images seen by the denoiser"] == 1000
    assert "a figure of the start" not in card  # few-step weights make other images
    assert card["parameters"] > 1000
    assert card["paths walked for few-step weights"] == 16
    assert "a figure of the start" not in (tuned / "README.md").read_text()
    assert {key.partition("/")[0] for entry in log_of(tuned) for key in entry} == {"step", "few_step"}

    longer = train(phantom_corpus, tmp_path / "longer", micro(**settings), show=False)
    card = LatentDiffusion.load(longer).card
    assert card["images seen by the denoiser"] == 1000 + 16
    assert "a figure of the start" not in card  # it was measured on other weights
    assert weights(longer, ("autoencoder",)) == weights(tiny_model, ("autoencoder",))
    assert weights(longer, ("unet",)) != weights(tiny_model, ("unet",))


# Small, odd and bad corpora


def test_a_corpus_of_one_image(tmp_path: Path):
    """One image trains and is validated on itself."""
    folder = train(image_set(tmp_path / "one", noise_images(1, 64)), tmp_path / "model", micro(), show=False)
    assert LatentDiffusion.load(folder).generate(1, steps=1).conditions == [{"modality": "MR"}]


def test_a_corpus_of_one_modality(phantom_corpus: Path, tmp_path: Path):
    """CT alone: one latent scale, one label."""
    folder = Path(shutil.copytree(phantom_corpus, tmp_path / "ct"))
    write_metadata(folder, ImageSet.open(folder).where(modality="CT").rows)
    model = LatentDiffusion.load(train(folder, tmp_path / "model", micro(), show=False))
    assert set(model.scale.statistics) == {"CT"}
    with pytest.raises(ConfigError, match=r"modality 'MR' is not known to the model\. Known: CT"):
        model.generate(1, {"modality": "MR"})


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_all_images_constant(tmp_path: Path, gray: int):
    """No variance anywhere is no reason for NaN."""
    folder = image_set(tmp_path / "set", [np.full((64, 64), gray, np.uint8)] * 3)
    model = LatentDiffusion.load(train(folder, tmp_path / "model", micro(), show=False))
    assert all(math.isfinite(v) for v in model.card.values())
    made = model.generate(2, steps=2).images
    assert made.shape == (2, 64, 64)


def test_a_corpus_of_16_bit_images(tmp_path: Path):
    """16-bit sets train as 8-bit ones do: the same images in either give the same model."""
    images = noise_images(4, 64, np.uint8)
    narrow = image_set(tmp_path / "narrow", images)
    wide = image_set(tmp_path / "wide", [image.astype(np.uint16) * 257 for image in images])
    models = [LatentDiffusion.load(train(f, f.with_suffix(".model"), micro(), show=False)) for f in (narrow, wide)]
    for one, other in zip(*(model.denoiser.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
    assert models[0].card == pytest.approx(models[1].card, rel=1e-3)


def fails_early(corpus: Path, config: TrainConfig, kind: type[Exception], words: str) -> None:
    """Training must fail before anything is written beside the corpus."""
    out = corpus.parent / "model"
    with pytest.raises(kind, match=words):
        train(corpus, out, config, show=False)
    assert {p.name for p in corpus.parent.iterdir()} == {corpus.name}


def test_a_corpus_without_training_images(tmp_path: Path):
    """No image in the split `train` is an error that says to import with a split."""
    folder = image_set(tmp_path / "set", noise_images(2), split="test")
    fails_early(folder, micro(), TrainingError, r"set: no image is in the split 'train'\. Import it again with a split")


@pytest.mark.parametrize("shape", [(48, 48), (32, 64), (100, 100)])
def test_a_corpus_of_a_wrong_size(tmp_path: Path, shape: tuple[int, int]):
    """Sides that cannot be halved often enough, or differ, are refused with the size."""
    folder = image_set(tmp_path / "set", [np.zeros(shape, np.uint8)])
    fails_early(
        folder, micro(), TrainingError, rf"images are {shape[1]}×{shape[0]}; .* multiple of 32\. Import .*--size"
    )


def test_a_crop_larger_than_the_images(tmp_path: Path):
    """The preset for 256×256 on smaller images says which setting to change."""
    folder = image_set(tmp_path / "set", noise_images(1))
    big = {"crop": 128, "loop": LOOP}
    fails_early(
        folder, micro(autoencoder=big), ConfigError, r"autoencoder\.crop is 128, but .* only 32×32\. Set it to 32"
    )


def test_more_halvings_than_the_latents_allow(tmp_path: Path):
    """A denoiser that does not fit the images is refused before the autoencoder is trained."""
    folder = image_set(tmp_path / "set", noise_images(1))
    deep = {"shape": {"widths": [16, 16, 16, 16]}, "loop": LOOP}
    fails_early(folder, micro(denoiser=deep), ConfigError, r"denoiser\.shape: 4 widths halve the latents 3 times")


def test_a_damaged_corpus(tmp_path: Path):
    """A changed image is found before the first step, and named with its row."""
    folder = image_set(tmp_path / "set", noise_images(3))
    write_png(folder / "images/1.png", np.zeros((32, 32), np.uint8))
    fails_early(folder, micro(), ImageSetError, r"metadata\.csv, row 3: images/1\.png has another SHA-256")
    (folder / "images/1.png").unlink()
    fails_early(folder, micro(), ImageSetError, r"row 3: images/1\.png is missing")


def test_an_unknown_condition(tmp_path: Path):
    """A column that the corpus lacks is an error that names those it has."""
    folder = image_set(tmp_path / "set", noise_images(1), plane="axial")
    words = r"no image of the corpus has the attribute 'plan'\. Known: plane\. Did you mean plane\?"
    fails_early(folder, micro(conditions=("plan",)), ConfigError, words)


def test_features_that_are_none(tmp_path: Path):
    """Wrong weights for the perceptual term are found before the first step."""
    folder = image_set(tmp_path / "set", noise_images(1))
    fails_early(folder, micro(features=folder / "metadata.csv"), ModelError, r"not SqueezeNet 1\.1 features")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"seed": 2**32}, "seed: Input should be less than"),
        ({"denoiser": {"loop": {"averages": []}}}, r"denoiser\.loop\.averages: .*at least 1"),
        ({"autoencoder": {"crop": 40}}, r"autoencoder\.crop: Input should be a multiple of 16"),
        ({"denoiser": {"loop": {"batch_size": 0}}}, r"denoiser\.loop\.batch_size: Input should be greater"),
        ({"diffusion": "warp"}, "diffusion: Input should be 'flow' or 'ddpm'"),
        ({"few_step": {"path_steps": 6}}, r"few_step: .*path_steps 6 is not a multiple of each of counts \(1, 2, 4\)"),
        ({"few_step": {"counts": [1, 3]}}, r"few_step: .*path_steps 4 is not a multiple of each of counts \(1, 3\)"),
        ({"few_step": {"counts": []}}, r"few_step\.counts: .*at least 1"),
        ({"few_step": {"guidance": -1}}, r"few_step\.guidance: Input should be greater"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"step": 3}, r"step: Extra inputs are not permitted.* Known: .*diffusion"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], words: str):
    """A setting out of range is an error that names its key."""
    with pytest.raises(ConfigError, match=words):
        load_train_config("tiny", **values)
    with pytest.raises(ConfigError, match=r"preset 'huge' is not known\. Known: cpu, gpu, tiny"):
        load_train_config("huge")


def test_a_run_that_diverges_keeps_its_draft(phantom_corpus: Path, tmp_path: Path):
    """An enormous learning rate ends in TrainingError; the autoencoder that was trained before stays in the draft."""
    config = micro(denoiser={"loop": LOOP | {"steps": 20, "warmup": 0}})
    loop = config.denoiser.loop.model_copy(update={"learning_rate": 1e38})
    wild = config.model_copy(update={"denoiser": config.denoiser.model_copy(update={"loop": loop})})
    with pytest.raises(
        TrainingError, match=r"denoiser: the loss or its gradient is not finite .*Lower the learning rate"
    ):
        train(phantom_corpus, tmp_path / "model", wild, show=False)
    assert not (tmp_path / "model").exists()
    draft = next(tmp_path.glob(".model.*.partial"))
    assert (draft / "work" / "autoencoder.safetensors").is_file()
    assert AcceleratorState._shared_state == {}


def test_units_are_kept_where_images_agree(phantom_corpus: Path):
    """A modality whose images differ in slope has no unit of its own; 16-bit slopes become those of 8 bit."""
    images = ImageSet.open(phantom_corpus)
    wide = replace(images, bits=16)
    ct = images.where(modality="CT").rows[0]
    assert shared_units(images)["CT"] == (ct.slope, ct.intercept, "HU")
    assert shared_units(wide)["CT"] == (ct.slope * 257, ct.intercept, "HU")
    train = next(row for row in images.rows if (row.modality, row.split) == ("CT", "train"))
    other = replace(images, rows=(*images.rows, replace(train, slope=2.0)))
    assert "CT" not in shared_units(other)
    assert "MR" in shared_units(other)


def test_no_file_names_the_machine(tiny_model: Path):
    """TensorBoard puts the host's name into its files' names; a model that is shared must not carry it."""
    events = sorted(path.name for path in (tiny_model / "training" / "tensorboard").iterdir())
    assert events == ["events.out.tfevents.0000"]
    logged = EventAccumulator(str(tiny_model / "training" / "tensorboard")).Reload()
    assert "denoiser/loss" in logged.Tags()["scalars"]
