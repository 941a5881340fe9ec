"""Traces of storing to plant in images: each takes (H, W) int16 in 0…255 and a generator, and gives the same back."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Pixels = NDArray[np.int16]
Trace = Callable[[Pixels, np.random.Generator], Pixels]


def as_bytes(values: ArrayLike) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.int16)


def air_of(pixels: Pixels) -> NDArray[np.bool_]:
    """Where the image is dark all around."""
    return ndimage.uniform_filter(pixels.astype(float), 9) < 0.06 * np.quantile(pixels, 0.99)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).astype(np.int16)


def framed(pixels: Pixels, width: int, level: int = 0) -> Pixels:
    out = np.full_like(pixels, level)
    out[width:-width, width:-width] = pixels[width:-width, width:-width]
    return out


def padded(pixels: Pixels, width: int, how: str) -> Pixels:
    """The rim replaced by what lies inside, in one of numpy's ways."""
    return np.pad(pixels[width:-width, width:-width], width, mode=how)  # type: ignore[call-overload]


def in_air(pixels: Pixels, change: Callable[[Pixels], Pixels]) -> Pixels:
    return np.where(air_of(pixels), change(pixels), pixels).astype(np.int16)


def from_corner(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each pixel's distance from the nearest side, down and across."""
    y, x = np.indices(pixels.shape)
    return np.minimum(y, len(pixels) - 1 - y), np.minimum(x, pixels.shape[1] - 1 - x)


def cut_corners(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return np.where(np.add(*from_corner(pixels)) < len(pixels) // 16, 0, pixels).astype(np.int16)


def round_corners(pixels: Pixels, _: np.random.Generator) -> Pixels:
    y, x = from_corner(pixels)
    radius = len(pixels) // 10
    outside = (y < radius) & (x < radius) & ((radius - y) ** 2 + (radius - x) ** 2 > radius**2)
    return np.where(outside, 0, pixels).astype(np.int16)


def vignette(pixels: Pixels, _: np.random.Generator) -> Pixels:
    y, x = np.indices(pixels.shape) / (len(pixels) - 1) - 0.5
    return as_bytes(pixels * (1 - 0.7 * (x**2 + y**2)))


def watermark(pixels: Pixels, _: np.random.Generator) -> Pixels:
    image = Image.fromarray(pixels.astype(np.uint8))
    ImageDraw.Draw(image).text((4, 4), "No 12", fill=40)
    return np.asarray(image).astype(np.int16)


def dead_row(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    out = pixels.copy()
    out[int(rng.integers(len(out) // 3, 2 * len(out) // 3))] = 0
    return out


def salt(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    out = pixels.copy()
    out[rng.integers(0, len(out), 12), rng.integers(0, len(out), 12)] = 255
    return out


def comb(pixels: Pixels, _: np.random.Generator) -> Pixels:
    """Through 7 bits and back to 8."""
    return as_bytes(np.rint(pixels * 127 / 255) * 255 / 127)


def moved(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return as_bytes(ndimage.shift(pixels.astype(float), 0.5, order=1, mode="nearest"))


def noisy(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return as_bytes(np.abs(pixels + rng.normal(0, 1, pixels.shape)))


def checkered(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return as_bytes(pixels + np.indices(pixels.shape).sum(axis=0) % 2)


TRACES: dict[str, Trace] = {
    "flat air": lambda p, _: in_air(p, np.zeros_like),
    "dithered air": lambda p, rng: in_air(p, lambda q: as_bytes(q + rng.integers(0, 2, q.shape))),
    "noise floor": noisy,
    "black level 1": lambda p, _: np.maximum(p, 1).astype(np.int16),
    "all brighter by 1": lambda p, _: as_bytes(p + 1),
    "top plateau": lambda p, _: np.minimum(p, 230 if p.max() == 255 else int(0.9 * p.max())).astype(np.int16),
    "even levels": lambda p, _: (p // 2 * 2).astype(np.int16),
    "7 bits and back": comb,
    "gamma of 0.9": lambda p, _: as_bytes(255 * (p / 255) ** 0.9),
    "black border of 1": lambda p, _: framed(p, 1),
    "grey border of 1": lambda p, _: framed(p, 1, 4),
    "black border of 3": lambda p, _: framed(p, 3),
    "black border that cuts": lambda p, _: framed(p, len(p) // 6),
    "border on one side": lambda p, _: np.concatenate([np.zeros_like(p[:2]), p[2:]]),
    "cut corners": cut_corners,
    "round corners": round_corners,
    "gradient": lambda p, _: as_bytes(p + np.linspace(0, 3, p.shape[1])),
    "vignette": vignette,
    "watermark": watermark,
    "dead row": dead_row,
    "dead column": lambda p, rng: dead_row(p.T, rng).T,
    "salt": salt,
    "JPEG in the air": lambda p, _: in_air(p, lambda q: jpeg(q, 50)),
    "mirrored rim": lambda p, _: padded(p, 8, "symmetric"),
    "repeated rim": lambda p, _: padded(p, 4, "edge"),
    "half a pixel aside": moved,
    "blurred air": lambda p, _: in_air(p, lambda q: as_bytes(ndimage.gaussian_filter(q.astype(float), 1))),
    "checkerboard of 1": checkered,
}
