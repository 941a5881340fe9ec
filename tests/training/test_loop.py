"""The training loop by itself, on a task whose answer is known: reports, averages, resume, and bad numbers."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, safe_open
from torch import Generator, Tensor, nn

from phonybrains.errors import TrainingError
from phonybrains.optimising.config import LoopConfig
from phonybrains.optimising.loop import Milestone, fit, step_rng

Spoil = Callable[[int, Tensor], Tensor]


class Line:
    """A task: find the slope and offset of noisy points on y = 3x - 1, with dropout on the way."""

    name = "line"

    def __init__(self, seed: int = 0, spoil: Spoil = lambda step, loss: loss, dropout: float = 0.0) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = nn.Sequential(nn.Linear(1, 1), nn.Dropout(dropout))
        self.spoil, self.step, self.validations = spoil, 0, 0

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        self.step += 1
        x = torch.randn(8, 1, generator=rng)
        y = 3 * x - 1 + 0.1 * torch.randn(8, 1, generator=rng)
        return self.spoil(self.step, (network(x[share]) - y[share]).square().mean())

    def validate(self, network: nn.Module) -> float:
        self.validations += 1
        x = torch.linspace(-1, 1, 9)[:, None]
        return (network(x) - (3 * x - 1)).square().mean().item()


def config(**values: object) -> LoopConfig:
    plain: dict[str, object] = {"steps": 60, "batch_size": 8, "learning_rate": 0.1, "warmup": 5}
    often = {"averages": (0.5, 0.9), "validate_every": 20, "checkpoint_every": 10}
    return LoopConfig.model_validate(plain | often | values)


def run(task: Line, folder: Path, accelerator: Accelerator, seed: int = 0, **values: object) -> list[Milestone]:
    """Train to the end, in a folder that is made."""
    folder.mkdir(exist_ok=True)
    return list(fit(task, config(**values), seed, folder, accelerator))


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """To the bit, in every weight."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def saved(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "line.safetensors")


def steps_saved(folder: Path) -> int:
    with safe_open(folder / "line.safetensors", "pt") as file:
        return int(file.metadata()["step"])


def test_it_learns_the_line(tmp_path: Path, accelerator: Accelerator):
    """The loss falls to the noise, the weights to slope 3 and offset -1, and the network is left ready for use."""
    task = Line()
    reports = run(task, tmp_path, accelerator, steps=300)
    assert reports[0].loss > 1
    assert reports[-1].loss < 0.03
    slope, offset = (p.item() for p in task.network.parameters())
    assert slope == pytest.approx(3, abs=0.05)
    assert offset == pytest.approx(-1, abs=0.05)
    assert not task.network.training


def test_reports_come_when_due(tmp_path: Path, accelerator: Accelerator):
    """Every 50 steps, at each validation and checkpoint, and at the end; the loss is the mean since the last report."""
    task = Line(spoil=lambda step, loss: loss * 0 + step)
    reports = run(task, tmp_path, accelerator, steps=110, validate_every=40, checkpoint_every=25)
    assert [r.step for r in reports] == [25, 40, 50, 75, 80, 100, 110]
    assert [r.step for r in reports if r.validation is not None] == [40, 80, 110]
    ends = [0, 25, 40, 50, 75, 80, 100, 110]
    assert [r.loss for r in reports] == pytest.approx([(a + 1 + b) / 2 for a, b in pairwise(ends)])
    assert {(r.task, r.steps) for r in reports} == {("line", 110)}


def test_learning_rate_rises_and_falls(tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch):
    """It rises over the warm-up to its full value, and falls over the last share of the steps towards zero."""
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def recorded(self: torch.optim.AdamW, *args: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    run(Line(), tmp_path, accelerator, steps=20, warmup=4, cooldown=0.5, learning_rate=1.0)
    assert rates == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 8 + [i / 10 for i in range(9, 0, -1)])


def test_gradients_are_clipped(tmp_path: Path, accelerator: Accelerator):
    """A gradient a million times too long moves the moments no further than the clip."""
    task = Line(spoil=lambda step, loss: loss * 1e6)
    run(task, tmp_path, accelerator, steps=1, clip=0.5, checkpoint_every=1)
    moments = [saved(tmp_path)[f"optimizer/{i}/exp_avg"] for i in range(2)]
    assert sum(m.square().sum().item() for m in moments) == pytest.approx((0.1 * 0.5) ** 2, rel=1e-3)


def test_the_best_average_is_kept(tmp_path: Path, accelerator: Accelerator):
    """Of all averages at all validations, the one with the lowest loss is what the network holds in the end."""
    task, seen = Line(), []

    def validate(network: nn.Module) -> float:
        loss = [9.0, 8.0, 2.0, 3.0, 5.0, 4.0][len(seen)]
        seen.append(weights(network))
        return loss

    task.validate = validate  # type: ignore[method-assign]
    reports = run(task, tmp_path, accelerator)
    assert [r.validation for r in reports if r.validation is not None] == [8.0, 2.0, 4.0]
    assert same(weights(task.network), seen[2])
    assert not torch.equal(seen[2][0], seen[3][0])


