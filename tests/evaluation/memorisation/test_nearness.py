"""Nearness to training people: at its level for new people, beyond it for repeated ones, silent where few are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.stats import mannwhitneyu

from phonybrains.evaluation.findings import NearnessSign
from phonybrains.evaluation.memorisation import nearness
from phonybrains.evaluation.memorisation.nearness import Closeness, closeness_of, nearness_of, nearness_signs, sign_of
from phonybrains.evaluation.memorisation.search import ByRegistration
from phonybrains.imageset import ImageSet
from tests.support.image_files import written


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def crowd(rng: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Six images of each of n people that are much alike, and whose they are."""
    centres, owner = rng.normal(size=(n, 6)), np.repeat(np.arange(n), 6)
    return centres[owner] + 0.2 * rng.normal(size=(6 * n, 6)), owner


def close_to(rng: Generator, made: np.ndarray, images: np.ndarray, owner: np.ndarray) -> Closeness:
    """The closeness of vectors: people in both splits, three quarters of them for training."""
    n = int(owner.max()) + 1
    trained = np.zeros(n, dtype=bool)
    trained[rng.permutation(n)[: n * 3 // 4]] = True

    def of_each(x: np.ndarray) -> np.ndarray:
        alike = -np.linalg.norm(x[:, None] - images, axis=2)
        return np.stack([alike[:, owner == i].max(axis=1) for i in range(n)], axis=1)

    names, near = [str(i) for i in range(n)], of_each(made)
    return Closeness(near, near < -1, of_each(images), owner, range(len(owner)), names, trained, "x")


def test_innocent_sets_are_nearer_by_chance_only(rng: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """New people's images, alike by six, and images nearer to everybody than any person is: 1 in 20 is called nearer to
    training people, while the plain Mann-Whitney test of C_T rejects most of the latter."""
    monkeypatch.setattr(nearness, "PERMUTATIONS", 199)
    called, plain, n = {1.0: 0, 0.4: 0}, 0, 60
    for _ in range(n):
        images, owner = crowd(rng, 24)
        for scale in called:
            close = close_to(rng, crowd(rng, 10)[0] * scale, images, owner)
            called[scale] += sign_of(nearness_of(close), "CT").word != "passed"
        held = close.real[~close.trained[close.owner]][:, close.trained].max(axis=1)
        plain += mannwhitneyu(close.made[:, close.trained].max(axis=1), held, alternative="greater").pvalue < 0.001
    assert max(called.values()) <= 7  # 3 expected at 5 %; more than 7 in 1 of 100 runs; of a test at 25 %, in 99
    assert plain > n / 2


def test_repeated_people_are_found(rng: Generator) -> None:
    """Images beside those of all training people fail: nearest to them almost always, C_T below -3; half of them among
    new people's are more than chance."""
    images, owner = crowd(rng, 32)
    close = close_to(rng, images[:1], images, owner)
    taught = images[close.trained[owner]]
    made = taught[rng.permutation(len(taught))[:80]] + 0.02 * rng.normal(size=(80, 6))
    apart = np.linalg.norm(made[:, None] - images, axis=2)
    near = -np.stack([apart[:, owner == i].min(axis=1) for i in range(32)], axis=1)
    scores, (sign,) = nearness_signs(replace(close, made=near, authentic=np.zeros((80, 32))), "CT")
    assert isinstance(sign, NearnessSign)
    assert sign.word == "failed"
    assert sign.nearest_share > 0.95
    assert sign.copying_z < -3
    assert "most images lie nearer to training people than chance gives" in sign.text
    by_name = {score.name: score for score in scores}
    assert by_name["copying_z"].value == pytest.approx(sign.copying_z)
    share = by_name["nearest_share"]
    assert share.null is not None
    assert share.null.low < 0.75 < share.null.high < (share.value or 0)


def test_too_few_people_cannot_change_sides(rng: Generator) -> None:
    """One held-out person among twelve can be any of twelve: no p below 1/12, so that nothing is said, but why."""
    images, owner = crowd(rng, 12)
    close = replace(close_to(rng, images, images, owner), trained=np.arange(12) > 0, owner=owner * (owner > 1))
    scores, (sign,) = nearness_signs(close, "MR")
    assert sign.word == "undecided"
    assert "11 training and 1 held-out people can change sides in only 12 ways" in sign.text
    assert [score.value for score in scores] == [None] * 3


def test_closeness_sees_mirror_images(corpus: ImageSet, training: ImageSet, tmp_path: Path) -> None:
    """A mirrored training image is as close to its person as the image itself, and not authentic."""
    mirrored = written(tmp_path / "mirrored", [corpus.pixels(i)[:, ::-1] for i in (0, 9)])
    held_out = [i for i, row in enumerate(corpus.rows) if row.split == "test"]
    close = closeness_of(ByRegistration.of(training), mirrored, corpus, held_out)
    nearest = close.made.argmax(axis=1)
    assert [close.names[i] for i in nearest] == ["person-0", "person-4"]
    assert close.made.max(axis=1) == pytest.approx(1, abs=1e-4)
    assert not close.authentic[[0, 1], nearest].any()
    assert (close.trained.sum(), close.held_out) == (58, 16)
