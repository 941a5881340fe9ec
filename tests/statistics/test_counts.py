"""Counts that cannot be true together, beginning with those of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonybrains.statistics.count_tables import smallest_contradiction
from phonybrains.statistics.counts import ANSWERS, Claim, inconsistencies

A, B, BOTH = ("A",), ("B",), ("A", "B")
SHOWN = [Claim(20, modality="MRI"), Claim(20, modality="CT")]
BY_MODALITY = [
    *SHOWN,
    Claim(14, "real", A, "MRI"),
    Claim(4, "phony", A, "MRI"),
    Claim(2, "unclear", A, "MRI"),
    Claim(3, "real", A, "CT"),
    Claim(17, "phony", A, "CT"),
    Claim(10, "real", B, "MRI"),
    Claim(10, "phony", B, "MRI"),
    Claim(2, "real", B, "CT"),
    Claim(18, "phony", B, "CT"),
]
IN_ALL = [Claim(14, "real", A), Claim(21, "phony", A), Claim(2, "unclear", A)]
TOGETHER = [Claim(3, "real", BOTH, "CT"), Claim(5, "real", BOTH, "MRI")]


def test_the_papers_counts_contradict_each_other() -> None:
    """A's 14 genuine of 40 are the MRI alone, A's totals make 37 of 40, and B called fewer CT real than both did."""
    assert inconsistencies([*BY_MODALITY, *IN_ALL, *TOGETHER]) == [
        "A: 14 real in all, but 3 CT + 14 MRI = 17.",
        "A: 14 real + 21 phony + 2 unclear = 37, but 40 images were shown.",
        "A and B, CT: 3 real for all, but only 2 for B.",
    ]


def test_the_papers_counts_by_modality_are_possible() -> None:
    """Without the totals and the common CT nothing is wrong."""
    assert inconsistencies([*BY_MODALITY, TOGETHER[1], Claim(2, "real", BOTH, "CT")]) == []
    assert inconsistencies([]) == []


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ([Claim(14, "real", A), Claim(13, "real", A)], "A: real is stated as 13 and 14."),
        ([*SHOWN, Claim(39)], "Shown: 39 images in all, but 20 CT + 20 MRI = 40."),
        ([*SHOWN, Claim(21, "real", A, "CT")], "A, CT: 21 real, but 20 images were shown."),
        ([Claim(9), Claim(5, "real", A), Claim(6, "phony", A)], "A: 5 real + 6 phony = 11, but 9 images were shown."),
        ([*SHOWN, Claim(3, "real", A), Claim(4, "real", A, "CT")], "A: 3 real in all, but 4 CT."),
        (
            [Claim(20), Claim(15, "real", A), Claim(14, "real", B), Claim(8, "real", BOTH)],
            "A and B: 8 real for all, but 15 and 14 of 20 share at least 9.",
        ),
        (
            [Claim(12), Claim(7, "real", BOTH), Claim(6, "phony", BOTH)],
            "A and B: 7 real + 6 phony = 13, but 12 images were shown.",
        ),
        (
            [Claim(4, "real", BOTH), Claim(5, "real", ("A", "B", "C"))],
            "A and B and C: 5 real for all, but only 4 for A and B.",
        ),
    ],
)
def test_each_rule_has_its_sentence(claims: list[Claim], sentence: str) -> None:
    """One contradiction, one sentence, in whatever order the claims come."""
    assert inconsistencies(claims) == [sentence]
    assert inconsistencies(claims[::-1]) == [sentence]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_counts_of_a_real_study_are_never_accused(seed: int, readers: int) -> None:
    """All counts of simulated answers, each reader's and shared ones, by modality and in all: no contradiction."""
    rng, names = np.random.default_rng(seed), ["A", "B", "C", "D"][:readers]
    modality = rng.choice(["CT", "MRI", "PET"], size=12)
    answer = rng.choice(ANSWERS, size=(readers, 12))
    claims = []
    for m in ("", *np.unique(modality).tolist()):
        here = np.full(12, True) if m == "" else modality == m
        claims.append(Claim(int(here.sum()), modality=m))
        for word in ANSWERS:
            for size in range(1, readers + 1):
                same = (answer[:size, here] == word).all(axis=0).sum()
                claims.append(Claim(int(same), word, tuple(names[:size]), m))
            claims += [
                Claim(int((row[here] == word).sum()), word, (n,), m) for n, row in zip(names, answer, strict=True)
            ]
    assert inconsistencies([claims[i] for i in rng.permutation(len(claims))]) == []


