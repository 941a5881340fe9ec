"""What each family learns, against the schedulers that sample with it; and what of a batch is drawn how."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from torch import Generator
from torch.testing import assert_close

from phonybrains.errors import ConfigError
from phonybrains.finetuning.cache import LatentDistributions, Texts
from phonybrains.finetuning.config import FinetuneConfig
from phonybrains.finetuning.noising import noising_of
from phonybrains.finetuning.task import LoraTask

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def latents(n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = Generator().manual_seed(0)
    return torch.randn(n, 4, 8, 8, generator=rng), torch.randn(n, 4, 8, 8, generator=rng)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_an_exact_answer_leads_the_sampler_to_the_image(kind: str):
    """DDIM, another scheduler of the same configuration, finds x_0 in one step from what the network is to say."""
    scheduler = diffusers.DDIMScheduler(**BETAS, prediction_type=kind, clip_sample=False)  # type: ignore[attr-defined]
    scheduler.set_timesteps(1000)
    noising = noising_of(SimpleNamespace(scheduler=scheduler))
    (x_0, noise), times = latents(), torch.tensor([1, 300, 700, 990])
    x_t, time, target = noising.noised(x_0, noise, times)
    for i in range(4):
        found = scheduler.step(target[i : i + 1], int(time[i]), x_t[i : i + 1]).pred_original_sample
        assert_close(found, x_0[i : i + 1], atol=2e-3, rtol=0)


def test_a_flow_leads_straight_to_the_image():
    """At every time, x_t less what is left of the way is x_0; the network is told the time the sampler tells it."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)  # type: ignore[attr-defined]
    noising = noising_of(SimpleNamespace(scheduler=scheduler, transformer=None))
    (x_0, noise), times = latents(), torch.tensor([0, 300, 700, 999])
    x_t, time, target = noising.noised(x_0, noise, times)
    sigma = time / 1000
    assert_close(x_t - sigma[:, None, None, None] * target, x_0, atol=1e-5, rtol=0)
    assert sigma[0] == 1
    assert_close(x_t[0], noise[0])


def test_times_of_a_flow_are_logit_normal_and_shifted():
    """Their median before the shift is one half, which a shift of 3 moves to three quarters."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)  # type: ignore[attr-defined]
    times = noising_of(SimpleNamespace(scheduler=scheduler, transformer=None)).times(20_000, Generator().manual_seed(0))
    sigma = scheduler.sigmas[times]
    assert sigma.median().item() == pytest.approx(0.75, abs=0.01)
    logit = (scheduler.sigmas[times] / (3 - 2 * sigma)).logit()
    assert logit[logit.isfinite()].std().item() == pytest.approx(1, abs=0.03)


def test_a_base_that_predicts_the_image_is_refused():
    """Rather than trained towards something else."""
    scheduler = diffusers.DDIMScheduler(prediction_type="sample")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="'sample'"):
        noising_of(SimpleNamespace(scheduler=scheduler))


class Told(torch.nn.Module):
    """A network that keeps what it is told, and finds no noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.words: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any) -> Any:
        self.words.append(encoder_hidden_states[:, 0, 0])
        return (x * 0 + self.weight,)


def task(config: FinetuneConfig) -> LoraTask:
    scheduler = diffusers.DDPMScheduler(**BETAS)  # type: ignore[attr-defined]
    mean, _ = latents(10)
    texts = Texts({"prompt_embeds": torch.arange(11.0)[:, None, None]}, torch.arange(10))
    learnt = (noising_of(SimpleNamespace(scheduler=scheduler)), LatentDistributions(mean, mean * 0), texts)
    rows = (torch.arange(8), torch.arange(8, 10))
    return LoraTask(Told(), "sd", *learnt, *rows, 64, config, torch.device("cpu"))


def test_a_tenth_of_the_captions_is_left_out():
    """And only images of the training split are seen, each with its own caption."""
    one = task(FinetuneConfig(loop={"batch_size": 2000}))  # type: ignore[arg-type]
    one.loss(one.network, Generator().manual_seed(0), slice(None))
    words = one.network.words[0]
    assert (words == 10).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert set(words.tolist()) == {*range(8), 10}


def test_validation_is_the_same_every_time_and_always_captioned():
    """At the same noise and times, with the captions of the validation split."""
    one = task(FinetuneConfig())
    first = one.validate(one.network)
    assert one.validate(one.network) == first == pytest.approx(1, abs=0.1)
    assert set(torch.cat(one.network.words).tolist()) == {8, 9}


def test_processes_share_a_batch():
    """Each takes its images and captions of the same draw, but its own noise."""
    whole, halves = task(FinetuneConfig()), [task(FinetuneConfig()) for _ in range(2)]
    whole.loss(whole.network, Generator().manual_seed(3), slice(None))
    for rank, half in enumerate(halves):
        half.loss(half.network, Generator().manual_seed(3), slice(rank, 8, 2))
        assert_close(half.network.words[0], whole.network.words[0][rank::2])


def test_offset_noise_moves_whole_channels():
    """A constant on each channel of each image, beside the noise that is there anyway."""
    plain = task(FinetuneConfig())
    moved = replace(plain, config=FinetuneConfig(noise_offset=0.5))
    rows, times = torch.arange(8).repeat(500), torch.zeros(4000, dtype=torch.long)
    errors = [one.errors(one.network, rows, times, rows, Generator().manual_seed(0)).mean() for one in (plain, moved)]
    assert errors[0].item() == pytest.approx(1, abs=0.01)
    assert errors[1].item() == pytest.approx(1.25, abs=0.02)
