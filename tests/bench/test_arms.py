"""The arms differ in what they say they differ in, and what steers a model does what its formula says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import steering
from bench.alignment import FEATURES, AlignedTask, features_of
from bench.arms import ARMS, Arm, learnt_from
from bench.networks import away_from
from bench.ratio import accepted, learn, log_ratio, pushed
from phonybrains.diffusion.process import Flow
from phonybrains.imageset import ImageSet, Row
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.training.config import load_train_config
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.latents import encode_latents, load_latents
from tests.support.feature_weights import squeezenet_file


def row(person: int, modality: str, source: int) -> Row:
    return Row(f"{person}.png", "", modality, f"P{person}", "train", source=f"{source} raster")


ROWS = [row(person, "CT" if person % 2 else "MR", 1 + person % 4) for person in range(40) for _ in range(3)]


def test_fewer_people_are_among_more_and_bring_all_their_images():
    """A quarter of the people of each modality are among the half, each with every image; the whole is everybody."""
    quarter, half, whole = (learnt_from(Arm("", people=share), ROWS, range(len(ROWS)), 0) for share in (0.25, 0.5, 1))
    assert set(quarter) < set(half) < set(whole) == {*range(len(ROWS))}
    for modality in ("MR", "CT"):
        people = [ROWS[i].patient_id for i in quarter if ROWS[i].modality == modality]
        assert len(people) == 3 * len(set(people)) == 15


def test_the_papers_count_is_that_of_two_sources():
    """The arm of the paper's count learns from the first and third source, of no split but the training one."""
    arm = next(arm for arm in ARMS if arm.sources)
    found = learnt_from(arm, ROWS, range(60), 0)
    assert found == [i for i in range(60) if ROWS[i].source[0] in "13"]


def test_a_ratio_of_two_gaussians_is_learnt():
    """Latents N(m, 1) against N(0, 1) have log ratios m Σx - n m²/2: what is learnt goes with it, on fresh ones."""
    rng, shift, n = torch.Generator().manual_seed(0), 0.1, 2000

    def draw(count: int) -> Tensor:
        return torch.randn(count, 2, 8, 8, generator=rng)

    ratio, auc = learn(draw(n) + shift, draw(n), [f"P{i // 3}" for i in range(n)], Flow(), steps=300)
    fresh = draw(400) + shift / 2
    exact = shift * fresh.sum(dim=(1, 2, 3)).numpy() - 128 * shift**2 / 2
    assert np.corrcoef(log_ratio(ratio, fresh), exact)[0, 1] > 0.75
    assert 0.65 < auc < 0.82  # the exact ratio reaches Φ(√128 · 0.1 / √2) = .788


def test_rejection_takes_images_by_their_ratio():
    """Of two kinds, as many of each, with ratios of 1 and 1/4, four in five that are taken are of the first."""
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((30, 4000)) < 0.5, 0.0, np.log(1 / 4))
    taken = accepted(scores, 0.9, rng)
    kept = scores[taken, np.arange(4000)]
    assert (kept == 0).mean() == pytest.approx(0.8, abs=0.03)
    alone = accepted(np.array([[-1e9, 0.0], [-2e9, 0.0]]), 1.0, rng)
    assert alone.tolist() == [1, 0]  # the last where none is taken, the first where any may be


