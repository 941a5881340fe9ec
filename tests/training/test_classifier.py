"""The classifier of noisy latents: what it learns, what it changes of images, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from phonybrains.diffusion.process import q_sample
from phonybrains.errors import ConfigError, TrainingError
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet, to_unit_range, write_metadata
from phonybrains.model.compiled import why_not
from phonybrains.model.description import read_description
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.networks.noisy_classifier import NoisyClassifier
from phonybrains.record import read_record
from phonybrains.training.classifier import ClassifierTask
from phonybrains.training.stage import train
from tests.support.in_turn import called
from tests.support.tiny_training import ON, weights
from tests.training.conftest import beginning

PLANES = ["axial", "coronal", "sagittal"]
LEARNING: dict[str, Any] = {"steps": 150, "batch_size": 16, "learning_rate": 2e-3, "validate_every": 50}
WEIGHTS = "classifier/diffusion_pytorch_model.safetensors"
ASKED: dict[str, Any] = {"where": {"plane": "axial"}, "steps": 8}


@pytest.fixture(scope="module")
def classified(tiny_model: Path, phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a classifier of the plane."""
    config = beginning(tiny_model, classifier={"attribute": "plane", "loop": LEARNING})
    return train(phantom_corpus, tmp_path_factory.mktemp("classified") / "model", config, show=False)


@pytest.fixture(scope="module")
def model(classified: Path) -> LatentDiffusion:
    return LatentDiffusion.load(classified)


def logits(model: LatentDiffusion, latents: Tensor, t: float, seed: int = 0) -> Tensor:
    """What the classifier makes of latents covered by noise, (N, classes)."""
    assert model.classifier
    time, process = torch.full((len(latents),), t, dtype=torch.float64), model.chain.process
    noise = torch.randn(latents.shape, generator=Generator().manual_seed(seed))
    with torch.no_grad():
        return model.classifier()(q_sample(latents, time, process, noise), time, process.signal(time))


def test_it_tells_planes_the_better_the_less_noise(model: LatentDiffusion, phantom_corpus: Path):
    """On validation and test images, with equal say of each plane: right at t = 0.1, at chance next to noise."""
    held = [r for r in ImageSet.open(phantom_corpus).rows if r.split != "train"]
    images = replace(ImageSet.open(phantom_corpus), rows=tuple(held))
    pixels = to_unit_range(np.stack([images.pixels(i) for i in range(len(images))]))[:, None]
    latents = model.encode(pixels, [row.modality for row in held]).clone()
    truth = torch.tensor([PLANES.index(row["plane"]) for row in held])
    right = []
    for t in (0.1, 0.6, 0.8, 0.999):
        told = torch.stack([logits(model, latents, t, seed).argmax(1) for seed in range(20)])
        right.append(np.mean([(told == truth)[:, truth == plane].double().mean().item() for plane in range(3)]))
    assert right[0] > 0.7
    assert right[0] > right[1] > right[2]
    assert right[3] == pytest.approx(1 / 3, abs=0.05)


def test_a_model_keeps_its_other_parts_and_says_how_good_it_is(classified: Path, tiny_model: Path):
    """All other weights stay to the byte; the identity is another; card, log and record tell of the classifier."""
    assert weights(classified) == weights(tiny_model)
    one, other = map(read_description, (classified, tiny_model))
    assert one["identity"] != other["identity"]
    assert (one["format_version"], other["format_version"]) == (2, 1)
    right = [float(word) for word in one["card"]["classifier is right near images, halfway, near noise"].split()]
    assert len(right) == 3
    assert right[0] > 0.6
    lines = [json.loads(line) for line in (classified / "training/log.jsonl").read_text().splitlines()]
    assert {"classifier/loss", "classifier/validation", "classifier/right at 0.5"} <= lines[-1].keys()
    assert read_record(classified)["config"]["classifier"]["attribute"] == "plane"
    assert "classifier" not in read_record(tiny_model)["config"]


