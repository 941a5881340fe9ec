"""The report's first pages: the verdict, the questions, real and synthetic images side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ...reporting.blocks import Block, Heading, Note, Paragraph, Table
from ...reporting.wording import NONE, count_of
from ..config import EvaluateConfig, Part
from ..findings import Findings
from ..inputs.sets import Sides
from .figures import Looks, gallery, short
from .names import PART_QUESTIONS
from .outcomes import Outcome, outcome_of
from .verdict import ruler_text, rulers_that_tell, status_of, verdict_text

SHOWN, COLUMNS = 12, 6
ANSWERS: tuple[Outcome, ...] = ("apart", "as real", "not shown")


def verdict(sides: Sides, found: Mapping[Part, Findings]) -> list[Block]:
    """What was found, in one paragraph; what must not be missed comes first."""
    blocks: list[Block] = []
    if status_of(found) == "failed":
        blocks.append(Note(_alarm(found["memorisation"]), "banner"))
    blocks += [Heading("Verdict"), Paragraph(verdict_text(sides, found))]
    for modality, ruler in rulers_that_tell(found).items():
        blocks.append(
            Note(f"{modality}: {ruler_text(ruler)}. These images are not as real, whatever scores say.", "warning")
        )
    blocks += [Note(warning, "warning") for warning in sides.warnings]
    return [*blocks, _questions(found)]


def _alarm(findings: Findings) -> str:
    """What a failed audit found: copies of images, or patients that are repeated without being copied."""
    failed = {sign.look for sign in findings.facts.signs or () if sign.word == "failed"}
    if failed and "copies" not in failed:
        return "TRAINING PATIENTS ARE REPEATED"
    return "COPIES OF TRAINING IMAGES WERE FOUND"


def _questions(found: Mapping[Part, Findings]) -> Table:
    rows = []
    for part, question in PART_QUESTIONS.items():
        if part not in found:
            rows.append((question, part, "not asked", *[NONE] * 4))
            continue
        scores = found[part].scores
        counts = Counter(outcome_of(score) for score in scores)
        measured = sum(score.value is not None for score in scores)
        answer = status_of(found) if part == "memorisation" else "measured" if measured else "not available"
        shown = [str(counts[outcome]) if any(map(outcome_of, scores)) else NONE for outcome in ANSWERS]
        rows.append((question, part, answer, f"{measured} of {len(scores)}", *shown))
    caption = "Scores by what they say, those of single attributes too. By chance, 1 of 20 is apart where nothing is."
    columns = ("Question", "part", "state", "scores had", *ANSWERS)
    return Table(columns, tuple(rows), caption, (1.4, 1.2, 1.2, 0.8, 0.6, 0.6, 0.7), (0, 1, 2))


def side_by_side(sides: Sides, looks: Mapping[str, Looks], config: EvaluateConfig) -> list[Block]:
    """Random real images above random synthetic ones, drawn by the seed and not chosen."""
    blocks: list[Block] = [Heading("Real and synthetic side by side")]
    for modality in sides.modalities:
        look, shown, n = looks[modality], [], {}
        for kind, images in (("real", sides.real), ("synthetic", sides.samples)):
            names = [row.file_name for row in images.rows if row.modality == modality]
            rng = np.random.default_rng([config.seed, len(modality)])
            drawn = [names[i] for i in rng.permutation(len(names))[:SHOWN].tolist()]
            shown += [(look.of(kind, name), f"{kind} {short(name)}") for name in drawn]
            n[kind] = len(names)
        caption = (
            f"{modality}: of {count_of(n['real'], f'real {sides.held_out} image')} and {n['synthetic']} "
            f"synthetic, {SHOWN} each at random, not chosen."
        )
        blocks += gallery(f"side_by_side_{modality.lower()}", shown, caption, COLUMNS)
    return blocks
