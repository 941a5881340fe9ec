"""How often an attribute has a value, on both sides: what no distance of features sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scipy.stats import fisher_exact

from ...imageset import Row
from ...statistics.proportions import clopper_pearson
from ..inputs.labels import Scale
from ..score import Null, Score, unavailable


def prevalence(made: Sequence[Row], real: Sequence[Row], scale: Scale, *, modality: str, versus: str) -> list[Score]:
    """The share of each label among the made images that have one, with its exact interval and p that it is as among
    the real ones (Fisher's exact test); the null is the real share with its exact interval.

    Labels are what the metadata say: of made images, what they were asked to show. Images are taken for independent.
    """
    where: dict[str, Any] = {"modality": modality, "versus": versus}
    attribute = scale.attribute
    counts = [Counter(label for label in scale.labels(rows) if label) for rows in (made, real)]
    n, m = (side.total() for side in counts)
    if not n or not m:
        side = "made" if not n else "real"
        return [unavailable("prevalence", f"no {side} image has the attribute '{attribute}'", group=attribute, **where)]
    where |= {"n": min(n, m), "note": "as the metadata say"}
    scores = []
    for label in scale.names:
        k, j = (side[label] for side in counts)
        p = float(fisher_exact([[k, n - k], [j, m - j]]).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
        group, null = f"{attribute}={label}", Null.of(clopper_pearson(j, m))
        scores.append(Score.of("prevalence", clopper_pearson(k, n), null=null, p=p, group=group, **where))
    return scores
