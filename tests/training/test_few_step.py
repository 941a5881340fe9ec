"""Few-step weights: what the copy of the denoiser is shown, that it learns it, and that no image is needed for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Generator, Tensor, nn
from torch.testing import assert_close

from phonybrains.diffusion.shortcut import jump_times, path_points, pseudo_huber
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.optimising.loop import fit
from phonybrains.training.config import FewStepConfig, load_train_config
from phonybrains.training.corpus import Corpus
from phonybrains.training.few_step import FewStepTask, few_step_copy
from tests.support.tiny_training import CPU, Recorder

WHOLE, EVEN, ODD = slice(0, 4, 1), slice(0, 4, 2), slice(1, 4, 2)
JUMPS = 7
"""Those of 1, 2 and 4 steps."""


def settings(guidance: float = 1.0, **loop: Any) -> FewStepConfig:
    """Four paths of four steps, in jumps of 1, 2 and 4 steps."""
    return load_train_config("tiny", few_step={"guidance": guidance, "loop": {"batch_size": 4} | loop}).few_step


@pytest.fixture(scope="module")
def teacher(tiny_model: Path) -> LatentDiffusion:
    """The tiny model with its weights disturbed: so little trained, it would hardly listen to conditions."""
    model = LatentDiffusion.load(tiny_model)
    for parameter in model.denoiser.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=Generator().manual_seed(1)) * 0.03)
    return model


def loss(task: FewStepTask, network: nn.Module, share: slice = WHOLE, seed: int = 3) -> float:
    """The loss of one step's share."""
    with torch.no_grad():
        return task.loss(network, Generator().manual_seed(seed), share).item()


def task_of(teacher: LatentDiffusion, corpus: Corpus, config: FewStepConfig | None = None) -> FewStepTask:
    return FewStepTask(Recorder(), teacher, corpus, config or settings(), CPU)


# The copy


def test_an_untuned_copy_predicts_what_the_denoiser_does(teacher: LatentDiffusion):
    """Whatever length of jump it is told: the length's column is zero, the others are the denoiser's."""
    student = few_step_copy(teacher.denoiser)
    x = torch.randn(3, *teacher.latent_shape, generator=Generator().manual_seed(0))
    t, condition = torch.tensor([1.0, 0.5, 0.1]), teacher.conditions.encode([{"modality": "CT"}, {}, {"age_years": 40}])
    assert student.extra_width == 1
    with torch.no_grad():
        expected = teacher.denoiser(x, t, condition)
        assert expected.std() > 0.1
        for length in (0.0, 0.25, 1.0):
            assert_close(student(x, t, condition, torch.full((3, 1), length)), expected, rtol=0, atol=1e-5)
    ours, its = (network.embed.state_dict()["linear_1.weight"] for network in (student, teacher.denoiser))
    assert not ours[:, -1].any()
    assert torch.equal(ours[:, :-1], its[:, : teacher.conditions.width])


def test_a_copy_learns_alone_and_without_dropout(teacher: LatentDiffusion):
    """All its weights can learn, none is the denoiser's own, and nothing is dropped while it does."""
    student = few_step_copy(teacher.denoiser).train()
    assert all(p.requires_grad for p in student.parameters())
    assert not any(p.requires_grad for p in teacher.denoiser.parameters())
    x, t = torch.randn(2, *teacher.latent_shape, generator=Generator().manual_seed(0)), torch.tensor([1.0, 0.5])
    condition, before = teacher.conditions.null(2), teacher.denoiser(x, t, teacher.conditions.null(2))
    with torch.no_grad():
        assert torch.equal(student(x, t, condition), student(x, t, condition))
        for parameter in student.parameters():
            parameter.zero_()
    assert torch.equal(teacher.denoiser(x, t, condition), before)
    assert [m.p for m in teacher.denoiser.modules() if isinstance(m, nn.Dropout)].count(0.1) > 0


# What it is shown