def test_the_last_average_is_kept_if_asked_for(tmp_path: Path, accelerator: Accelerator):
    """Whatever the validation losses: the last of the averages, at each validation and in the end."""
    task, seen = Line(), []

    def validate(network: nn.Module) -> float:
        seen.append(weights(network))
        return float(len(seen))

    task.validate = validate  # type: ignore[method-assign]
    for progress in fit(task, config(keep="last"), 0, tmp_path, accelerator):
        if progress.validation is not None:
            assert same(weights(task.network), seen[-1])
    assert len(seen) == 6
    assert same(weights(task.network), seen[-1])
    assert torch.equal(weights(task.network)[0], saved(tmp_path)["average/0.9/0.weight"])


def test_at_a_validation_the_network_is_the_best_one(tmp_path: Path, accelerator: Accelerator):
    """Where a sheet is drawn, the network is the best average and does not train; training goes on with its own."""
    task, during = Line(), {}
    for progress in fit(task, config(), 0, tmp_path, accelerator):
        during[progress.step] = (weights(task.network), task.network.training)
    undisturbed = Line()
    run(undisturbed, tmp_path / "other", accelerator)
    assert not during[20][1]
    assert during[10][1]
    assert torch.equal(during[60][0][0], saved(tmp_path)["best/0.weight"])
    assert torch.equal(weights(task.network)[0], weights(undisturbed.network)[0])


def test_validation_does_not_disturb_training(tmp_path: Path, accelerator: Accelerator):
    """Validating often or seldom gives the same weights, moments and averages to the bit; only the choice differs."""
    states = []
    for every in (1, 7, 60):
        task = Line(dropout=0.3)
        run(task, tmp_path / str(every), accelerator, validate_every=every)
        states.append({k: v for k, v in saved(tmp_path / str(every)).items() if not k.startswith("best/")})
    for other in states[1:]:
        assert other.keys() == states[0].keys()
        assert all(torch.equal(tensor, states[0][name]) for name, tensor in other.items())


