"""Spread over training patients: by hand, at its level, and where few patients are redrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from phonybrains.evaluation.findings import PatientsSign
from phonybrains.evaluation.memorisation import spread
from phonybrains.evaluation.memorisation.spread import Group, Landed, effective_number, groups_of, labels_by, spread_of
from phonybrains.imageset import Attribute, Row

NAMES = [f"p{i:02d}" for i in range(30)]


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def people(rng: Generator, n: int) -> np.ndarray:
    """Chances of landing on each of 30 training patients, (n, 30), as narrow as those of unseen people of real CT."""
    return rng.dirichlet(np.full(len(NAMES), 0.15), n)


def landings(rng: Generator, chances: np.ndarray, each: int) -> np.ndarray:
    """Where `each` images of every person land."""
    return np.concatenate([rng.choice(len(NAMES), each, p=row) for row in chances])


def sign_for(rng: Generator, made: np.ndarray, patients: int, unseen: np.ndarray, each: int = 20) -> PatientsSign:
    """The sign of one group of generated images, judged beside unseen people."""
    who = [f"u{i}" for i in range(len(unseen)) for _ in range(each)]
    one = Landed("search", made, landings(rng, unseen, each), who, [Row("", "", "CT")] * len(who))
    group = Group("value=x", tuple(range(len(made))), patients, max(5, min(patients, len(unseen))))
    ((sign, _),) = spread_of([one], [group], NAMES, "CT", int(rng.integers(2**31)))
    return sign


def test_the_effective_number_by_hand() -> None:
    """Seven equal shares are seven patients; one who takes half of the images or more leaves less than four."""
    assert effective_number(np.array([3] * 7 + [0] * 9)) == pytest.approx(7)
    assert effective_number(np.array([10, 10, 0])) == pytest.approx(2)
    assert effective_number(np.array([20, *[1] * 20])) < 4


@pytest.mark.parametrize(
    ("patients", "takers"), [(1, "one patient takes"), (2, "two patients take"), (3, "two patients take")]
)
def test_few_patients_redrawn_fail(patients: int, takers: str, rng: Generator) -> None:
    """A value whose images are those of one, two or three patients in turns fails, whatever the number of its patients;
    the sentence counts them."""
    made = rng.permutation(np.arange(40) % patients)
    for of_this_value in (patients, 10):
        sign = sign_for(rng, made, of_this_value, people(rng, 30))
        assert sign.word == "failed"
        assert f"CT, value = x: {takers} most of the 40 images" in sign.text
        assert sign.effective == pytest.approx(patients, rel=0.02)


def test_one_patient_among_many_is_seen_by_its_share(rng: Generator) -> None:
    """The more of the images are one patient's, the graver the word: 60 % of a modality fails, none of it passes."""
    words = []
    for share in (0.0, 0.6, 1.0):
        made = np.where(np.arange(200) < 200 * share, 4, landings(rng, people(rng, 200), 1))
        words.append(sign_for(rng, made, 30, people(rng, 40)).word)
    assert words == ["passed", "failed", "failed"]


def test_unseen_people_pass_at_the_level(rng: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of as many people as show the value, slices of one person landing alike: at most 1 in 20 gets more than
    "passed"; sets in which each image is another person's still fewer."""
    monkeypatch.setattr(spread, "DRAWS", 1000)
    clustered = fresh = 0
    for _ in range(150):
        unseen, new = people(rng, 25), people(rng, 8)
        clustered += sign_for(rng, landings(rng, new, 6), 8, unseen).word != "passed"
        fresh += sign_for(rng, landings(rng, people(rng, 48), 1), 8, unseen).word != "passed"
    assert clustered <= 13  # 7.5 expected at 5 %; more than 13 in 1 of 70 runs
    assert fresh <= clustered


def rows_of(values: Sequence[Attribute], split: str = "", who: str = "") -> list[Row]:
    """CT images of these values, two of each person; without a split they are generated."""
    names = [f"{who}{i // 2}" if who else "" for i in range(len(values))]
    return [
        Row(f"{split}{i}", "", "CT", names[i], split, not split, attributes={"value": value})
        for i, value in enumerate(values)
    ]


def test_groups_are_what_was_asked_for() -> None:
    """Several labels in one image count for each; many numbers become thirds of the training images'; a value of no
    training image is a group too; sets without conditions have one group, all their images."""
    real = [*rows_of(["a", "a;b", "c", "c"] * 3, "train", "t"), *rows_of(["a", "b"] * 6, "test", "h")]
    who = [row.patient_id for row in real]
    made = rows_of(["a"] * 6 + ["a;b"] * 5 + ["d"] * 5 + ["c"] * 2)
    found = {group.name: (len(group.made), group.patients, group.people) for group in groups_of(made, real, who)}
    assert found.pop("") == (18, 6, 6)
    assert found == {"value=a": (11, 3, 5), "value=b": (5, 3, 5), "value=d": (5, 0, 5)}  # two images of c say nothing
    assert [group.name for group in groups_of(rows_of([None] * 9), real, who)] == [""]
    labels = labels_by("value", rows_of([float(i) for i in range(30)], "train", "t"))
    assert [labels(row) for row in rows_of([0.0, 15.0, 29.0, 99.0])] == [{"low"}, {"middle"}, {"high"}, {"high"}]


def test_values_of_the_same_images_are_one_group() -> None:
    """All images asked for one value: judged once, by that value's few patients; people count where real images name
    them, never where generated ones do."""
    real = [*rows_of(["a"] * 4 + ["b"] * 20, "train", "t"), *rows_of(["b"] * 24, "test", "h")]
    who = [row.patient_id for row in real]
    made = rows_of(["a"] * 8)
    (group,) = groups_of(made, real, who)
    assert (group.name, group.patients, group.people) == ("value=a", 2, 5)
    named = [replace(row, patient_id="x") for row in made]
    assert groups_of(named, real, who)[0].people == 5
    assert groups_of([replace(row, synthetic=False) for row in named], real, who)[0].people == 1
