"""How many images and patients have each value of each attribute: what a model can be told without redrawing one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from .slices import Notice, Slice

FEWEST = 5
"""Values of fewer patients are no conditions in training, unless it is told otherwise."""
MOST_LABELS = 12
"""An attribute with more labels is free text, a number or a name of the image, and is not counted."""

Values = Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]
"""By modality, attribute and label: images, patients, images of unknown patients, and patients in train."""


def count_values(found: Sequence[Slice], splits: Sequence[str]) -> Values:
    """Count the labels of all attributes that have few; a cell «a;b» counts for a and for b."""
    cells: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for item, split in zip(found, splits, strict=True):
        for name, value in item.attributes.items() if not item.synthetic else ():
            text = f"{value:g}" if isinstance(value, float) else str(value if value is not None else "")
            for label in filter(None, (part.strip() for part in text.split(";"))):
                cells[item.modality, name][label].append((item.patient, split))
    counted: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for (modality, name), labels in sorted(cells.items()):
        if len(labels) <= MOST_LABELS:
            counted.setdefault(modality, {})[name] = {label: _counts(labels[label]) for label in sorted(labels)}
    return counted


def _counts(images: Sequence[tuple[str, str]]) -> dict[str, int]:
    patients, taught = {patient for patient, _ in images}, {patient for patient, split in images if split == "train"}
    return {
        "images": len(images),
        "patients": len(patients - {""}),
        "unknown": sum(not p for p, _ in images),
        "in_train": len(taught - {""}),
    }


def _labels(values: Values) -> Iterator[tuple[str, str, Mapping[str, Mapping[str, int]]]]:
    """Each modality, attribute, and the counts of its labels."""
    for modality, attributes in values.items():
        for name, labels in attributes.items():
            yield modality, name, labels


def in_lines(values: Values) -> list[str]:
    """A line for each attribute and modality."""
    return [
        f"{name} ({modality}): " + ", ".join(f"{label} {_said(counts)}" for label, counts in labels.items())
        for modality, name, labels in _labels(values)
    ]


def of_values(values: Values) -> list[Notice]:
    """The same for the report file, a line for each label."""
    return [
        Notice("", "value", f"{modality}: {name} {label}: {_said(counts)}, {counts['in_train']} of them in train")
        for modality, name, labels in _labels(values)
        for label, counts in labels.items()
    ]


def few_patients(values: Values) -> list[str]:
    """What to warn of: each attribute of a modality with labels that too few patients have."""
    warnings, counted = [], [(modality, c) for modality, _, labels in _labels(values) for c in labels.values()]
    split = {modality for modality, counts in counted if counts["in_train"]}
    for modality, name, labels in _labels(values):
        of = "in_train" if modality in split else "patients"
        few = {label: c for label, c in labels.items() if c[of] + c["unknown"] < FEWEST}
        if said := ", ".join(f"{label} ({_said(c)}, {c['in_train']} in train)" for label, c in few.items()):
            what = f"{modality}: fewer than {FEWEST} patients have {name} {said}: train gives them no condition"
            warnings.append(what)
    return warnings


def _said(counts: Mapping[str, int]) -> str:
    images = f"{counts['images']} image{'s' * (counts['images'] != 1)}"
    if counts["unknown"] == counts["images"]:
        return f"{images} of unknown patients"
    more = " or more" if counts["unknown"] else ""
    return f"{images} of {counts['patients']}{more} patient{'s' * (counts['patients'] != 1 or bool(more))}"
