"""conditions.json of a model folder, read and checked: every part that generating relies on is there and fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NotRequired, Required

from pydantic import Field
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ModelError
from ..networks.conditions import Conditions

Finite = int | Annotated[float, Field(allow_inf_nan=False)]
Times = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Tenths = Annotated[str, Field(pattern=r"^\d+/\d+/\d+( \d+/\d+/\d+){9}$")]


class Attribute(TypedDict, total=False):
    """A category, which has labels, or a number, which has a range."""

    name: Required[str]
    labels: list[str]
    low: Finite
    high: Finite
    seen: tuple[Finite, Finite] | None
    closed: list[str]
    withdrawn: list[tuple[str, str, Count, Count]]


class Schema(TypedDict):
    """What conditions.json holds."""

    attributes: list[Attribute]
    combinations: list[tuple[list[str | Finite | None], Times]]
    patients: NotRequired[list[tuple[Annotated[str, Field(pattern=r"^[\d ]*$")], Count]]]
    tenths: NotRequired[dict[str, dict[str, Tenths]]]
    min_patients: NotRequired[Count]


def read_conditions(path: Path, remedy: str) -> Conditions:
    """The conditions in a file. Raises ModelError with the file, what is wrong in it, and the remedy."""
    content = read_json(path, Schema, remedy, ModelError)
    try:
        conditions = Conditions.from_json(json.dumps(content))
        _check(conditions)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its parts do not fit together ({error}). {remedy}") from None
    return conditions


def _check(conditions: Conditions) -> None:
    """Raise ValueError where a part speaks of more or fewer attributes or combinations than there are."""
    categories = conditions.categories
    names = [a.name for a in conditions.attributes]
    if not names[:1] == categories[:1] == ["modality"]:
        raise ValueError("the first attribute is not the modality")
    if len(set(names)) < len(names):
        raise ValueError("two attributes have one name")
    if any(len(values) != len(categories) for values, _ in conditions.combinations):
        raise ValueError(f"a combination has not {len(categories)} values, one for each category")
    if conditions.patients and len(conditions.patients) != len(conditions.combinations):
        raise ValueError("there are not as many lists of patients as combinations")
    untold = {*names} - {*categories} - {*conditions.tenths}
    if conditions.patients and untold:
        raise ValueError(f"tenths of {min(untold)} are missing")
