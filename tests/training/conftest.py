"""What tests of training share: a corpus in memory, an accelerator, and models of seconds, each trained once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

import phonybrains.training.inspection as inspection
from phonybrains.imageset import ImageSet
from phonybrains.training.config import TrainConfig
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.stage import train
from tests.conftest import one_at_a_time
from tests.support.tiny_training import CPU, NAMES, OFF, micro


def beginning(model: Path | str | None, **parts: Any) -> TrainConfig:
    """A training that starts from a model and makes steps in the given parts alone."""
    off = dict.fromkeys(("autoencoder", "denoiser", "few_step"), OFF)
    return micro(**{"conditions": NAMES, "min_patients": 0, "start": model and str(model)} | off | parts)


@pytest.fixture(scope="module")
def corpus(phantom_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The phantoms with the conditions of tiny_model."""
    images = ImageSet.open(phantom_corpus)
    return Corpus.open(images, check_corpus(images, NAMES, 32), tmp_path_factory.mktemp("work"), CPU)


@pytest.fixture(autouse=True)
def few_images_on_a_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "COUNT", 2)


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(scope="session")
def micro_model(shared_folder: Path, phantom_corpus: Path) -> Callable[[int], Path]:
    """The model of `micro` on the phantoms, by seed; do not change it, copy it."""

    def trained(seed: int) -> Path:
        with one_at_a_time(shared_folder, f"micro-{seed}") as out:
            return train(phantom_corpus, out, micro(seed=seed), show=False)

    return trained
