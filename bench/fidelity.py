"""torch-fidelity's metrics on features, the other implementation that ours is compared with."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import util
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


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Import what only reads pictures with torchvision, where that is not installed or does not fit this torch."""
    try:
        importlib.import_module("torchvision")
        yield
        return
    except (ImportError, RuntimeError):
        pass
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
    before = {name: sys.modules.get(name) for name in names}
    stand_in = MagicMock()
    stand_in.__spec__ = None
    sys.modules.update(dict.fromkeys(names, stand_in))
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


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


Metric = Callable[[Array, Array], Any]
