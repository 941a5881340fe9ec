"""What stands behind an image that is asked for: how many training images show the same, and of how many patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..networks.conditions import Category, Conditions, Number, Value, labels_of, tenth_of

FEWEST = 5
"""Fewer patients than this are too few, whatever was asked of training."""


def doubts(conditions: Conditions, where: Mapping[str, Value]) -> list[str]:
    """Sentences on what is asked for: that nobody, too few, or nobody knows how many patients stand behind it.

    where: checked values; what is no attribute of the model is passed over.
    """
    asked = {a.name: where[a.name] for a in conditions.attributes if where.get(a.name) is not None}
    if not asked:
        return []
    said = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in asked.items()
    )
    images, patients, unknown = _backing(conditions, asked)
    if not images:
        there = _what_there_is(conditions, asked)
        return [f"NO TRAINING IMAGE is {said}: the images will show something else. {there}".rstrip()]
    least = max(FEWEST, conditions.min_patients)
    if patients is None:
        return [
            f"The model does not know how many patients stand behind {said}: it was made before they were counted. "
            "Where they are few, its images redraw them."
        ]
    people = "1 patient" if patients == 1 else f"{patients} patients"
    if patients + unknown < least:
        most = "" if not unknown else f", {unknown} of them of unknown patients"
        return [
            f"Too few: only {images} training images of {people} are {said}{most}. With fewer than {least} "
            "patients, the images will redraw them."
        ]
    if patients < least:
        return [
            f"Whom {unknown} of {images} training images that are {said} show is not known: where that is few "
            "patients, the images will redraw them."
        ]
    return []


def _backing(conditions: Conditions, asked: Mapping[str, Value]) -> tuple[int, int | None, int]:
    """Training images, patients (None: not counted), images of unknown patients; with numbers, at most so many."""
    numbers = {a.name: a for a in conditions.attributes if isinstance(a, Number) and a.name in asked}
    fits = matching(conditions, {name: value for name, value in asked.items() if name not in numbers})
    images = sum(conditions.combinations[i][1] for i in fits)
    if not conditions.patients:
        return images, None, 0
    patients = len(frozenset[int]().union(*(conditions.patients[i][0] for i in fits)))
    unknown = sum(conditions.patients[i][1] for i in fits)
    for name, number in numbers.items():
        tenths = conditions.tenths[name]
        modalities = [str(asked["modality"])] if "modality" in asked else list(tenths)
        place = tenth_of(number, float(asked[name]))  # type: ignore[arg-type]
        found = [tenths[m].split()[place].split("/") for m in modalities if m in tenths]
        here = [sum(int(one[k]) for one in found) for k in range(3)]
        images, patients, unknown = min(images, here[0]), min(patients, here[1]), min(unknown, here[2])
    return images, patients, unknown


def matching(conditions: Conditions, asked: Mapping[str, Value]) -> list[int]:
    """Which combinations of the training show all of some categories."""
    names = [a.name for a in conditions.attributes if isinstance(a, Category)]
    wanted = {names.index(name): set(labels_of(value)) for name, value in asked.items()}
    return [
        number
        for number, (values, _) in enumerate(conditions.combinations)
        if all(values[i] is not None and labels <= set(labels_of(values[i])) for i, labels in wanted.items())
    ]


def _what_there_is(conditions: Conditions, asked: Mapping[str, Value]) -> str:
    """For each attribute that is asked for, what it is in the images that show the rest."""
    names = [a.name for a in conditions.attributes if isinstance(a, Category)]
    categories = [name for name in names if name in asked]
    sentences = []
    for name in categories if len(asked) > 1 else []:
        rest = {other: asked[other] for other in categories if other != name}
        found: Counter[str] = Counter()
        for i in matching(conditions, rest):
            values, images = conditions.combinations[i]
            found[str(values[names.index(name)] or "not given")] += images
        there = ", ".join(f"{value} ({images} images)" for value, images in found.most_common())
        given = " and ".join(f"{other} {value}" for other, value in rest.items())
        sentences.append(f"{f'With {given}, {name}' if rest else name}: {there or 'no training image either'}.")
    for name in asked.keys() - set(categories):
        given = [m for m, tenths in conditions.tenths.get(name, {}).items() if tenths != " ".join(["0/0/0"] * 10)]
        sentences.append(f"{name} is given in {' and '.join(given)}." if given else "")
    return " ".join(filter(None, sentences))


def rule_in_words(conditions: Conditions) -> str:
    """Which values are conditions, and of which it is not known whom they show."""
    if not conditions.patients:
        return "How many patients have each value was not counted when this model was made."
    unknown: Counter[str] = Counter()
    for (values, _), (_, images) in zip(conditions.combinations, conditions.patients, strict=True):
        unknown[str(values[0])] += images
    if conditions.min_patients <= 1:
        rule = f"Values of any number of patients are conditions (min_patients = {conditions.min_patients}): "
        rule += "asked for a value of few patients, the model can redraw them."
    else:
        rule = f"Values that fewer than {conditions.min_patients} patients of a modality have are no conditions."
    lost = [f"{images} {modality}" for modality, images in unknown.items() if images]
    if not lost:
        return rule
    return f"{rule} Whom {' and '.join(lost)} images show is not known: their values were not counted, and are kept."


def counts_in_words(conditions: Conditions) -> list[str]:
    """For each label of each category, by modality: how many training images and patients have it."""
    names = [a.name for a in conditions.attributes if isinstance(a, Category)]
    lines = []
    for attribute in conditions.attributes if conditions.patients else ():
        for label in attribute.offered if isinstance(attribute, Category) else ():
            parts = []
            for modality in dict.fromkeys(str(values[0]) for values, _ in conditions.combinations):
                asked = {names[0]: modality, attribute.name: label}
                images, patients, unknown = _backing(conditions, asked)
                if images and (attribute.name != names[0] or modality == label):
                    people = "an unknown number of" if unknown == images else f"{patients}{' or more' * bool(unknown)}"
                    where = f"{modality} " if attribute.name != names[0] else ""
                    parts.append(f"{where}{images} images of {people} patients")
            lines.append(f"{attribute.name} {label}: {', '.join(parts)}")
    return lines


def in_words(attribute: Category | Number) -> str:
    """What can be asked of an attribute, and what cannot and why."""
    if isinstance(attribute, Number):
        low, high = attribute.offered
        text = f"{low:g} to {high:g}" if low <= high else "nothing"
    else:
        text = ", ".join(attribute.offered) or "nothing"
    gone = ", ".join(map(str, attribute.withdrawn))
    return f"{text}; withdrawn: {gone}" if gone else text


def told(conditions: Conditions) -> list[str]:
    """What a person who trains a model is told of its conditions: the rule, and what it withdrew."""
    gone = [f"{a.name}: {in_words(a)}" for a in conditions.attributes if a.withdrawn]
    return [rule_in_words(conditions), *gone]
