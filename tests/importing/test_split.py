"""Train, validation and test: no patient in two of them, runs where patients are unknown, small counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonybrains.importing import ImportConfig
from phonybrains.importing.slices import NO_VALUES, Slice
from phonybrains.importing.split import split


def image(modality: str, patient: str, series: str, order: float, volume: bool = False, **facts: Any) -> Slice:
    facts = {"patient": patient, "volume": volume} | facts
    return Slice(NO_VALUES, 0, 1, modality, series, order, source="in", **facts)


def patients(count: int, images: int = 5, modality: str = "CT", prefix: str = "p") -> list[Slice]:
    return [image(modality, f"{prefix}{p}", f"series {p}", i) for p in range(count) for i in range(images)]


def neighbours(count: int, modality: str = "MR", series: str = "folder") -> list[Slice]:
    return [image(modality, "", series, i) for i in range(count)]


def splits_of(members, names) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for member, name in zip(members, names, strict=True):
        found[member.patient].add(name)
    return found


@settings(max_examples=50)
@given(st.integers(3, 60), st.integers(0, 5), st.integers(1, 4))
def test_no_patient_lies_in_two_splits(count, seed, images):
    """Whatever the number of patients and the seed, each is in one split, and from three on none of them is empty."""
    members = patients(count, images)
    result = split(members, ImportConfig(seed=seed))
    assert all(len(names) == 1 for names in splits_of(members, result.names).values())
    assert set(result.names) == {"train", "validation", "test"}
    assert result.methods == {"CT": "by patient"}


def test_shares_are_kept_for_each_modality():
    """80, 10 and 10 % of the patients of each modality."""
    members = patients(100, 2, "CT") + patients(50, 2, "MR", "q")
    names = split(members, ImportConfig()).names
    counts = Counter((member.modality, name) for member, name in zip(members, names, strict=True))
    for modality, expected in (("CT", [160, 20, 20]), ("MR", [80, 10, 10])):
        assert [counts[modality, name] for name in ("train", "validation", "test")] == expected


def test_a_patient_with_both_modalities_stays_together():
    """MR and CT of one patient go to the same split."""
    members = patients(30, 2, "CT") + patients(30, 2, "MR")
    assert all(len(names) == 1 for names in splits_of(members, split(members, ImportConfig()).names).values())


def test_the_split_depends_on_ids_and_seed_only():
    """The order in which images come does not matter; another seed gives another split."""
    members = patients(40)
    forward = splits_of(members, split(members, ImportConfig()).names)
    backward = splits_of(members[::-1], split(members[::-1], ImportConfig()).names)
    assert forward == backward
    assert forward != splits_of(members, split(members, ImportConfig(seed=1)).names)


@pytest.mark.parametrize("members", [patients(1, 1), patients(1), patients(2), neighbours(1), neighbours(79)])
def test_too_few_for_three_splits_all_go_to_train(members):
    """One image, one or two patients, or fewer than three runs: everything is in train, with a warning."""
    result = split(members, ImportConfig())
    assert set(result.names) == {"train"}
    assert "too few" in " ".join(result.warnings)


@pytest.mark.parametrize(("shares", "expected"), [((1, 0, 0), {"train"}), ((0, 0, 1), {"test"})])
def test_one_split_can_be_all(shares, expected):
    """A share of 1 puts everything there, however few there are, and is no cause for a warning of small counts."""
    for members in (patients(2), patients(9), neighbours(500)):
        result = split(members, ImportConfig(split=shares))
        assert set(result.names) == expected
        assert "too few" not in " ".join(result.warnings)


@settings(max_examples=50)
@given(st.integers(120, 1000), st.integers(0, 3))
def test_runs_keep_a_distance_from_every_other_split(count, seed):
    """Between an image of one split and an image of another lie at least `run_guard` that are in none."""
    result = split(neighbours(count), ImportConfig(seed=seed))
    placed = [(place, name) for place, name in enumerate(result.names) if name]
    gaps = [b - a - 1 for (a, one), (b, other) in pairwise(placed) if one != other]
    assert min(gaps) >= 5
    assert {name for _, name in placed} == {"train", "validation", "test"}


def test_only_held_out_runs_are_guarded_and_they_are_spread_over_the_series():
    """Train loses no image: what lies in no split was held out, at most twice the guard for each held-out run. Images
    sorted by diagnosis are all represented: each quarter of the series has validation and test."""
    result = split(neighbours(2300), ImportConfig())
    counts = Counter(result.names)
    assert counts[""] <= 12 * 2 * 5
    assert counts["train"] >= 0.75 * 2300
    assert result.methods == {"MR": "by runs, not patient-safe"}
    assert "no patient is known for 2300 images" in " ".join(result.warnings)
    for start in range(0, 2300, 575):
        assert {"train", "validation", "test"} <= set(result.names[start : start + 575])


def test_runs_follow_the_order_that_is_given():
    """Neighbours are told by `order`, not by the place in the list."""
    members = neighbours(400)
    shuffled = members[1::2] + members[::2]
    by_order = dict(zip([m.order for m in members], split(members, ImportConfig()).names, strict=True))
    assert by_order == dict(zip([m.order for m in shuffled], split(shuffled, ImportConfig()).names, strict=True))


def test_runs_do_not_reach_over_folders():
    """The end of one folder and the beginning of the next are no neighbours and need no guard between them."""
    members = [member for n in range(40) for member in neighbours(10, series=f"folder {n}")]
    result = split(members, ImportConfig())
    assert "" not in result.names
    for n in range(40):
        assert len(set(result.names[10 * n : 10 * n + 10])) == 1


def test_a_volume_without_patient_stays_together():
    """All slices of one scan are in one split, and the method says that this is not by patient."""
    members = [image("MR", "", f"scan {n}", i, volume=True) for n in range(20) for i in range(30)]
    result = split(members, ImportConfig())
    assert all(len(set(result.names[30 * n : 30 * n + 30])) == 1 for n in range(20))
    assert set(result.names) == {"train", "validation", "test"}
    assert result.methods == {"MR": "by volume, not patient-safe"}


def test_a_given_split_is_kept_and_draws_its_patients_along():
    """Images with a split keep it, and the same patients in another source go where they are already."""
    given_ones = [image("CT", f"p{n}", "a", n, split="test" if n < 10 else "") for n in range(20)]
    members = given_ones + patients(20)
    result = split(members, ImportConfig())
    assert result.names[:20] == ("test",) * 10 + ("",) * 10
    assert result.names[20:70] == ("test",) * 50
    assert result.methods == {"CT": "by patient"}


def test_a_given_split_that_tears_patients_is_pointed_out():
    """A source that puts one patient into train and test is believed, with a warning."""
    result = split([image("CT", "p", "a", 0, split="train"), image("CT", "p", "a", 1, split="test")], ImportConfig())
    assert result.names == ("train", "test")
    assert "more than one split" in result.warnings[0]


def test_the_least_safe_method_is_the_one_that_is_told():
    """Where some images of a modality have a patient and some have none, the record says runs."""
    assert split(patients(10) + neighbours(200, "CT"), ImportConfig()).methods == {"CT": "by runs, not patient-safe"}


def test_guessed_patients_stay_together_and_are_called_guessed():
    """A guess groups images as a known patient does, but the method says that it is no safe one, and a warning why."""
    members = [replace(member, patient_is_guess=member.patient == "p3") for member in patients(30)]
    result = split(members, ImportConfig())
    assert all(len(names) == 1 for names in splits_of(members, result.names).values())
    assert result.methods == {"CT": "by patient as guessed, not patient-safe"}
    assert any(text.startswith("5 images: whose they are is guessed") for text in result.warnings)
    given_ones = [replace(member, split="train") for member in members]
    assert split(given_ones, ImportConfig()).methods == {"CT": "as given, patients unknown, not patient-safe"}
