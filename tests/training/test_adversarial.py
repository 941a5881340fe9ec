"""Few-step weights against heads: who learns from which loss, what the heads see, and that jumps then end elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close

from phonybrains.errors import ConfigError
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.parts import LatentScale
from phonybrains.optimising.loop import fit
from phonybrains.training.adversarial import AdversarialTask, Contest
from phonybrains.training.config import AdversarialConfig, load_train_config
from phonybrains.training.corpus import Corpus
from phonybrains.training.latents import Latents
from phonybrains.training.stage import train
from tests.support.tiny_training import CPU, LOOP, OFF, micro

STUDENT = "few_step_unet/diffusion_pytorch_model.safetensors"


def settings(**loop: Any) -> AdversarialConfig:
    given = {"loop": LOOP | {"learning_rate": 3e-4} | loop, "head_start": 2}
    return load_train_config("tiny", adversarial=given).adversarial


@pytest.fixture
def model(tiny_model: Path) -> LatentDiffusion:
    """The tiny model with its weights disturbed: so little trained, it would hardly listen to conditions."""
    found = LatentDiffusion.load(tiny_model)
    for parameter in found.denoiser.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=Generator().manual_seed(1)) * 0.03)
    assert found.few_step
    found.few_step.requires_grad_(True)
    return found


def batch(model: LatentDiffusion, n: int = 4) -> tuple[Tensor, Tensor, Tensor, Sequence[float], Tensor]:
    rng = Generator().manual_seed(2)
    real, noises = (
        torch.randn(n, *model.latent_shape, generator=rng),
        torch.randn(3, n, *model.latent_shape, generator=rng),
    )
    condition = model.conditions.encode([{"modality": name} for name in ("MR", "CT", "MR", "CT")])
    return real, noises, torch.tensor([0.1, 0.3, 0.5, 0.9]), model.chain.times(2), condition


def test_features_are_those_of_the_network_itself(model: LatentDiffusion):
    """What the U-Net's own blocks give while it predicts, caught on the way, to the bit."""
    (real, noises, t, _, condition), unet, caught = batch(model), model.denoiser.unet, list[Tensor]()
    layers = unet.config["layers_per_block"]
    hooks = [
        block.register_forward_hook(lambda _m, _i, out: caught.append(out[1][layers - 1]))  # type: ignore[arg-type]
        for block in unet.down_blocks
    ]
    hooks.append(unet.mid_block.register_forward_hook(lambda _m, _i, out: caught.append(out)))  # type: ignore[union-attr]
    model.denoiser(noises[0], t, condition)
    for hook in hooks:
        hook.remove()
    found, heard = model.denoiser.features(noises[0], t, condition)
    assert len(found) == len(caught) == len(unet.down_blocks) + 1
    assert all(torch.equal(a, b) for a, b in zip(found, caught, strict=True))
    assert heard.shape == (len(real), 4 * unet.config["block_out_channels"][0])


def test_each_learns_from_its_own_loss_alone(model: LatentDiffusion):
    """Gradients as of each loss written out by itself: hinges for heads, scores and means for the student."""
    faithful = 5.0
    contest, (real, noises, t, times, condition) = Contest(model, faithful), batch(model)
    with torch.no_grad():  # a student that has gone on
        for parameter in contest.student.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=Generator().manual_seed(3))
    contest(real, noises, t, torch.tensor([1.0, 1.0, 1.0, 0.0]), times, condition).backward()
    learnt = {name: p.grad.clone() for name, p in contest.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in learnt} == {"student", "heads"}

    def scores(latents: Tensor, noise: Tensor) -> list[Tensor]:
        x_t = (1 - t[:, None, None, None]) * latents + t[:, None, None, None] * noise
        return contest.heads(*model.denoiser.features(x_t, t, condition))

    near = contest.walk(contest.student, noises[0], times[:2], condition).detach()
    length = torch.full((4, 1), times[1])
    made = near - times[1] * contest.student(near, length[:, 0], condition, length)
    was = contest.walk(contest.before, noises[0], times, condition)
    hinges = [
        ((1 - r[:3]).relu() + (1 + f[:3]).relu()).mean()
        for r, f in zip(scores(real, noises[1]), scores(made.detach(), noises[2]), strict=True)
    ]
    heads = dict(contest.heads.named_parameters())
    expected = torch.autograd.grad(torch.stack(hinges).mean(), list(heads.values()))
    for name, gradient in zip(heads, expected, strict=True):
        assert_close(learnt[f"heads.{name}"], gradient, rtol=1e-3, atol=1e-6)
    judged = scores(made, noises[2])
    coarse = (avg_pool2d(made[:3], 8) - avg_pool2d(was[:3], 8)).square().mean((1, 2, 3))
    kept = (coarse.sum() + (made[3] - was[3]).square().mean()) / 4
    student = dict(contest.student.named_parameters())
    lost = faithful * kept - sum(score[:3].mean() for score in judged) / len(judged)
    for name, gradient in zip(
        student, torch.autograd.grad(lost, list(student.values()), allow_unused=True), strict=True
    ):
        if gradient is not None:
            assert_close(learnt[f"student.{name}"], gradient, rtol=1e-3, atol=1e-6)


