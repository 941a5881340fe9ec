"""Quality from image sets to scores: real images pass, bad ones do not, and what is missing is said."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy import stats
from scipy.ndimage import gaussian_filter
from scipy.stats import fisher_exact

from phonybrains.evaluation.config import BiasConfig, EvaluateConfig, QualityConfig
from phonybrains.evaluation.features.extractors import Handcrafted
from phonybrains.evaluation.features.shards import features_of
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.inputs.labels import Scale
from phonybrains.evaluation.inputs.sides import side_of
from phonybrains.evaluation.outcomes import outcome_of
from phonybrains.evaluation.quality.audit import ModalityAudit, quality_audit
from phonybrains.evaluation.quality.convolution import Convolutional
from phonybrains.evaluation.quality.diversity import error_of_pairs, ms_ssim, random_pairs
from phonybrains.evaluation.quality.neighbours import neighbourhoods, share_inside
from phonybrains.evaluation.quality.prevalence import prevalence
from phonybrains.evaluation.quality.scores import Against
from phonybrains.evaluation.score import Null, Score
from phonybrains.imageset import ImageSet, Row, write_png
from phonybrains.phantom.corpus import make_phantoms
from tests.conftest import one_at_a_time

CONFIG = EvaluateConfig(
    quality=QualityConfig(permutations=99, null_draws=20),
    attributes=("plane", "sex"),
    bias=BiasConfig(smallest_group=10),
)
DISTANCES = ("kid", "mmd_rbf", "fd_handcrafted", "c2st_auc")
pytestmark = pytest.mark.usefixtures("few_trees")


def config(*attributes: str, **quality: Any) -> EvaluateConfig:
    """Settings for claims that rest on no null: two draws."""
    settings = QualityConfig(permutations=9, null_draws=2, **quality)
    return CONFIG.model_copy(update={"quality": settings, "attributes": attributes})


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


@pytest.fixture(scope="module")
def corpus(shared_folder: Path) -> ImageSet:
    """320 phantoms, of which 20 % are held out."""
    with one_at_a_time(shared_folder, "quality-corpus") as folder:
        images = ImageSet.open(make_phantoms(320, folder, size=64))
    held = set(sorted({row.patient_id for row in images.rows})[::5])
    rows = (replace(row, split="test" if row.patient_id in held else "train") for row in images.rows)
    return replace(images, rows=tuple(rows))


@pytest.fixture(scope="module")
def samples(shared_folder: Path) -> ImageSet:
    """120 phantoms of other heads: what a perfect generator would make."""
    with one_at_a_time(shared_folder, "quality-samples") as folder:
        return ImageSet.open(make_phantoms(120, folder, size=64, seed=7))


@pytest.fixture(scope="module")
def mr(samples: ImageSet) -> ImageSet:
    """The MR half of them."""
    return samples.where(modality="MR")


@pytest.fixture(scope="module")
def perfect(samples: ImageSet, corpus: ImageSet, shared_folder: Path, few_trees: None) -> Findings:
    with one_at_a_time(shared_folder, "quality-findings") as folder:
        if not (folder / "scores.json").exists():
            quality_audit(samples, corpus, CONFIG).save(folder)
    return Findings.load(folder)


def changed(samples: ImageSet, folder: Path, change: Callable[[Row, np.ndarray], np.ndarray]) -> ImageSet:
    """A copy of a set, each of its images changed."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, row in enumerate(samples.rows):
        pixels = change(row, samples.pixels(i).astype(float)).clip(0, 255).astype(np.uint8)
        rows.append(replace(row, sha256=write_png(folder / row.file_name, pixels)))
    return replace(samples, folder=folder, rows=tuple(rows))


def the(findings: Findings, name: str, modality: str = "MR", group: str = "") -> Score:
    """The score of this name from handcrafted features or none."""
    wanted = (name, modality, group)
    (score,) = (
        s for s in findings.scores if (s.name, s.modality, s.group) == wanted and s.extractor in ("", "handcrafted-3")
    )
    return score


def judged(findings: Findings, name: str, modality: str = "MR", group: str = "") -> tuple[float, Null]:
    """A score's value and its null, which are both there."""
    score = the(findings, name, modality, group)
    assert score.value is not None
    assert score.null is not None
    return score.value, score.null


