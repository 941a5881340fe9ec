"""The study's images as readers first saw them, as small PNGs for the report."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ...reporting.blocks import Picture
from ..findings.pictures import to_grey
from ..study import Study

LONGEST = 192


def picture_of(study: Study, case_id: str, side: int = LONGEST) -> Picture:
    """A case as PNG of at most `side` pixels: brain window 80/40 in HU, else 1st to 99th percentile."""
    grey = np.rint(to_grey(study, case_id) * 255).astype(np.uint8)
    image, buffer = Image.fromarray(grey), io.BytesIO()
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(buffer, "PNG")
    case = study.cases[case_id]
    return Picture(buffer.getvalue(), f"{case.modality} image {case_id}")
