"""torch-fidelity's metrics on features, the other implementation that ours is compared with."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]


def is_missing() -> bool:
    """Whether torch-fidelity is not installed."""
    return util.find_spec("torch_fidelity") is None


class StandIn(MagicMock):
    """A module of torchvision that is there to be imported, and does nothing."""

    __path__: list[str] = []
    __spec__ = None


class StandInFinder(MetaPathFinder, Loader):
    """Finds a stand-in for every module of torchvision."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> Any:
        return StandIn(name=spec.name)

    def exec_module(self, module: Any) -> None:
        pass


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Import what only reads pictures with torchvision, where that is not installed or does not fit this torch."""
    try:
        importlib.import_module("torchvision")
        yield
        return
    except (ImportError, RuntimeError):
        pass
    finder = StandInFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]


def metric(name: str) -> ModuleType:
    """A module of torch-fidelity, its arithmetic as it is."""
    with without_torchvision():
        return importlib.import_module(f"torch_fidelity.{name}")


def kid(x: Array, y: Array) -> float:
    """Its KID of all images at once, both sides equally many."""
    of = metric("metric_kid").kid_features_to_metric
    found = of(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=len(x), verbose=False)
    return found["kernel_inception_distance_mean"]


def fid(x: Array, y: Array) -> float:
    """Its FID."""
    module = metric("metric_fid")
    sides = [module.fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    return module.fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"]


def precision_recall(made: Array, real: Array, k: int) -> tuple[float, float]:
    """Its precision and recall."""
    of = metric("metric_prc").prc_features_to_metric
    sides = torch.from_numpy(np.asarray(made, np.float64)), torch.from_numpy(np.asarray(real, np.float64))
    found = of(*sides, prc_neighborhood=k, verbose=False)
    return found["precision"], found["recall"]
