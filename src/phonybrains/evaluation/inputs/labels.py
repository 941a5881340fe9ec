"""What images are said to show, and what a classifier that real images taught finds in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...imageset import Attribute, Row
from ..arrays import Array
from .patients import deal

FOLDS = 5
CUTS = ("low", "middle", "high")
MOST_LABELS = 12
WORST_RATE = 0.25
"""A classifier whose smallest singular value lies below this tells labels apart too badly to be corrected for."""


@dataclass(frozen=True)
class Scale:
    """How an attribute's values become labels: as they stand, or a number as a third of what real images have.

    `names`: the labels, in order; several in one image («a;b») are the label "several". `edges`: where the thirds meet;
    empty where values are categories. `only_any`: everything but "none" is the label "any".
    """

    attribute: str
    names: tuple[str, ...]
    edges: tuple[float, ...] = ()
    only_any: bool = False

    @classmethod
    def of(cls, attribute: str, real: Sequence[Row]) -> Scale:
        """The scale that real images give. Raises ValueError where there is nothing to tell apart."""
        values = [value for row in real if (value := row[attribute]) not in (None, "")]
        if not values:
            raise ValueError(f"no real image says anything of '{attribute}'")
        if all(isinstance(value, float) for value in values) and len(set(values)) > len(CUTS) + 2:
            low, high = np.quantile(np.array(values, dtype=float), [1 / 3, 2 / 3])
            if low < high:
                return cls(attribute, CUTS, (float(low), float(high)))
        names = sorted({text_of(value) for value in values})
        if len(names) < 2:
            raise ValueError(f"every real image has the same '{attribute}' ({names[0]})")
        if len(names) > MOST_LABELS:
            raise ValueError(f"'{attribute}' has {len(names)} labels: too many to compare")
        return cls(attribute, tuple(names))

    def label(self, row: Row) -> str:
        """The label of an image; "" where it says nothing, or something that no real image says."""
        value = row[self.attribute]
        if value in (None, ""):
            return ""
        if self.edges:
            return CUTS[int(np.searchsorted(self.edges, value))] if isinstance(value, float) else ""
        text = text_of(value)
        if self.only_any:
            text = "any" if text != "none" else text
        return text if text in self.names else ""

    def labels(self, rows: Sequence[Row]) -> list[str]:
        """The label of each image."""
        return [self.label(row) for row in rows]

    def codes(self, rows: Sequence[Row]) -> Array:
        """Each image's label by its number, (n,); -1 where it has none."""
        return np.array([self.names.index(name) if name else -1 for name in self.labels(rows)], dtype=int)


def text_of(value: Attribute) -> str:
    """A value as a label: the number 1 is «1», and «a;b» is "several"."""
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return "several" if ";" in text.strip("; ") else text.strip("; ")


@dataclass(frozen=True)
class LabelClassifier:
    """One classifier for each fold of people, and what each says of the people that it did not learn from.

    `confusion`: (people, K, K), for each person how often the true label (row) was called so (column). `found`: (n,)
    the call for each real image, by a classifier that did not see its person.
    """

    classifiers: tuple[Any, ...]
    folds: Array
    truth: Array
    found: Array
    confusion: Array

    @classmethod
    def learn(cls, features: Array, truth: Array, groups: Sequence[str], seed: int = 0) -> LabelClassifier:
        """Learn from real images, (n, d), with labels 0…K-1, (n,), cross-validated so that people stay whole.

        Raises ValueError with fewer than two people, or where a label is so rare that a fold would never meet it.
        """
        count = int(truth.max()) + 1
        folds = _even_folds(truth, groups, seed)
        classifiers, found = [], np.full(len(truth), -1)
        for fold in range(int(folds.max()) + 1):
            fit = folds != fold
            if len(set(truth[fit].tolist())) < count:
                raise ValueError("a label is held by so few people that a classifier cannot be tested on others")
            classifiers.append(_classifier().fit(features[fit], truth[fit]))
            found[~fit] = classifiers[-1].predict(features[~fit])
        place = {name: i for i, name in enumerate(dict.fromkeys(groups))}
        confusion = np.zeros((len(place), count, count))
        people = np.array([place[group] for group in groups])
        np.add.at(confusion, (people, np.array(truth), found), 1)
        return cls(tuple(classifiers), folds, truth, found, confusion)

    def votes(self, features: Array) -> Array:
        """The share of the classifiers that give each label, (n, K), for images of nobody they learnt from."""
        return (self._calls(features)[..., None] == np.arange(self.confusion.shape[1])).mean(axis=0)

    def calls(self, features: Array) -> Array:
        """One label for each image, (n,): what the classifiers together hold likeliest."""
        return np.mean([c.predict_proba(features) for c in self.classifiers], axis=0).argmax(axis=1)

    def held_out_calls(self, features: Array, which: Array) -> Array:
        """The call for changed copies of real images it learnt from, (n,), by who did not see their person.

        which: (n,) the places of these images among those it learnt from.
        """
        return self._calls(features)[self.folds[which], np.arange(len(features))]

    def _calls(self, features: Array) -> Array:
        return np.stack([classifier.predict(features) for classifier in self.classifiers])


def _even_folds(truth: Array, groups: Sequence[str], seed: int) -> Array:
    """The fold of each image: people stay whole, and those of each label are shared out evenly."""
    rng = np.random.default_rng([seed, 31])
    first = {group: int(label) for group, label in zip(reversed(groups), truth[::-1], strict=True)}
    if len(first) < 2:
        raise ValueError("fewer than two people: nobody is left to test a classifier on")
    parts = np.zeros(len(truth), dtype=int)
    count = min(FOLDS, len(first))
    for label in sorted(set(first.values())):
        mine = np.array([first[group] == label for group in groups])
        dealt = deal([group for group, one in zip(groups, mine, strict=True) if one], count, rng)
        parts[mine] = (dealt + label) % count
    return np.unique(parts, return_inverse=True)[1]


def _classifier() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))


def telling(confusion: Array) -> float:
    """How well a classifier tells labels apart: the smallest singular value of its rates; 1 is perfect, 0 is chance.

    Singular values know no order: one that takes each label for another has them too. So it is 0 where a label is
    called no oftener in images that show it than in those of another label.
    """
    table = confusion.sum(axis=0) if confusion.ndim == 3 else confusion
    rates = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12)
    others = np.where(np.eye(len(rates), dtype=bool), -np.inf, rates).max(axis=0)
    return float(np.linalg.svd(rates, compute_uv=False)[-1]) if (np.diag(rates) > others).all() else 0.0
