"""What a training reads: pixels, splits and units of a set, and the caches of pixels and latents."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from phonybrains.imageset import ImageSet, to_unit_range, write_metadata
from phonybrains.model.training_data import shared_units
from phonybrains.networks.autoencoder import build_autoencoder
from phonybrains.networks.conditions import Number
from phonybrains.networks.shapes import AutoencoderShape
from phonybrains.optimising.cache import keep
from phonybrains.training import augment, latents
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.latents import encode_latents, load_latents
from tests.support.tiny_training import CPU, image_set, micro, noise_images


def held(images: ImageSet, work: Path) -> Corpus:
    return Corpus.open(images, check_corpus(images, (), 32), work, CPU)


@pytest.fixture
def three(tmp_path: Path) -> ImageSet:
    return ImageSet.open(image_set(tmp_path / "set", noise_images(3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_corpus_holds_the_pixels_of_the_set(tmp_path: Path, dtype: Any):
    """Images by row number, in any order, 8 or 16 bit, come out as the set itself gives them, in -1…1."""
    pixels = noise_images(5, dtype=dtype)
    found = held(ImageSet.open(image_set(tmp_path / "set", pixels)), tmp_path)
    rows = torch.tensor([4, 0, 0, 2])
    expected = torch.from_numpy(to_unit_range(np.stack(pixels)))[rows][:, None]
    torch.testing.assert_close(found.images(rows), expected, rtol=0, atol=1e-6)
    corners, mirrored = [(0, 0), (3, 5), (16, 16), (1, 0)], [False, True, False, True]
    crops = found.crops(rows, torch.tensor(corners), torch.tensor(mirrored), 16)
    for crop, image, (y, x), mirror in zip(crops, expected, corners, mirrored, strict=True):
        part = image[:, y : y + 16, x : x + 16]
        torch.testing.assert_close(crop, part.flip(2) if mirror else part, rtol=0, atol=1e-6)


def test_the_pixel_cache_is_written_once(tmp_path: Path, three: ImageSet):
    """The second opening reads the file; no partial file stays."""
    first = held(three, tmp_path).images(torch.arange(3))
    shutil.rmtree(tmp_path / "set")
    assert torch.equal(held(three, tmp_path).images(torch.arange(3)), first)
    assert {p.name for p in tmp_path.iterdir()} == {"pixels.npy", "pixels.sha256"}


@pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "no digest", "a bit of the digest"])
def test_a_damaged_pixel_cache_is_made_anew(tmp_path: Path, three: ImageSet, damage: str):
    """One flipped bit, a file of length 0 or a lost digest: the pixels are read from the set again."""
    first = held(three, tmp_path).images(torch.arange(3))
    cache, seal = tmp_path / "pixels.npy", tmp_path / "pixels.sha256"
    whole = cache.read_bytes()
    flipped = whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:]
    {
        "a bit": lambda: cache.write_bytes(flipped),
        "cut": lambda: cache.write_bytes(whole[:-1]),
        "empty": lambda: cache.write_bytes(b""),
        "no digest": seal.unlink,
        "a bit of the digest": lambda: seal.write_bytes(b"\xff" + seal.read_bytes()[1:]),
    }[damage]()
    assert torch.equal(held(three, tmp_path).images(torch.arange(3)), first)
    assert cache.read_bytes() == whole


def test_a_pixel_cache_that_was_not_finished_is_not_taken_for_one(
    tmp_path: Path, three: ImageSet, monkeypatch: pytest.MonkeyPatch
):
    """Stopped in the midst of its images, it is written again from the first."""
    with monkeypatch.context() as patch:
        patch.setattr(ImageSet, "pixels", lambda *_: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                held(three, tmp_path)
    assert held(three, tmp_path).pixels.shape == (3, 32, 32)


def test_splits_are_kept_apart(corpus: Corpus, phantom_corpus: Path, three: ImageSet):
    """Train and validation rows are those of the set, test rows are in neither; conditions come from train alone."""
    rows = ImageSet.open(phantom_corpus).rows
    assert {rows[i].split for i in corpus.train.tolist()} == {"train"}
    assert {rows[i].split for i in corpus.validation.tolist()} == {"validation"}
    assert len(corpus.train) + len(corpus.validation) < len(rows)
    aged = zip(three.rows, ((20.0, "train"), (30.0, "train"), (90.0, "validation")), strict=True)
    write_metadata(three.folder, [replace(r, split=split, attributes={"age": age}) for r, (age, split) in aged])
    assert check_corpus(ImageSet.open(three.folder), ("age",), 32).attributes[1] == Number("age", 20.0, 30.0)


def test_without_a_validation_split_the_training_images_serve(tmp_path: Path, three: ImageSet):
    """A corpus whose images are all for training is validated on them."""
    found = held(three, tmp_path)
    assert found.validation.tolist() == found.train.tolist() == [0, 1, 2]


def test_units_are_kept_where_images_agree(phantom_corpus: Path):
    """A modality whose images differ in slope has no unit of its own; 16-bit slopes become those of 8 bit."""
    images = ImageSet.open(phantom_corpus)
    ct = images.where(modality="CT").rows[0]
    assert shared_units(images)["CT"] == (ct.slope, ct.intercept, "HU")
    assert shared_units(replace(images, bits=16))["CT"] == (ct.slope * 257, ct.intercept, "HU")
    other = replace(images.where(modality="CT", split="train").rows[0], slope=2.0)
    assert set(shared_units(replace(images, rows=(*images.rows, other)))) == {"MR"}


# Latents


@pytest.fixture(scope="module")
def coder() -> Any:
    torch.manual_seed(0)
    return build_autoencoder(AutoencoderShape(latent_channels=4, widths=(8, 8, 16, 16), layers=1)).eval()


def encode(coder: Any, corpus: Corpus, path: Path, seed: int = 0, **values: Any) -> list[int]:
    return list(encode_latents(coder, corpus, micro(denoiser=values).denoiser, seed, path, CPU))


@pytest.fixture(scope="module")
def encoded(coder: Any, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The latents of three versions, by seed 0."""
    path = tmp_path_factory.mktemp("latents") / "z.safetensors"
    progress = encode(coder, corpus, path, variants=3, augment=0.5)
    assert progress == [32, 40, 72, 104]
    return path


