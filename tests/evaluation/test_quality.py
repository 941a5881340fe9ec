"""Quality from image sets to scores: real images pass, bad ones do not, and what is missing is said."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.ndimage import gaussian_filter
from scipy.stats import fisher_exact

from phonybrains.evaluation.config import BiasConfig, EvaluateConfig, QualityConfig
from phonybrains.evaluation.features.extractors import Handcrafted
from phonybrains.evaluation.features.reading import features_of
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.inputs.labels import Scale
from phonybrains.evaluation.inputs.sides import side_of
from phonybrains.evaluation.quality.convolution import Convolutional
from phonybrains.evaluation.quality.diversity import ms_ssim, random_pairs
from phonybrains.evaluation.quality.neighbours import neighbourhoods, share_inside
from phonybrains.evaluation.quality.part import quality
from phonybrains.evaluation.quality.prevalence import prevalence
from phonybrains.evaluation.score import Null, Score
from phonybrains.imageset import ImageSet, Row, read_metadata, read_png, write_metadata, write_png
from phonybrains.phantom.corpus import make_phantoms

CONFIG = EvaluateConfig(
    quality=QualityConfig(permutations=99, null_draws=20),
    attributes=("plane", "sex"),
    bias=BiasConfig(smallest_group=10),
)


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """320 phantoms, of which 20 % are held out."""
    folder = make_phantoms(320, tmp_path_factory.mktemp("quality") / "corpus", size=64)
    rows = read_metadata(folder / "metadata.csv")
    names = sorted({row.patient_id for row in rows})
    held = set(names[::5])
    rows = [replace(row, split="test" if row.patient_id in held else "train") for row in rows]
    write_metadata(folder, rows)
    return ImageSet.open(folder)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """120 phantoms of other heads: what a perfect generator would make."""
    return ImageSet.open(make_phantoms(120, tmp_path_factory.mktemp("quality") / "samples", size=64, seed=7))


@pytest.fixture(scope="module")
def perfect(samples: ImageSet, corpus: ImageSet) -> Findings:
    return quality(samples, corpus, CONFIG)


def changed(samples: ImageSet, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> ImageSet:
    """A copy of a set, each of its images changed."""
    shutil.copytree(samples.folder, folder)
    rows = []
    for row in samples.rows:
        pixels = change(read_png(folder / row.file_name)).clip(0, 255).astype(np.uint8)
        rows.append(replace(row, sha256=write_png(folder / row.file_name, pixels)))
    write_metadata(folder, rows)
    return ImageSet.open(folder)


def the(findings: Findings, name: str, modality: str = "MR", group: str = "") -> Score:
    """The score of this name from handcrafted features or none."""
    (score,) = [
        s
        for s in findings.scores
        if (s.name, s.modality, s.group) == (name, modality, group) and s.extractor in ("", "handcrafted-3")
    ]
    return score


DISTANCES = ("kid", "mmd_rbf", "fd_handcrafted", "spectrum_worst_db", "c2st_auc")


def test_real_images_lie_where_real_images_lie(perfect: Findings):
    """Other phantoms of the same kind: of the five distances of both modalities, at most two beyond the 95 % range."""
    scores = [the(perfect, name, modality) for name in DISTANCES for modality in ("MR", "CT")]
    beyond = [s.name for s in scores if s.value is not None and s.null is not None and s.value > s.null.high]
    assert len(scores) == 10
    assert all(s.value is not None and s.null is not None and s.n >= 20 and s.versus == "test" for s in scores)
    assert len(beyond) <= 2, beyond
    for name in ("c2st_forest_auc", "c2st_accuracy"):
        null = the(perfect, name).null
        assert null is not None
        assert null.draws == 20


def test_a_blur_is_found_by_every_distance(samples: ImageSet, corpus: ImageSet, tmp_path: Path):
    """Blurred by one pixel: all distances beyond real against real with the smallest p, and the spectrum says where."""
    bad = changed(samples, tmp_path / "blurred", lambda x: gaussian_filter(x.astype(float), 1))
    blurred = quality(bad, corpus, CONFIG)
    for name in DISTANCES:
        score = the(blurred, name)
        assert score.value is not None
        assert score.null is not None
        assert score.value > score.null.high, name
        assert score.p is not None
        assert score.p < 0.05, name
    for name in ("c2st", "c2st_forest"):
        assert the(blurred, f"{name}_accuracy").value == pytest.approx(1, abs=0.1)
        assert (the(blurred, f"{name}_accuracy").p or 0) < 1e-3
    noise = the(blurred, "noise_ratio")
    assert noise.value is not None
    assert noise.value < 0.6
    synthetic, low = (blurred.arrays[f"spectrum/MR/{name}"] for name in ("synthetic", "real_low"))
    assert (synthetic < low)[8:18].all()
    assert len(blurred.facts.telling["MR"]) == 24
    assert blurred.facts.telling["MR"][0].probability > 0.9


def test_one_image_many_times_is_not_diverse(samples: ImageSet, corpus: ImageSet, tmp_path: Path, rng: Generator):
    """A set that shows one head only: likeness of pairs near 1, coverage and recall low, precision not."""
    one = {m: samples.where(modality=m).pixels(0).astype(float) for m in ("MR", "CT")}
    modalities = iter([row.modality for row in samples.rows])
    collapsed = changed(samples, tmp_path / "one", lambda _: one[next(modalities)] + rng.normal(0, 2, (64, 64)))
    found = quality(collapsed, corpus, CONFIG)
    likeness, coverage = the(found, "ms_ssim_diversity"), the(found, "coverage")
    assert likeness.value is not None
    assert likeness.null is not None
    assert likeness.value > 0.8 > likeness.null.high
    assert coverage.value is not None
    assert coverage.null is not None
    assert coverage.value < coverage.null.low


def test_all_images_equal_and_copies_are_said(samples: ImageSet, corpus: ImageSet, tmp_path: Path):
    """Byte-equal images: the share is a score, and nothing fails; images of the corpus are left out."""
    black = quality(changed(samples, tmp_path / "black", lambda x: x * 0), corpus, CONFIG)
    n = len(samples.where(modality="MR"))
    assert the(black, "repeated_images").value == pytest.approx((n - 1) / n)
    assert all(s.value is None or math.isfinite(s.value) for s in black.scores)
    mixed = replace(corpus, rows=corpus.where(split="train").rows)
    n = len(mixed.where(modality="MR"))
    found = quality(mixed, corpus, CONFIG)
    assert the(found, "in_both_sets").note.startswith(f"{n} of {n} synthetic images are in the corpus too")
    assert "only 0 synthetic MR images: at least 10" in the(found, "quality").note


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(samples: ImageSet, corpus: ImageSet):
    """One image of a modality, a modality that the corpus lacks, no weights, an attribute nobody has: all is said."""
    rows = [*samples.where(modality="MR").rows, samples.where(modality="CT").rows[0]]
    strange = replace(samples, rows=(*rows, replace(rows[0], modality="PET")))
    found = quality(strange, corpus, replace_attributes("plane", "handedness"))
    assert "only 1 synthetic CT image: at least 10" in the(found, "quality", "CT").note
    assert "no PET image" in the(found, "quality", "PET").note
    assert "handedness" in the(found, "prevalence", "MR", "handedness").note
    assert the(found, "kid").value is not None
    missing = {s.extractor: s.note for s in found.scores if s.value is None and s.name == "kid" and not s.modality}
    assert set(missing) == {"squeezenet1_1", "inception-v3-compat", "dinov2"}
    assert "--features" in missing["squeezenet1_1"]


def replace_attributes(*names: str) -> EvaluateConfig:
    return CONFIG.model_copy(update={"attributes": names})


def test_features_that_are_no_numbers_are_said(samples: ImageSet, corpus: ImageSet, monkeypatch: pytest.MonkeyPatch):
    """NaN in an extractor's output: its scores are missing, with the number of images; others are there."""
    monkeypatch.setattr(
        Handcrafted, "__call__", lambda self, images: np.full((len(images), self.width), np.nan, np.float32)
    )
    found = quality(samples, corpus, CONFIG)
    assert re.match(r"handcrafted gives no numbers for (\d+) of \1 real images$", the(found, "fd_handcrafted").note)
    assert the(found, "ms_ssim_diversity").value is not None
    assert the(found, "prevalence", "MR", "sex=F").value is not None