def test_each_path_is_shown_from_noise_to_its_end_in_every_number_of_steps(teacher: LatentDiffusion, corpus: Corpus):
    """The jumps of 1, 2 and 4 steps, with their lengths, under the path's one condition."""
    network = Recorder()
    loss(task_of(teacher, corpus), network)
    ((x_t, t, condition, length),) = network.calls
    assert x_t.shape == (4 * JUMPS, *teacher.latent_shape)
    begin, end = jump_times([1, 2, 4], teacher.chain.shift)
    assert t.reshape(4, JUMPS).tolist() == [begin.tolist()] * 4
    assert_close(length.reshape(4, JUMPS), (begin - end).float().expand(4, JUMPS))
    paths, told = x_t.unflatten(0, (4, JUMPS)), condition.unflatten(0, (4, JUMPS))
    assert (told == told[:, :1]).all()
    assert paths[:, 0].std().item() == pytest.approx(1, abs=0.1)
    for one, other in ((1, 0), (3, 0), (5, 2)):  # jumps of other lengths from the same time
        assert torch.equal(paths[:, one], paths[:, other])
    assert len({path.numpy().tobytes() for path in paths[:, 0]}) == 4


def test_conditions_are_those_of_training_images_or_less(teacher: LatentDiffusion, corpus: Corpus):
    """As for the denoiser, attributes are dropped now and then; what other splits show is not used."""
    network, known = Recorder(), torch.full_like(corpus.encoded, torch.nan)
    known[corpus.train] = corpus.encoded[corpus.train]
    task = task_of(teacher, replace(corpus, encoded=known))
    for seed in range(10):
        loss(task, network, seed=seed)
    told = torch.cat([condition[::JUMPS] for _, _, condition, _ in network.calls])[:, None]
    same, missing = told == known[corpus.train], told == corpus.conditions.null(1)
    assert (same | missing).all(-1).any(-1).all()
    assert 0.3 < same.all(-1).any(-1).float().mean() < 0.95


def test_who_knows_the_paths_has_no_loss(teacher: LatentDiffusion, corpus: Corpus):
    """The target of a jump is its share of the path that the denoiser takes from that noise under that condition."""
    (t, r), times = jump_times([1, 2, 4], teacher.chain.shift), teacher.chain.times(4)
    begin, end = ([times.index(time) for time in ends.tolist()] for ends in (t, r))

    class Knowing(nn.Module):
        def forward(self, x_t: Tensor, time: Tensor, condition: Tensor, length: Tensor) -> Tensor:
            noise, told = x_t[::JUMPS], condition[::JUMPS]
            points = path_points(lambda x, now: teacher.predict(x, now, told), noise, times)
            return ((points[begin] - points[end]).transpose(0, 1).flatten(0, 1)) / length[:, :, None, None]

    task = task_of(teacher, corpus)
    assert loss(task, Knowing()) == pytest.approx(0, abs=1e-5)
    assert loss(task, Recorder()) > 0.1


def test_no_image_is_needed(teacher: LatentDiffusion, corpus: Corpus):
    """The loss is the same without pixels, and another where the images show something else."""
    task = task_of(teacher, corpus)
    blind = task_of(teacher, replace(corpus, pixels=torch.empty(0)))
    assert loss(blind, blind.network) == loss(task, task.network)
    assert blind.validate(blind.network) == task.validate(task.network)
    other = task_of(teacher, replace(corpus, encoded=corpus.conditions.null(1).expand_as(corpus.encoded)))
    assert abs(loss(other, other.network) - loss(task, task.network)) > 3e-4
    assert abs(other.validate(other.network) - task.validate(task.network)) > 3e-4


def test_shares_make_up_the_examples_of_one_step(teacher: LatentDiffusion, corpus: Corpus):
    """Two processes walk between them the paths that one walks: same noises, same conditions, none of them twice."""
    network, task = Recorder(), task_of(teacher, corpus)
    losses = [loss(task, network, share) for share in (WHOLE, EVEN, ODD)]
    whole, even, odd = ([part.unflatten(0, (-1, JUMPS)) for part in call] for call in network.calls)
    assert len(even[0]) == len(odd[0]) == 2
    for all_of_it, *parts in zip(whole, even, odd, strict=True):
        assert_close(torch.stack([parts[0], parts[1]], 1).flatten(0, 1), all_of_it, rtol=0, atol=1e-5)
    x_t, _, condition, _ = whole
    assert torch.equal(x_t[::2, 0], even[0][:, 0])
    assert torch.equal(condition[1::2], odd[2])
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, abs=1e-6)
    assert losses[1] != pytest.approx(losses[2], abs=1e-5)


