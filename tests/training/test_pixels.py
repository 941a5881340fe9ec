"""A model without an autoencoder, on pixels, and the paper's chain."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from phonybrains.diffusion.objective import PredictV
from phonybrains.editing.config import Edit, Inpaint, Upscale, Vary
from phonybrains.editing.stage import edit
from phonybrains.errors import ConfigError, ModelError
from phonybrains.imageset import ImageSet
from phonybrains.model.chains import CHAINS
from phonybrains.model.compiled import why_not
from phonybrains.model.description import FORMAT_VERSION
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.model.summary import summary
from phonybrains.networks.patches import Patches
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train
from tests.support.tiny_training import NAMES, OFF, ON, log_of, micro

PIXELS: dict[str, Any] = {"kind": "none", "patch": 4} | OFF
PAPER: dict[str, Any] = {"autoencoder": PIXELS, "diffusion": "ddpm", "conditions": NAMES, "min_patients": 0}


@pytest.fixture(scope="module")
def pixels(phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of two steps on pixels, by the paper's process."""
    return train(phantom_corpus, tmp_path_factory.mktemp("pixels") / "model", micro(**PAPER), show=False)


def test_a_model_of_pixels_is_a_model_folder(pixels: Path, tmp_path: Path):
    """It trains no autoencoder, is saved and read again to the byte, says what it is, and draws its images."""
    model = LatentDiffusion.load(pixels)
    assert isinstance(model.autoencoder, Patches)
    assert model.latent_shape == (16, 16, 16)
    assert not any("autoencoder" in entry for log in log_of(pixels) for entry in log)
    assert not any("PSNR" in figure for figure in model.card)
    assert json.loads((pixels / "model.json").read_text())["format_version"] == FORMAT_VERSION
    assert "Runs on pixels" in summary(pixels)
    model.save(tmp_path / "again")
    for part in ("model.json", "autoencoder/config.json", "autoencoder/patches.py", "pipeline.py"):
        assert (tmp_path / "again" / part).read_bytes() == (pixels / part).read_bytes()
    assert model.generate(2, steps=3).images.shape == (2, 64, 64)
    assert why_not(pixels, Sampling()) == "a model of pixels is not compiled."


def test_encoded_and_decoded_images_are_the_images(pixels: Path, phantom_corpus: Path):
    """Of 256 grey levels none is off: the codec is exact, and standardising costs less than a tenth of a level."""
    model, images = LatentDiffusion.load(pixels), ImageSet.open(phantom_corpus)
    batch, modalities = next(images.batches(8)), [row.modality for row in images.rows[:8]]
    again = model.decoded(model.encode(batch, modalities), modalities)
    torch.testing.assert_close(again, torch.from_numpy(batch), rtol=0, atol=0.1 / 127.5)


EDITS = [Vary(steps=2), Inpaint(steps=2, area="hole", hole=(8, 9, 10, 6)), Upscale(steps=2, simulate=True)]


@pytest.mark.parametrize("how", EDITS, ids=lambda how: how.name)
def test_a_model_of_pixels_edits(how: Edit, pixels: Path, tmp_path: Path):
    """What begins in the middle of the chain, and what keeps a measurement, works without an autoencoder."""
    phantoms = make_phantoms(1, tmp_path / "set", seed=5, size=64)
    out = edit(phantoms, tmp_path / "edited", how.model_copy(update={"n": 1}), model=pixels, show=False)
    assert len(ImageSet.open(out)) == 1


def test_what_is_damaged_is_refused(pixels: Path, tmp_path: Path):
    """A folder without the code of its patches, or whose patches do not fit its denoiser, is named."""
    model = LatentDiffusion.load(pixels)
    model.autoencoder = Patches(8, 64)
    model.save(tmp_path / "other")
    with pytest.raises(ModelError, match="not a mean and a deviation for each of 64 channels"):
        LatentDiffusion.load(tmp_path / "other")
    (tmp_path / "other" / "autoencoder" / "patches.py").unlink()
    with pytest.raises(ModelError, match=r"patches\.py is missing"):
        LatentDiffusion.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"autoencoder": PIXELS | ON}, r"autoencoder: kind = \"none\" has nothing to train: set loop.steps = 0"),
        ({"autoencoder": PIXELS | {"decoder_only": True}, "start": "heads"}, "has nothing to train"),
        ({"autoencoder": PIXELS | {"patch": 3}}, r"autoencoder\.patch: Input should be 1, 2, 4 or 8"),
        ({"autoencoder": PIXELS | {"kind": "vq"}}, r"autoencoder\.kind: Input should be 'dc' or 'none'"),
        ({"autoencoder": PIXELS, "texture": ON}, r"texture\.loop\.steps: with .* no texture is lost\. Set it to 0"),
        ({"prediction": "v"}, r"prediction = .v. is of diffusion = .ddpm.\. Leave it out"),
        ({"autoencoder": PIXELS, "masks": True}, r"masks are told for squares of 8×8 pixels, not 4×4"),
    ],
)
def test_settings_that_pixels_cannot_have(values: dict[str, Any], words: str):
    """What would train, lose or tell nothing is an error that names its key."""
    with pytest.raises(ConfigError, match=words):
        micro(**values)


def test_the_preset_of_the_paper_is_whole():
    """DDPM on pixels, with 250 steps where none are asked for; a number that is given stays; the flow has 16."""
    config = load_train_config("ddpm")
    assert (config.diffusion, config.prediction, config.autoencoder.kind, config.steps) == ("ddpm", "v", "none", 250)
    assert load_train_config("ddpm", steps=40).steps == 40
    assert load_train_config("tiny", diffusion="ddpm").steps == 250
    assert load_train_config("tiny").steps == 16


def test_pixels_do_not_start_from_latents(phantom_corpus: Path, tiny_model: Path, tmp_path: Path):
    """Weights of a model with an autoencoder do not fit one without, which is said before anything is written."""
    config = micro(autoencoder=PIXELS, conditions=NAMES, min_patients=0, start=str(tiny_model))
    with pytest.raises(ConfigError, match="has networks of other shapes"):
        train(phantom_corpus, tmp_path / "model", config, show=False)
    assert not any(tmp_path.iterdir())


def test_the_chain_is_kept_in_the_folder(pixels: Path, phantom_corpus: Path, tmp_path: Path):
    """In diffusers' scheduler, as diffusers reads it; one that predicts v, unclipped, stays one when it is saved."""
    model = LatentDiffusion.load(pixels)
    assert model.chain == CHAINS["ddpm"]
    scheduler = json.loads((pixels / "scheduler" / "scheduler_config.json").read_text())
    said = {key: scheduler[key] for key in ("prediction_type", "clip_sample", "clip_sample_range", "beta_end")}
    assert said == {"prediction_type": "epsilon", "clip_sample": True, "clip_sample_range": 4.0, "beta_end": 0.02}
    other = replace(model, chain=replace(model.chain, objective=PredictV(), clip=math.inf))
    other.save(tmp_path / "other")
    assert LatentDiffusion.load(tmp_path / "other").chain == other.chain
    learning = micro(**PAPER, prediction="v", denoiser=OFF, start=str(tmp_path / "other"))
    assert (
        LatentDiffusion.load(train(phantom_corpus, tmp_path / "v", learning, show=False)).chain.objective == PredictV()
    )
    with pytest.raises(ConfigError, match="is trained for another prediction, not ddpm, and its denoiser"):
        train(phantom_corpus, tmp_path / "x", micro(**PAPER, denoiser=OFF, start=str(tmp_path / "other")), show=False)