def test_groups_are_measured_by_themselves(perfect: Findings, samples: ImageSet, corpus: ImageSet, tmp_path: Path):
    """One plane blurred: that group is apart, another is not; a pooled score is never given."""
    planes = iter([row["plane"] for row in samples.rows])
    bad = changed(
        samples, tmp_path / "plane", lambda x: gaussian_filter(x.astype(float), 1) if next(planes) == "axial" else x
    )
    found = quality(bad, corpus, CONFIG)
    blurred, before = (the(each, "kid", "MR", "plane=axial") for each in (found, perfect))
    assert blurred.value is not None
    assert before.value is not None
    assert before.null is not None
    assert blurred.value > before.null.high > before.value
    untouched = [the(each, "kid", "MR", "sex=F").null for each in (found, perfect)]
    assert untouched[0] == untouched[1]
    assert all(s.modality for s in perfect.scores if s.value is not None)


def test_equal_runs_give_equal_scores_and_features_are_kept(
    samples: ImageSet, corpus: ImageSet, tmp_path: Path, perfect: Findings, monkeypatch: pytest.MonkeyPatch
):
    """With kept features nothing is extracted again, and the scores are the same to the bit."""
    first = quality(samples, corpus, CONFIG, folder=tmp_path)
    assert first.scores == perfect.scores

    def never(self: Handcrafted, images: np.ndarray) -> np.ndarray:
        raise AssertionError("features were made again")

    monkeypatch.setattr(Handcrafted, "__call__", never)
    assert quality(samples, corpus, CONFIG, folder=tmp_path).scores == first.scores