def test_latents_are_of_the_images_and_their_versions(corpus: Corpus, coder: Any, encoded: Path):
    """Version 0 encodes the image itself, the others its augmented versions by their parameters, in half precision.

    All that is learnt from; what is validated on as it is; of all else, as of test images, nothing.
    """
    stored, used = load_file(encoded), set(corpus.train.tolist() + corpus.validation.tolist())
    assert stored["values"].shape == (3, 48, 4, 8, 8)
    assert stored["values"].dtype == torch.float16
    assert not stored["parameters"][0].any()
    assert 0.3 < (stored["parameters"][1:] != 0).float().mean() < 0.7
    for version in range(3):
        rows = torch.tensor(sorted(used)) if version == 0 else corpus.train
        x = augment.augment(corpus.images(rows), stored["parameters"][version, rows].float())
        with torch.no_grad():
            expected = coder.encode(x).latent
        torch.testing.assert_close(stored["values"][version, rows].float(), expected, rtol=0.02, atol=0.02)
        rest = [i for i in range(48) if i not in set(rows.tolist())]
        assert len(rest) == (8 if version == 0 else 16)
        assert stored["values"][version, rest].isnan().all()


def test_latents_depend_on_the_seed(corpus: Corpus, coder: Any, encoded: Path, tmp_path: Path):
    """The same seed draws the same augmentations, another seed others; every version has its own."""
    for name, seed in (("b", 0), ("c", 1)):
        encode(coder, corpus, tmp_path / name, seed, variants=3, augment=0.5)
    a, b, c = (load_file(path)["parameters"] for path in (encoded, tmp_path / "b", tmp_path / "c"))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a[1], a[2])


def test_augmentations_do_not_depend_on_what_else_is_learnt_from(
    corpus: Corpus, coder: Any, encoded: Path, tmp_path: Path
):
    """Of a part of the training images each has the latents that it has among all of them."""
    encode(coder, replace(corpus, train=corpus.train[1::2]), tmp_path / "z", variants=3, augment=0.5)
    part, whole = load_file(tmp_path / "z"), load_file(encoded)
    assert torch.equal(part["parameters"], whole["parameters"])
    assert torch.equal(part["values"][:, corpus.train[1::2]], whole["values"][:, corpus.train[1::2]])


def test_latents_are_encoded_once(corpus: Corpus, coder: Any, encoded: Path, tmp_path: Path):
    """A cache that is there is taken as it is; a stop in the middle leaves none."""
    stopped = encode_latents(coder, corpus, micro().denoiser, 0, tmp_path / "z", CPU)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "z").exists()
    before = encoded.read_bytes()
    assert encode(coder, corpus, encoded, seed=7) == []
    assert encoded.read_bytes() == before


def test_latents_go_on_where_they_stopped(
    corpus: Corpus, coder: Any, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After a stop the pieces that are whole are not encoded again, and the bytes are the same.

    A damaged one is, and one of other rows, as it lies in a training that a version before this one began.
    """
    monkeypatch.setattr(latents, "PIECE", 1)
    how, path = micro(denoiser={"variants": 3, "augment": 0.5}).denoiser, tmp_path / "z.safetensors"
    stopped = encode_latents(coder, corpus, how, 0, path, CPU)
    assert [next(stopped) for _ in range(4)] == [32, 40, 72, 104]
    stopped.close()  # type: ignore[attr-defined]
    pieces = sorted(tmp_path.iterdir())
    assert len(pieces) == 3
    keep(pieces[0], load_file(pieces[0]))
    pieces[1].write_bytes(pieces[1].read_bytes()[:-1] + b"?")
    assert list(encode_latents(coder, corpus, how, 0, path, CPU)) == [32, 40, 104]
    assert path.read_bytes() == encoded.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_latents_are_standardised_by_the_training_images(corpus: Corpus, encoded: Path):
    """Per modality, version 0 of the training rows has mean 0 and deviation 1; other rows do not change the scale."""
    first, train = load_latents(encoded, corpus), set(corpus.train.tolist())
    for modality in ("MR", "CT"):
        rows = [i for i in sorted(train) if corpus.modalities[i] == modality]
        torch.testing.assert_close(first.values[0, rows].mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-3)
        torch.testing.assert_close(first.values[0, rows].std((0, 2, 3)), torch.ones(4), rtol=0, atol=1e-3)
    stored = load_file(encoded)["values"].float()
    standardised = first.scale.standardise(stored[1], corpus.modalities)
    torch.testing.assert_close(standardised, first.values[1], equal_nan=True)
    others = tuple(m if i in train else "PET" for i, m in enumerate(corpus.modalities))
    assert load_latents(encoded, replace(corpus, modalities=others)).scale == first.scale
    assert set(first.scale.statistics) == {"MR", "CT"}


def test_latents_without_variance_do_not_become_nan(corpus: Corpus, tmp_path: Path):
    """A channel that is the same everywhere is divided by something small, not by nothing."""
    n = len(corpus.modalities)
    keep(tmp_path / "z", {"values": torch.ones(1, n, 4, 2, 2), "parameters": torch.zeros(1, n, augment.WIDTH)})
    assert not load_latents(tmp_path / "z", corpus).values.any()
