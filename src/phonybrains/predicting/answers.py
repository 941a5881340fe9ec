"""The answers to each image as columns of a table, and what they are worth where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .certainty import Array, interval, picp, probabilities, qice, vote
from .predictor import Subject


def columns(subject: Subject, draws: Array, said: Array, alpha: float) -> dict[str, Array]:
    """Columns (N,) of answers (N, n, K), and of what f alone said (N, K).

    Of a category: the answer, whether it is certain, and each label's probability and width of its 95 % interval; of a
    number: mean, deviation and ends of the interval.
    """
    if not subject.labels:
        values = draws[..., 0]
        low, high = interval(values)
        base = said[:, 0] * subject.spread + subject.centre
        return {"answer": values.mean(1), "sd": values.std(1, ddof=1), "low": low, "high": high, "base": base}
    found, names = probabilities(draws, subject.temperature), np.array(subject.labels)
    (answer, certain), mean, (low, high) = vote(found, alpha), found.mean(axis=1), interval(found)
    table = {"answer": names[answer], "certain": certain, "base": names[said.argmax(axis=1)]}
    for k, label in enumerate(subject.labels):
        table |= {f"p {label}": mean[:, k], f"width {label}": high[:, k] - low[:, k]}
    return table


def figures(subject: Subject, table: Mapping[str, Array], draws: Array, truth: Array) -> dict[str, float | int | None]:
    """What answers are worth where the truth is known, (N,) classes or numbers: figures for a record."""
    if not subject.labels:
        error, base = (float(np.sqrt(np.mean((table[name] - truth) ** 2))) for name in ("answer", "base"))
        wide = float((table["high"] - table["low"]).mean())
        inside = {"PICP": picp(draws[..., 0], truth), "QICE": qice(draws[..., 0], truth)}
        return {"images": len(truth), "RMSE": error, "RMSE of base": base, "interval width": wide, **inside}
    names = np.array(subject.labels)[truth]
    right, sure = table["answer"] == names, table["certain"]
    width = np.stack([table[f"width {label}"] for label in subject.labels])[truth, np.arange(len(truth))]

    def mean(values: Array) -> float | None:
        return float(values.mean()) if len(values) else None

    return {
        "images": len(truth),
        "accuracy": mean(right),
        "accuracy of base": mean(table["base"] == names),
        "certain": int(sure.sum()),
        "accuracy where certain": mean(right[sure]),
        "accuracy elsewhere": mean(right[~sure]),
        "width where right": mean(width[right]),
        "width where wrong": mean(width[~right]),
    }
