"""How often the leakage gate refuses innocent studies, and how often it finds planted traces.

    python -m bench study_gate CORPUS --modality CT [--innocent 300] [--planted 20] [--split test]
    python -m bench study_gate --phantoms --modality MR

Studies of 20 + 20 images of disjoint patients, drawn from an image set of 8 bits; features are measured once for each
image. An innocent study takes its sides' images from half the patients each, so that a patient may give several. A
planted one shows each trace of bench/study_traces.py on its phony side.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.design.encode import EncodedCase
from phonybrains.readerstudy.design.leakage import LEVEL, encoding_tables
from phonybrains.readerstudy.design.leakage_comparison import FeatureTable, adjusted_p
from phonybrains.readerstudy.study import Case

from .options import measurement
from .study_traces import TRACES, Pixels

SIDE, SHUFFLES, KEPT = 20, 499, 40


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """Which images, and how many studies."""

    phantoms: bool = False
    """Draw phantoms in place of a corpus."""
    modality: str = "MR"
    split: str = "any"
    images: int = 160
    innocent: int = 300
    """Studies with nothing to find."""
    planted: int = 20
    """Studies with each trace."""


app = measurement(__name__, __doc__)


@app.default
def main(corpus: Path | None = None, /, *, given: Options = Options()) -> None:
    """Judge studies."""
    images, patients = read(corpus, given)
    innocent = table_of(images, patients, given.modality)
    counts = f"{len(images)} images of {len(set(patients))} patients, {len(innocent.names)} features"
    print(f"{given.modality}: {counts}", flush=True)
    refused = sum(is_refused(innocent, draw_sides(patients, seed), seed) for seed in range(given.innocent))
    print(f"innocent: {refused} of {given.innocent} refused", flush=True)
    for name in TRACES if given.planted else ():
        report(name, innocent, images[:KEPT], patients[:KEPT], given.planted)


def report(name: str, plain: FeatureTable, images: Sequence[Pixels], patients: Sequence[str], studies: int) -> None:
    """In how many studies the trace is found; `plain` are the features of the images as they are, first of all."""
    rng = np.random.default_rng(1)
    changed = [TRACES[name](image, rng) for image in images]
    touched = sum(not np.array_equal(one, two) for one, two in zip(changed, images, strict=True))
    if not touched:
        print(f"{name}: it changes no image", flush=True)
        return
    traced, n = table_of(changed, patients, plain.modality), len(images)
    names = tuple(feature for feature in plain.names if feature in traced.names)
    values = [table.values[[table.names.index(feature) for feature in names]][:, :n] for table in (traced, plain)]
    assert plain.crops is not None
    assert traced.crops is not None
    crops = np.concatenate([traced.crops, plain.crops[:n]])
    both = replace(plain, names=names, values=np.hstack(values), units=np.tile(plain.units[:n], 2), crops=crops)

    def sides(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.random.default_rng(seed).permutation(n)
        return order[:SIDE], n + order[SIDE : 2 * SIDE]

    found = sum(is_refused(both, sides(seed), seed) for seed in range(studies))
    print(f"{name}: {found} of {studies} found; it changes {touched} of {n} images", flush=True)


def read(corpus: Path | None, given: Options) -> tuple[list[Pixels], list[str]]:
    """Images and patients: one of each patient first, then a second, up to the number asked for."""
    with tempfile.TemporaryDirectory() as folder:
        source = corpus or make_phantoms(2 * given.images, Path(folder) / "set", seed=3, slices_per_patient=1)
        found = ImageSet.open(source)
        rows, turns = found.rows, Counter[str]()
        turn: dict[int, int] = {}
        for i in np.random.default_rng(0).permutation(len(rows)).tolist():
            if rows[i].modality == given.modality and given.split in ("any", rows[i].split):
                turn[i] = turns[rows[i].patient_id]
                turns[rows[i].patient_id] += 1
        chosen = sorted(turn, key=turn.__getitem__)[: given.images]
        return [found.pixels(i).astype(np.int16) for i in chosen], [rows[i].patient_id for i in chosen]


def table_of(images: Sequence[Pixels], patients: Sequence[str], modality: str) -> FeatureTable:
    """The features of images, as the gate measures them; truth is set later."""
    rng = np.random.default_rng(0)
    cases = []
    for i, (image, patient) in enumerate(zip(images, patients, strict=True)):
        truth, source = ("phony", "model") if i else ("real", "real")
        case = Case(rng.bytes(8).hex(), "", "test", truth, source, modality, 1, 0, "a.u.", "", patient)
        cases.append(EncodedCase(case, image))
    return replace(encoding_tables(cases)[0], units=np.unique(patients, return_inverse=True)[1])


def draw_sides(patients: Sequence[str], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images of one half of the patients, and of the other."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(sorted(set(patients)))
    first = np.isin(patients, people[: len(people) // 2])
    one, two = (rng.permutation(np.flatnonzero(side))[:SIDE] for side in (first, ~first))
    return one, two


def is_refused(table: FeatureTable, sides: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int) -> bool:
    chosen = np.concatenate(sides)
    phony = np.arange(len(chosen)) < len(sides[0])
    assert table.crops is not None
    names = np.unique(table.units[chosen], return_inverse=True)[1]
    drawn = replace(table, values=table.values[:, chosen], phony=phony, units=names, crops=table.crops[chosen])
    return min(p for *_, p in adjusted_p([drawn], np.random.default_rng(seed), SHUFFLES)) <= LEVEL
