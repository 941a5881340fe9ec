"""Counts that cannot be true together, beginning with those of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import strategies as st

from phonybrains.statistics.counts import ANSWERS, Claim, inconsistencies, smallest_contradiction
from tests.support.examples import given


def claims(text: str) -> list[Claim]:
    """Counts such as "20 CT, 14 real A, 3 real AB CT": of images, of a reader's answers, of those that both gave."""
    found = []
    for count, *words in (part.split() for part in text.split(",")):
        answer = next((word for word in words if word in ANSWERS), None)
        readers = next((tuple(word) for word in words if set(word) <= set("ABC")), ())
        modality = next((word for word in words if word in ("CT", "MRI")), "")
        found.append(Claim(int(count), answer, readers, modality))
    return found


SHOWN = "20 MRI, 20 CT, "
BY_MODALITY = SHOWN + (
    "14 real A MRI, 4 phony A MRI, 2 unclear A MRI, 3 real A CT, 17 phony A CT, "
    "10 real B MRI, 10 phony B MRI, 2 real B CT, 18 phony B CT, "
)


def test_the_papers_counts_contradict_each_other() -> None:
    """A's 14 genuine of 40 are the MRI alone, A's totals make 37 of 40, and B called fewer CT real than both did."""
    assert inconsistencies(claims(f"{BY_MODALITY}14 real A, 21 phony A, 2 unclear A, 3 real AB CT, 5 real AB MRI")) == [
        "A: 14 real in all, but 3 CT + 14 MRI = 17.",
        "A: 14 real + 21 phony + 2 unclear = 37, but 40 images were shown.",
        "A and B, CT: 3 real for all, but only 2 for B.",
    ]


def test_the_papers_counts_by_modality_are_possible() -> None:
    """Without the totals and the common CT nothing is wrong."""
    assert inconsistencies(claims(BY_MODALITY + "5 real AB MRI, 2 real AB CT")) == []
    assert inconsistencies([]) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("14 real A, 13 real A", "A: real is stated as 13 and 14."),
        (SHOWN + "39", "Shown: 39 images in all, but 20 CT + 20 MRI = 40."),
        (SHOWN + "21 real A CT", "A, CT: 21 real, but 20 images were shown."),
        ("9, 5 real A, 6 phony A", "A: 5 real + 6 phony = 11, but 9 images were shown."),
        (SHOWN + "3 real A, 4 real A CT", "A: 3 real in all, but 4 CT."),
        ("20, 15 real A, 14 real B, 8 real AB", "A and B: 8 real for all, but 15 and 14 of 20 share at least 9."),
        ("12, 7 real AB, 6 phony AB", "A and B: 7 real + 6 phony = 13, but 12 images were shown."),
        ("4 real AB, 5 real ABC", "A and B and C: 5 real for all, but only 4 for A and B."),
    ],
)
def test_each_rule_has_its_sentence(text: str, sentence: str) -> None:
    """One contradiction, one sentence, in whatever order the claims come."""
    assert inconsistencies(claims(text)) == [sentence]
    assert inconsistencies(claims(text)[::-1]) == [sentence]


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_counts_of_a_real_study_are_never_accused(seed: int, readers: int) -> None:
    """All counts of simulated answers, each reader's and shared ones, by modality and in all: no contradiction."""
    rng, names = np.random.default_rng(seed), ["A", "B", "C", "D"][:readers]
    modality = rng.choice(["CT", "MRI", "PET"], size=12)
    answer = rng.choice(ANSWERS, size=(readers, 12))
    stated = []
    for m in ("", *np.unique(modality).tolist()):
        here = np.full(12, True) if m == "" else modality == m
        stated.append(Claim(int(here.sum()), modality=m))
        for word in ANSWERS:
            for size in range(1, readers + 1):
                same = (answer[:size, here] == word).all(axis=0).sum()
                stated.append(Claim(int(same), word, tuple(names[:size]), m))
            stated += [
                Claim(int((row[here] == word).sum()), word, (n,), m) for n, row in zip(names, answer, strict=True)
            ]
    assert inconsistencies([stated[i] for i in rng.permutation(len(stated))]) == []


@given(st.integers(0, 10_000))
def test_a_complete_table_with_one_wrong_count_is_caught(seed: int) -> None:
    """Any count of one reader's answers that is changed breaks a sum."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(20, [0.4, 0.4, 0.2])
    counts[rng.integers(3)] += rng.integers(1, 5)
    stated = [Claim(20), *(Claim(int(n), word, ("A",)) for n, word in zip(counts, ANSWERS, strict=True))]
    assert len(inconsistencies(stated)) == 1


# --- The integer programme -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "20, 10 real A, 10 real B, 10 phony A, 10 phony B, 9 real AB, 10 phony AB",
        "20, 14 real A, 4 phony A, 2 unclear A, 10 real B, 10 phony B, 0 unclear B, 10 real AB, 2 phony AB",
        "20, 10 real A, 8 real B, 8 real C, 8 real AB, 8 real AC, 0 real BC",
    ],
)
def test_tables_that_break_no_simple_rule_are_found_impossible(text: str) -> None:
    """Each is impossible; without any one of the counts that are named, what remains of them is possible."""
    tables = [((claim.readers, claim.modality, claim.answer), claim.count) for claim in claims(text)]
    smallest = smallest_contradiction(tables, ANSWERS, [""])
    assert smallest
    assert smallest_contradiction(smallest, ANSWERS, [""]) == smallest
    for i in range(len(smallest)):
        assert smallest_contradiction(smallest[:i] + smallest[i + 1 :], ANSWERS, [""]) == []
    (sentence,) = inconsistencies(claims(text))
    assert "cannot all be true" in sentence


def tables_of_two(images: int) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every way two readers can answer so many images."""
    return combinations_with_replacement(list(product(ANSWERS, repeat=2)), images)


def fits(table: tuple[tuple[str, str], ...], claim: Claim) -> bool:
    if claim.answer is None:
        return len(table) == claim.count
    places = ["AB".index(reader) for reader in claim.readers]
    return sum(all(answers[place] == claim.answer for place in places) for answers in table) == claim.count


@given(st.integers(0, 100_000))
def test_small_tables_are_judged_as_by_trying_all(seed: int) -> None:
    """Up to four images and two readers, some counts stated, true or not: every possible table is tried."""
    rng = np.random.default_rng(seed)
    images = int(rng.integers(1, 5))
    stated = [Claim(images)]
    for word in ANSWERS:
        stated += [
            Claim(int(rng.integers(0, images + 1) * rng.integers(0, 2)), word, readers)
            for readers in (("A",), ("B",), ("A", "B"))
            if rng.random() < 0.6
        ]
    possible = any(all(fits(table, claim) for claim in stated) for table in tables_of_two(images))
    assert (inconsistencies(stated) == []) == possible


def test_readers_without_common_counts_need_no_common_table() -> None:
    """Thirty readers' own counts are possible; fifteen in one table of all answers are too many, and it is said."""
    names = [f"R{i}" for i in range(30)]
    own = [Claim(20), *(Claim(10, "real", (name,)) for name in names)]
    assert inconsistencies(own) == []
    common = [Claim(1, word, tuple(names[:15])) for word in ANSWERS]
    with pytest.raises(ValueError, match="check fewer readers"):
        inconsistencies([*own, *common])
