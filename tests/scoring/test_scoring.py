"""Scores of image sets: what they are, that they go on, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import phonybrains as pb
from phonybrains.imageset import ImageSet, to_unit_range, write_metadata
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.networks.conditions import Value
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import read_record
from phonybrains.scoring import stage
from phonybrains.scoring.config import ScoreConfig
from phonybrains.scoring.likelihood import bits_per_dim
from tests.support.image_files import written
from tests.support.in_turn import called


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantoms of the tiny model's size, with masks."""
    return make_phantoms(
        4, tmp_path_factory.mktemp("heads") / "set", seed=5, size=64, slices_per_patient=1, masks="head"
    )


def pixels_of(images: ImageSet) -> np.ndarray:
    return to_unit_range(np.stack([images.pixels(i) for i in range(len(images))]))[:, None]


class Exact(LatentDiffusion):
    """A model whose latents are N(m, v) given their modality: its prediction is exact, and so is the density."""

    moments = {"MR": (0.3, 0.5), "CT": (-0.2, 0.8)}

    def predict(self, x_t: Tensor, t: Tensor, condition: Tensor, *mask: Tensor) -> Tensor:
        asked = [self.conditions.encode([{"modality": name}])[0, :2] for name in self.moments]
        which = torch.stack([(condition[:, :2] == one).all(dim=1) for one in asked]).int().argmax(dim=0)
        mean, variance = torch.tensor(list(self.moments.values()))[which].T.reshape(2, -1, 1, 1, 1)
        a, s = self.chain.process.signal(t).to(x_t), self.chain.process.noise(t).to(x_t)
        return mean + variance * a / (a**2 * variance + s**2) * (x_t - a * mean)

    def bits(self, z: Tensor, modality: str) -> float:
        """In closed form, of the latents as the autoencoder gives them."""
        mean, variance = self.moments[modality]
        _, deviation = self.scale.columns([modality], z[None])
        each = (z.double() - mean) ** 2 / (2 * variance) + math.log(2 * math.pi * variance) / 2
        return float((each + deviation[0].double().log()).mean() / math.log(2))


@pytest.mark.parametrize("kind", ["flow", "ddpm"])
def test_bits_of_a_known_gaussian(kind: str, heads: Path, tiny_model: Path):
    """Latents that are N(m, v) by modality, by Hutchinson's trace, exact here as the Jacobian is a multiple of I.

    Within .003 of a bit of the closed form; of the chain .02, as its last step has signal left. Asked for the other
    modality, another Gaussian and another scale are meant.
    """
    model, images = Exact(**vars(LatentDiffusion.load(tiny_model))), ImageSet.open(heads)
    model.chain, pixels = CHAINS[kind], pixels_of(images)
    for swap in (False, True):
        told = [{"CT": "MR", "MR": "CT"}[row.modality] if swap else row.modality for row in images.rows]
        wanted: list[dict[str, Value]] = [{"modality": name} for name in told]
        found = bits_per_dim(model, pixels, wanted, [image_rng(0, i) for i in range(4)], ScoreConfig(steps=60))
        expected = [model.bits(z, name) for z, name in zip(model.encode(pixels, told), told, strict=True)]
        assert np.abs(np.subtract(found, expected)).max() < (0.003 if kind == "flow" else 0.02)


def test_a_scored_set_is_the_set_with_a_column(heads: Path, tiny_model: Path, tmp_path: Path):
    """Images, masks and every other column stay to the byte; the record has both inputs, and the medians."""
    out = pb.score(heads, tmp_path / "out", model=tiny_model, steps=2, show=False)
    scored, source = ImageSet.open(out), ImageSet.open(heads)
    for row, before in zip(scored.rows, source.rows, strict=True):
        assert row == replace(before, attributes={**before.attributes, "bits_per_dim": row["bits_per_dim"]})
    assert all(np.array_equal(scored.pixels(i), source.pixels(i)) for i in range(4))
    assert {path.name for path in out.iterdir()} == {"images", "masks", "metadata.csv", "record.json"}
    record = read_record(out)
    assert [one["name"] for one in record["inputs"]] == ["set", tiny_model.name]
    assert set(record["results"]["bits_per_dim"]) == {"MR", "CT"}
    assert len({row["bits_per_dim"] for row in scored.rows}) == 4


