"""CARD's mathematics: the drifting process of the paper is ours around f, and answers with two modes are found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Generator, Tensor

from phonybrains.diffusion.process import linear_schedule, q_posterior, q_sample
from phonybrains.errors import ModelError
from phonybrains.optimising.config import LoopConfig
from phonybrains.optimising.loop import Task, fit
from phonybrains.predicting.predictor import Predictor, Subject


def image(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def test_the_process_around_f_is_that_of_the_paper():
    """Mean and variance of q(y_t|y_0, f), eq. 5, and q(y_{t-1}|y_t, y_0, f), eq. 7-9, in double precision."""
    rng, schedule = Generator().manual_seed(0), linear_schedule(1000)
    y_0, y_t, f, noise = (torch.randn(50, 3, generator=rng, dtype=torch.float64) for _ in range(4))
    t = torch.randint(2, 1001, (50,), generator=rng)
    beta, now, before = (v[:, None] for v in (schedule.beta[t], schedule.alpha_bar[t], schedule.alpha_bar[t - 1]))
    alpha = 1 - beta

    drifted = now.sqrt() * y_0 + (1 - now.sqrt()) * f + (1 - now).sqrt() * noise
    ours = q_sample(image(y_0 - f), t, schedule, image(noise)).flatten(1) + f
    torch.testing.assert_close(ours, drifted, rtol=0, atol=1e-12)

    gamma_0 = beta * before.sqrt() / (1 - now)
    gamma_1 = (1 - before) * alpha.sqrt() / (1 - now)
    gamma_2 = 1 + (now.sqrt() - 1) * (alpha.sqrt() + before.sqrt()) / (1 - now)
    mean, variance = q_posterior(image(y_t - f), image(y_0 - f), t, schedule)
    expected = gamma_0 * y_0 + gamma_1 * y_t + gamma_2 * f
    torch.testing.assert_close(mean.flatten(1) + f, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(variance.flatten(1)[:, :1], (1 - before) / (1 - now) * beta, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A predictor of y = ±x, x in 1…2, with deviation 0.1: f can only say 0."""
    rng = Generator().manual_seed(3)
    x = 1 + torch.rand(4000, 1, generator=rng)
    y = (1 - 2 * torch.randint(2, (4000, 1), generator=rng)) * x + 0.1 * torch.randn(4000, 1, generator=rng)
    spread = float(y.std())
    model = Predictor.new(Subject(attribute="y", width=1, spread=spread))
    how = {"batch_size": 128, "learning_rate": 3e-3, "averages": (0.99,), "keep": "last"}
    folder = tmp_path_factory.mktemp("forked")

    def follow(task: Task, loop: LoopConfig) -> None:
        for _ in fit(task, loop, 0, folder, Accelerator(cpu=True)):
            pass

    pairs = (2 * x - 3, y / spread)
    model.learn(pairs, pairs, pairs, LoopConfig(steps=100, **how), LoopConfig(steps=1200, **how), follow)
    return model


def test_answers_have_both_modes_where_the_base_network_has_none(forked: Predictor):
    """At x = 1.2 and 1.8 half the answers lie at +x and half at -x, with the deviation of the noise, and none between.

    2000 draws leave 0.011 in a share and 0.003 in a mean of 1000; 0.08 allows for what 4000 examples leave open.
    """
    for x in (1.2, 1.8):
        given = torch.tensor([[2 * x - 3]])
        assert forked.guess(given)[1].abs().item() < 0.25
        drawn = forked.draw(given, Generator().manual_seed(1), 2000, 30)[0, :, 0]
        upper = drawn[drawn > 0]
        assert len(upper) / 2000 == pytest.approx(0.5, abs=0.08)
        assert upper.median().item() == pytest.approx(x, abs=0.08)
        assert -drawn[drawn <= 0].median().item() == pytest.approx(x, abs=0.08)
        assert (upper - upper.median()).abs().median().item() == pytest.approx(0.6745 * 0.1, abs=0.04)
        assert (drawn.abs() < 0.5 * x).float().mean() < 0.02


def test_an_answer_depends_on_its_seed_row_and_number_alone(forked: Predictor, tmp_path: Path):
    """The same (seed, row) gives the same bits, also from a saved folder; another row or seed other ones."""
    given = torch.tensor([0.2])
    first = forked.answers(given, 5, 7, 10, 4)
    forked.save(tmp_path)
    assert torch.equal(Predictor.load(tmp_path).answers(given, 5, 7, 10, 4), first)
    assert not torch.equal(forked.answers(given, 5, 8, 10, 4), first)
    assert not torch.equal(forked.answers(given, 6, 7, 10, 4), first)
    torch.testing.assert_close(forked.answers(given, 5, 7, 4, 4), first[:4], rtol=1e-4, atol=1e-5)


def test_a_damaged_folder_is_refused(forked: Predictor, tmp_path: Path):
    """A part that is missing or not as written is named."""
    forked.save(tmp_path)
    (tmp_path / "base.safetensors").write_bytes(b"0")
    with pytest.raises(ModelError, match=r"base\.safetensors is damaged"):
        Predictor.load(tmp_path)
    (tmp_path / "base.safetensors").unlink()
    with pytest.raises(ModelError, match=r"base\.safetensors is missing"):
        Predictor.load(tmp_path)
