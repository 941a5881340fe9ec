"""Adherence: what is asked and shown is found, what is asked and not shown is found missing, at known values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score

from phonybrains.evaluation.bias.adherence import BOX, adherence_scores, agreement, box_contrast, boxes_found
from phonybrains.evaluation.bias.gauge import DRAWS, Gauge, numbers_of, reading
from phonybrains.evaluation.bias.rates import found_rate, found_rates, labels_of
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.features.extractors import Handcrafted
from phonybrains.evaluation.inputs.real import Compared, Real
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet, Row
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.statistics.bootstrap import Drawn
from tests.support.image_files import written


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(8)


def test_kappa_of_a_known_table():
    """Cohen's own example: 0.44, 0.05, 0.01; 0.07, 0.20, 0.03; 0.09, 0.05, 0.06 of 200 give κ = 0.492."""
    table = np.rint(200 * np.array([[0.44, 0.05, 0.01], [0.07, 0.20, 0.03], [0.09, 0.05, 0.06]])).astype(int)
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i, j])]
    asked, found = np.array([*pairs, (-1, 0)]).T
    result = agreement(asked, found, 3)
    assert result.table.tolist() == table.tolist()
    assert result.kappa is not None
    assert result.kappa.value == pytest.approx(0.492, abs=1e-3)
    assert (result.share.value, result.share.n) == (pytest.approx(0.7), 200)


def test_labels_that_are_ignored_have_no_kappa_above_chance(rng: Generator):
    """Over 200 sets in which what is asked changes nothing, the interval of κ leaves out 0 in about 5 %."""
    outside = 0
    for _ in range(200):
        kappa = agreement(rng.integers(3, size=90), rng.choice(3, size=90, p=[0.5, 0.3, 0.2]), 3).kappa
        assert kappa is not None
        outside += not kappa.low <= 0 <= kappa.high
    assert outside / 200 < 0.1
    assert agreement(np.zeros(20, int), np.zeros(20, int), 2).kappa is None


def test_real_people_are_kept_together(rng: Generator):
    """A classifier that is right or wrong of whole people, twelve images each: over 150 sets of ten people the interval
    of the share holds the truth in 92 % or more; images taken for independent in less than 60 %. κ's is wider too."""
    held = plain = wider = 0
    for _ in range(150):
        truth = np.repeat(rng.permutation(np.arange(10) % 2), 12)
        right = np.repeat(rng.random(10) < 0.7, 12)
        people = [str(i) for i in range(10) for _ in range(12)]
        ours, theirs = (agreement(truth, np.where(right, truth, 1 - truth), 2, who) for who in (people, None))
        held += ours.share.low <= 0.7 <= ours.share.high
        plain += theirs.share.low <= 0.7 <= theirs.share.high
        assert ours.share.value == theirs.share.value
        if ours.kappa and theirs.kappa:
            wider += ours.kappa.high - ours.kappa.low > theirs.kappa.high - theirs.kappa.low
    assert held / 150 >= 0.92
    assert plain / 150 < 0.6
    assert wider >= 140


def test_a_reading_is_what_scipy_and_scikit_learn_say(rng: Generator):
    """r, ρ, R² and mean error of numbers with a tie and a NaN are the reference implementations'."""
    truth = np.append(np.round(rng.normal(50, 20, 80)), [np.nan, 3.0])
    found = np.append(0.5 * truth[:80] + rng.normal(20, 8, 80), [1.0, np.nan])
    result = reading(truth, found, rng)
    x, y = truth[:80], found[:80]
    assert result.r.value == pytest.approx(pearsonr(x, y)[0])
    assert result.rank.value == pytest.approx(spearmanr(x, y)[0])
    assert result.explained.value == pytest.approx(r2_score(x, y))
    assert result.error.value == pytest.approx(mean_absolute_error(x, y))
    assert {each.n for each in (result.r, result.rank, result.explained, result.error)} == {80}
    assert str(result).startswith(f"r {result.r.value:.2f} (")


