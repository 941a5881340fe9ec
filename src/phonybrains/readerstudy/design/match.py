"""Strata of images by their attributes, and how many cases to take of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...imageset import Attribute, Row

Stratum = tuple[Attribute, ...]
CLASSES = 3  # a number with more values than this is split at its quantiles


@dataclass(frozen=True)
class Strata:
    """How images of one modality are grouped: by the attributes that both sides have."""

    names: tuple[str, ...]
    bounds: Mapping[str, Sequence[float]]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, synthetic: Sequence[Row], real: Sequence[Row], names: Sequence[str]) -> Strata:
        """Strata from the attributes named; an attribute that one side lacks cannot be matched, which is said."""
        kept, warnings, bounds = [], [], {}
        for name in names:
            sides = (("synthetic", synthetic), ("real", real))
            lacking = [side for side, rows in sides if all(row[name] in (None, "") for row in rows)]
            if lacking:
                who = " and the ".join(lacking)
                warnings.append(f"'{name}' could not be matched: the {who} images do not have it.")
                continue
            kept.append(name)
            numbers = [value for row in synthetic if isinstance(value := row[name], float)]
            if len(set(numbers)) > CLASSES:
                bounds[name] = np.quantile(numbers, np.arange(1, CLASSES) / CLASSES).tolist()
        return cls(tuple(kept), bounds, tuple(warnings))

    def key(self, row: Row) -> Stratum:
        """The stratum of an image."""
        values = ((self.bounds.get(name), row[name]) for name in self.names)
        return tuple(
            float(np.searchsorted(bounds, value, side="right")) if bounds and isinstance(value, float) else value
            for bounds, value in values
        )

    def group(self, rows: Sequence[Row], indices: Sequence[int]) -> dict[Stratum, list[int]]:
        """The indices of each stratum."""
        groups: dict[Stratum, list[int]] = {}
        for i in indices:
            groups.setdefault(self.key(rows[i]), []).append(i)
        return groups

    def unmatched(self, synthetic: Mapping[Stratum, int], real: Mapping[Stratum, int]) -> list[str]:
        """Sentences about strata whose share differs between the sides by one case or more."""
        phony, controls = sum(synthetic.values()), sum(real.values())
        off = []
        for name in sorted({*synthetic, *real}, key=str):
            expected = synthetic.get(name, 0) * controls / max(phony, 1)
            if abs(real.get(name, 0) - expected) >= 1:
                known = ("unknown" if value is None else value for value in name)
                label = ", ".join(f"{key} {value}" for key, value in zip(self.names, known, strict=True))
                off.append(f"{label}: {synthetic.get(name, 0)} phony, {real.get(name, 0)} real")
        return [f"Real and phony could not be matched in all strata ({'; '.join(off)})."] if off else []


def apportion(n: int, weights: Mapping[Stratum, int], caps: Mapping[Stratum, int]) -> dict[Stratum, int]:
    """Share out n cases in proportion to the weights, one at a time, within the caps; what they forbid goes elsewhere.

    A stratum's cap is broken only when all caps together are below n (then its weight is the limit).
    """
    quota = dict.fromkeys(sorted({*weights, *caps}, key=str), 0)
    total = max(sum(weights.values()), 1)
    for _ in range(n):
        within = [name for name in quota if quota[name] < caps.get(name, 0)]
        open_ = within or [name for name in quota if quota[name] < weights.get(name, 0)]
        wanted = {name: n * weights.get(name, 0) / total - quota[name] for name in open_}
        quota[max(wanted, key=lambda name: wanted[name])] += 1
    return {name: number for name, number in quota.items() if number}