def test_features_go_on_where_they_stopped(samples: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Shards of 50: a stop in the third leaves two; a damaged shard is made again; another image is another shard."""
    monkeypatch.setattr("phonybrains.evaluation.features.reading.SHARD", 50)
    whole, seen, limit = features_of(samples, range(120), Handcrafted()), [0], [110]

    class Counting(Handcrafted):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            seen[0] += len(images)
            if seen[0] > limit[0]:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        features_of(samples, range(120), Counting(), tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    seen[0], limit[0] = 0, 1000
    np.testing.assert_array_equal(features_of(samples, range(120), Counting(), tmp_path), whole)
    assert seen[0] == 20
    next(iter(sorted(tmp_path.glob("*.npy")))).write_bytes(b"half a file")
    np.testing.assert_array_equal(features_of(samples, range(120), Counting(), tmp_path), whole)
    assert seen[0] in (40, 70)
    other = replace(samples, rows=(replace(samples.rows[0], sha256="0" * 64), *samples.rows[1:]))
    before = seen[0]
    features_of(other, range(120), Counting(), tmp_path)
    assert seen[0] == before + 50


def test_prevalence_is_seen_though_images_look_alike():
    """Lesions 30 % → 0 of 95: Fisher's p, exact intervals; a value that is missing is not counted."""

    def rows(k: int, n: int) -> list[Row]:
        return [Row(f"{i}.png", "", "MR", attributes={"lesion": "yes" if i < k else "no"}) for i in range(n)]

    real = rows(29, 95)
    unknown = Row("u.png", "", "MR", attributes={"lesion": None})
    no, yes = prevalence([*rows(0, 95), unknown], real, Scale.of("lesion", real), modality="MR", versus="test")
    assert (yes.group, yes.value, yes.low, yes.n) == ("lesion=yes", 0, 0, 95)
    assert yes.high == pytest.approx(1 - 0.025 ** (1 / 95))
    assert yes.p == pytest.approx(fisher_exact([[0, 95], [29, 66]]).pvalue)
    assert no.null is not None
    assert no.null.value == pytest.approx(66 / 95)


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


def test_of_many_images_a_part_is_judged_and_all_are_measured(
    samples: ImageSet, corpus: ImageSet, monkeypatch: pytest.MonkeyPatch
):
    """Above the limit, here 30, a random part meets the null; KID of all is there beside it, and near it."""
    monkeypatch.setattr("phonybrains.evaluation.inputs.sides.MOST", 30)
    found = quality(samples, corpus, CONFIG)
    n = len(samples.where(modality="MR"))
    part, whole = the(found, "kid"), the(found, "kid_of_all")
    assert (whole.n, part.n) == (n, 30)
    assert f"all {n} images, in blocks; the other scores rest on 30 of them" in whole.note
    assert part.value is not None
    assert whole.value is not None
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low - (whole.high - whole.low) < part.value < whole.high + (whole.high - whole.low)
    assert found.arrays["map/MR/synthetic"].shape == (30, Handcrafted.width)
    inside, some = the(found, "precision_of_all"), the(found, "precision")
    assert (inside.n, inside.value) == (n, pytest.approx(some.value, abs=0.2))


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


def test_a_network_looks_on_only_if_it_is_asked(
    samples: ImageSet, corpus: ImageSet, perfect: Findings, monkeypatch: pytest.MonkeyPatch
):
    """Its two scores stand beside the other classifiers', chance as their null; by default there are none."""
    monkeypatch.setattr("phonybrains.evaluation.quality.convolution.Convolutional", lambda seed: Convolutional(seed, 3))
    settings = CONFIG.model_copy(
        update={"quality": QualityConfig(permutations=9, null_draws=2, network=True), "attributes": ()}
    )
    found = quality(samples.where(modality="CT"), corpus, settings)
    scores = [score for score in found.scores if score.name.startswith("c2st_network")]
    assert [score.name for score in scores] == ["c2st_network_auc", "c2st_network_accuracy"]
    assert all(score.null == Null(0.5, 0.35, 0.65) and score.extractor == "pixels" for score in scores)
    assert scores[1].p is not None
    assert not [score for score in perfect.scores if "network" in score.name]


def test_images_of_another_size_cannot_be_compared_by_pixels(corpus: ImageSet, tmp_path: Path):
    """The network's score is then not available, with the sizes as the reason; the others are as ever."""
    small = ImageSet.open(make_phantoms(24, tmp_path / "small", size=48, seed=7)).where(modality="CT")
    settings = CONFIG.model_copy(
        update={"quality": QualityConfig(permutations=9, null_draws=2, network=True), "attributes": ()}
    )
    found = quality(small, corpus, settings)
    scores = [score for score in found.scores if score.name.startswith("c2st_network")]
    assert [(score.name, score.value) for score in scores] == [("c2st_network_auc", None)]
    assert "(48, 48) and of (64, 64) pixels" in (scores[0].note or "")
    assert the(found, "kid", "CT").value is not None


def test_precision_in_blocks_is_precision(rng: Generator):
    """The share of made vectors inside a real one's ball, of 3000 in blocks, is what `neighbourhoods` says."""
    made, real = rng.normal(0.3, 1, (3000, 6)), rng.normal(size=(200, 6))
    assert share_inside(made, real, 5) == neighbourhoods(made, real, 5).precision
