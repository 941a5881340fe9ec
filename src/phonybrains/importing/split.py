"""Train, validation and test: by patient where patients are known, else by runs of neighbouring images.

Nothing here depends on the order of the sources or on the key of the pseudonyms: the ids as found decide, with a seed.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import ConfigError
from ..record import UNSAFE
from .config import ImportConfig

AS_GIVEN = "as given"
BY_PATIENT = "by patient"
BY_GUESS = f"by patient as guessed, {UNSAFE}"
BY_VOLUME = f"by volume, {UNSAFE}"
BY_RUNS = f"by runs, {UNSAFE}"
GIVEN_UNKNOWN = f"as given, patients unknown, {UNSAFE}"
GIVEN_TORN = f"as given, a patient in two splits, {UNSAFE}"
SYNTHETIC = "none, synthetic"
GUESSED = (
    "whose they are is guessed from names of files and folders, so two people may count as one, or one as two. "
    "Where you know, say so: sub-<id> in the name (BIDS), or PatientID in DICOM"
)


@dataclass(frozen=True, slots=True)
class Member:
    """What the split needs to know of one image.

    patient: the id as found, "" where unknown; series, order: its volume or folder and its place in it;
    volume: whether the series is one scan (of one patient, then); given: the split its source gives it, or None;
    inherited: how the image set that it comes from was split; synthetic: whether it shows nobody;
    guessed: whether the patient is only guessed.
    """

    modality: str
    patient: str
    series: str
    order: float
    volume: bool = False
    given: str | None = None
    inherited: str = ""
    synthetic: bool = False
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Splits:
    """The split of each image (train, validation, test or "" for none), by modality the method, and warnings."""

    names: tuple[str, ...]
    methods: Mapping[str, str]
    warnings: tuple[str, ...]


def split(members: Sequence[Member], config: ImportConfig) -> Splits:
    """Put each image into a split.

    A split that the source gives is kept; synthetic images go into none. Patients are drawn by a hash of seed and id,
    per set of modalities that a patient has; a volume without patient counts as one. Raises ConfigError if
    the shares do not sum to 1.
    """
    if abs(sum(config.split) - 1) > 1e-6:
        raise ConfigError(f"split = {config.split}: the shares of train, validation and test must sum to 1.")
    if config.synthetic:
        return Splits(("",) * len(members), dict.fromkeys(sorted({m.modality for m in members}), SYNTHETIC), ())
    names = ["" if member.given is None else member.given for member in members]
    warnings: list[str] = []
    groups = _groups(members)
    known = _given(members, groups, warnings)
    for label, drawn in _draw_groups(members, groups, known, config, warnings).items():
        for index in groups[label]:
            names[index] = drawn if members[index].given is None else names[index]
    if guessed := sum(member.guessed and member.given is None for member in members):
        warnings.append(f"{guessed} images: {GUESSED}")
    if BY_VOLUME in (methods := _methods(members, names)).values():
        warnings.append("the patients of some volumes are not known: each volume counts as a patient of its own")
    loose = [i for i, member in enumerate(members) if member.given is None and not _label(member)]
    for modality in sorted({members[i].modality for i in loose}):
        of_modality = [i for i in loose if members[i].modality == modality]
        _split_runs(members, of_modality, modality, names, config, warnings)
    return Splits(tuple(names), methods, tuple(warnings))


def _label(member: Member) -> str:
    """The group that must stay together: a patient, or a volume whose patient is unknown; "" for neither."""
    if member.patient:
        return f"patient {member.patient}"
    return f"volume {member.series}" if member.volume else ""


def _groups(members: Sequence[Member]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, member in enumerate(members):
        if label := _label(member):
            groups[label].append(index)
    return groups


def _given(members: Sequence[Member], groups: Mapping[str, Sequence[int]], warnings: list[str]) -> dict[str, str]:
    """The split that a group has in a source which gives splits; it then holds in the other sources too."""
    known: dict[str, str] = {}
    torn = 0
    for label, indices in groups.items():
        found = sorted({members[i].given or "" for i in indices} - {""})
        torn += len(found) > 1
        if found:
            known[label] = found[-1] if "train" not in found else "train"
    if torn:
        warnings.append(f"{torn} patients lie in more than one split, as their source gives it: results will flatter")
    return known


def _draw_groups(
    members: Sequence[Member],
    groups: Mapping[str, Sequence[int]],
    known: Mapping[str, str],
    config: ImportConfig,
    warnings: list[str],
) -> dict[str, str]:
    """The split of each group that is not given one."""
    strata: dict[str, list[str]] = defaultdict(list)
    drawn: dict[str, str] = {}
    for label, indices in groups.items():
        if all(members[i].given is not None for i in indices):
            continue
        if label in known:
            drawn[label] = known[label]
        else:
            strata[" and ".join(sorted({members[i].modality for i in indices}))].append(label)
    for modalities, labels in sorted(strata.items()):
        labels.sort(key=lambda label: _hash(config.seed, label))
        train, validation, test = _counts(len(labels), config.split)
        names = ["train"] * train + ["validation"] * validation + ["test"] * test
        drawn |= dict(zip(labels, names, strict=True))
        if len(set(names)) < sum(share > 0 for share in config.split):
            warnings.append(
                f"{modalities}: {len(labels)} patients or volumes are too few for all splits: "
                f"all went to {' and '.join(dict.fromkeys(names))}"
            )
    return drawn


def _split_runs(
    members: Sequence[Member],
    indices: Sequence[int],
    modality: str,
    names: list[str],
    config: ImportConfig,
    warnings: list[str],
) -> None:
    """Hold out whole runs of neighbours, spread evenly over the series, and guard their ends."""
    series: dict[str, list[int]] = defaultdict(list)
    for index in sorted(indices, key=lambda i: (members[i].series, members[i].order, i)):
        series[members[index].series].append(index)
    runs = [run for part in series.values() for run in _runs(part, config.run_length)]
    labels = _spread(len(runs), config.split, random.Random(f"{config.seed} {modality}"))
    where = {index: (number, labels[number]) for number, run in enumerate(runs) for index in run}
    for part in series.values():
        for place, index in enumerate(part):
            around = part[max(0, place - config.run_guard) : place + config.run_guard + 1]
            label = where[index][1]
            borders = label != "train" and any(where[other][1] != label for other in around)
            names[index] = "" if borders else label
    if len(set(labels)) < sum(share > 0 for share in config.split):
        warnings.append(
            f"{modality}: {len(runs)} runs of {config.run_length} images are too few for all splits: "
            f"all went to {' and '.join(sorted(set(labels)))}; give a smaller run_length"
        )
    warnings.append(
        f"{modality}: no patient is known for {len(indices)} images, so they are split by runs of "
        f"neighbours; one patient can lie in two splits, and results will flatter"
    )


def _runs(part: Sequence[int], length: int) -> list[Sequence[int]]:
    """Cut a series into runs of about `length`; a last one shorter than half of it joins the one before."""
    count = max(1, int(len(part) / length + 0.5))
    edges = [i * length for i in range(count)] + [len(part)]
    return [part[start:stop] for start, stop in pairwise(edges)]


def _spread(count: int, shares: tuple[float, float, float], rng: random.Random) -> list[str]:
    """A split for each of `count` runs in order: the held-out ones spread evenly, so that none misses a diagnosis."""
    train, validation, test = _counts(count, shares)
    held = sorted(
        [((i + 0.5) / validation, "validation") for i in range(validation)]
        + [((i + 0.5) / test, "test") for i in range(test)]
    )
    labels = ["train" if train else ""] * count
    for place, (_, name) in enumerate(held):
        start, stop = place * count // len(held), (place + 1) * count // len(held)
        labels[rng.randrange(start, stop)] = name
    return labels


def _counts(count: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """How many of `count` go to train, validation and test: at least one each where there are three, else all to one.

    The one is the split with the largest share, train for all usual shares.
    """
    if count < 3 and sum(share > 0 for share in shares) > 1:
        counts = [0, 0, 0]
    else:
        counts = [max(1, round(count * share)) if share > 0 else 0 for share in shares]
    counts[shares.index(max(shares))] += count - sum(counts)
    return counts[0], counts[1], counts[2]


def _methods(members: Sequence[Member], names: Sequence[str]) -> dict[str, str]:
    """By modality, how it was split; the least safe way where there are several, and as unsafe as it was before."""
    methods: dict[str, str] = {}
    order = (AS_GIVEN, BY_PATIENT, BY_GUESS, GIVEN_UNKNOWN, GIVEN_TORN, BY_VOLUME, BY_RUNS)
    places: dict[str, set[str]] = defaultdict(set)
    for member, name in zip(members, names, strict=True):
        places[member.patient].add(name)
    for member, name in zip(members, names, strict=True):
        if UNSAFE in member.inherited:
            method = member.inherited
        elif member.given is not None and (member.synthetic or not name):
            method = AS_GIVEN
        elif member.given is not None and (member.guessed or not member.patient):
            method = GIVEN_UNKNOWN
        elif member.given is not None:
            method = GIVEN_TORN if len(places[member.patient] - {""}) > 1 else AS_GIVEN
        elif member.patient:
            method = BY_GUESS if member.guessed else BY_PATIENT
        else:
            method = BY_VOLUME if member.volume else BY_RUNS
        before = methods.get(member.modality, AS_GIVEN)
        methods[member.modality] = max(before, method, key=lambda m: order.index(m) if m in order else len(order))
    return dict(sorted(methods.items()))


def _hash(seed: int, label: str) -> str:
    return hashlib.sha256(f"{seed} {label}".encode()).hexdigest()
