"""A GAN: its losses by hand, mixtures whose modes it must find, and a training that goes on after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.testing import assert_close

from phonybrains.editing.config import Vary
from phonybrains.editing.stage import edit
from phonybrains.errors import ConfigError
from phonybrains.evaluation.memorisation.privacy import member_losses
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.model.chains import CHAINS
from phonybrains.model.description import PARTS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.model.summary import summary
from phonybrains.optimising.checkpoint import TrainState
from phonybrains.serving.edit_request import edit_commission
from phonybrains.serving.refusal import Refusal
from phonybrains.training import augment
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.gan import Adversaries, GanTask, squared_slopes
from phonybrains.training.stage import train
from tests.support.tiny_training import LOOP, OFF, ON

GAN = CHAINS["gan"]


# The losses


class Known(nn.Module):
    """D(x) = x·Ax/2 + b·x, whose slope is Ax + b for a symmetric A."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        flat = x.flatten(1)
        return ((flat @ self.a) * flat).sum(1) / 2 + flat @ self.b


def a_known_critic() -> Known:
    rng = torch.Generator().manual_seed(1)
    half = torch.randn(6, 6, generator=rng, dtype=torch.float64)
    return Known((half + half.T) / 2, torch.randn(6, generator=rng, dtype=torch.float64))


