"""The report, built once as blocks, in the order a reviewer reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...record import Record
from ...reporting.blocks import Block
from ...wording import count_of
from ..config import EvaluateConfig, Part
from ..findings import Findings
from ..inputs.sets import Sides
from . import closing, opening, sections
from .figures import Looks


def title_of(sides: Sides) -> tuple[str, str]:
    """Title and subtitle of the report."""
    made, real = (images.folder.resolve().name for images in (sides.samples, sides.corpus))
    count = len(sides.samples)
    return f"Evaluation of {made}", f"{count_of(count, 'synthetic image')} against the {sides.held_out} split of {real}"


def build_report(sides: Sides, config: EvaluateConfig, found: Mapping[Part, Findings], record: Record) -> list[Block]:
    """All blocks: the four lines, the images, a section for each part, how it was measured and of what."""
    looks = {modality: Looks(sides.samples, sides.corpus, modality) for modality in sides.modalities}
    drawn: Mapping[Part, Callable[[Findings], list[Block]]] = {
        "quality": lambda findings: sections.quality(findings, looks, config.seed),
        "texture": sections.texture,
        "memorisation": lambda findings: sections.memorisation(findings, looks),
        "bias": sections.bias,
        "utility": sections.utility,
    }
    return [
        *opening.at_a_glance(sides, found),
        *opening.side_by_side(sides, looks, config),
        *(block for part, findings in found.items() for block in drawn[part](findings)),
        *closing.methods(sides, config),
        *closing.origin(record),
        *closing.limits(sides, found),
        *closing.others(),
    ]
