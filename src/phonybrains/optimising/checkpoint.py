"""The state of a training loop, and its checkpoints: one safetensors file, written whole, checked when read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import TrainingError
from .cache import keep, take


@dataclass
class TrainState:
    """A network, its optimiser, its averaged weights by decay, the best average so far, and the steps made.

    since, total: the steps since the last report, and the sums of their losses and gradient norms.
    Of weights that are frozen it keeps nothing.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    averages: dict[float, dict[str, Tensor]]
    best: dict[str, Tensor]
    best_loss: float = float("inf")
    step: int = 0
    since: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(2))

    @classmethod
    def start(cls, network: nn.Module, optimizer: torch.optim.Optimizer, decays: Sequence[float]) -> TrainState:
        """A state at step 0 whose averages are the network's weights."""
        return cls(network, optimizer, {d: _copy(network) for d in decays}, _copy(network))

    def average(self) -> None:
        """Move each average towards the network, faster in the first steps, so that the start is forgotten."""
        weights = [p.detach() for p in trained(self.network).values()]
        for decay, average in self.averages.items():
            rate = 1 - min(decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(average.values()), weights, rate)  # pyright: ignore[reportPrivateImportUsage]

    def count(self, figures: Tensor) -> None:
        """Add the loss and the gradient norm of a step, (2,), to those since the last report."""
        self.total, self.since = self.total.to(figures) + figures, self.since + 1

    def mean_since_report(self) -> Tensor:
        """Mean loss and gradient norm, (2,), since the last report, which this is."""
        mean = self.total / self.since
        self.total, self.since = torch.zeros_like(self.total), 0
        return mean

    def kept(self, which: str) -> dict[str, Tensor]:
        """The averaged weights to keep: `best`, or `last`, those of the last average."""
        return self.best if which == "best" else list(self.averages.values())[-1]

    @contextmanager
    def using(self, weights: dict[str, Tensor]) -> Iterator[nn.Module]:
        """The network with other weights, for a validation or a sample sheet, in evaluation mode."""
        own = _copy(self.network)
        load_weights(self.network, weights)
        self.network.eval()
        try:
            yield self.network
        finally:
            load_weights(self.network, own)
            self.network.train()

    def save(self, path: Path) -> None:
        """Write a checkpoint; the one before it is there until the new one is whole."""
        tensors = {f"network/{name}": p for name, p in trained(self.network).items()}
        tensors |= {f"best/{name}": p for name, p in self.best.items()}
        for decay, average in self.averages.items():
            tensors |= {f"average/{decay}/{name}": p for name, p in average.items()}
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in entry.items()}
        facts = {"step": str(self.step), "best_loss": repr(self.best_loss), "since": str(self.since)}
        keep(path, tensors | {"total": self.total}, facts)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint, if there is a sound one. Raises TrainingError if it is of another network."""
        found = take(path)
        if found is None:
            return
        tensors, facts = found
        try:
            load_weights(self.network, _below(tensors, "network"))
            self.best = {name: tensors[f"best/{name}"].to(t.device) for name, t in self.best.items()}
            for decay, average in self.averages.items():
                for name, tensor in average.items():
                    tensor.copy_(tensors[f"average/{decay}/{name}"])
            self._restore_optimizer(_below(tensors, "optimizer"))
            self.step, self.best_loss = int(facts["step"]), float(facts["best_loss"])
            self.since, self.total = int(facts.get("since", 0)), tensors.get("total", self.total)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise TrainingError(f"{path}: the checkpoint cannot be used ({error}). Remove it to start over.") from None

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        parameters = list(trained(self.network).values())
        for key, tensor in tensors.items():
            index, name = key.split("/")
            parameter = parameters[int(index)]
            like = tensor.to(parameter.device) if tensor.ndim == 0 else torch.empty_like(parameter).copy_(tensor)
            self.optimizer.state[parameter][name] = like


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a network that are trained, by name: those that want a gradient."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def load_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy named weights into a network's trained parameters."""
    with torch.no_grad():
        for name, parameter in trained(network).items():
            parameter.copy_(weights[name])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trained(network).items()}


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "/"): t for name, t in tensors.items() if name.startswith(prefix + "/")}