class Scaled(nn.Module):
    """A generator G(z) = gain · z: its network answers with (1 - gain) z, as the velocity of a flow at t = 1."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=torch.float64))

    def forward(self, z: Tensor, t: Tensor, *_: Tensor) -> Tensor:
        assert bool((t == 1).all())
        return (1 - self.gain) * z


def draws(n: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Real latents, noise, conditions and augmentations of n images of 6 numbers each."""
    rng = torch.Generator().manual_seed(0)
    x, z = (torch.randn(n, 6, 1, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    return x, z, torch.zeros(n, 1), torch.zeros(n, augment.WIDTH)


def test_the_slopes_of_a_known_critic():
    """‖Ax + b‖² of each image, to rounding; and its own gradient, with respect to b, is 2 (Ax + b)."""
    critic, (x, *_) = a_known_critic(), draws()
    x.requires_grad_()
    slope = x.detach().flatten(1) @ critic.a.detach() + critic.b.detach()
    found = squared_slopes(critic(x, x), x)
    assert_close(found.detach(), slope.square().sum(1))
    found.sum().backward()
    assert_close(critic.b.grad, 2 * slope.sum(0))


@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_both_losses_and_who_learns_from_which(penalty: float):
    """The critic has the relativistic loss and γ/2 of both penalties, the generator the opposite pair; each its own.

    Gradients as autograd gives them of each loss written out alone, with the other player held: to rounding.
    """
    critic, (x, z, *told) = a_known_critic(), draws()
    both = Adversaries(Scaled(0.7), critic, GAN, penalty).double()  # type: ignore[arg-type]
    both(x, z, *told).sum().backward()

    def slope(at: Tensor) -> Tensor:
        return (at.flatten(1) @ critic.a + critic.b).square().sum(1)

    made = 0.7 * z
    apart = critic(x, x) - critic(made, x)
    lost = torch.log1p(torch.exp(-apart)) + penalty / 2 * (slope(x) + slope(made))
    expected = torch.autograd.grad(lost.sum(), [critic.a, critic.b])
    # slope() is Ax + b only as A is symmetric, so both ways of writing the gradient to A agree in its symmetric part
    symmetric = [(g + g.T) / 2 if g is not None and g.ndim == 2 else g for g in (critic.a.grad, expected[0])]
    assert_close(symmetric[0], symmetric[1])
    assert_close(critic.b.grad, expected[1])
    gain = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    lost = torch.log1p(torch.exp(critic(x, x).detach() - critic(gain * z, x)))
    assert_close(both.generator.gain.grad, torch.autograd.grad(lost.sum(), gain)[0])


def test_the_generator_is_the_flow_at_its_first_time():
    """What training makes of noise is what sampling makes of it in one step, to the bit of float32."""
    generator, (_, z, *told) = Scaled(0.3).float(), draws()
    made = Adversaries(generator, a_known_critic(), GAN, 1.0).generate(z.float(), *told)  # type: ignore[arg-type]
    assert_close(made, 0.3 * z.float())
    assert list(GAN.times(1)) == [1.0, 0.0]


# Mixtures


class Plain(nn.Module):
    """Three layers over all numbers there are, as generator or, with one output, as critic."""

    def __init__(self, inputs: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        sides = [inputs, width, width, width]
        layers = [(nn.Linear(a, b), nn.LeakyReLU(0.2)) for a, b in pairwise(sides)]
        self.net = nn.Sequential(*(part for pair in layers for part in pair), nn.Linear(width, outputs))


class Points(Plain):
    def forward(self, z: Tensor, t: Tensor, condition: Tensor, *_: Tensor) -> Tensor:
        return self.net(torch.cat([z.flatten(1), condition], 1)).reshape(z.shape)


class Judge(Plain):
    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.net(torch.cat([x.flatten(1), told], 1))[:, 0]


def ring(n: int = 8) -> Tensor:
    """n points on a circle of deviation 1 along each axis, (n, 2)."""
    angle = torch.arange(n) * 2 * math.pi / n
    return math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1)


DEVIATION = 0.1


def learnt(
    draw: Callable[[int], tuple[Tensor, Tensor]], steps: int = 1500, penalty: float = 1.0, sign: float = 1.0
) -> Adversaries:
    """A GAN taught points (n, 2) with conditions (n, 1) by the task's own loss and betas, its weights averaged.

    sign: of the loss; -1 is a planted mistake.
    """
    torch.manual_seed(0)
    both = Adversaries(Points(3, 2), Judge(3 + augment.WIDTH, 1), GAN, penalty)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(both.parameters(), lr=3e-3, betas=GanTask.betas, weight_decay=0)
    average = torch.optim.swa_utils.AveragedModel(both, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, 2 * (1 - step / steps))
        points, condition = draw(128)
        nothing = torch.zeros(128, augment.WIDTH)
        loss = sign * both(points[:, :, None, None], torch.randn(128, 2, 1, 1), condition, nothing).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(both)
    return average.module


@torch.no_grad()
def made(both: Adversaries, condition: Tensor) -> Tensor:
    noise = torch.randn(len(condition), 2, 1, 1, generator=torch.Generator().manual_seed(1))
    return both.generate(noise, condition).flatten(1)


def test_no_mode_of_a_ring_is_lost():
    """Each of eight Gaussians gets its eighth, within a quarter of it; their deviation is right within a factor 1.5.

    Measured: .89 to 1.08 of an eighth, and .093 to .142 for a deviation of .1. Four in five points lie within four
    deviations of a mode, as a continuous map of noise leads from one to the next.
    """
    modes = ring()
    both = learnt(lambda n: (modes[torch.randint(8, (n,))] + DEVIATION * torch.randn(n, 2), torch.zeros(n, 1)))
    points = made(both, torch.zeros(4000, 1))
    distance, nearest = torch.cdist(points, modes).min(dim=1)
    near = distance < 4 * DEVIATION
    assert near.float().mean() > 0.8
    for mode in range(8):
        mine = points[near & (nearest == mode)]
        assert 3 / 4 < 8 * len(mine) / near.sum() < 5 / 4
        assert DEVIATION / 1.5 < mine.std(dim=0).mean() < 1.5 * DEVIATION


def test_a_conditional_mixture_follows_its_condition():
    """Of two Gaussians, the one that is asked for: its mean within .15, its deviation within a factor 1.5.

    Measured: off by .06 at most, and .22 to .27 for a deviation of .3.
    """

    def draw(n: int) -> tuple[Tensor, Tensor]:
        condition = torch.randint(2, (n, 1)).float()
        return (2 * condition - 1) * torch.tensor([1.0, -0.5]) + 0.3 * torch.randn(n, 2), condition

    both = learnt(draw)
    for asked in (0.0, 1.0):
        points = made(both, torch.full((2000, 1), asked))
        assert_close(points.mean(0), (2 * asked - 1) * torch.tensor([1.0, -0.5]), atol=0.15, rtol=0)
        assert 0.2 < points.std(dim=0).mean() < 0.45


def test_planted_mistakes_are_seen():
    """Without penalty the critic's slopes explode, a hundredfold; with the wrong sign no mode is found."""
    modes = ring()

    def draw(n: int) -> tuple[Tensor, Tensor]:
        return modes[torch.randint(8, (n,))] + DEVIATION * torch.randn(n, 2), torch.zeros(n, 1)

    def steepness(both: Adversaries) -> float:
        x = draw(512)[0][:, :, None, None].requires_grad_()
        return squared_slopes(both.critic(x, torch.zeros(512, 1 + augment.WIDTH)), x).mean().item()

    assert steepness(learnt(draw, 300, penalty=0)) > 100 * steepness(learnt(draw, 300))
    astray = made(learnt(draw, 300, sign=-1), torch.zeros(1000, 1))
    assert not bool((torch.cdist(astray, modes).min(dim=1).values < 4 * DEVIATION).float().mean() > 0.5)


# A training

SHAPES: dict[str, Any] = {
    "autoencoder": ON | {"crop": 32, "shape": {"latent_channels": 4, "widths": (8, 8, 16, 16), "layers": 1}},
    "denoiser": {"loop": LOOP, "variants": 2, "shape": {"widths": (16, 32), "layers": 1}},
    "critic": {"widths": (8, 16)},
    "texture": OFF,
}


def small(**values: Any) -> TrainConfig:
    """The preset with two steps of each, and small networks."""
    how: dict[str, Any] = {"precision": "fp32", "conditions": ("plane",), "min_patients": 0}
    return load_train_config("gan", **how | SHAPES | values)


@pytest.fixture(scope="module")
def gan_model(phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GAN of two steps on phantoms of 64×64, from an image set to a model folder."""
    return train(phantom_corpus, tmp_path_factory.mktemp("gan") / "model", small(), show=False)


def test_a_training_on_phantoms_gives_a_model_like_any_other(gan_model: Path):
    """The folder says that it is a GAN; image i comes of (seed, i) alone, in one evaluation of the generator."""
    model = LatentDiffusion.load(gan_model)
    assert (model.chain.name, model.steps) == ("gan", 1)
    calls, forward = [], model.denoiser.forward
    model.denoiser.forward = lambda *told: calls.append(told[1]) or forward(*told)  # type: ignore[method-assign]
    found = model.generate(3, {"plane": "axial"}, seed=4).images
    assert found.shape == (3, 64, 64)
    assert bool((torch.cat(calls) == 1).all())
    assert len(torch.cat(calls)) == 3
    alone = next(model.paint([2], model.ask([2], {"plane": "axial"}, 4), Sampling(seed=4)))
    assert np.abs(alone.astype(int) - found[2]).max() <= 1  # by the rounding of what shares a batch
    assert "# A GAN on latents of head images" in (gan_model / "README.md").read_text(encoding="utf-8")
    assert "One evaluation an image" in summary(gan_model)


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"steps": 4}, "steps 4"), ({"guidance": 2.0}, r"guidance 2\.0"), ({"sampler": "heun"}, "sampler heun")],
)
def test_settings_of_a_walk_are_refused(gan_model: Path, tmp_path: Path, asked: dict[str, Any], words: str):
    """Steps, guidance and samplers, by generate before it opens the model, and by whoever samples."""
    with pytest.raises(ConfigError, match=rf"{words}: this model is a GAN.*Leave"):
        generate(gan_model, tmp_path / "out", 1, show=False, **asked)
    with pytest.raises(ConfigError, match=words):
        LatentDiffusion.load(gan_model).generate(1, **asked)
    assert not [*tmp_path.iterdir()]


def test_what_needs_a_denoiser_is_refused(gan_model: Path, phantom_corpus: Path, tmp_path: Path):
    """An edit, an edit that is served, and losses of members, in one sentence that says why."""
    with pytest.raises(ConfigError, match=r"model is a GAN: .* which an edit asks for"):
        edit(phantom_corpus, tmp_path / "out", Vary(), model=gan_model, show=False)
    with pytest.raises(Refusal, match=r"a GAN.* edits no picture"):
        edit_commission({"edit": "vary", "image": "x"}, LatentDiffusion.load(gan_model))
    with pytest.raises(ValueError, match="is a GAN, which has no loss of single images"):
        member_losses(gan_model, ImageSet.open(phantom_corpus))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"few_step": ON | {"loop": LOOP | {"learning_rate": 1e-3}}}, r"needs few_step\.loop\.steps = 0"),
        ({"guidance": {"loop": LOOP | {"learning_rate": 1e-3}}}, r"needs guidance\.loop\.steps = 0"),
        ({"steps": 16, "compile": True}, r"needs steps = 1, compile = false, as --preset gan has them"),
        ({"critic": {"widths": []}}, r"critic\.widths: .*at least 1"),
        ({"critic": {"penalty": -1}}, r"critic\.penalty: .*greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], words: str):
    """What is learnt from a denoiser, several steps, compiling, a critic of nothing: named before anything is read."""
    with pytest.raises(ConfigError, match=words):
        small(**values)


def test_a_critic_that_halves_too_often(phantom_corpus: Path, tmp_path: Path):
    """Five widths halve latents of 8×8 four times: refused before the first step."""
    with pytest.raises(ConfigError, match=r"critic: 5 widths halve the latents 4 times, but these are 8×8"):
        train(phantom_corpus, tmp_path / "model", small(critic={"widths": (8,) * 5}), show=False)
    assert not [*tmp_path.iterdir()]


class Stopped(Exception):
    """The power is gone."""


def test_a_training_that_was_stopped_ends_in_the_same_bytes(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped between two checkpoints and given again, both networks, optimiser and averages are those of one run."""
    loop = LOOP | {"steps": 6, "checkpoint_every": 2, "validate_every": 3}
    config = small(denoiser=SHAPES["denoiser"] | {"loop": loop})
    kept, save, errors, calls = dict[str, dict[str, Tensor]](), TrainState.save, GanTask.errors, []

    def saved(self: TrainState, path: Path) -> None:
        save(self, path)
        if path.name == "gan.safetensors":
            kept[out.name] = load_file(path)

    def dying(self: GanTask, *told: Any) -> Tensor:
        calls.append(0)
        if len(calls) == 6:
            raise Stopped
        return errors(self, *told)

    monkeypatch.setattr(TrainState, "save", saved)
    out = tmp_path / "whole"
    train(phantom_corpus, out, config, show=False)
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(GanTask, "errors", dying)
        with pytest.raises(Stopped):
            train(phantom_corpus, out, config, show=False)
    train(phantom_corpus, out, config, show=False)
    assert {name.split("/")[0] for name in kept["whole"]} == {"network", "best", "average", "optimizer", "total"}
    assert any("critic" in name for name in kept["whole"])
    assert_close(kept["stopped"], kept["whole"], rtol=0, atol=0)
    for name in (*PARTS, "README.md", "training/log.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (out / name).read_bytes()


def test_with_masks_both_networks_see_them(masked_corpus: Path, tmp_path: Path):
    """A GAN can be taught masks: the critic has channels for them, and the model takes them."""
    model = LatentDiffusion.load(train(masked_corpus, tmp_path / "model", small(masks=True), show=False))
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    assert model.generate(1, mask=mask).images.shape == (1, 64, 64)
