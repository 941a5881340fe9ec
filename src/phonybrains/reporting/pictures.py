"""Images as small PNGs for a report."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .blocks import Picture

LONGEST = 192


def picture(grey: NDArray[Any], alt: str, side: int = LONGEST) -> Picture:
    """Grey levels (H, W), uint8, as PNG of at most `side` pixels."""
    image, buffer = Image.fromarray(grey.astype(np.uint8)), io.BytesIO()
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(buffer, "PNG")
    return Picture(buffer.getvalue(), alt)
