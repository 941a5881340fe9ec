"""Guidance that is built into the denoiser: what it learns, from what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from phonybrains.errors import ConfigError, ModelError
from phonybrains.imageset import ImageSet
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.training import augment
from phonybrains.training.config import load_train_config
from phonybrains.training.corpus import Corpus
from phonybrains.training.guidance import GuidanceTask
from phonybrains.training.latents import Latents
from phonybrains.training.stage import train
from phonybrains.training.start import start
from tests.support.tiny_training import CPU, LOOP, OFF, ON
from tests.training.conftest import beginning

LONG = LOOP | {"steps": 60, "batch_size": 16, "learning_rate": 1e-3, "validate_every": 60, "checkpoint_every": 60}


class Answer(nn.Module):
    """A network that always answers the same, plus so much for each number of the condition."""

    def __init__(self, value: float, told: float = 0.0) -> None:
        super().__init__()
        self.value, self.told = nn.Parameter(torch.tensor(value)), told
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor, augmentation: Tensor) -> Tensor:
        return self.value + self.told * condition.sum(1)[:, None, None, None] + torch.zeros_like(x)


def task(corpus: Corpus, network: nn.Module, **how: Any) -> GuidanceTask:
    n = len(corpus.pixels)
    values = torch.randn(2, n, 4, 8, 8, generator=Generator().manual_seed(0))
    latents = Latents(values, torch.zeros(2, n, augment.WIDTH), LatentDiffusion.load("heads").scale)
    return GuidanceTask(network, corpus, latents, CHAINS["flow"], load_train_config("tiny").denoiser, CPU, **how)


def errors(task: GuidanceTask, network: nn.Module) -> Tensor:
    n = 6
    x, t = torch.randn(n, 4, 8, 8, generator=Generator().manual_seed(1)), torch.linspace(0.1, 0.9, n)
    return task.errors(network, x, t, task.encoded[:n], torch.zeros(n, augment.WIDTH), Generator().manual_seed(2))


def test_the_target_is_pushed_away_from_the_worse_network(corpus: Corpus):
    """worse + strength · (good - worse): from 1 and 3 at strength 1.5, it is 4."""
    found = task(corpus, Answer(3.0), worse=Answer(1.0), strength=1.5)
    assert errors(found, Answer(4.0)).tolist() == pytest.approx([0.0] * 6, abs=1e-12)
    assert errors(found, Answer(3.5)).tolist() == pytest.approx([0.25] * 6)


def test_without_a_worse_network_it_is_the_same_without_conditions(corpus: Corpus):
    """What is told of the image counts one and a half times, against being told nothing."""
    network = Answer(0.0, told=2.0)
    found = task(corpus, network, strength=1.5)
    told = 2.0 * found.encoded[:6].sum(1)
    null = 2.0 * corpus.conditions.null(6).sum(1)
    wanted = null + 1.5 * (told - null)
    assert len(set(wanted.tolist())) > 1
    assert errors(found, Answer(0.0)).tolist() == pytest.approx((wanted**2).tolist(), rel=1e-5)


@pytest.mark.parametrize("worse", [None, Answer(7.0)])
def test_strength_1_is_no_guidance(corpus: Corpus, worse: nn.Module | None):
    """The network is where it should be already."""
    network = Answer(3.0, told=1.0)
    assert errors(task(corpus, network, worse=worse, strength=1.0), network).tolist() == pytest.approx([0.0] * 6)


def test_the_teacher_stays_as_it_was(corpus: Corpus):
    """It is a copy, without gradient; dropout is off, as targets are exact."""
    network = Answer(3.0)
    found = task(corpus, network, strength=2.0)
    with torch.no_grad():
        network.value.fill_(9.0)
    assert found.teacher.value.item() == 3.0
    assert not found.teacher.value.requires_grad
    assert network.dropout.p == 0
    assert network.value.requires_grad


@pytest.fixture(scope="module")
def worse(tiny_model: Path, phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, spoiled by a few steps that are too large."""
    spoiling = {"loop": LOOP | {"steps": 3, "learning_rate": 1e-2}}
    out = tmp_path_factory.mktemp("spoiled") / "worse"
    return train(phantom_corpus, out, beginning(tiny_model, denoiser=spoiling), show=False)


