"""The audit of what is small: copies drawn at a part of their size, and sets of a few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binom

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.inputs.thumbnails import close_ups, contents, is_small, thumbnails
from phonybrains.evaluation.memorisation.part import memorisation_audit
from phonybrains.evaluation.memorisation.search import ByRegistration
from phonybrains.evaluation.memorisation.threshold import LEAST_POWER, SHARE, power
from phonybrains.imageset import ImageSet, Pixels, Row, write_metadata, write_png
from phonybrains.phantom.corpus import make_phantoms

SIZE = 128


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return ImageSet.open(
        make_phantoms(
            60,
            tmp_path_factory.mktemp("corpus") / "c",
            seed=1,
            size=SIZE,
            synthetic=False,
            slices_per_patient=2,
            modalities=("CT",),
        )
    )


def drawn_small(pixels: Pixels, scale: float, right: float = 0.0) -> Pixels:
    """An image drawn at a part of its size on black, moved to the right by a share of the frame."""
    side = round(scale * SIZE)
    frame, top = np.zeros((SIZE, SIZE), np.uint8), (SIZE - side) // 2
    left = top + round(right * SIZE)
    frame[top : top + side, left : left + side] = np.asarray(
        Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
    )
    return frame


def written(folder: Path, images: list[Pixels]) -> ImageSet:
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, image in enumerate(images):
        name = f"images/{number:03d}.png"
        rows.append(Row(name, write_png(folder / name, image), "CT", synthetic=True))
    write_metadata(folder, rows)
    return ImageSet.open(folder)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (0.6, 0.1), (0.35, -0.2)])
def test_copies_drawn_small_are_found(corpus: ImageSet, tmp_path: Path, scale: float, shift: float) -> None:
    """All but one at most are nearest to their own training image, and nearer than any head of other people."""
    training = corpus.where(split="train")
    search, chosen = ByRegistration.of(training), np.arange(0, len(training), 6)
    copies = written(tmp_path / "copies", [drawn_small(training.pixels(int(i)), scale, shift) for i in chosen])
    others = ImageSet.open(make_phantoms(20, tmp_path / "others", seed=7, size=SIZE, modalities=("CT",)))
    found = search.found(copies, range(len(copies)))
    right = (found.index == chosen) & (found.score > search.found(others, range(len(others))).score.max())
    assert right.sum() >= len(chosen) - 1


def test_an_audit_of_copies_at_half_the_size_fails(corpus: ImageSet, tmp_path: Path) -> None:
    """A set that would show training people to anybody who enlarges it does not pass."""
    train = [i for i, row in enumerate(corpus.rows) if row.split == "train"]
    samples = written(tmp_path / "s", [drawn_small(corpus.pixels(i), 0.5) for i in train[:16]])
    assert memorisation_audit(samples, corpus, EvaluateConfig()).facts.status == "failed"


def test_close_ups_are_the_same_however_large_a_head_is_drawn(corpus: ImageSet) -> None:
    """What an image shows fills ten elevenths of its close-up; only what is drawn small is looked at so."""
    whole = corpus.pixels(0)
    small = drawn_small(whole, 0.5, 0.15)
    assert is_small(thumbnails(np.stack([whole, small, np.zeros_like(whole)]))).tolist() == [False, True, False]
    (_, _), (top, bottom) = contents(close_ups(np.stack([whole, small])))
    assert ((bottom - top) / 2).tolist() == pytest.approx([10 / 11] * 2, abs=2 / 64)


def test_the_power_of_an_audit_by_hand() -> None:
    """One image: the chance that it is a copy, or flagged by chance. Of twelve, two must be flagged."""
    assert power(1, 0.01, 0.25, 0.05) == pytest.approx(0.25 + 0.75 * 0.01)
    assert power(12, 0.01, 0.25, 0.05) == pytest.approx(binom.sf(1, 12, 0.2575))
    assert power(1, 0.2, 0.25, 0.05) == 0  # by chance one is flagged too often
    assert power(200, 0.01, SHARE, 0.05) > 0.999


@pytest.mark.parametrize(("n", "word"), [(1, "undecided"), (4, "undecided"), (20, "passed")])
def test_a_few_images_decide_nothing(corpus: ImageSet, tmp_path: Path, n: int, word: str) -> None:
    """One image of nobody used to pass; now the reason is said, with the chance that so few would show copies."""
    made = ImageSet.open(make_phantoms(n, tmp_path / "new", seed=8, size=SIZE, modalities=("CT",)))
    found = memorisation_audit(made, corpus, EvaluateConfig())
    copies = next(sign for sign in found.facts.signs if sign.look == "copies")
    assert copies["word"] == word
    assert ("too few images to tell" in copies["text"]) == (word == "undecided")
    assert LEAST_POWER == 0.8