def task_of(model: LatentDiffusion, corpus: Corpus, values: Tensor, config: AdversarialConfig) -> AdversarialTask:
    parameters = torch.zeros(1, len(values), 6)
    latents = Latents(values[None], parameters, LatentScale({}))
    return AdversarialTask(Contest(model, config.faithful), model, corpus, latents, config, CPU)


def test_jumps_come_to_end_where_real_latents_lie(model: LatentDiffusion, corpus: Corpus, tmp_path: Path):
    """Real latents of less spread than those jumped to: the energy distance halves, and the denoiser stays."""
    values = 0.3 * torch.randn(len(corpus.encoded), *model.latent_shape, generator=Generator().manual_seed(4))
    config = settings(steps=50, batch_size=8, learning_rate=1e-3, validate_every=50, checkpoint_every=50)
    task = task_of(model, corpus, values, config.model_copy(update={"faithful": 0.0}))
    before, kept = task.validate(task.network), {n: p.clone() for n, p in model.denoiser.named_parameters()}
    *_, last = fit(task, config.loop, 0, tmp_path, Accelerator(cpu=True))
    assert last.validation is not None
    assert last.validation < before / 2
    assert all(torch.equal(p, kept[name]) for name, p in model.denoiser.named_parameters())


def test_shares_make_up_the_examples_of_one_step(model: LatentDiffusion, corpus: Corpus):
    """Two processes draw the images that one draws, none of them twice."""
    seen = list[Tensor]()
    values = torch.arange(len(corpus.encoded)).float()[:, None, None, None].expand(-1, *model.latent_shape)
    task = task_of(model, corpus, values, settings())

    def network(real: Tensor, *_: Any) -> Tensor:
        seen.append(real[:, 0, 0, 0])
        return real.sum()

    for share in (slice(0, 4, 1), slice(0, 4, 2), slice(1, 4, 2)):
        task.loss(network, Generator().manual_seed(3), share)  # type: ignore[arg-type]
    assert torch.equal(torch.stack(seen[1:], dim=1).flatten(), seen[0])
    assert set(seen[0].tolist()) <= set(corpus.train.tolist())


@pytest.mark.parametrize("stopped", ["heads", "adversarial"])
def test_a_stop_costs_no_step(stopped: str, phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stopped while the heads learn alone, or after: the same call ends in the same bytes."""
    config = micro(autoencoder=OFF, denoiser=OFF, adversarial=settings(steps=3).model_dump())
    whole = train(phantom_corpus, tmp_path / "whole", config, show=False)
    loss = AdversarialTask.loss

    def stopping(task: AdversarialTask, *given: Any) -> Tensor:
        if task.name == stopped:
            raise KeyboardInterrupt
        return loss(task, *given)

    monkeypatch.setattr(AdversarialTask, "loss", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(phantom_corpus, tmp_path / "again", config, show=False)
    monkeypatch.undo()
    again = train(phantom_corpus, tmp_path / "again", config, show=False)
    assert (again / STUDENT).read_bytes() == (whole / STUDENT).read_bytes()
    plain = train(phantom_corpus, tmp_path / "plain", micro(autoencoder=OFF, denoiser=OFF), show=False)
    one, other = (load_file(folder / STUDENT) for folder in (whole, plain))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    card = LatentDiffusion.load(whole).card
    assert card["few steps judged against real latents"] == 3 * 4
    assert "few steps end off the full path by" not in card


def test_what_cannot_be_judged_is_refused(phantom_corpus: Path, tmp_path: Path):
    """No few-step weights, or a modality that is none: before anything is written, with what to do."""
    config = micro(few_step=OFF, adversarial=settings().model_dump())
    with pytest.raises(ConfigError, match=r"adversarial: there are no few-step weights to learn\. Set few_step"):
        train(phantom_corpus, tmp_path / "model", config)
    config = micro(adversarial=settings().model_dump() | {"modalities": ["MRI"]})
    with pytest.raises(ConfigError, match=r"adversarial\.modalities: no training image is MRI\. Known: CT, MR"):
        train(phantom_corpus, tmp_path / "model", config)
    assert not list(tmp_path.iterdir())