@given(st.integers(0, 10_000))
def test_a_complete_table_with_one_wrong_count_is_caught(seed: int) -> None:
    """Any count of one reader's answers that is changed breaks a sum."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(20, [0.4, 0.4, 0.2])
    claims = [Claim(20), *(Claim(int(n), word, A) for n, word in zip(counts, ANSWERS, strict=True))]
    wrong = int(rng.integers(1, 4))
    claims[wrong] = Claim(claims[wrong].count + int(rng.integers(1, 5)), claims[wrong].answer, A)
    assert len(inconsistencies(claims)) == 1


def test_what_is_no_claim_is_refused() -> None:
    """A negative count, an unknown answer, an answer of nobody, a reader without an answer."""
    for claim in (Claim(-1), Claim(1, "real"), Claim(1, None, A)):
        with pytest.raises(ValueError, match="no count of answers"):
            inconsistencies([claim])
    with pytest.raises(ValueError, match="not one of the answers"):
        inconsistencies([Claim(1, "genuine", A)])


# --- The integer programme -------------------------------------------------------------------------------------------

C = ("C",)


@pytest.mark.parametrize(
    "claims",
    [
        [
            Claim(20),
            *(Claim(10, w, r) for w in ("real", "phony") for r in (A, B)),
            Claim(9, "real", BOTH),
            Claim(10, "phony", BOTH),
        ],
        [
            Claim(20),
            Claim(14, "real", A),
            Claim(4, "phony", A),
            Claim(2, "unclear", A),
            Claim(10, "real", B),
            Claim(10, "phony", B),
            Claim(0, "unclear", B),
            Claim(10, "real", BOTH),
            Claim(2, "phony", BOTH),
        ],
        [
            Claim(20),
            Claim(10, "real", A),
            Claim(8, "real", B),
            Claim(8, "real", C),
            Claim(8, "real", BOTH),
            Claim(8, "real", ("A", "C")),
            Claim(0, "real", ("B", "C")),
        ],
    ],
)
def test_tables_that_break_no_simple_rule_are_found_impossible(claims: list[Claim]) -> None:
    """Each is impossible; without any one of the counts that are named, what remains of them is possible."""
    tables = [((claim.readers, claim.modality, claim.answer), claim.count) for claim in claims]
    smallest = smallest_contradiction(tables, ANSWERS, [""])
    assert smallest
    assert smallest_contradiction(smallest, ANSWERS, [""]) == smallest
    for i in range(len(smallest)):
        assert smallest_contradiction(smallest[:i] + smallest[i + 1 :], ANSWERS, [""]) == []
    (sentence,) = inconsistencies(claims)
    assert "cannot all be true" in sentence


def tables_of_two(images: int) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every way two readers can answer so many images."""
    return combinations_with_replacement(list(product(ANSWERS, repeat=2)), images)


def fits(table: tuple[tuple[str, str], ...], claim: Claim) -> bool:
    if claim.answer is None:
        return len(table) == claim.count
    places = ["AB".index(reader) for reader in claim.readers]
    return sum(all(answers[place] == claim.answer for place in places) for answers in table) == claim.count


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000))
def test_small_tables_are_judged_as_by_trying_all(seed: int) -> None:
    """Up to four images and two readers, some counts stated, true or not: every possible table is tried."""
    rng = np.random.default_rng(seed)
    images = int(rng.integers(1, 5))
    claims = [Claim(images)]
    for word in ANSWERS:
        claims += [
            Claim(int(rng.integers(0, images + 1) * rng.integers(0, 2)), word, readers)
            for readers in (A, B, BOTH)
            if rng.random() < 0.6
        ]
    possible = any(all(fits(table, claim) for claim in claims) for table in tables_of_two(images))
    assert (inconsistencies(claims) == []) == possible


def test_readers_without_common_counts_need_no_common_table() -> None:
    """Thirty readers' own counts are possible; fifteen in one table of all answers are too many, and it is said."""
    names = [f"R{i}" for i in range(30)]
    own = [Claim(20), *(Claim(10, "real", (name,)) for name in names)]
    assert inconsistencies(own) == []
    common = [Claim(1, word, tuple(names[:15])) for word in ANSWERS]
    with pytest.raises(ValueError, match="check fewer readers"):
        inconsistencies([*own, *common])
