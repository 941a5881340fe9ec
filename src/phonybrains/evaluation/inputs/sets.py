"""The two sides of an evaluation: opened, checked against each other, and cut down to what both have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ConfigError, ImageSetError
from ...held_out import HELD_OUT, edited_from, real_rows, set_apart, split_to_compare
from ...imageset import HOW_MADE, ImageSet, Row, how_split
from ...record import UNSAFE
from ...reporting.wording import count_of, listed
from ..config import EvaluateConfig
from .edits import warnings_of_edits

FEW = 20
NOT_ATTRIBUTES = (*HOW_MADE, "source_index")
"""Columns that say how an image was made or found, not what it shows."""
PLACES = ("slice", "lesion_x", "lesion_y", "lesion_width", "lesion_height")
"""Columns that say where a slice or a lesion lies. What was asked is compared with what is found; thirds of a place are
no groups, though, and their shares say nothing of fairness."""


@dataclass(frozen=True)
class Sides:
    """Synthetic images, the corpus, its held-out splits by modality, and what the reader of the report must know."""

    samples: ImageSet
    corpus: ImageSet
    splits: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def modalities(self) -> list[str]:
        """The modalities of both sides, MR before CT."""
        return sorted({row.modality for row in self.samples.rows}, reverse=True)

    @property
    def held_out(self) -> str:
        """The split that is compared with; both where modalities differ in it."""
        return " and ".join(sorted(set(self.splits.values())))

    @property
    def real(self) -> ImageSet:
        """The held-out real images."""
        rows = tuple(row for row in self.corpus.rows if row.split == self.splits.get(row.modality, "none"))
        return replace(self.corpus, rows=rows)


def open_sides(samples: Path, corpus: Path, config: EvaluateConfig) -> Sides:
    """Open both sets and keep the images of modalities that both have; what is odd becomes a warning.

    Raises ImageSetError if a set is damaged, or if the two have nothing in common; ConfigError for a split that is not
    there.
    """
    made, among = _apart(ImageSet.open(samples), real=False)
    opened, drawn = _apart(ImageSet.open(corpus), real=True)
    real = set_apart(opened)
    splits = _splits(opened, real, config)
    warnings = [*_of_mixtures(among, drawn), *_of_sizes(made, real), *_of_repeats(made, real), *_of_split(opened, real)]
    warnings += warnings_of_edits(made, real, sorted(set(splits.values())))
    here, there = ({row.modality for row in images.rows} for images in (made, real))
    common = here & there
    if not common:
        raise ImageSetError(
            f"{samples} and {corpus} have no modality in common: {listed(sorted(here))} here, "
            f"{listed(sorted(there))} there. Compare with a corpus of the same modality."
        )
    for name, images in (("synthetic", made), ("real", real)):
        for modality, n in sorted(Counter(row.modality for row in images.rows).items()):
            if modality not in common:
                warnings.append(f"{count_of(n, f'{name} {modality} image')} left out: the other set has no {modality}.")
    made, real = (
        part_of(images, (i for i, row in enumerate(images.rows) if row.modality in common)) for images in (made, real)
    )
    sides = Sides(made, real, {name: split for name, split in splits.items() if name in common} or splits, ())
    return replace(sides, warnings=(*warnings, *_of_numbers(sides), *_of_attributes(sides, config)))


def _apart(images: ImageSet, *, real: bool) -> tuple[ImageSet, int]:
    """The real images of a set, or those that are not, where it has both, and how many were left out; else all."""
    numbers = real_rows(images.rows)
    others = sorted({*range(len(images))} - {*numbers})
    kept = numbers if real or not others else others
    return part_of(images, kept), len(images) - len(kept)


def part_of(images: ImageSet, numbers: Iterable[int]) -> ImageSet:
    """The images with these numbers, as a set."""
    return replace(images, rows=tuple(images.rows[i] for i in numbers))


def shared_attributes(made: Sequence[Row], real: Sequence[Row]) -> list[str]:
    """The attributes that say what an image shows and that some image on each side has."""
    return sorted((_said_of(made) & _said_of(real)) - set(NOT_ATTRIBUTES))


def attributes_of(made: ImageSet, real: ImageSet, config: EvaluateConfig) -> list[str]:
    """The attributes to compare by: those the configuration names, else all that both sides share."""
    return shared_attributes(made.rows, real.rows) if config.attributes is None else list(config.attributes)


def grouping(attributes: Sequence[str], config: EvaluateConfig) -> list[str]:
    """The attributes whose labels are counted: none of PLACES, unless the settings name it."""
    return [name for name in attributes if name not in PLACES or name in (config.attributes or ())]


def _said_of(rows: Sequence[Row]) -> set[str]:
    return {name for row in rows for name, value in row.attributes.items() if value not in (None, "")}


def _splits(opened: ImageSet, real: ImageSet, config: EvaluateConfig) -> dict[str, str]:
    """The split that each modality is compared with, of those that hold somebody out.

    real: the corpus as opened, less the images of test and validation that train shows too.
    """
    found = {
        modality: split
        for modality in sorted({row.modality for row in real.rows})
        if (split := split_to_compare(real.where(modality=modality).rows, config.held_out))
    }
    wanted = {config.held_out} if config.held_out else {*HELD_OUT}
    if not found and (seen := sum(row.split in wanted for row in opened.rows)):
        raise ConfigError(
            f"{real.folder}: train has the same patients or files as each of the {count_of(seen, 'image')} in the "
            f"split {' or '.join(sorted(wanted))}, so that nothing real is left to compare with that the model has not "
            "seen. Import it with a split by patient."
        )
    if not found:
        raise ConfigError(
            f"{real.folder}: no image is in the split {config.held_out or ' or '.join(HELD_OUT)}, so that nothing real "
            "is left to compare with that the model has not seen. Import it with a split."
        )
    return found


def _of_mixtures(among: int, drawn: int) -> Iterator[str]:
    if among:
        yield f"{count_of(among, 'real image')} among the synthetic ones left out: these are no samples."
    if drawn:
        yield f"{count_of(drawn, 'synthetic image')} of the corpus left out: what a model drew shows nobody."


def _of_split(opened: ImageSet, real: ImageSet) -> Iterator[str]:
    seen = sum(before.split != after.split for before, after in zip(opened.rows, real.rows, strict=True))
    if seen:
        yield (
            f"{count_of(seen, 'image')} of the splits test and validation left out: train has the same patients or "
            "files."
        )
    for modality, method in how_split(real).items():
        if UNSAFE in method:
            yield (
                f"The {modality} split of the corpus is {method}: people whom the model has learnt from may be among "
                "the held-out ones, and figures flatter."
            )


def _of_sizes(made: ImageSet, real: ImageSet) -> Iterator[str]:
    if (made.height, made.width) != (real.height, real.width):
        yield (
            f"The sets differ in size: synthetic {made.width}×{made.height}, real {real.width}×{real.height} "
            "pixels. Size and resampling alone can tell them apart; import both alike."
        )
    elif made.bits != real.bits:
        yield f"The sets differ in depth: synthetic {made.bits} bits, real {real.bits} bits. Import both alike."


def _of_repeats(made: ImageSet, real: ImageSet) -> Iterator[str]:
    n, known = len(made), {real.content(i): row.sha256 for i, row in enumerate(real.rows)}
    contents = [made.content(i) for i in range(n)]
    same = sum(
        content in known and known[content] not in edited_from(row)
        for content, row in zip(contents, made.rows, strict=True)
    )
    if same:
        yield (
            f"Of {count_of(n, 'synthetic image')}, {count_of(same, 'is', 'are')} in the "
            "corpus too, pixel for pixel: these are copies, or the sets were mixed up."
        )
    different = len(set(contents))
    if different == 1 < n:
        yield f"All {n} synthetic images are one and the same, pixel for pixel."
    elif different < n:
        again = count_of(n - different, "repeats", "repeat")
        yield f"Of the {n} synthetic images, {again} another one of them, pixel for pixel."


def _of_numbers(sides: Sides) -> Iterator[str]:
    for modality in sides.modalities:
        split = sides.splits.get(modality, sides.held_out)
        for kind, images in (("synthetic", sides.samples), (f"real {split}", sides.real)):
            n = len(images.where(modality=modality))
            if n < FEW:
                yield f"Only {count_of(n, f'{kind} {modality} image')}: what follows of {modality} says little."
    if all(row.synthetic for row in sides.corpus.rows):
        yield "Every image of the corpus is marked synthetic: no real image took part."


def _of_attributes(sides: Sides, config: EvaluateConfig) -> Iterator[str]:
    learnt = (name.strip() for name in config.utility.attribute.split(","))
    made, real = sides.samples.rows, sides.corpus.rows
    both = listed(shared_attributes(made, real) or ["none"])
    for name in dict.fromkeys([*(config.attributes or ()), *filter(None, learnt)]):
        if name not in _said_of(made) & _said_of(real):
            yield f"The attribute '{name}' is not in both sets, and is left out. Both have: {both}."
