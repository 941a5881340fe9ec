"""The report's first pages: the four lines, real and synthetic images side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ...imageset import ImageSet
from ...reporting.blocks import Block, Bullets, Heading, Note, Paragraph, Table
from ...reporting.wording import NONE, count_of, listed
from ..config import EvaluateConfig, Part
from ..findings import Findings
from ..inputs.sets import Sides
from ..outcomes import Outcome, outcome_of
from .figures import Looks, gallery, short
from .glance import glances

SHOWN, COLUMNS = 12, 6
ANSWERS: tuple[Outcome, ...] = ("apart", "better", "as real", "not shown")


def at_a_glance(sides: Sides, found: Mapping[Part, Findings]) -> list[Block]:
    """What was found, in four lines; what must not be missed comes first."""
    blocks: list[Block] = []
    if status_of(found) == "failed":
        blocks.append(Note(_alarm(found["memorisation"]), "banner"))
    made, real = _counted(sides.samples, "synthetic"), _counted(sides.real, "held-out real")
    answers = Bullets(tuple(f"{one.question} {one.answer}: {one.said}." for one in glances(sides, found)))
    blocks += [Heading("At a glance"), Paragraph(f"{made} against {real}."), answers]
    return [*blocks, *(Note(warning, "warning") for warning in sides.warnings), _counts(found)]


def status_of(found: Mapping[Part, Findings]) -> str:
    """What the memorisation audit says: passed, look, undecided, failed; not audited if it did not run."""
    return found["memorisation"].facts.status or "not audited" if "memorisation" in found else "not audited"


def _counted(images: ImageSet, kind: str) -> str:
    counts = Counter(row.modality for row in images.rows)
    shown = listed([f"{counts[name]} {name}" for name in sorted(counts, reverse=True)])
    return f"{count_of(len(images), f'{kind} image')} ({shown})"


def _alarm(findings: Findings) -> str:
    """What a failed audit found: copies of images, or patients that are repeated without being copied."""
    failed = {sign.look for sign in findings.facts.signs or () if sign.word == "failed"}
    if failed and "copies" not in failed:
        return "TRAINING PATIENTS ARE REPEATED"
    return "COPIES OF TRAINING IMAGES WERE FOUND"


def _counts(found: Mapping[Part, Findings]) -> Table:
    rows = []
    for part, findings in found.items():
        counts = Counter(map(outcome_of, findings.scores))
        measured = sum(score.value is not None for score in findings.scores)
        shown = [str(counts[outcome]) if any(map(outcome_of, findings.scores)) else NONE for outcome in ANSWERS]
        rows.append((part, f"{measured} of {len(findings.scores)}", *shown))
    caption = "Scores by what they say, those of single attributes too. By chance, 1 of 20 is apart where nothing is."
    return Table(("part", "scores had", *ANSWERS), tuple(rows), caption, (1.4, 1, *[0.7] * len(ANSWERS)))


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
