"""The memorisation audit finds planted copies, lets strangers pass, and says how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.ndimage import gaussian_filter
from scipy.stats import betabinom

from bench.planted_copies import EDITS, moved, plant
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.inputs.thumbnails import EDGES, blurred, local, thumbnails
from phonybrains.evaluation.memorisation.part import memorisation_audit
from phonybrains.evaluation.memorisation.registration import CopySearch, Matches, refine, weighed
from phonybrains.evaluation.memorisation.threshold import audit_p, calibrate, chances, excess_p
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png
from phonybrains.phantom.corpus import draw_phantom, make_phantoms

Pixels = np.ndarray


def heads(n: int, seed: int, modality: str = "MR") -> Pixels:
    """Axial phantoms of 96×96 pixels, each of another patient, without much noise."""
    return np.stack([draw_phantom(default_rng([seed, i]), modality, size=96, noise=0.5)[0] for i in range(n)])


@pytest.fixture(scope="module")
def training() -> Pixels:
    return heads(80, 1)


@pytest.fixture(scope="module")
def search(training: Pixels) -> CopySearch:
    return CopySearch(thumbnails(training))


@pytest.fixture(scope="module")
def strangers(search: CopySearch) -> Matches:
    return search.nearest(thumbnails(heads(100, 2)))


@pytest.mark.parametrize("edit", EDITS)
def test_planted_copies_are_found(search: CopySearch, strangers: Matches, training: Pixels, edit: str) -> None:
    """At 1 % false positives: all of the simple edits, mirrored and inverted ones too, most of the mixed ones."""
    images, chosen = plant(training, edit, 8)
    found = search.nearest(thumbnails(images))
    threshold = calibrate(strangers.score, each(100)).threshold
    right = (found.score > threshold) & (found.index == chosen)
    assert right.sum() >= {"crop 80 %": 6, "all edits": 7, "all edits of a blend": 2}.get(edit, 8)
    if edit in ("exact", "flip", "inversion"):
        assert found.score.min() > 0.999


def test_strangers_stay_below(search: CopySearch, strangers: Matches) -> None:
    """Half of the unseen heads set a threshold that few of the other half exceed; none is taken for a copy."""
    threshold = calibrate(strangers.score[:50], list(map(str, range(50)))).threshold
    assert (strangers.score[50:] > threshold).mean() <= 0.1
    assert strangers.score.max() < 0.95
    assert np.abs(strangers.correlation).max() <= 1 + 1e-5


def test_registration_recovers_a_known_move(training: Pixels) -> None:
    """A head turned by 5°, scaled by 1.04 and shifted: the pose says where each of its places went."""
    image = moved(training[0].astype(float), degrees=5, scale=1.04, down=6, right=-4)
    query, target = (local(thumbnails(x[None].clip(0, 255).astype(np.uint8)), EDGES) for x in (image, training[0]))
    affine, alike = refine(query, target, torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]), 25)
    matrix = affine[0, :, :2].numpy()
    assert alike.item() > 0.9
    assert np.sqrt(np.linalg.det(matrix)) == pytest.approx(1.04, abs=0.01)
    assert np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])) == pytest.approx(
        -5, abs=0.5
    )
    assert affine[0, :, 2].tolist() == pytest.approx([-8 / 256, 12 / 256], abs=0.006)


@pytest.mark.parametrize(
    "fill", [lambda i: np.zeros((96, 96), np.uint8), lambda i: np.full((96, 96), 40 * i, np.uint8)]
)
def test_empty_images_are_like_nothing(search: CopySearch, fill: Callable[[int], Pixels]) -> None:
    """Images without any structure score next to nothing, as queries and as training images."""
    blank = thumbnails(np.stack([fill(i) for i in range(4)]))
    assert search.nearest(blank).score.max() < 0.1
    assert CopySearch(blank).nearest(search.images[:2]).score.max() < 0.1


def test_the_search_does_not_depend_on_the_depth(search: CopySearch, training: Pixels) -> None:
    """The same images in 16 bits give the same scores."""
    found = search.nearest(thumbnails(training[:3].astype(np.uint16) * 257))
    assert found.index.tolist() == [0, 1, 2]
    assert found.score.min() > 0.999


@pytest.mark.parametrize("blocks", [1, 8, 32, 64])
def test_a_correlation_is_worth_as_much_as_half_of_the_image_would_make_it(blocks: int) -> None:
    """Fisher's z grows with the square root of how many of the 64 blocks carry the energy; in 32 nothing changes."""
    carried = (torch.arange(64) < blocks).view(1, 1, 8, 8).float()
    image = carried.repeat_interleave(8, 2).repeat_interleave(8, 3).flatten(1)
    worth = weighed(torch.tensor([0.6]), image, -3 * image).item()
    assert worth == pytest.approx(np.tanh(np.arctanh(0.6) * np.sqrt(blocks / 32)), abs=1e-6)