def test_intervals_of_a_reading_are_by_people(rng: Generator):
    """Of 40 people with eight slices each that are read alike, the interval of r holds the truth in more than 83 % of
    60 draws; with slices for independent ones it holds it in less than 75 %."""
    inside, alone = 0, 0
    for _ in range(60):
        who = rng.normal(size=40)
        truth, found = np.repeat(who, 8), np.repeat(0.6 * who + 0.8 * rng.normal(size=40), 8)
        people = [str(i // 8) for i in range(320)]
        by_people, by_image = reading(truth, found, rng, people).r, reading(truth, found, rng).r
        inside += by_people.low < 0.6 < by_people.high
        alone += by_image.low < 0.6 < by_image.high
    assert inside / 60 > 0.83
    assert alone / 60 < 0.75


def test_bad_input_is_named(rng: Generator):
    """Too few images or people, numbers that are all alike and a gauge of one person are refused with the reason."""
    with pytest.raises(ValueError, match="only 3 images were asked for a label"):
        agreement(np.array([0, 1, 0, -1]), np.array([0, 1, 1, 1]), 2)
    with pytest.raises(ValueError, match="only 2 images were asked for a number"):
        reading(np.arange(2.0), np.arange(2.0), rng)
    with pytest.raises(ValueError, match="only 4 people have a number"):
        reading(np.arange(20.0), np.arange(20.0), rng, [str(i // 5) for i in range(20)])
    with pytest.raises(ValueError, match="asked for the same"):
        reading(np.ones(30), np.arange(30.0), rng)
    with pytest.raises(ValueError, match="measures alike"):
        reading(np.arange(30.0), np.ones(30), rng)
    with pytest.raises(ValueError, match="1 person"):
        Gauge.learn(np.ones((20, 2)), np.arange(20.0), ["a"] * 20)


def test_contrast_of_a_box():
    """A box 30 brighter than a ring of deviation 10 has contrast 3; outside the image there is none."""
    ring = np.where((np.indices((64, 64)).sum(axis=0) % 2) == 0, 90.0, 110.0)
    ring[24:40, 28:36] = 130
    assert box_contrast(ring, (0.5, 0.5, 8 / 64, 16 / 64)) == pytest.approx(3, abs=0.02)
    assert np.isnan(box_contrast(ring, (0.5, 0.5, 0.0, 0.0)))


def painted(out: Path, rng: Generator, shown: bool) -> ImageSet:
    """60 noisy images that are asked for a box, with a bright patch in it or somewhere else."""
    images, boxes = [], []
    for _ in range(60):
        image = np.clip(rng.normal(100, 15, (64, 64)), 0, 255)
        asked = rng.uniform(0.25, 0.75, 2)
        x, y = asked if shown else rng.uniform(0.25, 0.75, 2)
        image[int(64 * y) - 4 : int(64 * y) + 4, int(64 * x) - 4 : int(64 * x) + 4] += 60
        images.append(image.astype(np.uint8))
        boxes.append(dict(zip(BOX, (*map(float, asked), 0.125, 0.125), strict=True)))
    return written(out, images, modality="MR", attributes=boxes)


def test_lesions_in_their_boxes_are_found(rng: Generator, tmp_path: Path):
    """Lesions where they were asked stand out nearly always, lesions elsewhere as often as by chance."""
    inside = boxes_found(painted(tmp_path / "in", rng, True), range(60), rng)
    outside = boxes_found(painted(tmp_path / "out", rng, False), range(60), rng)
    assert inside.low > 0.9
    assert outside.low < 0.5 < outside.high
    assert outside.n == 60
    ten = [str(i // 6) for i in range(60)]
    by_person = boxes_found(painted(tmp_path / "all", rng, True), range(60), rng, ten)
    assert by_person.n == 60
    with pytest.raises(ValueError, match="only 5 images"):
        boxes_found(ImageSet.open(tmp_path / "in"), range(5), rng)


def test_ventricles_are_measured_on_heads_it_has_not_seen(tmp_path: Path):
    """On phantoms the gauge's area goes with the true one; for shuffled areas it finds nothing."""
    heads = ImageSet.open(make_phantoms(200, tmp_path / "heads", size=64, slices_per_patient=1, modalities=("CT",)))
    real = Real.of(heads, "CT", Handcrafted())
    area = numbers_of(real.rows, "ventricle_area_mm2")
    gauge = Gauge.learn(real.features[:130], area[:130], real.people[:130])
    rng = np.random.default_rng(0)
    fresh = reading(area[130:], gauge.read(real.features[130:]), rng).r
    assert fresh.low > 0.6
    assert reading(gauge.truth, gauge.found, rng).r.value == pytest.approx(fresh.value, abs=0.15)
    shuffled = np.random.default_rng(1).permutation(area[:130])
    blind = Gauge.learn(real.features[:130], shuffled, real.people[:130])
    assert reading(blind.truth, blind.found, rng).r.value < 0.2 < 0.6 < reading(gauge.truth, gauge.found, rng).r.low
    assert np.isnan(numbers_of([replace(real.rows[0], attributes={})], "ventricle_area_mm2")).all()


LABELS = ("none", "epidural", "subdural")


def world(rng: Generator, shows: float = 1.0, age_in_features: float = 1.0, rare: int = 6) -> Compared:
    """40 real people of six slices each, and 120 made images, as features of which the truth is known.

    Column k of a feature is high where label k of LABELS is there, the last column goes with the age. `shows`: the
    share of made images that show what they were asked, labels and age; the others show nothing. `rare`: people who
    have "subdural", three slices of each with "epidural" too.
    """

    def seen(labels: list[str], ages: np.ndarray) -> np.ndarray:
        features = rng.normal(size=(len(labels), 6))
        for k, name in enumerate(LABELS):
            features[:, k] += 4 * np.array([name in labels_of(one) for one in labels])
        features[:, 5] += age_in_features * ages / 5
        return features

    def rows(labels: list[str], ages: np.ndarray, patients: list[str]) -> tuple[Row, ...]:
        told = [{"hemorrhage": one, "age_years": float(age)} for one, age in zip(labels, ages, strict=True)]
        zipped = enumerate(zip(told, patients, strict=True))
        return tuple(Row(f"{i}.png", "", "CT", patient_id=who, attributes=one) for i, (one, who) in zipped)

    kinds = ["subdural"] * rare + ["epidural"] * 12 + ["none"] * (40 - 12 - rare)
    labels = [f"{kind};epidural" if kind == "subdural" and k < 3 else kind for kind in kinds for k in range(6)]
    ages, people = np.repeat(rng.uniform(1, 90, 40), 6), [f"p{i // 6}" for i in range(240)]
    asked, asked_ages = [LABELS[i % 3] for i in range(120)], rng.uniform(1, 90, 120)
    obeyed = rng.random(120) < shows
    shown = [label if ok else "none" for label, ok in zip(asked, obeyed, strict=True)]
    shown_ages = np.where(obeyed, asked_ages, rng.permutation(asked_ages))
    real = Real(ImageSet(Path("real"), rows(labels, ages, people), 64, 64, 8), people, seen(labels, ages))
    made = ImageSet(Path("made"), rows(asked, asked_ages, [""] * 120), 64, 64, 8)
    names = ["hemorrhage", "age_years"]
    features = seen(shown, shown_ages)
    return Compared(made, features, real, list(range(60)), "test", names, Handcrafted(), EvaluateConfig())


def rates(side: Compared, name: str = "found_rate") -> dict[str, Score]:
    return {s.group: s for s in found_rates(side, "hemorrhage") if s.name == name}


def test_a_label_that_is_shown_is_found_at_the_rate_of_real_ones(rng: Generator):
    """What is asked is shown: each rate is that of real people, and nothing is found where it was not asked; slices
    with two labels teach both."""
    found, wrong = rates(world(rng)), rates(world(rng), "false_rate")
    assert set(found) == {f"hemorrhage={name}" for name in LABELS}
    for score in found.values():
        assert score.low is not None
        assert score.high is not None
        assert score.low < 1 < score.high
        assert score.low > 0.7
        assert "in real people who show it in" in score.note
    assert "in 100% (" in found["hemorrhage=subdural"].note  # of six people: not certain of all people
    assert "(100% to" not in found["hemorrhage=subdural"].note
    assert all((score.value or 0) < 0.1 for score in wrong.values())
    assert all(score.null is not None and score.null.value < 0.1 for score in wrong.values())


def test_a_label_that_is_not_shown_is_missed(rng: Generator):
    """None of what is asked is shown: hemorrhages are found at a rate near 0, and "none" in all images that were asked
    for a hemorrhage. With half of it shown the interval of the rate holds ½."""
    side = world(rng, shows=0)
    found, wrong = rates(side), rates(side, "false_rate")
    for name in ("epidural", "subdural"):
        assert (found[f"hemorrhage={name}"].high or 1) < 0.3
    assert (wrong["hemorrhage=none"].low or 0) > 0.85
    half = rates(world(rng, shows=0.5))["hemorrhage=epidural"]
    assert (half.low or 1) < 0.5 < (half.high or 0)


def test_a_label_of_few_people_or_that_nobody_can_see_is_said(rng: Generator):
    """With four people a label has no rate, with the number; where features do not show it neither, with what the
    classifier finds in real people; where it was hardly asked for neither."""
    few = rates(world(rng, rare=4))["hemorrhage=subdural"]
    assert (few.value, few.note) == (None, "only 4 real people with it: at least 5 are needed")
    side = world(rng)
    blind = replace(side, real=replace(side.real, features=rng.normal(size=(240, 6))))
    assert "it cannot be seen in single images: of other real people" in rates(blind)["hemorrhage=epidural"].note
    short = replace(side, made=replace(side.made, rows=side.made.rows[:9]), features=side.features[:9])
    assert rates(short)["hemorrhage=none"].note == "only 3 images were asked for it: at least 10 are needed"


def test_the_interval_of_a_rate_holds_the_truth(rng: Generator):
    """Over 200 draws of 30 images that show a label at half the rate of 40 real people, the interval of the ratio holds
    ½ in 90 to 99 %; of no image in 20 it does not end at 0."""
    inside = 0
    for _ in range(200):
        people = rng.binomial(8, 0.8, 40) / 8
        draws = rng.multinomial(40, np.full(40, 1 / 40), DRAWS) @ people / 40
        real = Drawn(float(people.mean()), draws, 40)
        score = found_rate(rng.random(30) < 0.4, real, rng, {})
        inside += (score.low or 0) < 0.5 < (score.high or 0)
    assert 0.9 <= inside / 200 <= 0.99
    none = found_rate(np.zeros(20, bool), real, rng, {})
    assert none.value == 0
    assert 0.05 < (none.high or 0) < 0.25


def test_a_rate_over_none_is_refused_with_what_was_found(rng: Generator):
    """Where the classifier finds a label in no real image of it, there is no ratio, and the reason says both counts."""
    real = Drawn(0.0, np.zeros(DRAWS), 12)
    with pytest.raises(ValueError, match="found in 3 of 20; the classifier finds it in none of the other real people"):
        found_rate(np.arange(20) < 3, real, rng, {})


def test_labels_of_a_value():
    """«a;b» is both, a number its digits, nothing none."""
    assert labels_of("epidural; subdural;") == {"epidural", "subdural"}
    assert labels_of(1.0) == {"1"}
    assert labels_of("") == labels_of(None) == frozenset()


def of_age(side: Compared) -> dict[str, Score]:
    return {score.name: score for score in adherence_scores(side, {}) if score.group == "age_years"}


def test_an_age_that_is_shown_is_read_off(rng: Generator):
    """What is asked is shown: r, ρ, R² and error are those of real people. None of it is: r is about 0, R² below 0."""
    shown = of_age(world(rng))
    assert set(shown) == {"adherence_r", "adherence_rank", "adherence_r2", "adherence_mae"}
    for name, score in shown.items():
        assert score.null is not None
        assert score.value == pytest.approx(score.null.value, abs=1 if name == "adherence_mae" else 0.05)
    assert (shown["adherence_r"].low or 0) > 0.9
    missed = of_age(world(rng, shows=0))
    assert (missed["adherence_r"].low or 0) < 0.1
    assert (missed["adherence_rank"].high or 1) < 0.5
    assert (missed["adherence_r2"].high or 1) < 0
    assert (missed["adherence_mae"].low or 0) > 15


def test_an_age_that_slices_do_not_show_has_no_figure(rng: Generator):
    """Where real people's age cannot be read off either, nothing is said of the made images but that."""
    hidden = of_age(world(rng, age_in_features=0))
    assert list(hidden) == ["adherence"]
    assert hidden["adherence"].value is None
    assert hidden["adherence"].note.startswith("it cannot be seen in single images: of real people it did not learn")
    assert "mean error" in hidden["adherence"].note