def test_real_images_lie_where_real_images_lie(perfect: Findings):
    """Other phantoms of the same kind: of the four distances of both modalities, at most two beyond the 95 % range."""
    named = [(name, modality) for name in DISTANCES for modality in ("MR", "CT")]
    found = {one: judged(perfect, *one) for one in named}
    beyond = [one for one, (value, null) in found.items() if value > null.high]
    assert len(beyond) <= 2, beyond
    assert all(s.n >= 20 and s.versus == "test" for one in named for s in [the(perfect, *one)])
    assert [judged(perfect, name)[1].draws for name in ("c2st_forest_auc", "c2st_accuracy")] == [20, 20]


def test_a_blur_is_found_by_every_distance(mr: ImageSet, corpus: ImageSet, tmp_path: Path):
    """Blurred by one pixel: all distances beyond real against real with the smallest p, and less noise."""
    bad = changed(mr, tmp_path / "blurred", lambda _, x: gaussian_filter(x, 1))
    blurred = quality_audit(bad, corpus, CONFIG.model_copy(update={"attributes": ()}))
    for name in DISTANCES:
        value, null = judged(blurred, name)
        assert value > null.high, name
        assert (the(blurred, name).p or 0) < 0.05, name
    for name in ("c2st_accuracy", "c2st_forest_accuracy"):
        assert the(blurred, name).value == pytest.approx(1, abs=0.1)
        assert (the(blurred, name).p or 0) < 1e-3
    assert judged(blurred, "noise_ratio")[0] < 0.6
    telling = (blurred.facts.telling or {})["MR"]
    assert len(telling) == 24
    assert telling[0].probability > 0.9


def test_one_image_many_times_is_not_diverse(mr: ImageSet, corpus: ImageSet, tmp_path: Path, rng: Generator):
    """A set that shows one head only: likeness of pairs near 1 and coverage low."""
    one = mr.pixels(0).astype(float)
    collapsed = changed(mr, tmp_path / "one", lambda *_: one + rng.normal(0, 2, one.shape))
    found = quality_audit(collapsed, corpus, CONFIG.model_copy(update={"attributes": ()}))
    likeness, real = judged(found, "ms_ssim_diversity")
    assert likeness > 0.8 > real.high
    coverage, real = judged(found, "coverage")
    assert coverage < real.low


def test_all_images_equal_and_copies_are_said(mr: ImageSet, corpus: ImageSet, tmp_path: Path):
    """Byte-equal images: the share is a score, and nothing fails; images of the corpus are left out."""
    black = quality_audit(changed(mr, tmp_path / "black", lambda _, x: x * 0), corpus, config("plane", "sex"))
    assert the(black, "repeated_images").value == pytest.approx((len(mr) - 1) / len(mr))
    assert all(s.value is None or math.isfinite(s.value) for s in black.scores)
    mixed = corpus.where(split="train")
    n = len(mixed.where(modality="MR"))
    found = quality_audit(mixed, corpus, CONFIG)
    assert the(found, "in_both_sets").note.startswith(f"of {n} synthetic images, {n} are in the corpus too")
    assert "only 0 synthetic MR images: at least 10" in the(found, "quality").note


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(samples: ImageSet, mr: ImageSet, corpus: ImageSet):
    """One image of a modality, a modality that the corpus lacks, no weights, an attribute nobody has: all is said."""
    others = samples.where(modality="CT").rows[0], replace(mr.rows[0], modality="PET")
    found = quality_audit(replace(mr, rows=(*mr.rows, *others)), corpus, config("plane", "handedness"))
    assert "only 1 synthetic CT image: at least 10" in the(found, "quality", "CT").note
    assert "no PET image" in the(found, "quality", "PET").note
    assert "handedness" in the(found, "prevalence", "MR", "handedness").note
    assert the(found, "kid").value is not None
    missing = {s.extractor: s.note for s in found.scores if s.value is None and s.name == "kid" and not s.modality}
    assert set(missing) == {"squeezenet1_1", "inception-v3-compat", "dinov2"}
    assert "--features" in missing["squeezenet1_1"]


