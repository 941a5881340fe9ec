"""The training loop. Every step owns its random numbers, so a run taken up again ends where an undisturbed one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Generator, Tensor, nn

from ..errors import TrainingError
from ..process_wide import whole_steps
from .checkpoint import TrainState, load_weights, trained
from .compiling import compiled
from .config import LoopConfig

CHECK_EVERY = 50


class Task(Protocol):
    """What is trained: a network, its loss on one step's share of a batch, and its loss on the validation images.

    A task may have `betas` of its own, the decays of Adam's two moments.
    """

    name: str
    network: nn.Module

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor: ...
    def validate(self, network: nn.Module) -> float: ...


@dataclass(frozen=True)
class Milestone:
    """Where a loop stands: mean training loss since the last report, and the validation loss if it was taken."""

    task: str
    step: int
    steps: int
    loss: float
    validation: float | None = None

    def __str__(self) -> str:
        validation = "" if self.validation is None else f", validation {self.validation:.4f}"
        return f"{self.task} {self.step}/{self.steps}: loss {self.loss:.4f}{validation}"


def fit(
    task: Task,
    config: LoopConfig,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
    compile: bool = False,
    on_step: Callable[[int], object] = lambda step: None,
) -> Iterator[Milestone]:
    """Train a task to its end, from its last checkpoint in `folder` if there is one, and report progress.

    While it reports a validation, the network holds the averaged weights that would be kept; at the end it holds them
    for good. on_step is told how many steps are made, after each.
    Ctrl-C during a step ends that step and leaves a checkpoint of it, where one process trains; closing the iterator
    early, or an exception inside, leaves the last checkpoint.
    Raises TrainingError at a loss, gradient or validation loss that is not finite; the weights at the start are never
    the best, unless no step is made.
    """
    checkpoint = folder / f"{task.name}.safetensors"
    betas = getattr(task, "betas", (0.9, 0.99))
    how: Any = {"lr": config.learning_rate, "betas": betas, "weight_decay": config.weight_decay}
    optimizer = torch.optim.AdamW(trained(task.network).values(), **how, fused=True)
    state = TrainState.start(task.network, optimizer, config.averages)
    state.restore(checkpoint)
    network: nn.Module = accelerator.prepare_model(task.network)
    if compile:  # for the training step alone: validation comes in other sizes, each of which would be compiled anew
        network = compiled(network)
    share = slice(accelerator.process_index, config.batch_size, accelerator.num_processes)
    alone = accelerator.num_processes == 1
    network.train()
    while True:
        due = [
            state.step % every == 0 or state.step == config.steps
            for every in (CHECK_EVERY, config.validate_every, config.checkpoint_every)
        ]
        if state.since and any(due):
            means: Any = accelerator.reduce(state.mean_since_report(), "mean")
            mean = _finite(task, state, means, checkpoint)
            validation = _validate(task, state, accelerator, checkpoint) if due[1] else None
            with state.using(state.kept(config.keep)) if validation is not None else nullcontext():
                yield Milestone(task.name, state.step, config.steps, mean, validation)
            if (due[1] or due[2]) and accelerator.is_main_process:
                state.save(checkpoint)  # after the report, so that no report is missing when a stopped run goes on
        if state.step >= config.steps:
            break
        with whole_steps(alone) as interrupted:
            rng = step_rng(seed, task.name, state.step, accelerator)
            with accelerator.autocast():
                loss = task.loss(network, rng, share)
            state.count(_descend(state, loss, config, accelerator))
        on_step(state.step)
        if interrupted():
            state.save(checkpoint)
            raise KeyboardInterrupt
    load_weights(task.network, state.kept(config.keep))
    task.network.eval()


def step_rng(seed: int, name: str, step: int, accelerator: Accelerator) -> Generator:
    """The generator of one step: the same for all processes; dropout's global generator differs between them."""
    words = np.random.SeedSequence([seed, *name.encode(), step]).generate_state(2)
    torch.manual_seed(int(words[1]) + accelerator.process_index)
    return Generator().manual_seed(int(words[0]))


def _descend(state: TrainState, loss: Tensor, config: LoopConfig, accelerator: Accelerator) -> Tensor:
    """One step down the gradient; returns (loss, gradient norm)."""
    rising = min(1.0, (state.step + 1) / max(1, config.warmup))
    falling = min(1.0, (config.steps - state.step) / max(1.0, config.cooldown * config.steps))
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * rising * falling
    accelerator.backward(loss)
    norm = nn.utils.clip_grad_norm_(trained(state.network).values(), config.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)  # before the next loss, whose memory may be that of these gradients
    state.step += 1
    state.average()
    return torch.stack([loss.detach().float(), norm])


def _finite(task: Task, state: TrainState, means: Tensor, checkpoint: Path) -> float:
    """The mean loss of (loss, gradient norm); a bad gradient spoils the weights before the loss shows it."""
    loss, norm = means.tolist()
    if not math.isfinite(loss + norm):
        raise _diverged(task, state, "loss or its gradient", checkpoint)
    return loss


def _diverged(task: Task, state: TrainState, what: str, checkpoint: Path) -> TrainingError:
    kept = f"the last good checkpoint is {checkpoint.name}" if checkpoint.exists() else "no checkpoint was made yet"
    return TrainingError(
        f"{task.name}: the {what} is not finite at step {state.step}; {kept}. "
        'Lower the learning rate, or set precision = "fp32".'
    )


def _validate(task: Task, state: TrainState, accelerator: Accelerator, checkpoint: Path) -> float:
    """The lowest validation loss of the averages, which becomes the best if it beats all before."""
    lowest = float("inf")
    for weights in state.averages.values():
        with state.using(weights) as network, torch.no_grad(), accelerator.autocast():
            loss = task.validate(network)
        if not math.isfinite(loss):
            raise _diverged(task, state, "validation loss", checkpoint)
        lowest = min(lowest, loss)
        if loss < state.best_loss:
            state.best_loss, state.best = loss, {name: t.clone() for name, t in weights.items()}
    return lowest
