"""The parts of an evaluation: which function measures which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ..imageset import ImageSet
from .config import EvaluateConfig, Part
from .findings import Findings
from .score import Progress

Runner = Callable[[ImageSet, ImageSet, EvaluateConfig, Progress], Findings]


def runners_of(folder: Path) -> Mapping[Part, Runner]:
    """The function of each part; `folder` is where features are kept while the evaluation is not finished."""
    from .bias.part import bias_audit
    from .memorisation.part import memorisation_audit
    from .quality.part import quality
    from .utility.part import utility_audit

    return {
        "quality": partial(quality, folder=folder),
        "memorisation": partial(memorisation_audit, folder=folder),
        "bias": partial(bias_audit, folder=folder),
        "utility": partial(utility_audit, folder=folder),
    }
