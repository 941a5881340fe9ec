"""The parts of an evaluation: which function measures which."""

from __future__ import annotations

from collections.abc import Callable

from ..imageset import ImageSet
from .config import EvaluateConfig, Part
from .copies import memorisation_audit
from .score import Findings, Progress

Runner = Callable[[ImageSet, ImageSet, EvaluateConfig, Progress], Findings]

RUNNERS: dict[Part, Runner] = {"memorisation": memorisation_audit}
