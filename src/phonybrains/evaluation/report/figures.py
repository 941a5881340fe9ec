"""Images of both sides as small pictures, in the same grey window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ...reporting.blocks import Gallery, Picture
from ...reporting.pictures import picture

SIDE = 160
WINDOW = (0.5, 99.5)
"""Percentiles of the real images that become black and white, where images have more than 8 bits."""


class Looks:
    """Pictures of one modality's images, synthetic and real, which share one window."""

    def __init__(self, samples: ImageSet, corpus: ImageSet, modality: str) -> None:
        self.modality = modality
        self.sets = {"synthetic": samples.where(modality=modality), "real": corpus.where(modality=modality)}
        self.places = {kind: {row.file_name: i for i, row in enumerate(x.rows)} for kind, x in self.sets.items()}
        self.black, self.white = self._window()

    def _window(self) -> tuple[float, float]:
        real = self.sets["real"]
        if max(images.bits for images in self.sets.values()) == 8 or not len(real):
            return 0.0, 255.0
        some = np.stack([real.pixels(i) for i in spread(len(real), 20)])
        low, high = np.percentile(some, WINDOW)
        return float(low), max(float(high), float(low) + 1)

    def of(self, kind: str, file_name: str) -> Picture | None:
        """The image of this name as a picture; None if the set has none of that name."""
        place = self.places[kind].get(file_name)
        return None if place is None else self.at(kind, place)

    def at(self, kind: str, place: int) -> Picture:
        """The image at this place in its set as a picture."""
        images = self.sets[kind]
        grey: NDArray[Any] = images.pixels(place).astype(np.float32)
        if images.bits == 8 and self.white != 255.0:
            grey = grey * 257  # beside 16-bit images
        shown = np.rint(np.clip((grey - self.black) / (self.white - self.black), 0, 1) * 255)
        return picture(shown, f"{kind} {self.modality} image {images.rows[place].file_name}", SIDE)


def gallery(name: str, shown: Sequence[tuple[Picture | None, str]], caption: str, columns: int) -> list[Gallery]:
    """A gallery of the pictures that are there; nothing if none is."""
    there = [(image, label) for image, label in shown if image is not None]
    if not there:
        return []
    pictures, labels = zip(*there, strict=True)
    return [Gallery(name, pictures, labels, caption, columns)]


def short(file_name: str) -> str:
    """`images/000123.png` → `000123`."""
    return file_name.rsplit("/", 1)[-1].removesuffix(".png")


def spread(n: int, count: int) -> list[int]:
    """At most `count` places, evenly spread over n."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, count))}) if n else []