def test_features_that_are_no_numbers_are_said(mr: ImageSet, corpus: ImageSet, monkeypatch: pytest.MonkeyPatch):
    """NaN in an extractor's output: its scores are missing, with the number of images; others are there."""
    monkeypatch.setattr(
        Handcrafted, "__call__", lambda self, images: np.full((len(images), self.width), np.nan, np.float32)
    )
    found = quality_audit(mr, corpus, CONFIG)
    assert re.match(r"handcrafted gives no numbers for (\d+) of \1 real images$", the(found, "fd_handcrafted").note)
    assert the(found, "ms_ssim_diversity").value is not None
    assert the(found, "prevalence", "MR", "sex=F").value is not None


def test_groups_are_measured_by_themselves(perfect: Findings, mr: ImageSet, corpus: ImageSet, tmp_path: Path):
    """One plane blurred: that group is apart, another is not; a pooled score is never given."""
    bad = changed(mr, tmp_path / "plane", lambda row, x: gaussian_filter(x, 1) if row["plane"] == "axial" else x)
    found = quality_audit(bad, corpus, CONFIG)
    (blurred, _), (before, null) = (judged(each, "kid", "MR", "plane=axial") for each in (found, perfect))
    assert blurred > null.high > before
    assert judged(found, "kid", "MR", "sex=F")[1] == judged(perfect, "kid", "MR", "sex=F")[1]
    assert all(s.modality for s in perfect.scores if s.value is not None)


def test_of_many_images_of_a_label_some_at_random_are_compared(rng: Generator):
    """More are made than are real: not the first rows, which a sorted table would make those of one kind."""
    x = Against(rng.normal(size=(60, 4)), rng.normal(size=(40, 4)), ["p"] * 40, np.arange(20), [], {}, 0)
    audit = Mock(spec=ModalityAudit)
    audit._against.side_effect = ValueError("enough")
    ModalityAudit._of_group(audit, x, "handcrafted", np.arange(60), np.arange(40), "plane=axial")
    made = audit._against.call_args.args[0]
    (rows,) = np.nonzero((x.made[:, None] == made).all(axis=-1).any(axis=1))
    assert len(rows) == len(made) == 20
    assert rows.max() > 40


