"""The study's images as readers first saw them, as small PNGs for the report."""

from __future__ import annotations

import numpy as np

from ...reporting.blocks import Picture
from ...reporting.pictures import LONGEST, picture
from ..findings.figures import to_grey
from ..study import Study


def picture_of(study: Study, case_id: str, side: int = LONGEST) -> Picture:
    """A case as PNG of at most `side` pixels: brain window 80/40 in HU, else 1st to 99th percentile."""
    return picture(np.rint(to_grey(study, case_id) * 255), f"{study.cases[case_id].modality} image {case_id}", side)
