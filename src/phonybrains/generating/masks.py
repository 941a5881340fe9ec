"""The masks that images are to follow: of an image set, whose rows also say what they show, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, SourceError
from ..held_out import HELD_OUT
from ..imageset import METADATA_NAME, Attribute, ImageSet, Row
from ..model.masks import Mask, MaskFacts, as_mask, check_size
from ..networks.conditions import Conditions, value_in
from ..pictures.codecs import decode_file, strict_pillow
from ..pictures.headers import EXTENSIONS
from ..pictures.masks import inside
from ..pictures.pixels import gray_values
from ..wording import count_of

MOST_PIXELS = 8192**2
"""A larger picture is refused before it is decoded."""


@dataclass(frozen=True)
class MaskFolder:
    """Masks of one folder, checked, and read again when they are needed.

    names: of the files, below `folder`; shape: height and width; rows: those of their images, empty for pictures alone;
    split: the one that they are of, None for all; empty: how many show nothing; outline: what they outline, if known.
    """

    folder: Path
    names: tuple[str, ...]
    shape: tuple[int, int]
    rows: tuple[Row, ...] = ()
    split: str | None = None
    empty: int = 0
    outline: str = ""

    @classmethod
    def open(cls, folder: Path, split: str | None = None) -> MaskFolder:
        """Read and check all masks of a folder; split: those of this split alone.

        Raises ConfigError naming the file for what is no mask, covers all of its image or has another size than the
        others, and where there is none; ImageSetError for a damaged set.
        """
        rows: tuple[Row, ...] = ()
        outline = ""
        if (folder / METADATA_NAME).is_file():
            images = ImageSet.open(folder)
            rows = tuple(row for row in images.rows if row.mask_file_name and split in (None, row.split))
            names, outline = tuple(row.mask_file_name for row in rows), images.outline
        elif split is not None:
            raise ConfigError(f"{folder} is a folder of pictures, which have no splits. Leave --mask-split out.")
        else:
            names = tuple(sorted(path.name for path in _files(folder) if path.suffix.lower() in EXTENSIONS))
        if not names:
            where = f"in the split '{split}' of {folder}" if split else f"in {folder}"
            raise ConfigError(
                f"--mask: there is no mask {where}. It takes an image set with masks, or a folder of pictures, "
                "such as PNG."
            )
        height, width = _read(folder / names[0]).shape
        empty = 0
        for name in names:
            mask = _read(folder / name)
            if mask.shape != (height, width):
                found = "×".join(map(str, mask.shape[::-1]))
                raise ConfigError(f"{folder / name} is {found}, and {names[0]} {width}×{height}. Masks have one size.")
            empty += not mask.any()
        return cls(folder, names, (height, width), rows, split, empty, outline)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Mask:
        return _read(self.folder / self.names[index])

    def asked(self, index: int, where: Mapping[str, Attribute], conditions: Conditions) -> Mapping[str, Attribute]:
        """What image `index` is asked to show: as `where` says, else as the row of its mask, if the model knows it."""
        if not self.rows:
            return where
        row = self.rows[index % len(self)]
        names = [a.name for a in conditions.attributes]
        return {**conditions.of({name: where.get(name, value_in(row, name)) for name in names}), **where}

    def check(self, name: str, size: int, facts: MaskFacts | None) -> None:
        """Raise ConfigError for a model, called `name`, that does not take these masks."""
        if facts is None:
            raise ConfigError(f"{name} takes no masks. Train a model that does: phonybrains train --masks.")
        check_size(self.shape, size, str(self.folder / self.names[0]))
        if self.empty and not facts.empty:
            raise ConfigError(
                f"{self.folder}: {count_of(self.empty, 'mask')} of {len(self)} show nothing, which {name} has never "
                "seen in training. Leave them out."
            )

    def doubts(self, facts: MaskFacts, asked: Sequence[Mapping[str, Attribute]]) -> list[str]:
        """What there is to say against following these masks in images that are asked to show this."""
        found = []
        strange = {str(one["modality"]) for one in asked if one.get("modality")} - {*facts.images}
        if strange:
            found.append(f"NO TRAINING IMAGE of {' or '.join(sorted(strange))} has a mask: those may follow none.")
        if self.outline and facts.outline and self.outline != facts.outline:
            found.append(f"These masks outline {self.outline}, and those of the training {facts.outline}.")
        if kept := sum(row.split in HELD_OUT for row in self.rows):
            found.append(
                f"Of {count_of(len(self), 'mask')}, {count_of(kept, 'is', 'are')} of images kept apart for validation "
                "or test: what learns from images made of them cannot be judged on those. --mask-split train leaves "
                "them out."
            )
        return found


def combinations(asked: Sequence[Mapping[str, Attribute]], conditions: Conditions) -> list[Mapping[str, Attribute]]:
    """The combinations of categories that images are asked for, each once."""
    found = {tuple(where.get(name) for name in conditions.categories): where for where in asked}
    return [{name: where[name] for name in conditions.categories if name in where} for where in found.values()]


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"--mask: {folder} cannot be read as a folder ({error.strerror}).") from None


def _read(path: Path) -> Mask:
    """One mask, as `import` reads it: upright, and no lossy copy. Raises ConfigError for a picture that is none."""
    try:
        with strict_pillow():
            page = next(decode_file(path, MOST_PIXELS, mask=True))
        if page.pages > 1:
            raise SourceError(f"holds {page.pages} pictures: a mask is a file of its own")
        values = gray_values(page, colour=True)[0]
        inside(values, lossy=page.lossy)
    except (SourceError, OSError) as error:
        raise ConfigError(f"{path}: {error}.") from None
    return as_mask(values, str(path))