def test_equal_runs_give_equal_scores_and_features_are_kept(
    mr: ImageSet, corpus: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With kept features nothing is extracted again, and the scores are the same to the bit."""
    first, second = (quality_audit(mr, corpus, config("sex"), folder=folder) for folder in (None, tmp_path))
    assert first.scores == second.scores

    def never(self: Handcrafted, images: np.ndarray) -> np.ndarray:
        raise AssertionError("features were made again")

    monkeypatch.setattr(Handcrafted, "__call__", never)
    assert quality_audit(mr, corpus, config("sex"), folder=tmp_path).scores == first.scores


def test_features_go_on_where_they_stopped(samples: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Shards of 50: a stop in the third leaves two; a damaged shard is made again; another image is another shard."""
    monkeypatch.setattr("phonybrains.evaluation.features.shards.SHARD", 50)
    whole, limit = features_of(samples, range(120), Handcrafted()), 110
    seen = 0

    class Counting(Handcrafted):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            nonlocal seen
            seen += len(images)
            if seen > limit:
                raise KeyboardInterrupt
            return super().__call__(images)

    def read_anew(images: ImageSet) -> int:
        """How many images are read when the features of all are asked for, which must be right."""
        nonlocal seen, limit
        seen, limit = 0, 1000
        np.testing.assert_array_equal(features_of(images, range(120), Counting(), tmp_path), whole)
        return seen

    with pytest.raises(KeyboardInterrupt):
        features_of(samples, range(120), Counting(), tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert read_anew(samples) == 20
    min(tmp_path.glob("*.npy")).write_bytes(b"half a file")
    assert read_anew(samples) in (20, 50)
    assert read_anew(replace(samples, rows=(replace(samples.rows[0], sha256="0" * 64), *samples.rows[1:]))) == 50


def test_prevalence_is_seen_though_images_look_alike():
    """Lesions 30 % → 0 of 95: p at least Fisher's, exact intervals; a value that is missing is not counted."""

    def rows(k: int, n: int) -> list[Row]:
        return [Row(f"{i}.png", "", "MR", attributes={"lesion": "yes" if i < k else "no"}) for i in range(n)]

    real = rows(29, 95)
    unknown = Row("u.png", "", "MR", attributes={"lesion": None})
    scale, people = Scale.of("lesion", real), list(map(str, range(95)))
    no, yes = prevalence([*rows(0, 95), unknown], real, people, scale, modality="MR", versus="test")
    assert (yes.group, yes.value, yes.low, yes.n) == ("lesion=yes", 0, 0, 95)
    assert yes.high == pytest.approx(1 - 0.025 ** (1 / 95))
    assert yes.p is not None
    assert fisher_exact([[0, 95], [29, 66]]).pvalue <= yes.p < 1e-7
    assert no.null is not None
    assert no.null.value == pytest.approx(66 / 95)


@pytest.mark.parametrize("people", [5, 8, 20])
def test_a_share_of_few_people_is_apart_no_oftener_than_chance(people: int):
    """Twenty slices of each real person, sex by chance on both sides: over 100 sets at most 9 % are apart, where
    slices taken for independent gave 31 to 47 %."""
    apart = 0
    for i in range(100):
        rng = np.random.default_rng([people, i])
        sexes = rng.permutation(["F", "M", *rng.choice(["F", "M"], people - 2)])
        who = [str(k) for k in range(people) for _ in range(20)]
        real = [Row(f"{k}.png", "", "MR", attributes={"sex": str(sexes[int(k)])}) for k in who]
        made = [Row("m.png", "", "MR", attributes={"sex": str(sex)}) for sex in rng.choice(["F", "M"], 100)]
        found = prevalence(made, real, who, Scale.of("sex", real), modality="MR", versus="test")
        apart += any(outcome_of(score) == "apart" for score in found)
    assert apart / 100 <= 0.09


def test_ms_ssim_of_equals_is_one(rng: Generator):
    """Equal images 1; noise lowers it, more noise more; small images have fewer scales; tiny ones are an error."""
    x = np.stack([gaussian_filter(image, 3) for image in rng.normal(size=(3, 192, 192))])
    x = 128 + 60 * x / x.std()
    np.testing.assert_allclose(ms_ssim(x, x), 1, atol=1e-6)
    some, more = (ms_ssim(x, x + rng.normal(0, sigma, x.shape)) for sigma in (10, 40))
    assert (some < 1).all()
    assert (more < some).all()
    np.testing.assert_allclose(ms_ssim(x[:, :32, :32], x[:, :32, :32]), 1, atol=1e-6)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ms_ssim(x[:, :8, :8], x[:, :8, :8])


def test_one_scale_of_ms_ssim_is_the_ssim_of_scikit_image(rng: Generator):
    """At 21 pixels a side only one scale fits: SSIM with Gaussian windows that stay inside."""
    from skimage.metrics import structural_similarity

    x, y = rng.uniform(0, 255, (2, 21, 21))
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(x, y, full=True, **options)[1][5:-5, 5:-5].mean()
    x, y = np.stack([x, x]), np.stack([y, 0.5 * x + 0.5 * y])
    assert ms_ssim(x, y)[0] == pytest.approx(max(expected, 0), abs=1e-4)


def test_pairs_are_independent_and_of_two_people(rng: Generator):
    """No image twice, never one person with themselves."""
    groups = [str(i // 5) for i in range(60)]
    pairs = random_pairs(groups, 25, rng)
    assert len(pairs) == 25
    assert len({i for pair in pairs for i in pair}) == 50
    assert all(groups[a] != groups[b] for a, b in pairs)
    assert random_pairs(["same"] * 10, 5, rng) == []


@pytest.mark.parametrize("people", [5, 8, 20])
def test_pairs_that_share_people_are_not_taken_for_independent(people: int):
    """Likeness that half of the persons make, twelve images each: over 200 sets at most 9 % of means lie farther from
    the truth than t allows, of pairs taken for independent 20 % or more; of pairs that share nobody it is theirs."""
    beyond = plain = 0
    for i in range(200):
        rng = np.random.default_rng([people, i])
        groups = [str(k) for k in range(people) for _ in range(12)]
        shown = np.repeat(rng.normal(size=people), 12) + rng.normal(size=12 * people)
        pairs = random_pairs(groups, 100, rng)
        likeness = np.array([shown[a] + shown[b] for a, b in pairs])
        error, df = error_of_pairs(likeness, [(groups[a], groups[b]) for a, b in pairs])
        beyond += abs(likeness.mean()) > stats.t.isf(0.025, df) * error
        plain += abs(likeness.mean()) > 1.98 * stats.sem(likeness)
    assert beyond / 200 <= 0.09
    assert plain / 200 >= 0.2
    alone = rng.normal(size=8)
    found = error_of_pairs(alone, [(f"{i}", f"{i} too") for i in range(8)])
    assert found == (pytest.approx(stats.sem(alone)), 7)


def test_of_many_images_a_part_is_judged_and_all_are_measured(
    mr: ImageSet, corpus: ImageSet, monkeypatch: pytest.MonkeyPatch
):
    """Above the limit, here 30, a random part meets the null; KID of all is there beside it, and near it."""
    monkeypatch.setattr("phonybrains.evaluation.inputs.sides.MOST", 30)
    found = quality_audit(mr, corpus, config())
    part, whole = the(found, "kid"), the(found, "kid_of_all")
    assert (whole.n, part.n) == (len(mr), 30)
    assert f"all {len(mr)} images, in blocks; the other scores rest on 30 of them" in whole.note
    low, high = whole.low or 0, whole.high or 0
    assert low - (high - low) < (part.value or 0) < high + (high - low)
    assert found.arrays["map/MR/synthetic"].shape == (30, Handcrafted.width)
    inside, some = the(found, "precision_of_all"), the(found, "precision")
    assert (inside.n, inside.value) == (len(mr), pytest.approx(some.value, abs=0.2))


def test_of_many_held_out_images_whole_patients_are_compared(corpus: ImageSet, monkeypatch: pytest.MonkeyPatch):
    """Above the limit, here 10 of 32, as many held-out images, of as few patients as can be; who is held out is in no
    draw of the other real ones."""
    monkeypatch.setattr("phonybrains.evaluation.inputs.sides.MOST", 10)
    real = corpus.where(modality="MR")
    side = side_of(real, real, "MR", CONFIG)
    held = [side.real.rows[int(i)] for i in side.held]
    assert len(held) == 10
    assert {row.split for row in held} == {"test"}
    assert len({row.patient_id for row in held}) == 3  # of four images each, the last cut short
    others = {row.patient_id for i, row in enumerate(side.real.rows) if i not in set(side.held.tolist())}
    assert not others & {row.patient_id for row in real.rows if row.split == "test"}


def of_network(findings: Findings) -> list[Score]:
    return [score for score in findings.scores if score.name.startswith("c2st_network")]


def test_a_network_looks_on_only_if_it_is_asked(
    samples: ImageSet, corpus: ImageSet, perfect: Findings, monkeypatch: pytest.MonkeyPatch
):
    """Its two scores stand beside the other classifiers', chance as their null; by default there are none."""
    monkeypatch.setattr("phonybrains.evaluation.quality.convolution.Convolutional", lambda seed: Convolutional(seed, 3))
    scores = of_network(quality_audit(samples.where(modality="CT"), corpus, config(network=True)))
    assert [score.name for score in scores] == ["c2st_network_auc", "c2st_network_accuracy"]
    assert all(score.null == Null(0.5, 0.35, 0.65) and score.extractor == "pixels" for score in scores)
    assert scores[1].p is not None
    assert not of_network(perfect)


def test_images_of_another_size_cannot_be_compared_by_pixels(corpus: ImageSet, tmp_path: Path):
    """The network's score is then not available, with the sizes as the reason; the others are as ever."""
    small = make_phantoms(12, tmp_path / "small", size=48, seed=7, modalities=("CT",))
    found = quality_audit(ImageSet.open(small), corpus, config(network=True))
    (score,) = of_network(found)
    assert (score.name, score.value) == ("c2st_network_auc", None)
    assert "(48, 48) and of (64, 64) pixels" in score.note
    assert the(found, "kid", "CT").value is not None


def test_precision_in_blocks_is_precision(rng: Generator):
    """The share of made vectors inside a real one's ball, of 3000 in blocks, is what `neighbourhoods` says."""
    made, real = rng.normal(0.3, 1, (3000, 6)), rng.normal(size=(200, 6))
    assert share_inside(made, real, 5) == neighbourhoods(made, real, 5).precision