def test_steps_differ_and_repeat(teacher: LatentDiffusion, corpus: Corpus):
    """A step's generator decides on its paths: the same again gives the same, another others."""
    network, task = Recorder(), task_of(teacher, corpus)
    assert loss(task, network, seed=3) == loss(task, network, seed=3) != loss(task, network, seed=4)
    assert not torch.equal(network.calls[0][0], network.calls[2][0])


def test_guidance_is_built_into_the_targets(teacher: LatentDiffusion, corpus: Corpus):
    """Paths with guidance 0 are those without a condition, with 1 the plain ones, with 3 others; validation agrees."""
    tasks = {scale: task_of(teacher, corpus, settings(guidance=scale)) for scale in (0.0, 1.0, 3.0)}
    unasked = task_of(teacher, replace(corpus, encoded=corpus.conditions.null(1).expand_as(corpus.encoded)))
    found = {scale: (loss(task, task.network), task.validate(task.network)) for scale, task in tasks.items()}
    assert found[0.0] == pytest.approx((loss(unasked, unasked.network), unasked.validate(unasked.network)), abs=1e-5)
    for place in (0, 1):
        assert abs(found[1.0][place] - found[0.0][place]) > 3e-4
        assert abs(found[3.0][place] - found[1.0][place]) > 3e-4


def test_validation_is_the_distance_between_ends(teacher: LatentDiffusion, corpus: Corpus, monkeypatch: Any):
    """Who never moves is off by the distance between noise and the end of its path; the paths are walked once."""
    task, walked = task_of(teacher, corpus), []
    predict = LatentDiffusion.predict
    monkeypatch.setattr(LatentDiffusion, "predict", lambda self, *rest: (walked.append(1), predict(self, *rest))[1])
    first, again = task.validate(task.network), task.validate(task.network)
    assert first == again
    assert len(walked) == 4
    rows = corpus.validation
    noise = torch.randn(len(rows), *teacher.latent_shape, generator=Generator().manual_seed(0))
    told = corpus.encoded[rows]
    end = path_points(lambda x, t: teacher.predict(x, t, told), noise, teacher.chain.times(4))[-1]
    assert first == pytest.approx(pseudo_huber(noise, end).mean().item(), rel=1e-4)


def test_paths_are_walked_in_full_precision(teacher: LatentDiffusion, corpus: Corpus):
    """What the student is to learn, and is measured by, does not depend on the arithmetic it learns in."""
    shown = []
    for precise in (True, False):
        task = task_of(teacher, corpus)
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            task.validate(task.network)
            loss(task, task.network)
        shown.append((task.ends[0], task.network.calls[-1][0]))
    assert all(torch.equal(a, b) for a, b in zip(*shown, strict=True))


# That it learns


def test_few_steps_come_nearer_to_the_full_path(
    tiny_model: Path, corpus: Corpus, tmp_path: Path, accelerator: Accelerator
):
    """In 40 steps of training, on the model as it is, loss and distance fall by more than a quarter and a third."""
    model = LatentDiffusion.load(tiny_model)
    weights = [p.clone() for p in model.denoiser.parameters()]
    student = few_step_copy(model.denoiser)
    config = settings(steps=40, learning_rate=2e-4, warmup=5, averages=[0.9], validate_every=20)
    task = FewStepTask(student, model, corpus, config, CPU)
    losses, distance = [sum(loss(task, student, seed=100 + i) for i in range(4))], task.validate(student.eval())
    *_, last = fit(task, config.loop, 0, tmp_path, accelerator)
    losses.append(sum(loss(task, student, seed=100 + i) for i in range(4)))
    assert losses[1] < 0.75 * losses[0]
    assert last.validation is not None
    assert task.validate(student) <= last.validation < 0.6 * distance
    assert all(torch.equal(a, b) for a, b in zip(weights, model.denoiser.parameters(), strict=True))
