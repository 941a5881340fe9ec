"""One served model for all tests, in the test's own process, and the same model to compare its images with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.serving.batcher import LANES_CPU
from tests.support.served_model import ServedModel, serving

Generated = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Iterator[LatentDiffusion]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield LatentDiffusion.load(tiny_model)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_server(tiny_model: Path, model: LatentDiffusion) -> Iterator[ServedModel]:
    with serving(tiny_model) as running:
        yield running


@pytest.fixture(scope="session")
def generated(model: LatentDiffusion) -> Generated:
    """What `phonybrains generate --batch-size 4` makes on one core: seed, images, conditions, sampling."""

    @cache
    def make(seed: int, n: int, modality: str = "", **how: Any) -> np.ndarray:
        whole, where = -(-n // LANES_CPU) * LANES_CPU, {"modality": modality} if modality else {}
        return model.generate(whole, where, seed=seed, batch_size=LANES_CPU, **({"steps": 2} | how)).images[:n]

    return make