def test_the_blur_is_that_of_scipy() -> None:
    """Also of images that are not square; the border goes on outwards."""
    image = default_rng(4).random((40, 64)).astype(np.float32)
    assert blurred(torch.from_numpy(image)[None, None], 2.0)[0, 0].numpy() == pytest.approx(
        gaussian_filter(image, 2.0, mode="nearest", truncate=3), abs=1e-6
    )


# --- Calibration and tests -------------------------------------------------------------------------------------------


def each(n: int) -> list[str]:
    """As many people as images."""
    return [str(i) for i in range(n)]


def test_the_excess_by_hand() -> None:
    """If each person has one image, it is exactly that of order statistics: n!m!/(n + m)! for all above all, and
    simulated ranks."""
    rng = default_rng(0)
    of_100 = chances(np.arange(97.0), np.arange(97), 96, rng)
    assert excess_p(3, 3, of_100) == pytest.approx(1 / 161_700, rel=0.25)  # 100 over 3
    of_300 = chances(np.arange(299.0), np.arange(299), 296, rng)
    assert excess_p(1, 1, of_300) == of_300.mean() == pytest.approx(3 / 300, rel=0.05)
    assert excess_p(0, 95, of_300) == 1
    assert excess_p(2, 95, of_300) == pytest.approx(betabinom.sf(1, 95, 3, 297), abs=0.02)
    scores = rng.random((20_000, 60))
    threshold = np.sort(scores[:, :40], axis=1)[:, -2]  # the second highest of 40
    counts = (scores[:, 40:] > threshold[:, None]).sum(axis=1)
    of_40 = chances(np.arange(40.0), np.arange(40), 38, rng)
    assert excess_p(3, 20, of_40) == pytest.approx((counts >= 3).mean(), abs=0.015)


def test_new_people_pass_the_threshold_no_oftener_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a person are alike (ten each, most of the variance between people): of new people's images less than
    1 % pass on average; the plain 99th percentile lets more pass. Of few people, the threshold is the highest score."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.DRAWS", 500)
    rng = default_rng(1)
    people = np.repeat(np.arange(43), 10)
    passed = {"calibrated": 0.0, "plain": 0.0}
    for draw in range(100):
        scores, new = (rng.normal(size=n)[:, None] + 0.5 * rng.normal(size=(n, 10)) for n in (43, 400))
        found = calibrate(scores.ravel(), people.astype(str).tolist(), seed=draw)
        passed["calibrated"] += (new > found.threshold).mean() / 100
        passed["plain"] += (new > np.quantile(scores, 0.99)).mean() / 100
    assert passed["calibrated"] < 0.01 < passed["plain"]
    few = calibrate(np.arange(20.0), each(20))
    assert (few.threshold, few.above, few.patients) == (19, 0, 20)
    assert few.rate == pytest.approx(1 / 21, rel=0.1)
    with pytest.raises(ValueError, match="no held-out"):
        calibrate(np.empty(0), [])


