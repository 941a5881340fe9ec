"""What stands behind an image that is asked for: how many training images show the same, and of how many patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..networks.conditions import UNSEEN, Category, Conditions, Number, Value, tenth_of
from ..wording import count_of

FEWEST = 5
"""Fewer patients than this are too few, whatever was asked of training."""


def doubts(conditions: Conditions, where: Mapping[str, Value]) -> list[str]:
    """Sentences on what is asked for: that nobody, too few, or nobody knows how many patients stand behind it.

    where: checked values; what is no attribute of the model is passed over.
    """
    asked = {a.name: where[a.name] for a in conditions.attributes if where.get(a.name) is not None}
    if not asked:
        return []
    said = ", ".join(f"{name} {f'{value:g}' if isinstance(value, float) else value}" for name, value in asked.items())
    images, patients, unknown = _backing(conditions, asked)
    least = max(FEWEST, conditions.min_patients)
    if not images:
        there = _what_there_is(conditions, asked)
        doubt = f"NO TRAINING IMAGE is {said}: the images will show something else. {there}".rstrip()
    elif patients is None:
        doubt = (
            f"The model does not know how many patients stand behind {said}: it was made before they were counted. "
            "Where they are few, its images redraw them."
        )
    elif patients + unknown < least:
        people, shown = count_of(patients, "patient"), count_of(images, "training image")
        most = f", {unknown} of them of unknown patients" if unknown else ""
        doubt = (
            f"Too few: only {shown} of {people} {'is' if images == 1 else 'are'} {said}{most}. With fewer than {least} "
            "patients, the images will redraw them."
        )
    elif patients < least:
        show = "shows" if unknown == 1 else "show"
        doubt = (
            f"Of {count_of(images, 'training image')} of {said}, {unknown} {show} somebody who is not known: where "
            "that is few patients, the images will redraw them."
        )
    else:
        return []
    return [doubt]


def _backing(conditions: Conditions, asked: Mapping[str, Value]) -> tuple[int, int | None, int]:
    """Training images, patients (None: not counted), images of unknown patients; with numbers, at most so many."""
    fits = conditions.matching(asked)
    images = sum(conditions.combinations[i][1] for i in fits)
    if not conditions.patients:
        return images, None, 0
    patients = len(frozenset[int]().union(*(conditions.patients[i][0] for i in fits)))
    found = [[images, patients, sum(conditions.patients[i][1] for i in fits)]]
    for number in conditions.attributes:
        if isinstance(number, Number) and number.name in asked:
            tenths = conditions.tenths[number.name]
            place = tenth_of(number, float(asked[number.name]))  # type: ignore[arg-type]
            here = [part.split()[place].split("/") for m, part in tenths.items() if asked.get("modality", m) == m]
            found.append([sum(int(counts[k]) for counts in here) for k in range(3)])
    images, patients, unknown = (min(column) for column in zip(*found, strict=True))
    return images, patients, unknown


def _what_there_is(conditions: Conditions, asked: Mapping[str, Value]) -> str:
    """For each attribute that is asked for, what it is in the images that show the rest."""
    categories = [name for name in conditions.categories if name in asked]
    sentences = []
    for name in categories if len(asked) > 1 else []:
        rest = {other: asked[other] for other in categories if other != name}
        found: Counter[str] = Counter()
        for i in conditions.matching(rest):
            values, images = conditions.combinations[i]
            found[str(values[conditions.categories.index(name)] or "not given")] += images
        there = ", ".join(f"{value} ({count_of(images, 'image')})" for value, images in found.most_common())
        given = " and ".join(f"{other} {value}" for other, value in rest.items())
        sentences.append(f"{f'With {given}, {name}' if rest else name}: {there or 'no training image either'}.")
    for name in asked.keys() - set(categories):
        given = [m for m, tenths in conditions.tenths.get(name, {}).items() if tenths != UNSEEN]
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
    if lost := " and ".join(f"{images} {modality}" for modality, images in unknown.items() if images):
        rule += f" Whom these images show is not known: {lost}; their values were not counted, and are kept."
    return rule


def counts_in_words(conditions: Conditions) -> list[str]:
    """For each label of each category, by modality: how many training images and patients have it."""
    lines = []
    for attribute in conditions.attributes if conditions.patients else ():
        for label in attribute.offered if isinstance(attribute, Category) else ():
            parts = []
            for modality in dict.fromkeys(str(values[0]) for values, _ in conditions.combinations):
                images, patients, unknown = _backing(conditions, {"modality": modality, attribute.name: label})
                if images and (attribute.name != "modality" or modality == label):
                    people = "an unknown number of" if unknown == images else f"{patients}{' or more' * bool(unknown)}"
                    people += " patient" if people == "1" else " patients"
                    where = f"{modality} " * (attribute.name != "modality")
                    parts.append(f"{where}{count_of(images, 'image')} of {people}")
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