def test_scores_depend_on_the_seed_and_not_on_the_batch(heads: Path, tiny_model: Path, tmp_path: Path):
    """In batches of one or four an image scores the same, to rounding; other probes scatter."""

    def bits(name: str, **how: Any) -> np.ndarray:
        out = pb.score(heads, tmp_path / name, model=tiny_model, steps=2, show=False, **how)
        return np.array([row["bits_per_dim"] for row in ImageSet.open(out).rows])

    first = bits("four", batch_size=4)
    assert np.abs(bits("one", batch_size=1) - first).max() < 2e-4
    assert np.abs(bits("other", seed=1) - first).max() > 2e-4
    assert np.abs(bits("more", probes=8) - first).max() > 0


def test_a_stopped_scoring_goes_on(heads: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stopped after two batches, the same call scores the other two alone, and ends in the bytes of a calm run."""
    how: dict[str, Any] = {"model": tiny_model, "steps": 2, "batch_size": 1, "show": False}
    calm = pb.score(heads, tmp_path / "calm", **how)
    calls: list[int] = []

    def counting(*given: Any, right: Callable[..., list[float]] = bits_per_dim) -> list[float]:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return right(*given)

    monkeypatch.setattr(stage, "bits_per_dim", counting)
    with pytest.raises(KeyboardInterrupt):
        pb.score(heads, tmp_path / "out", **how)
    [kept] = tmp_path.glob(".out.*/bits.json")
    assert len(json.loads(kept.read_bytes())) == 2
    calls.clear()
    out = pb.score(heads, tmp_path / "out", **how)  # a third call would stop it
    assert len(calls) == 2
    assert (out / "metadata.csv").read_bytes() == (calm / "metadata.csv").read_bytes()
    assert pb.score(heads, tmp_path / "out", **how) == out


def test_what_cannot_be_scored_is_said_before_the_work(heads: Path, tiny_model: Path, tmp_path: Path):
    """Another size, another modality, none, 16 bits, no steps, a damaged or foreign model: a line, and nothing left."""
    source, work = ImageSet.open(heads), tmp_path / "out"
    pet, none, deep = (tmp_path / name for name in ("pet", "none", "deep"))
    for folder, modality in ((pet, "PET"), (none, "")):
        shutil.copytree(heads, folder)
        write_metadata(folder, [replace(row, modality=modality) for row in source.rows])
    written(deep, [np.zeros((64, 64), np.uint16)])
    small = written(tmp_path / "small", [np.zeros((32, 32), np.uint8)]).folder
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    replace(LatentDiffusion.load(tiny_model), chain=CHAINS["gan"], few_step=None, steps=1).save(tmp_path / "gan")
    refused: list[tuple[Path, Path, dict[str, Any], str]] = [
        (small, tiny_model, {}, "32×32; this model draws 64×64"),
        (pet, tiny_model, {}, r"row 2: .* is of modality 'PET', and the model knows CT and MR"),
        (none, tiny_model, {}, "row 2: .* is of no modality"),
        (deep, tiny_model, {}, "16-bit"),
        (heads, tiny_model, {"steps": 0}, "steps: .*greater than or equal to 1"),
        (heads, tiny_model, {"probes": 0}, "probes: .*greater than or equal to 1"),
        (heads, broken, {}, "diffusion_pytorch_model.safetensors"),
        (heads, tmp_path / "gan", {}, "gan is a GAN: .* which a score asks for"),
        (heads, heads, {}, "is not a model folder"),
        (tiny_model, tiny_model, {}, "is not an image set"),
    ]
    before = sorted(tmp_path.iterdir())
    for images, model, how, told in refused:
        with pytest.raises(pb.PhonyBrainsError, match=told):
            pb.score(images, work, model=model, show=False, **how)
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_line_scores(heads: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """From the command line to a set, with its medians; no steps are wrong usage."""
    words = ["score", heads, "--model", tiny_model, "--out", tmp_path / "out"]
    assert called(*words, "--steps", 0) == 2
    assert called(*words, "--steps", 2) == 0
    assert "4 images; bits per dimension of their latents, median: CT " in capsys.readouterr().out