def test_a_model_learns_its_guided_predictions(tiny_model: Path, worse: Path, phantom_corpus: Path, tmp_path: Path):
    """After 60 steps its predictions are less than half as far from the guided ones as at the start."""
    learning = {"strength": 1.5, "worse": str(worse), "loop": LONG}
    folder = train(phantom_corpus, tmp_path / "guided", beginning(tiny_model, guidance=learning), show=False)
    start, bad, guided = map(LatentDiffusion.load, (tiny_model, worse, folder))
    rng = Generator().manual_seed(3)
    x, t = torch.randn(16, *start.latent_shape, generator=rng), torch.rand(16, generator=rng) * 0.8 + 0.1
    condition = start.conditions.encode([start.conditions.draw({}, np.random.default_rng(i)) for i in range(16)])
    with torch.no_grad():
        a, b, found = (m.predict(x, t, condition) for m in (start, bad, guided))
    wanted = b + 1.5 * (a - b)
    assert (found - wanted).square().mean() < 0.5 * (a - wanted).square().mean()
    assert guided.card["guidance built in"] == 1.5
    assert guided.few_step is None
    record = json.loads((folder / "record.json").read_text())
    assert [entry["name"] for entry in record["inputs"]] == [phantom_corpus.name, tiny_model.name, "worse"]
    assert record["config"]["guidance"]["strength"] == 1.5
    assert str(tmp_path) not in (folder / "record.json").read_text()
    assert (folder / "training" / "guidance-0000060.png").is_file()
    again = train(phantom_corpus, tmp_path / "again", beginning(folder, denoiser=ON), show=False)
    assert "guidance built in" not in LatentDiffusion.load(again).card
    kept = train(phantom_corpus, tmp_path / "kept", beginning(folder, few_step=ON), show=False)
    assert LatentDiffusion.load(kept).card["guidance built in"] == 1.5


def test_without_a_worse_model_conditions_count_more(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """Classifier-free guidance, built in: between two planes, predictions differ more than before."""
    learning = {"strength": 3.0, "loop": LONG}
    folder = train(phantom_corpus, tmp_path / "guided", beginning(tiny_model, guidance=learning), show=False)
    x, t = torch.randn(16, 4, 8, 8, generator=Generator().manual_seed(3)), torch.full((16,), 0.6)
    gaps = []
    for path in (tiny_model, folder):
        model = LatentDiffusion.load(path)
        with torch.no_grad():
            axial, sagittal = (
                model.predict(x, t, model.conditions.encode([{"modality": "MR", "plane": plane}] * 16))
                for plane in ("axial", "sagittal")
            )
        gaps.append((axial - sagittal).square().mean().sqrt().item())
    assert gaps[1] > 1.3 * gaps[0]


def test_what_cannot_be_worse_is_refused(tiny_model: Path, worse: Path, phantom_corpus: Path, tmp_path: Path):
    """A model of other latents, conditions or chain, or one that is not there: said before anything is written."""
    with pytest.raises(ConfigError, match="needs `start`"):
        beginning(None, guidance=ON | {"worse": str(worse)})
    with pytest.raises(ConfigError, match="needs `start`"):
        beginning(tiny_model, autoencoder=ON, guidance=ON | {"worse": str(worse)})
    out, nowhere = tmp_path / "out", str(tmp_path / "nowhere")
    guided = beginning(tiny_model, guidance=ON | {"worse": str(worse)})
    for config, kind, words in (
        (beginning(tiny_model, guidance=ON | {"worse": "heads"}), ConfigError, "other latents or conditions"),
        (beginning(tiny_model, guidance=ON | {"worse": nowhere}), ModelError, "nowhere is not a model folder"),
        (guided.model_copy(update={"diffusion": "ddpm"}), ConfigError, "is trained for flow, not ddpm"),
    ):
        with pytest.raises(kind, match=words):
            train(phantom_corpus, out, config, show=False)
    assert not out.exists()
    unused = start(ImageSet.open(phantom_corpus), (), beginning(tiny_model, guidance=OFF | {"worse": nowhere}))
    assert unused.worse is None