@pytest.mark.parametrize("stop", [1, 10, 15, 20, 47, 59])
def test_stopped_anywhere_it_ends_the_same(tmp_path: Path, accelerator: Accelerator, stop: int):
    """Interrupted at any step and taken up again, weights and reports are those of an undisturbed run to the bit."""
    whole = Line(dropout=0.3)
    expected = run(whole, tmp_path / "whole", accelerator)

    def interrupt(step: int, loss: Tensor) -> Tensor:
        if step > stop:
            raise KeyboardInterrupt
        return loss

    reports: list[Milestone] = []
    with pytest.raises(KeyboardInterrupt):
        reports.extend(fit(Line(spoil=interrupt, dropout=0.3), config(), 0, tmp_path, accelerator))
    again = Line(seed=1, dropout=0.3) if stop >= 10 else Line(dropout=0.3)
    later = run(again, tmp_path, accelerator)
    assert again.step == 60 - stop // 10 * 10
    assert same(weights(again.network), weights(whole.network))
    assert later == [r for r in expected if r.step > stop // 10 * 10]


@pytest.mark.parametrize("stop", [13, 20, 60])
def test_control_c_keeps_the_step_it_came_in(stop: int, tmp_path: Path, accelerator: Accelerator):
    """A signal during a step, also one that is due a report, ends that step and keeps it; nothing else is different."""
    whole = Line(dropout=0.3)
    expected = run(whole, tmp_path / "whole", accelerator)

    def interrupt(step: int, loss: Tensor) -> Tensor:
        if step == stop:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    reports, steps = list[Milestone](), list[int]()
    with pytest.raises(KeyboardInterrupt):
        reports.extend(fit(Line(spoil=interrupt, dropout=0.3), config(), 0, tmp_path, accelerator, False, steps.append))
    assert steps == [*range(1, stop + 1)]
    assert steps_saved(tmp_path) == stop
    again = Line(seed=1, dropout=0.3)
    later = run(again, tmp_path, accelerator)
    assert again.step == 60 - stop
    assert same(weights(again.network), weights(whole.network))
    assert later == [r for r in expected if r.step >= stop]


def test_a_report_comes_before_its_checkpoint(tmp_path: Path, accelerator: Accelerator):
    """Who is stopped while reporting step 20 gets step 20 reported again: no report can be lost."""
    loop = fit(Line(), config(), 0, tmp_path, accelerator)
    assert next(p.step for p in loop if p.step == 20) == 20
    loop.close()  # type: ignore[attr-defined]
    assert steps_saved(tmp_path) == 10
    assert next(fit(Line(), config(), 0, tmp_path, accelerator)).step == 20


def test_a_finished_loop_is_only_loaded(tmp_path: Path, accelerator: Accelerator):
    """At the last step nothing is trained or reported again; the network gets the best weights."""
    first = Line()
    run(first, tmp_path, accelerator)
    again = Line(seed=1)
    assert run(again, tmp_path, accelerator) == []
    assert again.step == 0
    assert same(weights(again.network), weights(first.network))
    assert not again.network.training


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops(tmp_path: Path, accelerator: Accelerator, value: float):
    """The error names the task, the step and the checkpoint that is kept, which is from before and finite."""
    task = Line(spoil=lambda step, loss: loss * value if step == 34 else loss)
    words = r"line: .* not finite at step 40; .* checkpoint is line\.safetensors.*rate"
    with pytest.raises(TrainingError, match=words):
        run(task, tmp_path, accelerator)
    assert steps_saved(tmp_path) == 30
    assert all(bool(t.isfinite().all()) for t in saved(tmp_path).values())


def test_a_bad_gradient_stops_before_it_is_saved(tmp_path: Path, accelerator: Accelerator):
    """A finite loss with an infinite gradient spoils the weights in the very step that is checkpointed."""

    def spoil(step: int, loss: Tensor) -> Tensor:
        return loss + (0 * loss).sqrt() if step == 30 else loss  # the derivative of √ at 0

    with pytest.raises(TrainingError, match="not finite at step 30"):
        run(Line(spoil=spoil), tmp_path, accelerator)
    assert steps_saved(tmp_path) == 20
    assert all(bool(t.isfinite().all()) for t in saved(tmp_path).values())


def test_a_loss_that_is_bad_at_once(tmp_path: Path, accelerator: Accelerator):
    """Where there is no checkpoint yet, the error says so."""
    with pytest.raises(TrainingError, match="at step 10; no checkpoint was made yet"):
        run(Line(spoil=lambda step, loss: loss * math.nan), tmp_path, accelerator)
    assert list(tmp_path.iterdir()) == []


def test_an_enormous_learning_rate_stops(tmp_path: Path, accelerator: Accelerator):
    """Weights that run away end in the error, not in a model."""
    wild = config(warmup=0).model_copy(update={"learning_rate": 1e38})
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        list(fit(Line(), wild, 0, tmp_path, accelerator))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_validation_loss_that_is_not_finite_stops(tmp_path: Path, accelerator: Accelerator, value: float, keep: str):
    """However good the training loss is: weights that validation cannot judge are not kept, and the start's neither."""
    task = Line()
    task.validate = lambda network: value  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"the validation loss is not finite at step 20; .* line\.safetensors"):
        run(task, tmp_path, accelerator, keep=keep)
    assert steps_saved(tmp_path) == 10


def test_the_start_is_never_the_best(tmp_path: Path, accelerator: Accelerator):
    """Weights that get worse: the best of those trained is kept, not those of step 0; without steps they stay."""
    task, losses = Line(), iter([5.0, 5.0, 6.0, 6.0, 7.0, 7.0])
    first = weights(task.network)
    task.validate = lambda network: next(losses)  # type: ignore[method-assign]
    run(task, tmp_path, accelerator)
    assert not any(torch.equal(a, b) for a, b in zip(weights(task.network), first, strict=True))
    idle = Line()
    assert run(idle, tmp_path / "none", accelerator, steps=0) == []
    assert same(weights(idle.network), first)


def test_every_step_owns_its_random_numbers(accelerator: Accelerator):
    """Seed, task and step each change the generator, and dropout's global one; nothing that went before does."""
    torch.rand(5)
    first = torch.rand(3, generator=step_rng(0, "line", 7, accelerator)), torch.rand(3)
    torch.rand(9)
    again = torch.rand(3, generator=step_rng(0, "line", 7, accelerator)), torch.rand(3)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    draws = {first[0].numpy().tobytes()}
    for seed, name, step in ((1, "line", 7), (0, "lien", 7), (0, "line", 8), (7, "line", 0)):
        draws.add(torch.rand(3, generator=step_rng(seed, name, step, accelerator)).numpy().tobytes())
    assert len(draws) == 5
    assert len({step_rng(0, "line", step, accelerator).initial_seed() for step in range(1000)}) == 1000


def test_another_seed_is_another_run(tmp_path: Path, accelerator: Accelerator):
    """The same start with other random numbers ends elsewhere."""
    ends = []
    for seed in (0, 0, 1):
        task = Line()
        run(task, tmp_path / str(len(ends)), accelerator, seed)
        ends.append(weights(task.network))
    assert torch.equal(ends[0][0], ends[1][0])
    assert not torch.equal(ends[0][0], ends[2][0])
