"""Train, validation and test: by patient where patients are known, else by runs of neighbouring images.

Nothing here depends on the order of the sources or on the key of the pseudonyms: the ids as found decide, with a seed.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import ConfigError
from ..record import UNSAFE
from ..wording import count_of
from .config import ImportConfig
from .slices import Slice

AS_GIVEN = "as given"
BY_PATIENT = "by patient"
BY_GUESS = f"by patient as guessed, {UNSAFE}"
BY_VOLUME = f"by volume, {UNSAFE}"
BY_RUNS = f"by runs, {UNSAFE}"
GIVEN_UNKNOWN = f"as given, patients unknown, {UNSAFE}"
GIVEN_TORN = f"as given, a patient in two splits, {UNSAFE}"
SYNTHETIC = "none, synthetic"
ORDER = (AS_GIVEN, BY_PATIENT, BY_GUESS, GIVEN_UNKNOWN, GIVEN_TORN, BY_VOLUME, BY_RUNS)
"""From the safest way on."""
NAMES = ("train", "validation", "test")
GUESSED = (
    "whose they are is guessed from names of files and folders, so two people may count as one, or one as two. "
    "Where you know, say so: sub-<id> in the name (BIDS), or PatientID in DICOM"
)


@dataclass(frozen=True, slots=True)
class Splits:
    """The split of each image (train, validation, test or "" for none), by modality the method, and warnings."""

    names: tuple[str, ...]
    methods: Mapping[str, str]
    warnings: tuple[str, ...]


def split(images: Sequence[Slice], config: ImportConfig) -> Splits:
    """Put each image into a split.

    A split that the source gives is kept; synthetic images go into none. Patients are drawn by a hash of seed and id,
    per set of modalities that a patient has; a volume without patient counts as one. Raises ConfigError if
    the shares do not sum to 1.
    """
    if abs(sum(config.split) - 1) > 1e-6:
        raise ConfigError(f"split = {config.split}: the shares of train, validation and test must sum to 1.")
    if config.synthetic:
        modalities = sorted({image.modality for image in images})
        return Splits(("",) * len(images), dict.fromkeys(modalities, SYNTHETIC), ())
    names = [image.split or "" for image in images]
    warnings: list[str] = []
    groups: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        groups[_group(image)].append(index)
    loose: dict[str, list[int]] = defaultdict(list)
    for index in groups.pop("", []):
        if images[index].split is None:
            loose[images[index].modality].append(index)
    for label, drawn in _draw_groups(images, groups, config, warnings).items():
        for index in groups[label]:
            names[index] = drawn if images[index].split is None else names[index]
    if guessed := sum(image.patient_is_guess and image.split is None for image in images):
        warnings.append(f"{count_of(guessed, 'image')}: {GUESSED}")
    methods = _methods(images, names)
    if BY_VOLUME in methods.values():
        warnings.append("the patients of some volumes are not known: each volume counts as a patient of its own")
    for modality, indices in sorted(loose.items()):
        for index, name in _split_runs(images, indices, modality, config, warnings).items():
            names[index] = name
    return Splits(tuple(names), methods, tuple(warnings))


def _group(image: Slice) -> str:
    """The group that must stay together: a patient, or a volume whose patient is unknown; "" for neither."""
    if image.patient:
        return f"patient {image.patient}"
    return f"volume {image.series}" if image.volume else ""


def _given(images: Sequence[Slice], groups: Mapping[str, Sequence[int]], warnings: list[str]) -> dict[str, str]:
    """The split that a group has in a source which gives splits; it then holds in the other sources too."""
    known: dict[str, str] = {}
    torn = 0
    for label, indices in groups.items():
        found = sorted({images[i].split or "" for i in indices} - {""})
        torn += len(found) > 1
        if found:
            known[label] = found[-1] if "train" not in found else "train"
    if torn:
        warnings.append(
            f"{count_of(torn, 'patient lies', 'patients lie')} in more than one split, as their source gives it: "
            "results will flatter"
        )
    return known


def _draw_groups(
    images: Sequence[Slice], groups: Mapping[str, Sequence[int]], config: ImportConfig, warnings: list[str]
) -> dict[str, str]:
    """The split of each group of which some images are not given one."""
    known = _given(images, groups, warnings)
    drawn: dict[str, str] = {}
    strata: dict[str, list[str]] = defaultdict(list)
    for label, indices in groups.items():
        if all(images[i].split is not None for i in indices):
            continue
        if label in known:
            drawn[label] = known[label]
        else:
            strata[" and ".join(sorted({images[i].modality for i in indices}))].append(label)
    for modalities, labels in sorted(strata.items()):
        labels.sort(key=lambda label: hashlib.sha256(f"{config.seed} {label}".encode()).hexdigest())
        counts = _counts(len(labels), config.split)
        names = [name for name, count in zip(NAMES, counts, strict=True) for _ in range(count)]
        drawn |= dict(zip(labels, names, strict=True))
        units = count_of(len(labels), "patient or volume", "patients or volumes")
        if too_few := _too_few(f"{modalities}: {units}", dict.fromkeys(names), config):
            warnings.append(too_few)
    return drawn


def _too_few(what: str, names: Iterable[str], config: ImportConfig) -> str:
    """What to warn of where a split stayed empty that should not; "" where none did."""
    found = [*names]
    if len(found) == sum(share > 0 for share in config.split):
        return ""
    return f"{what}, too few for all splits: all went to {' and '.join(found)}"


def _split_runs(
    images: Sequence[Slice], indices: Sequence[int], modality: str, config: ImportConfig, warnings: list[str]
) -> dict[int, str]:
    """Hold out whole runs of neighbours, spread evenly over the series, and guard their ends."""
    series: dict[str, list[int]] = defaultdict(list)
    for index in sorted(indices, key=lambda i: (images[i].series, images[i].order, i)):
        series[images[index].series].append(index)
    runs = [run for part in series.values() for run in _runs(part, config.run_length)]
    labels = _spread(len(runs), config.split, random.Random(f"{config.seed} {modality}"))
    label_of = {index: label for run, label in zip(runs, labels, strict=True) for index in run}
    names: dict[int, str] = {}
    for part in series.values():
        for place, index in enumerate(part):
            around = part[max(0, place - config.run_guard) : place + config.run_guard + 1]
            label = label_of[index]
            borders = label != "train" and any(label_of[other] != label for other in around)
            names[index] = "" if borders else label
    units = count_of(len(runs), "run of neighbours", "runs of neighbours")
    if too_few := _too_few(f"{modality}: {units}", sorted({*labels}), config):
        warnings.append(f"{too_few}; give a smaller run_length than {config.run_length}")
    warnings.append(
        f"{modality}: no patient is known for {count_of(len(indices), 'image')}: split by runs of "
        f"neighbours; one patient can lie in two splits, and results will flatter"
    )
    return names


def _runs(part: Sequence[int], length: int) -> list[Sequence[int]]:
    """Cut a series into runs of about `length`; a last one shorter than half of it joins the one before."""
    count = max(1, int(len(part) / length + 0.5))
    edges = [i * length for i in range(count)] + [len(part)]
    return [part[start:stop] for start, stop in pairwise(edges)]


def _spread(count: int, shares: tuple[float, float, float], rng: random.Random) -> list[str]:
    """A split for each of `count` runs in order: the held-out ones spread evenly, so that none misses a diagnosis."""
    train, *held_out = _counts(count, shares)
    parts = zip(NAMES[1:], held_out, strict=True)
    held = sorted(((i + 0.5) / number, name) for name, number in parts for i in range(number))
    labels = ["train" if train else ""] * count
    for place, (_, name) in enumerate(held):
        start, stop = place * count // len(held), (place + 1) * count // len(held)
        labels[rng.randrange(start, stop)] = name
    return labels


def _counts(count: int, shares: Sequence[float]) -> list[int]:
    """How many of `count` go to train, validation and test: at least one each where there are three, else all to one.

    The one is the split with the largest share, train for all usual shares.
    """
    if count < 3 and sum(share > 0 for share in shares) > 1:
        counts = [0, 0, 0]
    else:
        counts = [max(1, round(count * share)) if share > 0 else 0 for share in shares]
    counts[shares.index(max(shares))] += count - sum(counts)
    return counts


def _methods(images: Sequence[Slice], names: Sequence[str]) -> dict[str, str]:
    """By modality, how it was split; the least safe way where there are several, and as unsafe as it was before."""
    places: dict[str, set[str]] = defaultdict(set)
    for image, name in zip(images, names, strict=True):
        places[image.patient] |= {name} - {""}
    methods: dict[str, str] = {}
    for image, name in zip(images, names, strict=True):
        method = _method(image, name, torn=len(places[image.patient]) > 1)
        before = methods.get(image.modality, AS_GIVEN)
        methods[image.modality] = max(before, method, key=lambda m: ORDER.index(m) if m in ORDER else len(ORDER))
    return dict(sorted(methods.items()))


def _method(image: Slice, name: str, torn: bool) -> str:
    """How one image came to its split; torn: whether its patient lies in two."""
    if UNSAFE in image.inherited:
        return image.inherited
    if image.split is None:
        if image.patient:
            return BY_GUESS if image.patient_is_guess else BY_PATIENT
        return BY_VOLUME if image.volume else BY_RUNS
    if image.synthetic or not name:
        return AS_GIVEN
    if image.patient_is_guess or not image.patient:
        return GIVEN_UNKNOWN
    return GIVEN_TORN if torn else AS_GIVEN