class Slope(nn.Module):
    """A log ratio of 3 Σx, whatever the time."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return 3 * x_t.sum(dim=(1, 2, 3))


def test_a_push_follows_the_slope_of_the_ratio():
    """At t = .5 of the flow, σ²/a is .5: a slope of 3 pushed by 2 moves each number by 3; beyond .8 nothing moves."""
    steer = pushed(Slope(), 2.0, Flow())  # type: ignore[arg-type]
    x = torch.randn(2, 1, 4, 4)
    with torch.inference_mode():
        moved = steer(x, x.clone(), torch.tensor([0.5, 0.5]), torch.zeros(2, 1))
        torch.testing.assert_close(moved, x + 3)
        assert steer(x, x.clone(), torch.tensor([0.9, 0.9]), torch.zeros(2, 1)) is x


def test_autoguidance_leads_away_from_the_worse_prediction():
    """Strength 1 changes nothing, strength 2 goes as far again as the worse prediction lies behind."""
    worse = SimpleNamespace(predict=lambda x_t, t, condition: torch.zeros_like(x_t))
    x = torch.ones(1, 1, 2, 2)
    for strength in (1.0, 2.0):
        steer = away_from(worse, strength)  # type: ignore[arg-type]
        torch.testing.assert_close(steer(x, x, torch.ones(1), torch.zeros(1, 1)), strength * x)


def test_the_aligned_arm_learns_what_a_network_sees(phantom_corpus: Path, tiny_model: Path, tmp_path: Path):
    """Features have no mean over places; the likeness counts by its weight; the denoiser is left as it was."""
    images, model, device = ImageSet.open(phantom_corpus), LatentDiffusion.load(tiny_model), torch.device("cpu")
    config = load_train_config("tiny")
    corpus = Corpus.open(images, check_corpus(images, ("plane", "hemorrhage", "age_years"), 32), tmp_path, device)
    list(encode_latents(model.autoencoder, corpus, config.denoiser, 0, tmp_path / "l.safetensors", device))
    latents = load_latents(tmp_path / "l.safetensors", corpus, model.scale)
    seen = torch.stack(list(features_of(corpus, latents, squeezenet_file(tmp_path), 4, device)))
    assert seen.shape == (len(latents.values), len(images), FEATURES * 16)
    assert seen.unflatten(2, (FEATURES, 16)).mean(dim=3).abs().max() < 1e-3

    names = [name for name, _ in model.denoiser.named_parameters()]
    corpus = replace(corpus, conditions=model.conditions)
    what = (model.denoiser, corpus, latents, CHAINS["flow"], config.denoiser, device)
    task = AlignedTask(*what, features=seen, weight=0.5, side=4)
    model.denoiser.train()
    losses = [replace_weight(task, weight) for weight in (0.0, 0.5, 1.0)]
    assert losses[2] - losses[0] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-3)
    assert losses[1] > losses[0]
    model.denoiser.eval()
    assert task.validate(model.denoiser) == pytest.approx(task.validate(model.denoiser))
    task.take_off()
    assert [name for name, _ in model.denoiser.named_parameters()] == names


def replace_weight(task: AlignedTask, weight: float) -> float:
    """The loss of one and the same step with another weight of the likeness."""
    task.weight = weight
    torch.manual_seed(0)
    return float(task.loss(task.network, torch.Generator().manual_seed(0), slice(None)).detach())


def test_a_model_is_steered_in_every_way(
    phantom_corpus: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A row for each way; what is generated is kept, and the control is that of a run without the rest."""
    words = [str(tiny_model), "--corpus", str(phantom_corpus), "--features", str(squeezenet_file(tmp_path))]
    words += ["--modalities", "MR", "--steps", "2", "--work", str(tmp_path / "work" / "steering"), "--split", "train"]
    few = ["--candidates", "2", "--learnt", "8", "--passes", "2"]
    steering.app([*words, *few, "--pushed", "1", "--guide", str(tiny_model), "--away", "1"])
    table = cells(capsys.readouterr().out)
    ways = ["as they come", "the likeliest of 2", "accepted, of 2", "pushed by 1", "away from the guide, 1"]
    assert [line[1] for line in table] == ways
    steering.app([*words, "--candidates", "1"])
    (control,) = cells(capsys.readouterr().out)
    assert control == table[0]


def cells(text: str) -> list[list[str]]:
    """The cells of the table's rows for MR."""
    return [[cell.strip() for cell in line.split("|")[1:]] for line in text.splitlines() if line.startswith("| MR")]