def test_it_is_read_when_it_is_needed(classified: Path, model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch):
    """Generating without guidance imports nothing of it; asked for twice, it is read once."""
    monkeypatch.delitem(sys.modules, "phonybrains.networks.noisy_classifier")
    monkeypatch.delitem(sys.modules, "phonybrains.diffusion.classifier_guidance")
    fresh = LatentDiffusion.load(classified)
    fresh.generate(1, **ASKED)
    assert "phonybrains.networks.noisy_classifier" not in sys.modules
    assert "phonybrains.diffusion.classifier_guidance" not in sys.modules
    assert model.classifier
    assert model.classifier() is model.classifier()


def test_guidance_0_changes_nothing(model: LatentDiffusion, tiny_model: Path):
    """To the bit: images are those of the model before it had a classifier."""
    before = LatentDiffusion.load(tiny_model)
    for sampler in ("adams", "ddpm"):
        one, other = (m.generate(3, seed=4, sampler=sampler, **ASKED).images for m in (before, model))
        assert np.array_equal(one, other)
        led = model.generate(3, seed=4, sampler=sampler, classifier_guidance=0.0, **ASKED).images
        assert np.array_equal(led, other)


@pytest.mark.parametrize("sampler", ["adams", "heun", "ddim", "ddpm"])
def test_the_stronger_the_more_an_image_is_what_was_asked(model: LatentDiffusion, sampler: str):
    """Of the same noise, the classifier's own log p of the plane that was asked for rises with guidance."""
    said = []
    for strength in (0.0, 2.0, 6.0):
        how = Sampling(steps=12, sampler=sampler, classifier_guidance=strength)
        *_, latents = model.walk(range(12), [{"modality": "MR", "plane": "coronal"}] * 12, how)
        said.append(logits(model, latents.clone(), 0.05).log_softmax(1)[:, 1].mean().item())
    assert said[0] < said[1] < said[2]


def test_each_image_is_led_by_itself(model: LatentDiffusion):
    """Images that are asked for different planes, or computed in other batches, are the same within one grey level."""
    wanted = [{"modality": "MR", "plane": plane} for plane in PLANES]
    how = Sampling(steps=6, classifier_guidance=3.0, precision="fp32")
    together = list(model.paint(range(3), wanted, how, [slice(0, 3)]))
    alone = [next(model.paint([i], wanted[i : i + 1], how)) for i in range(3)]
    assert np.abs(np.stack(together).astype(int) - np.stack(alone)).max() <= 1


def test_a_set_says_how_it_was_led(classified: Path, tmp_path: Path):
    """Rows and record have the strength where there is one, and a set made without says nothing of it, as before."""
    words = f"generate {classified} -n 2 --where plane=axial --steps 5 --classifier-guidance 2.5 --out {tmp_path}/led"
    assert called(*words.split()) == 0
    assert [row["classifier_guidance"] for row in ImageSet.open(tmp_path / "led").rows] == [2.5, 2.5]
    assert read_record(tmp_path / "led")["config"]["classifier_guidance"] == 2.5
    plain = generate(classified, tmp_path / "plain", 1, show=False, **ASKED)
    assert "classifier_guidance" not in read_record(plain)["config"]
    assert ImageSet.open(plain).rows[0]["classifier_guidance"] is None


def test_a_start_hands_it_on_while_its_latents_stay(classified: Path, phantom_corpus: Path, tmp_path: Path):
    """Training the denoiser keeps it, to the byte, with its figure; a new encoder has other latents, and drops it."""
    kept = train(phantom_corpus, tmp_path / "kept", beginning(classified, denoiser=ON), show=False)
    assert (kept / WEIGHTS).read_bytes() == (classified / WEIGHTS).read_bytes()
    assert any("classifier" in name for name in LatentDiffusion.load(kept).card)
    gone = train(phantom_corpus, tmp_path / "gone", beginning(classified, autoencoder=ON), show=False)
    assert not (gone / "classifier").exists()
    assert not any("classifier" in name for name in LatentDiffusion.load(gone).card)