def test_patients_widen_the_interval_of_the_rate() -> None:
    """Where all images above a level are of one patient, the chance is less certain than with several."""
    scores, rng = np.arange(1000.0), default_rng(0)
    one, many = (chances(scores, who, 989, rng) for who in (np.arange(1000) // 100, np.arange(1000)))
    assert np.quantile(one, 0.975) > 2 * np.quantile(many, 0.975) > 0.02


@pytest.mark.parametrize("slices", [1, 8])
def test_the_audit_rejects_at_its_level(slices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 400 sets of 95 that copy nothing, about 5 % fail at most, with the calibration drawn anew each time; also
    where the slices of a person are alike."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.DRAWS", 300)
    rng, n = default_rng(2), 240 // slices
    people = np.repeat(np.arange(n), slices).astype(str).tolist()

    def drawn(persons: int, of_each: int) -> np.ndarray:
        return (rng.normal(size=(persons, 1)) + (slices > 1) * rng.normal(size=(persons, of_each))).ravel()

    failed = [audit_p(drawn(95, 1), calibrate(drawn(n, slices), people)) < 0.05 for _ in range(400)]
    assert 0.003 < np.mean(failed) < 0.065


@pytest.mark.parametrize(("k", "power"), [(3, 0.6), (5, 0.95)])
def test_few_copies_among_95_are_enough(k: int, power: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies that lie above all held-out images, as most do: k among 95 fail the audit at least that often."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.DRAWS", 300)
    rng, people = default_rng(3), each(240)
    sets = (np.concatenate([rng.random(95 - k), np.full(k, 2.0)]) for _ in range(300))
    assert np.mean([audit_p(one, calibrate(rng.random(240), people)) < 0.05 for one in sets]) >= power


# --- The whole audit -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return ImageSet.open(
        make_phantoms(
            60,
            tmp_path_factory.mktemp("corpus") / "c",
            seed=1,
            size=64,
            synthetic=False,
            slices_per_patient=2,
            modalities=("CT",),
        )
    )


def written(folder: Path, images: list[Pixels], modality: str = "CT") -> ImageSet:
    (folder / "images").mkdir(parents=True)
    names = [f"images/{i:03d}.png" for i in range(len(images))]
    rows = [
        Row(name, write_png(folder / name, image), modality, synthetic=True)
        for name, image in zip(names, images, strict=True)
    ]
    write_metadata(folder, rows)
    return ImageSet.open(folder)


def test_copies_fail_and_are_shown_with_their_patients(corpus: ImageSet, tmp_path: Path) -> None:
    """Four mirrored copies and one file of the training images: failed, each beside its image and patient, first."""
    train = [i for i, row in enumerate(corpus.rows) if row.split == "train"]
    new = ImageSet.open(make_phantoms(15, tmp_path / "new", seed=9, size=64, modalities=("CT",)))
    copied = [np.ascontiguousarray(corpus.pixels(i)[:, ::-1]) for i in train[3:7]]
    samples = written(tmp_path / "s", [*copied, corpus.pixels(train[8]), *(new.pixels(i) for i in range(15))])
    found = memorisation_audit(samples, corpus, EvaluateConfig())
    audited, pairs = found.facts.audit["CT"], found.facts.pairs
    assert found.facts.status == audited.status == "failed"
    assert audited.certain == 5
    assert {pair["training"] for pair in pairs[:5]} == {corpus.rows[i].file_name for i in (*train[3:7], train[8])}
    assert all(pair["flagged"] and pair["patient"].startswith("phantom-") for pair in pairs[:5])
    assert [pair["same_file"] for pair in pairs].count(True) == 1
    assert found.arrays["similarity/CT/synthetic"].shape == (20,)
    assert "5 copies beyond doubt" in found.facts.sentence
    flagged = next(score for score in found.scores if score.name == "copies_flagged")
    assert flagged.value is not None
    assert flagged.value >= 0.25
    assert flagged.p is not None
    assert flagged.p < 0.01


def test_new_heads_pass_and_the_rest_is_said(corpus: ImageSet, tmp_path: Path) -> None:
    """Strangers pass; the sentence says what 0 still allows; a modality without training images is not audited."""
    made = make_phantoms(20, tmp_path / "new", seed=8, size=64, modalities=("CT",))
    passed = memorisation_audit(ImageSet.open(made), corpus, EvaluateConfig())
    assert passed.facts.status == "passed"
    assert passed.facts.audit["CT"].left_out > 0  # few held-out images: training patients take turns
    if passed.facts.audit["CT"].exceedances == 0:
        assert "0 of 20 still allows 16.8%" in passed.facts.sentence
    other = written(tmp_path / "pet", [np.full((64, 64), 9, np.uint8)] * 2, "PET")
    nothing = memorisation_audit(other, corpus, EvaluateConfig())
    assert nothing.facts.status == "undecided"
    assert nothing.scores[0].value is None
    assert "fewer than two training images" in nothing.scores[0].note
