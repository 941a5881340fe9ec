"""A training from corpus to model folder: what is written, that it can be repeated, and corpora that are odd."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import phonybrains.training.stage as stage
from phonybrains.errors import ConfigError, OutputError, TrainingError
from phonybrains.imageset import FIXED_COLUMNS
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.optimising.processes import accelerating
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train
from tests.support import tiny_training
from tests.support.tiny_training import (
    FEW_STEP_PARTS,
    LOOP,
    OFF,
    PARTS,
    image_set,
    log_of,
    micro,
    noise_images,
    weights,
)

MicroModel = Callable[[int], Path]


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
    assert [a.name for a in model.conditions.attributes] == ["modality", *tiny_training.NAMES]
    assert model.size == 64
    record = json.loads((tiny_model / "record.json").read_text())
    assert (record["stage"], record["seed"]) == ("train", 0)
    assert record["inputs"][0]["name"] == phantom_corpus.name
    assert record["inputs"][0]["record"]["stage"] == "phantom"
    assert record["results"] == model.card | {"withdrawn": [], "threads": torch.get_num_threads()}
    figures = ["validation loss", *(f"autoencoder PSNR {m}, dB" for m in ("MR", "CT"))]
    assert {*figures, "few steps end off the full path by"} <= set(model.card)
    assert model.card["paths walked for few-step weights"] == 40 * 2
    assert all(math.isfinite(v) for v in model.card.values())
    card = (tiny_model / "README.md").read_text()
    words = ["48 images; 32 for train", "CC0-1.0", "must not be used for diagnosis", "`plane`: axial, coronal"]
    assert all(word in card for word in (*words, str(model.card["validation loss"])))
    assert {p.name for p in (tiny_model / "training").iterdir()} == {
        "log.jsonl",
        "tensorboard",
        *(f"{task}-00000{step}.png" for task in ("autoencoder", "denoiser") for step in (30, 60)),
        *(f"few_step-00000{step}.png" for step in (20, 40)),
    }
    assert not (tiny_model / "work").exists()
    assert not list(tiny_model.parent.glob(f".{tiny_model.name}.*"))
    assert all(column not in card for column in FIXED_COLUMNS if column == "patient_id")


def test_tensorboard_and_jsonl_agree(tiny_model: Path):
    """Every number of the JSONL log is in TensorBoard's at the same step, in a file without the machine's name."""
    folder = tiny_model / "training" / "tensorboard"
    assert [path.name for path in folder.iterdir()] == ["events.out.tfevents.0000"]
    events, entries = EventAccumulator(str(folder)).Reload(), log_of(tiny_model)
    assert [e["step"] for e in entries] == [20, 30, 40, 50, 60] * 2 + [20, 40]
    tasks = ("autoencoder", "denoiser", "few_step")
    for tag in (f"{task}/{kind}" for task in tasks for kind in ("loss", "validation")):
        there = {s.step: s.value for s in events.Scalars(tag)}
        assert there == pytest.approx({e["step"]: e[tag] for e in entries if tag in e})


def test_the_same_seed_gives_the_same_weights(micro_model: MicroModel, phantom_corpus: Path, tmp_path: Path):
    """Bit for bit, with the scale and the log; another seed gives another model."""
    first, other = micro_model(0), micro_model(1)
    again = train(phantom_corpus, tmp_path / "again", micro(seed=0), show=False)
    assert weights(first, PARTS + FEW_STEP_PARTS) == weights(again, PARTS + FEW_STEP_PARTS)
    assert (first / "model.json").read_text() == (again / "model.json").read_text()
    assert log_of(first) == log_of(again)
    assert all(weights(first, (part,)) != weights(other, (part,)) for part in PARTS + FEW_STEP_PARTS)


def test_the_paper_objective_trains(phantom_corpus: Path, tmp_path: Path):
    """DDPM noise prediction starts near the loss 1 of silence and falls; the model knows its chain and generates."""
    loop = LOOP | {"steps": 40, "validate_every": 40, "checkpoint_every": 4, "learning_rate": 2e-3, "batch_size": 8}
    folder = train(phantom_corpus, tmp_path / "model", micro(diffusion="ddpm", denoiser={"loop": loop}), show=False)
    losses = [e["denoiser/loss"] for e in log_of(folder) if "denoiser/loss" in e]
    assert losses[0] == pytest.approx(1, abs=0.1)
    assert losses[-1] < 0.95
    model = LatentDiffusion.load(folder)
    assert model.chain == CHAINS["ddpm"]
    assert_without_few_step_weights(folder)
    for steps in (5, 2):
        assert model.generate(2, steps=steps).images.std() > 1


def test_few_step_weights_can_be_left_out(micro_model: MicroModel, phantom_corpus: Path, tmp_path: Path):
    """With no steps there are none, in folder, log and card; the other weights are the same; `steps` is kept."""
    plain, tuned = train(phantom_corpus, tmp_path / "plain", micro(few_step=OFF, steps=7), show=False), micro_model(0)
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
    config = load_train_config("tiny", conditions=tiny_training.NAMES, min_patients=0, precision="fp32")
    assert train(phantom_corpus, tiny_model, config, show=False) == tiny_model


def test_other_settings_do_not_overwrite(tiny_model: Path, phantom_corpus: Path):
    """A finished model in the way is an error, and stays."""
    with pytest.raises(OutputError, match="already exists and was not made by this command"):
        train(phantom_corpus, tiny_model, micro(), show=False)
    LatentDiffusion.load(tiny_model)


def test_other_settings_do_not_take_up_the_draft(
    micro_model: MicroModel, phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A stopped run's draft belongs to its settings: another seed starts afresh, the first goes on in its own."""
    out = tmp_path / "model"

    def interrupted(*_: Any) -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    with monkeypatch.context() as patch:
        patch.setattr(stage, "encode_latents", interrupted)
        for seed in (0, 1):
            with pytest.raises(KeyboardInterrupt):
                train(phantom_corpus, out, micro(seed=seed), show=False)
    drafts = sorted(tmp_path.glob(".model.*.partial"))
    first, second = (load_file(d / "work" / "autoencoder.safetensors") for d in drafts)
    assert not all(torch.equal(first[name], second[name]) for name in first)
    train(phantom_corpus, out, micro(seed=1), show=False)
    assert weights(out) == weights(micro_model(1))
    assert len(list(tmp_path.glob(".model.*.partial"))) == 1


