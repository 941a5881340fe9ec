"""Is a label found where it was asked for, and only there? One classifier for each label, «a;b» counting as both.

The rate at which a label is found in images that were asked for it stands over the rate at which the same classifier
finds it in real people that have it and of whom it learnt nothing: 1 is as often, whatever the classifier overlooks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import Attribute
from ...statistics.bootstrap import Drawn, drawn_again, share_again
from ...statistics.proportions import clopper_pearson
from ...wording import count_of
from ..inputs.labels import MOST_LABELS, WORST_RATE, LabelClassifier, telling
from ..inputs.real import Compared
from ..score import Null, Score, tried, unavailable
from .gauge import DRAWS, FEWEST, FEWEST_PEOPLE

Array = NDArray[Any]


def labels_of(value: Attribute) -> frozenset[str]:
    """The labels of a value: «a;b» has two, the number 1 is «1», nothing said is none."""
    text = f"{value:.15g}" if isinstance(value, float) else str(value or "")
    return frozenset(part.strip() for part in text.split(";") if part.strip())


def found_rates(side: Compared, attribute: str) -> Iterator[Score]:
    """For each label that was asked for: the rate at which it is found over that in real people, and how often it is
    found where it was not asked for. Raises ValueError for an attribute of too many labels."""
    made, real = ([labels_of(row[attribute]) for row in rows] for rows in (side.made.rows, side.real.rows))
    names = sorted(frozenset().union(*made))
    if len(names) > MOST_LABELS:
        raise ValueError(f"'{attribute}' has {len(names)} labels: too many to look for one by one")
    if len(frozenset().union(*real)) < 2:
        raise ValueError(f"real images do not differ in '{attribute}'")
    for label in names:
        where: dict[str, Any] = {"group": f"{attribute}={label}", "extractor": side.extractor.identity}
        yield from tried("found_rate", _of_label(side, made, real, label, where), **where)


def _of_label(
    side: Compared, made: Sequence[frozenset[str]], real: Sequence[frozenset[str]], label: str, where: dict[str, Any]
) -> Iterator[Score]:
    said = np.flatnonzero([len(labels) > 0 for labels in real])
    truth = np.array([label in real[i] for i in said.tolist()], dtype=int)
    people = [side.real.people[i] for i in said.tolist()]
    for one, what in ((1, "with it"), (0, "without it")):
        few = len({person for person, shows in zip(people, truth, strict=True) if shows == one})
        if few < FEWEST_PEOPLE:
            raise ValueError(
                f"only {count_of(few, 'real person', 'real people')} {what}: at least {FEWEST_PEOPLE} are needed"
            )
    asked, not_asked = (
        np.flatnonzero([bool(labels) and (label in labels) == yes for labels in made]) for yes in (True, False)
    )
    if len(asked) < FEWEST:
        raise ValueError(
            f"only {count_of(len(asked), 'image was', 'images were')} asked for it: at least {FEWEST} are needed"
        )
    reader = LabelClassifier.learn(side.real.features[said], truth, people, side.config.seed)
    codes, rng = np.unique(people, return_inverse=True)[1], side.rng(71)
    weights = drawn_again(codes, DRAWS, rng)
    true_rate, false_rate = (
        share_again(reader.found[shows], codes[shows], weights[:, shows], rng) for shows in (truth == 1, truth == 0)
    )
    if telling(reader.confusion) < WORST_RATE:
        raise ValueError(
            "it cannot be seen in single images: of other real people a classifier finds it in "
            f"{true_rate.value:.0%} of those that show it and in {false_rate.value:.0%} of those that do not"
        )
    hits = reader.calls(side.features) == 1
    yield found_rate(hits[asked], true_rate, side.rng(73), where)
    if len(not_asked) < FEWEST:
        asked_else = count_of(len(not_asked), "image was", "images were")
        note = f"only {asked_else} asked for something else: at least {FEWEST} are needed"
        yield unavailable("false_rate", note, **where)
        return
    wrong = clopper_pearson(int(hits[not_asked].sum()), len(not_asked))
    note = "found in images that were asked for something else; null: in real people who do not show it"
    usual = false_rate.estimate(int((truth == 0).sum()))
    yield Score.of("false_rate", wrong, null=Null.of(usual), note=note, **where)


def found_rate(hits: Array, real: Drawn, rng: np.random.Generator, where: dict[str, Any]) -> Score:
    """The share of hits, (n,), over that among images of real people, with the interval of the ratio.

    What is drawn of the hits is their share's posterior under Jeffreys' prior, so that none or all of few images is not
    taken for certain. Raises ValueError where it is found in no real image of it, as no rate can stand over none.
    [Brown 2001, Stat. Sci. 16:101]
    """
    n, k = len(hits), int(hits.sum())
    if not real.value > 0:
        raise ValueError(
            f"found in {k} of {n}; the classifier finds it in none of the other real people who show it, so that there "
            "is no rate to compare with"
        )
    usual = real.estimate(n)
    shares = rng.beta(k + 0.5, n - k + 0.5, DRAWS)
    ratios = np.divide(shares, real.draws, out=np.full(DRAWS, np.nan), where=real.draws > 0)
    found = Drawn(k / n / real.value, ratios, real.units, (0, math.inf)).estimate(n)
    note = f"found in {k} of {n}; in real people who show it in {real.value:.0%} ({usual.low:.0%} to {usual.high:.0%})"
    return Score.of("found_rate", found, null=Null.known(1.0), note=note, **where)
