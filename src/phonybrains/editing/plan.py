"""What augmentation makes: of which values of a corpus how many images more. Counts the split train alone, no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..imageset import ImageSet, Row
from ..model.description import conditions_of, read_description
from ..model.finding import is_fine_tuned, model_folder
from ..model.training_data import shared_units
from ..networks.conditions import Category, Conditions, Number, Value, labels_of, near
from ..wording import count_of
from .config import AugmentConfig

AUGMENT = "augment"
Values = tuple[Value, ...]
NOT_TOLD = "nobody knows what they show, so that they are not counted"


@dataclass(frozen=True)
class Combination:
    """Training images that show the same: how many there are and are to be; why: what keeps a model from adding any."""

    shows: Mapping[str, Value]
    images: int
    target: int
    why: str = ""

    @property
    def more(self) -> int:
        """How many images are made."""
        return 0 if self.why else self.target - self.images

    @property
    def said(self) -> str:
        """What the images show, in words: "CT, hemorrhage epidural"."""
        values = [f"{name} {value or 'not given'}" for name, value in self.shows.items() if name != "modality"]
        return ", ".join([str(self.shows["modality"] or "modality not given"), *values])

    def __str__(self) -> str:
        if self.why:
            return f"{self.said}: {count_of(self.images, 'image')}, left as they are: {self.why}"
        return f"{self.said}: {count_of(self.images, 'image')}, {self.more} are added"


def check_augment(corpus: ImageSet, model: str | Path, out: Path | None = None) -> Path:
    """The folder of the model. Raises ModelError or ConfigError for what does not go with this corpus."""
    if is_fine_tuned(model):
        raise ConfigError(f"{Path(model).name} was fine-tuned from Stable Diffusion; augment takes models of `train`.")
    folder = model_folder(model)
    if out and out.resolve().is_relative_to(corpus.folder.resolve()):
        raise ConfigError(f"--out {out} lies inside the corpus {corpus.folder}. Choose a place beside it.")
    if corpus.record.get("stage") == AUGMENT or any(
        Path(row.file_name).name.startswith(AUGMENT) for row in corpus.rows
    ):
        raise ConfigError(f"{corpus.folder} is augmented already. Take the corpus that it was made of.")
    if not any(row.split == "train" for row in corpus.rows):
        raise ConfigError(
            f"{corpus.folder}: no image is in the split 'train', which alone is filled up. Import it with a split."
        )
    description: Mapping[str, Any] = read_description(folder)
    size, name = description["size"], folder.resolve().name
    if (corpus.width, corpus.height, corpus.bits) != (size, size, 8):
        raise ConfigError(
            f"{corpus.folder} has images of {corpus.width}×{corpus.height} in {corpus.bits} bits, and {name} draws "
            f"{size}×{size} in 8. Import it with --size {size} --bits 8, or take a model that was trained on it."
        )
    units = shared_units(corpus)
    for modality, drawn in description.get("units", {}).items():
        if modality in units and not _alike(units[modality], drawn):
            raise ConfigError(
                f"{corpus.folder}: a grey level of {modality} is {_in_words(units[modality])} there, and "
                f"{_in_words(drawn)} in what {name} draws. Import the corpus as that of the model was."
            )
    return folder


def _alike(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    return ours[2] == theirs[2] and all(abs(a - b) < 1e-6 for a, b in zip(ours[:2], theirs[:2], strict=True))


def _in_words(unit: Sequence[Any]) -> str:
    slope, intercept, name = unit
    return f"{slope:g} {name} from {intercept:g} on"


def plan_of(corpus: ImageSet, folder: Path, config: AugmentConfig) -> list[Combination]:
    """The values of the training images, and how many images of each are added; where none is, in no group.

    With `balance`, each combination of values of these attributes is filled up to the most frequent one of its
    modality, and to `factor` times as many images as it has at most; without, each combination of what the model knows
    is made `factor` times as large. Raises ConfigError for an attribute that the corpus or the model does not have, or
    that is a number.
    """
    train, conditions = [row for row in corpus.rows if row.split == "train"], conditions_of(folder)
    names = [name for name in _names(train, conditions, config) if name != "modality"]
    counts: Counter[Values] = Counter((row.modality, *(_text(row[name]) for name in names)) for row in train)
    told = _told(counts) if config.balance else set(counts)
    groups: list[Combination] = []
    for values, images in sorted(counts.items(), key=lambda item: tuple(map(str, item[0]))):
        shows = dict(zip(["modality", *names], values, strict=True))
        if values not in told:
            groups.append(Combination(shows, images, images, NOT_TOLD))
            continue
        most = max(counts[other] for other in told if _rivals(values, other, config)) if config.balance else inf
        target = int(min(most, images * (config.factor or inf)) + 1e-9)
        if target > images:
            groups.append(Combination(shows, images, target, _why_not(conditions, shows)))
    return groups


def _told(counts: Counter[Values]) -> set[Values]:
    """The combinations that lack no value which other images of their modality have."""
    given = {values: {place for place, value in enumerate(values) if value is not None} for values in counts}
    known: defaultdict[Value, set[int]] = defaultdict(set)
    for values, places in given.items():
        known[values[0]] |= places
    return {values for values, places in given.items() if places == known[values[0]]}


def _rivals(values: Values, other: Values, config: AugmentConfig) -> bool:
    """Whether a value is filled up to this other one, if that is more frequent."""
    return "modality" in config.balance or values[0] == other[0]


def _names(train: Sequence[Row], conditions: Conditions, config: AugmentConfig) -> list[str]:
    """The attributes whose combinations are counted. Raises ConfigError for one that cannot be."""
    known = {a.name: a for a in conditions.attributes}
    if not config.balance:
        return [name for name in conditions.categories if any(row[name] not in (None, "") for row in train)]
    here = sorted({"modality", *(name for row in train for name, value in row.attributes.items() if value is not None)})
    for name in config.balance:
        if name not in here:
            raise ConfigError(f"--balance {name}: no training image of the corpus has it.{near(name, here)}")
        categories = [a.name for a in known.values() if isinstance(a, Category)]
        if name not in known:
            raise ConfigError(f"--balance {name}: the model was not told of it.{near(name, categories)}")
        if isinstance(known[name], Number):
            raise ConfigError(f"--balance {name}: it is a number, which has no values to count.{near('', categories)}")
    return list(config.balance)


def _why_not(conditions: Conditions, shows: Mapping[str, Value]) -> str:
    """Why a model cannot draw images that show this; empty where it can."""
    try:
        asked = conditions.check(given(shows))
    except ConfigError as error:
        return str(error).partition(" Known:")[0].rstrip(".")
    return "" if conditions.matching(asked) else "no image that the model learnt from shows it"


def given(shows: Mapping[str, Value]) -> dict[str, Value]:
    """What of it is given, and so is asked for."""
    return {name: value for name, value in shows.items() if value is not None}


def _text(value: Value) -> Value:
    return None if value in (None, "") else ";".join(labels_of(value)) or None


def plan_in_words(groups: Sequence[Combination]) -> list[str]:
    """The plan as a person reads it before the work, and a last line with the sum."""
    total = sum(group.more for group in groups)
    left = sum(bool(group.why) for group in groups)
    rest = f"; {count_of(left, 'value')} left as {'it is' if left == 1 else 'they are'}" if left else ""
    fill = f"{count_of(total, 'synthetic image')} in the split train{rest}"
    return [*map(str, groups), fill if total else f"Nothing to fill up{rest or ': balanced already'}"]