def test_precision_may_change_between_trainings(micro_model: MicroModel, phantom_corpus: Path, tmp_path: Path):
    """accelerate's state is global to a process; one training does not bind the next."""
    with accelerating(micro(precision="fp32"), tmp_path / "draft") as accelerator:
        assert accelerator.mixed_precision == "no"
    assert AcceleratorState._shared_state == {}
    train(phantom_corpus, tmp_path / "b", micro(precision="bf16"), show=False)
    assert weights(micro_model(0)) != weights(tmp_path / "b")


def test_the_accelerate_of_another_is_left_alone(phantom_corpus: Path, tmp_path: Path):
    """A notebook may have an Accelerator of its own: no traceback of accelerate's, and its state stays."""
    Accelerator(cpu=True)
    with pytest.raises(ConfigError, match="Train in a process of its own"):
        train(phantom_corpus, tmp_path / "model", micro(precision="bf16"), show=False)
    assert AcceleratorState._shared_state
    assert not list(tmp_path.iterdir())


def test_a_run_that_diverges_keeps_its_draft(phantom_corpus: Path, tmp_path: Path):
    """An enormous learning rate ends in TrainingError; the autoencoder that was trained before stays in the draft."""
    config = micro(denoiser={"loop": LOOP | {"steps": 20, "warmup": 0}})
    loop = config.denoiser.loop.model_copy(update={"learning_rate": 1e38})
    wild = config.model_copy(update={"denoiser": config.denoiser.model_copy(update={"loop": loop})})
    words = r"denoiser: the loss or its gradient is not finite .*Lower the learning rate"
    with pytest.raises(TrainingError, match=words):
        train(phantom_corpus, tmp_path / "model", wild, show=False)
    assert not (tmp_path / "model").exists()
    draft = next(tmp_path.glob(".model.*.partial"))
    assert (draft / "work" / "autoencoder.safetensors").is_file()
    assert AcceleratorState._shared_state == {}


# Small and odd corpora


def trained(corpus: Path, **values: Any) -> LatentDiffusion:
    """The model of a corpus, without few-step weights, made beside it."""
    return LatentDiffusion.load(train(corpus, corpus.with_suffix(".model"), micro(few_step=OFF, **values), show=False))


def test_a_corpus_of_one_image(tmp_path: Path):
    """One image trains and is validated on itself."""
    model = trained(image_set(tmp_path / "one", noise_images(1, 64)))
    assert model.generate(1, steps=1).conditions == [{"modality": "MR"}]


def test_a_corpus_of_one_modality(tmp_path: Path):
    """CT alone: one latent scale, one label."""
    model = trained(image_set(tmp_path / "ct", noise_images(4, 64), modality="CT"))
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
    wide = [image.astype(np.uint16) * 257 for image in images]
    narrow, widened = (trained(image_set(tmp_path / n, x)) for n, x in (("narrow", images), ("wide", wide)))
    for one, other in zip(narrow.denoiser.parameters(), widened.denoiser.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
    assert narrow.card == pytest.approx(widened.card, rel=1e-3)


def test_without_a_validation_split_the_card_has_no_validation_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Figures of training images say that they are, and the command says that nothing was held out."""
    folder = image_set(tmp_path / "set", noise_images(4, 64))
    card = LatentDiffusion.load(train(folder, tmp_path / "model", micro(few_step=OFF))).card
    assert "No image is in the split 'validation'" in capsys.readouterr().out
    assert "validation loss" not in card
    assert {"training loss on as many images", "autoencoder PSNR MR on training images, dB"} <= card.keys()
    assert "validation" not in (tmp_path / "model" / "README.md").read_text().partition("## Figures")[2]
