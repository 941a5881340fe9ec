"""The last steps that real and synthetic images both go through, so that what an image was before tells nothing."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import ConfigError

Grey = NDArray[np.float32]
Step = Callable[[Grey], Grey]
"""From (H, W) in 0…255 to (H, W) in 0…255."""


def parse_history(steps: Sequence[str]) -> list[Step]:
    """The steps, in order, each with its number:

    jpeg:75 (quality), resize:200 (pixels a side), blur:0.5 (sigma in pixels), frame:8 (pixels at the edge made black),
    floor:8, ceiling:240 (of 255; what is darker, or brighter, becomes this level, so that air and bone are flat)

    A frame comes after what would blur its edge; a floor after it lifts it to the level of the air.

    Raises ConfigError naming the step.
    """
    return list(map(_parse_step, steps))


def apply_history(steps: Sequence[Step], pixels: NDArray[np.int16], low: float, high: float) -> NDArray[np.int16]:
    """Send one image through the steps; low and high are the range of its modality, which 0…255 stands for."""
    if not steps:
        return pixels
    scale = 255 / max(high - low, 1)
    values = (pixels.astype(np.float32) - np.float32(low)) * np.float32(scale)
    for step in steps:
        values = np.clip(step(values), 0, 255)
    return np.rint(values / scale + low).astype(np.int16)


def _parse_step(text: str) -> Step:
    name, _, number = text.partition(":")
    if name not in STEPS:
        raise ConfigError(
            f"same_history: '{text}' is not known. Known: jpeg:QUALITY, resize:PIXELS, "
            "blur:SIGMA, frame:PIXELS, floor:LEVEL, ceiling:LEVEL."
        )
    step, least, most = STEPS[name]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    whole = name != "blur"
    if not least <= value <= most or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"same_history: '{text}': after {name}: comes {kind} from {least:g} to {most:g}.")
    return partial(step, int(value) if whole else value)


def _jpeg(quality: int, values: Grey) -> Grey:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(values).astype(np.uint8)).save(buffer, format="JPEG", quality=quality)
    with Image.open(buffer, formats=["JPEG"]) as image:
        return np.asarray(image, dtype=np.float32)


def _resize(side: int, values: Grey) -> Grey:
    """The longer side becomes `side`; Lanczos, with an antialiasing filter where it shrinks."""
    height, width = values.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.LANCZOS), dtype=np.float32)


def _blur(sigma: float, values: Grey) -> Grey:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(values, sigma, mode="nearest").astype(np.float32)


def _frame(width: int, values: Grey) -> Grey:
    framed = np.zeros_like(values)
    framed[width:-width, width:-width] = values[width:-width, width:-width]
    return framed


STEPS: dict[str, tuple[Callable[..., Grey], float, float]] = {
    "jpeg": (_jpeg, 1, 100),
    "resize": (_resize, 16, 4096),
    "blur": (_blur, 0.05, 20),
    "frame": (_frame, 1, 64),
    "floor": (lambda level, values: np.maximum(values, np.float32(level)), 1, 128),
    "ceiling": (lambda level, values: np.minimum(values, np.float32(level)), 128, 254),
}
"""Each step with the least and the most of its number, a whole one but for the blur."""
