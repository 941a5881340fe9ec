"""How often do intervals that draw people again find what is not there, where people are few? Simulated sets.

    python -m bench few_people --sets 1000

At a level of 5 %: a mean of 200 generated images against that of people with six images each, as the noise is
compared; and the gain of an arm over another that is no better, learnt by one, three or five networks (deviations: .03
of a network, .06 of a person in it). Beside each test what plain percentiles reject.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track

from phonybrains.evaluation.utility.again import Again
from phonybrains.statistics.bootstrap import Drawn, drawn_again
from phonybrains.statistics.proportions import clopper_pearson

from .options import measurement
from .timing import table

LEVEL, EACH, MADE, DRAWS = 0.05, 6, 200, 1000
NETWORKS = (1, 3, 5)


def no_difference(people: int, rng: np.random.Generator) -> Iterator[tuple[str, Drawn]]:
    """Each test's name, and a difference that is 0 in truth."""
    who = np.repeat(np.arange(people), EACH)
    real = rng.normal(size=people)[who] + rng.normal(0, 0.7, len(who))
    made, weights = rng.normal(0, 1.2, MADE), drawn_again(who, DRAWS, rng)
    of_made = rng.multinomial(MADE, np.full(MADE, 1 / MADE), DRAWS) @ made / MADE
    apart = of_made - weights @ real / weights.sum(axis=1)
    yield "mean", Drawn(float(made.mean() - real.mean()), apart, people)
    for networks in NETWORKS:
        again = Again.of([str(person) for person in range(people)], networks, DRAWS, rng)
        arms = [rng.normal(0, 0.03, (networks, 1)) + rng.normal(0, 0.06, (networks, people)) for _ in range(2)]
        each = [arm @ again.weights.T / again.weights.sum(axis=1) for arm in arms]
        one, other = map(again.mean, each)
        yield f"gain, networks: {networks}", one.minus(other)


app = measurement(__name__, __doc__)


@app.default
def main(
    *, sets: int = 1000, people: tuple[int, ...] = (5, 8, 20, 41), seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Count rejections.

    Args:
        sets: Simulated sets for each number of people.
        people: How many there are.
        seed: Start of the random numbers.
        out: File for the table.
    """
    rejected: Counter[tuple[str, int]] = Counter()
    plainly: Counter[tuple[str, int]] = Counter()
    for count in people:
        for i in track(range(sets), f"{count} people", transient=True):
            for name, found in no_difference(count, np.random.default_rng([seed, count, i])):
                rejected[name, count] += found.p_value() <= LEVEL
                plainly[name, count] += replace(found, units=math.inf, alone=()).p_value() <= LEVEL
    names = dict.fromkeys(name for name, _ in rejected)
    rows = []
    for name in names:
        for count in people:
            share = clopper_pearson(rejected[name, count], sets)
            shown = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
            rows.append([name, count, shown, f"{plainly[name, count] / sets:.1%}"])
    text = table(["test", "people", "rejects", "plain percentiles"], rows)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    return {f"{name}, {count} people": number / sets for (name, count), number in rejected.items()}
