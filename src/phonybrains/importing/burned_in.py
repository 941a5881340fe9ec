"""Text that is burned into pixels: names, dates, what a scanner writes over an image.

Letters are strokes: narrow, of one grey, with sharp edges on both sides, several to a letter, in a row between two
straight edges beyond which nothing is. Anatomy has narrow bright and dark structures too (scalp, sulci, air cells), and
none that are all of this. Nothing is recognised: what a line says is not known, only that it is one. After the stroke
width transform (Epshtein et al., CVPR 2010), with a top-hat (Serra 1982) in its place, which costs a hundredth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BURNED_IN = "text is burned into its pixels"
KEPT = "; kept"
WIDEST = 7
"""Pixels: what is as wide in both directions is no stroke. Larger letters are found in the image of half the size."""
LEAST_CONTRAST = 36
"""Of 255: fainter strokes are not looked at."""
SIZES = {1: (5, 32), 2: (8, 24)}
"""Least and greatest height of a letter, in pixels, in the image and in that of half the size."""
STEEPEST, TALLEST = 0.12, 1.8
"""The greatest rise of a line (7 degrees); what a level one measures from top to bottom, in heights of its letters."""
LEAST_WIDE, LEAST_STROKES, LEAST_DENSE = 3.0, 4.0, 0.7
"""A line: its width, how many strokes a row of pixels crosses, and how many of them a height of its width has."""
MOST_BEYOND, MOST_UNEVEN, LEAST_SHARP = 0.3, 0.6, 0.45
"""Ink above and below, as a share of that inside; spread of grey in strokes and between them, and the least step from
one pixel to the next at their edges, of the contrast. All chosen by `python -m bench burned_in --half chosen`."""
Grey = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextLine:
    """Where a line of text lies, in pixels of the source; right and bottom are past its end."""

    top: int
    left: int
    bottom: int
    right: int

    def __str__(self) -> str:
        return f"{BURNED_IN} (a line of it at rows {self.top} to {self.bottom}, columns {self.left} to {self.right})"


@dataclass(frozen=True, slots=True)
class Blobs:
    """Connected sets of stroke pixels, sorted by `left`, each array (N,).

    across, down: in how many runs their rows and their columns cut them; contrast: of the strongest stroke, of 255.
    """

    top: Numbers
    left: Numbers
    bottom: Numbers
    right: Numbers
    across: Numbers
    down: Numbers
    contrast: Numbers

    def __getitem__(self, chosen: NDArray[Any]) -> Blobs:
        return Blobs(*(getattr(self, name)[chosen] for name in self.__slots__))

    def turned(self) -> Blobs:
        """Those of the transposed image."""
        flipped = Blobs(self.left, self.top, self.right, self.bottom, self.down, self.across, self.contrast)
        return flipped[np.argsort(self.top, kind="stable")]


def find_text(values: NDArray[np.float32], low: float, high: float) -> TextLine | None:
    """The first line of text found in an image, (H, W) at the size of its source, shown from low to high; None without.

    Light or dark, level or turned by a few degrees or by 90. Words of a letter or two (R, L) are no line.
    """
    grey = as_shown(values, low, high)
    for scale, sizes in SIZES.items():
        image = grey if scale == 1 else np.asarray(Image.fromarray(grey).reduce(2))
        for side in (image, 255 - image):
            if line := next(_lines(side, *sizes), None):
                return TextLine(*(scale * place for place in (line.top, line.left, line.bottom, line.right)))
    return None


def as_shown(values: NDArray[np.float32], low: float, high: float) -> Grey:
    """Values as 8 bits from low to high, or to the highest that there is."""
    high = min(high, float(values.max()))
    if not high - low > np.finfo(np.float32).tiny:
        return np.zeros(values.shape, np.uint8)
    scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _lines(grey: Grey, least: int, most: int) -> Iterator[TextLine]:
    """Lines of light text, level ones first."""
    strokes = _strokes(grey)
    blobs = _blobs(strokes)
    for line in _rows(blobs, least, most):
        if _is_text(grey, strokes, line):
            yield TextLine(*_box(line))
    for line in _rows(blobs.turned(), least, most):
        if _is_text(grey.T, strokes.T, line):
            left, top, right, bottom = _box(line)
            yield TextLine(top, left, bottom, right)


def _strokes(grey: Grey) -> Grey:
    """How much lighter each pixel is than what lies beside its stroke (white top-hat); 0 off strokes."""
    padded = np.pad(grey, WIDEST - 1, "edge")
    opened = _over_square(_over_square(padded, WIDEST, np.minimum), WIDEST, np.maximum)
    return grey - opened


def _over_square(image: Grey, side: int, extreme: Callable[..., Grey]) -> Grey:
    """The least or greatest value in every square of `side` pixels that lies in the image."""
    for _ in range(2):
        have = 1
        while have < side:
            step = min(have, side - have)
            image = extreme(image[:-step], image[step:])
            have += step
        image = image.T
    return image


def _blobs(strokes: Grey) -> Blobs:
    """What is connected, diagonally too, above half of the contrast that is near; of the size of letters, or joined."""
    near = _over_square(np.pad(strokes, 4), 9, np.maximum)
    mask = np.zeros((strokes.shape[0] + 1, strokes.shape[1] + 1), np.bool_)
    mask[1:, :-1] = (strokes > LEAST_CONTRAST) & (strokes > (near >> 1) - (near >> 4))
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if not len(edges):
        return Blobs(*[np.empty(0, np.int64)] * 7)
    begin, end, width = edges[::2], edges[1::2], mask.shape[1]
    row, column = np.divmod(begin, width)
    first = np.searchsorted(end, begin + width)
    count = np.searchsorted(begin, end + width, "right") - first
    above = np.repeat(np.arange(len(begin)), count)
    below = np.arange(len(above)) + np.repeat(first - np.cumsum(count) + count, count)
    order, starts = _connected(above, below, len(begin))
    of_run = np.empty_like(order)
    of_run[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    tops = np.flatnonzero(mask[1:] & ~mask[:-1]) + width
    down = np.bincount(of_run[np.searchsorted(begin, tops, "right") - 1], minlength=len(starts))
    row, left = row[order] - 1, column[order]
    right = left + (end - begin)[order]
    blobs = Blobs(
        np.minimum.reduceat(row, starts),
        np.minimum.reduceat(left, starts),
        np.maximum.reduceat(row, starts) + 1,
        np.maximum.reduceat(right, starts),
        np.diff(starts, append=len(begin)),
        down,
        np.maximum.reduceat(strokes[row, (left + right) // 2].astype(np.int64), starts),
    )
    return blobs[np.argsort(blobs.left, kind="stable")]


def _connected(one: Numbers, other: Numbers, count: int) -> tuple[Numbers, Numbers]:
    """An order of `count` things in which the connected ones follow each other, and where each group starts."""
    label = np.arange(count)
    while len(one):
        first, second = label[one], label[other]
        np.minimum.at(label, np.maximum(first, second), np.minimum(first, second))
        label = label[label]
        apart = first != second
        one, other = one[apart], other[apart]
    while (label[label] != label).any():
        label = label[label]
    order = np.argsort(label, kind="stable")
    return order, np.flatnonzero(np.diff(label[order], prepend=-1))


def _rows(blobs: Blobs, least: int, most: int) -> Iterator[Blobs]:
    """Blobs of like height and contrast beside each other, level, with enough strokes for a word of three letters."""
    heights, widths = blobs.bottom - blobs.top, blobs.right - blobs.left
    blobs = blobs[(heights >= least) & (heights <= most) & (widths <= 20 * heights)]
    height = blobs.bottom - blobs.top
    if not len(height):
        return
    taller, lower = np.maximum(height[:, None], height), np.minimum(height[:, None], height)
    gap = blobs.left - blobs.right[:, None]
    rise = np.minimum(abs(blobs.bottom[:, None] - blobs.bottom), abs(blobs.top[:, None] - blobs.top))
    beside = (blobs.left >= blobs.left[:, None]) & (gap >= -0.35 * taller) & (gap <= 1.35 * taller)
    level = (lower >= 0.6 * taller) & (rise <= np.maximum(1.5, 0.2 * taller))
    alike = 2 * np.minimum(blobs.contrast[:, None], blobs.contrast) >= np.maximum(
        blobs.contrast[:, None], blobs.contrast
    )
    one, other = np.nonzero(beside & level & alike)
    order, starts = _connected(one, other, len(height))
    blobs, height = blobs[order], height[order]
    count = np.diff(starts, append=len(height))
    high = np.add.reduceat(height, starts) / count
    wide = (np.maximum.reduceat(blobs.right, starts) - np.minimum.reduceat(blobs.left, starts)) / high
    strokes = np.add.reduceat(blobs.across, starts) / high
    enough = (wide >= LEAST_WIDE) & (strokes >= _enough(wide))
    tall = (np.maximum.reduceat(blobs.bottom, starts) - np.minimum.reduceat(blobs.top, starts)) / high
    enough &= tall <= TALLEST + STEEPEST * wide
    for line in np.flatnonzero(enough):
        yield blobs[starts[line] + np.arange(count[line])]


def _enough(wide: Any) -> Any:
    """How many strokes a row of pixels crosses at least, in a line that is so many times as wide as high."""
    return np.maximum(LEAST_STROKES, LEAST_DENSE * wide)


def _box(line: Blobs) -> tuple[int, int, int, int]:
    return int(line.top.min()), int(line.left.min()), int(line.bottom.max()), int(line.right.max())


def _is_text(grey: Grey, strokes: Grey, line: Blobs) -> bool:
    """Whether a row of blobs is text: many strokes, nothing above and below, one grey, even ground, sharp edges."""
    high, contrast = float((line.bottom - line.top).mean()), float(np.median(line.contrast))
    top, left, bottom, right = _box(line)
    rows = slice(max(0, top - 3), bottom + 3)
    image, stroke = (each[rows, left:right].astype(np.float32) for each in (grey, strokes))
    slope, middle = _slope(line, high), (line.left + line.right) / 2
    y = np.arange(rows.start, rows.start + len(image))[:, None] - slope * np.arange(left, right)
    first, end = (float(np.median(edge - slope * middle)) - 0.5 for edge in (line.top, line.bottom))
    inside = (y >= first) & (y < end)
    beyond = (y >= first - 2) & (y < end + 2) & ~inside
    ink = stroke > 0.45 * contrast
    letters = ink & inside
    begins = letters[:, 1:] & ~letters[:, :-1]
    crossed = np.count_nonzero(letters.any(axis=1))
    ground = image[inside & ~ink]
    if not crossed or not ground.size or begins.sum() < crossed * _enough((right - left) / high):
        return False
    if beyond.any() and ink[beyond].mean() > MOST_BEYOND * letters[inside].mean():
        return False
    ridge = letters[:, 1:-1] & (image[:, 1:-1] >= image[:, :-2]) & (image[:, 1:-1] >= image[:, 2:])
    low_peak, high_peak = np.percentile(image[:, 1:-1][ridge], (25, 75))
    step = np.abs(np.diff(image, axis=1))
    step[:, 1:] = np.maximum(step[:, 1:], step[:, :-1])
    return (
        high_peak - low_peak <= MOST_UNEVEN * contrast
        and ground.std() <= MOST_UNEVEN * contrast
        and np.median(step[begins]) >= LEAST_SHARP * contrast
    )


def _slope(line: Blobs, high: float) -> float:
    """The rise of a line, from pairs of its blobs that are not neighbours."""
    middle = (line.left + line.right) / 2
    before, after = np.triu_indices(len(middle), 1)
    apart = middle[after] - middle[before]
    far = apart > high
    if not far.any():
        return 0.0
    rise = (line.bottom[after] - line.bottom[before])[far] / apart[far]
    return float(np.clip(np.median(rise), -STEEPEST, STEEPEST))