def test_a_stopped_training_goes_on(
    tiny_model: Path, phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped between the classifier's checkpoints and given again, it ends in the same weights and the same log."""
    loop = LEARNING | {"steps": 6, "validate_every": 3, "checkpoint_every": 2}
    config = beginning(tiny_model, classifier={"attribute": "plane", "loop": loop})
    learn, calls = ClassifierTask.loss, iter(range(6))

    def stopped(self: ClassifierTask, *how: Any) -> Tensor:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return learn(self, *how)

    monkeypatch.setattr(ClassifierTask, "loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(phantom_corpus, tmp_path / "out", config, show=False)
    monkeypatch.undo()
    found, whole = (train(phantom_corpus, tmp_path / name, config, show=False) for name in ("out", "whole"))
    for file in (WEIGHTS, "training/log.jsonl", "model.json"):
        assert (found / file).read_bytes() == (whole / file).read_bytes()


def test_what_cannot_be_learnt_is_refused(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """No condition, a number, and an attribute of one value: said before anything is written."""
    for name, words in (
        ("sex", "'sex' is not one of the conditions that have labels.* --conditions too. Known: modality, plane"),
        ("age_years", "'age_years' is not one of the conditions that have labels"),
    ):
        config = beginning(tiny_model, classifier={"attribute": name})
        with pytest.raises(ConfigError, match=words):
            train(phantom_corpus, tmp_path / "out", config, show=False)
    one = shutil.copytree(phantom_corpus, tmp_path / "one")
    write_metadata(one, [row for row in ImageSet.open(one).rows if row["plane"] == "axial"])
    with pytest.raises(TrainingError, match="all that have a plane have axial, so there is nothing to tell apart"):
        train(one, tmp_path / "out", beginning(tiny_model, classifier={"attribute": "plane"}), show=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"where": {}}, r"leads to a plane, and none is asked for: --where plane=….*Known: axial, coronal, sagittal"),
        ({"where": {"modality": "CT"}}, "leads to a plane, and none is asked for"),
        ({"classifier_guidance": -1.0}, "classifier_guidance"),
        ({"classifier_guidance": float("nan")}, "classifier_guidance"),
        ({"steps": 4, "sampler": "shortcut"}, "few-step weights jump past"),
        ({"steps": 2}, "few-step weights jump past"),
        ({"engine": "compiled"}, "a compiled model gives no gradient"),
    ],
)
def test_what_cannot_be_led_is_refused(classified: Path, tmp_path: Path, how: dict[str, Any], words: str):
    """Nothing asked of its attribute, a strength that is none, few-step weights, a compiled engine: in one line."""
    with pytest.raises(ConfigError, match=words) as caught:
        generate(classified, tmp_path / "out", 2, show=False, **{**ASKED, "classifier_guidance": 2.0} | how)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Too few")
def test_python_refuses_what_it_cannot(model: LatentDiffusion, tiny_model: Path):
    """No classifier, a label that it has not learnt, and an image that is asked for none."""
    with pytest.raises(ConfigError, match="this model has no classifier"):
        LatentDiffusion.load(tiny_model).generate(1, classifier_guidance=2.0, **ASKED)
    with pytest.raises(ConfigError, match="none is asked for"):
        model.generate(1, classifier_guidance=2.0, steps=8)
    two = NoisyClassifier(4, ("axial", "coronal"), "plane")
    lacking = replace(model, classifier=lambda: two)
    with pytest.raises(ConfigError, match="plane 'sagittal' is none that the model's classifier tells"):
        lacking.generate(1, {"plane": "sagittal"}, classifier_guidance=2.0, steps=8)


def test_a_compiled_model_leaves_it_to_torch(classified: Path):
    """Where the engine is open, classifier guidance takes torch, and says why."""
    assert "no gradient" in why_not(classified, Sampling(classifier_guidance=1.0))
