"""Nearness to training images: what is copied is seen, what is new is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from phonybrains.training.copies import CopyWatch
from phonybrains.training.corpus import Corpus


def of_modality(corpus: Corpus, modality: str) -> Tensor:
    return torch.tensor([i for i in corpus.train.tolist() if corpus.modalities[i] == modality])


@pytest.mark.parametrize("edit", [lambda x: x, lambda x: x.flip(-1), lambda x: 0.9 * x], ids=["same", "flip", "dim"])
def test_copies_are_counted(corpus: Corpus, edit) -> None:
    rows = of_modality(corpus, "MR")[:3]
    figures = CopyWatch.of(corpus).figures(edit(corpus.images(rows)), ["MR"] * 3)
    assert figures["nearer than 99 % of validation"] == 3
    assert figures["nearest training image"] > 0.95


def test_validation_images_are_as_near_as_usual(corpus: Corpus) -> None:
    """Of the images that set the threshold, only those above the 99th percentile are unusual: the nearest one."""
    rows = corpus.validation
    figures = CopyWatch.of(corpus).figures(corpus.images(rows), [corpus.modalities[i] for i in rows.tolist()])
    assert figures["nearer than 99 % of validation"] <= len(set(corpus.modalities))
    assert 0 < figures["nearest training image"] < 1


def test_noise_is_near_nothing(corpus: Corpus) -> None:
    noise = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    figures = CopyWatch.of(corpus).figures(noise, ["MR", "CT", "MR", "CT"])
    assert figures["nearer than 99 % of validation"] == 0
    assert figures["nearest training image"] < 0.3


def test_a_modality_that_is_not_known_is_left_out(corpus: Corpus) -> None:
    rows = of_modality(corpus, "MR")[:2]
    assert CopyWatch.of(corpus).figures(corpus.images(rows), [None, "PET"])["nearer than 99 % of validation"] == 0
