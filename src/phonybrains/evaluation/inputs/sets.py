"""The two sides of an evaluation: opened, checked against each other, and cut down to what both have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ConfigError, ImageSetError
from ...held_out import HELD_OUT, set_apart, split_to_compare
from ...imageset import FIXED_COLUMNS, ImageSet, how_split
from ...record import UNSAFE
from ...reporting.wording import count_of, listed
from ..config import EvaluateConfig

FEW = 20
NOT_ATTRIBUTES = ("generator", "seed", "index", "steps", "guidance", "source_index")
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
    made, opened = ImageSet.open(samples), ImageSet.open(corpus)
    real = set_apart(opened)
    splits = _splits(real, config)
    warnings = [*_of_sizes(made, real), *_of_overlap(made, real), *_of_repeats(made), *_of_split(opened, real)]
    known = {row.modality for row in real.rows}
    common = {row.modality for row in made.rows} & known
    if not common:
        raise ImageSetError(
            f"{samples} and {corpus} have no modality in common: "
            f"{listed(sorted({row.modality for row in made.rows}))} here, {listed(sorted(known))} "
            "there. Compare with a corpus of the same modality."
        )
    for name, images in (("synthetic", made), ("real", real)):
        for modality, n in sorted(Counter(row.modality for row in images.rows).items()):
            if modality not in common:
                warnings.append(f"{count_of(n, f'{name} {modality} image')} left out: the other set has no {modality}.")
    mine = {modality: split for modality, split in splits.items() if modality in common}
    sides = Sides(_only(made, common), _only(real, common), mine or splits, ())
    return replace(sides, warnings=(*warnings, *_of_numbers(sides), *_of_attributes(sides, config)))


def shared_attributes(samples: ImageSet, corpus: ImageSet, wanted: Sequence[str] | None = None) -> list[str]:
    """The attributes that say what an image shows and that both sides have; of those wanted, if any are named."""
    columns = [
        {name for row in images.rows for name, value in row.attributes.items() if value is not None}
        for images in (samples, corpus)
    ]
    shared = columns[0] & columns[1]
    if wanted is not None:
        return [name for name in wanted if name in shared]
    return [name for name in sorted(shared) if name not in (*FIXED_COLUMNS, *NOT_ATTRIBUTES)]


def grouping(attributes: Sequence[str], config: EvaluateConfig) -> list[str]:
    """The attributes whose labels are counted: none of PLACES, unless the settings name it."""
    return [name for name in attributes if name not in PLACES or name in (config.attributes or ())]


def _only(images: ImageSet, modalities: set[str]) -> ImageSet:
    return replace(images, rows=tuple(row for row in images.rows if row.modality in modalities))


def _splits(real: ImageSet, config: EvaluateConfig) -> dict[str, str]:
    """The split that each modality is compared with, of those that hold somebody out."""
    modalities = {row.modality for row in real.rows}
    found = {
        modality: split
        for modality in sorted(modalities)
        if (split := split_to_compare(real.where(modality=modality).rows, config.held_out))
    }
    if not found:
        wanted = config.held_out or " or ".join(HELD_OUT)
        raise ConfigError(
            f"{real.folder}: no image is in the split {wanted}, so that nothing real is "
            "left to compare with that the model has not seen. Import it with a split."
        )
    return found


def _of_split(opened: ImageSet, real: ImageSet) -> list[str]:
    unsafe = {modality: method for modality, method in how_split(real).items() if UNSAFE in method}
    seen = sum(before.split != after.split for before, after in zip(opened.rows, real.rows, strict=True))
    left = (
        f"{count_of(seen, 'image')} of the splits test and validation left out: train has the same patients or files."
    )
    return ([left] if seen else []) + [
        f"The {modality} split of the corpus is {method}: people whom the model has learnt from may be among the "
        "held-out ones, and figures flatter."
        for modality, method in unsafe.items()
    ]


def _of_sizes(made: ImageSet, real: ImageSet) -> list[str]:
    if (made.height, made.width) != (real.height, real.width):
        return [
            f"The sets differ in size: synthetic {made.width}×{made.height}, real {real.width}×{real.height} "
            "pixels. Size and resampling alone can tell them apart; import both alike."
        ]
    if made.bits != real.bits:
        return [f"The sets differ in depth: synthetic {made.bits} bits, real {real.bits} bits. Import both alike."]
    return []


def _of_overlap(made: ImageSet, real: ImageSet) -> list[str]:
    known = {row.sha256 for row in real.rows}
    same = sum(row.sha256 in known for row in made.rows)
    if not same:
        return []
    return [
        f"{count_of(same, 'image')} of the {len(made)} synthetic ones {'is' if same == 1 else 'are'} in the "
        "corpus too, byte for byte: these are copies, or the sets were mixed up."
    ]


def _of_repeats(made: ImageSet) -> list[str]:
    n, different = len(made), len({row.sha256 for row in made.rows})
    if different == n:
        return []
    if different == 1:
        return [f"All {n} synthetic images are one and the same, byte for byte."]
    return [f"{n - different} of the {n} synthetic images repeat another one of them, byte for byte."]


def _of_numbers(sides: Sides) -> list[str]:
    warnings = []
    for modality in sides.modalities:
        counts = {
            "synthetic": len(sides.samples.where(modality=modality)),
            f"real {sides.splits.get(modality, sides.held_out)}": len(sides.real.where(modality=modality)),
        }
        warnings += [
            f"Only {count_of(n, f'{side} {modality} image')}: what follows of {modality} says little."
            for side, n in counts.items()
            if n < FEW
        ]
    if all(row.synthetic for row in sides.corpus.rows):
        warnings.append("Every image of the corpus is marked synthetic: no real image took part.")
    return warnings


def _of_attributes(sides: Sides, config: EvaluateConfig) -> list[str]:
    learnt = (name.strip() for name in config.utility.attribute.split(","))
    wanted = [*(config.attributes or ()), *filter(None, learnt)]
    shared = shared_attributes(sides.samples, sides.corpus, wanted)
    both = listed(shared_attributes(sides.samples, sides.corpus) or ["none"])
    return [
        f"The attribute '{name}' is not in both sets, and is left out. Both have: {both}."
        for name in dict.fromkeys(wanted)
        if name not in shared
    ]
