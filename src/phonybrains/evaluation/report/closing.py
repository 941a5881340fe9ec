"""The report's last pages: how it was measured, where the images come from, limits, published figures, files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...record import Record
from ...reporting import closing
from ...reporting.blocks import Block, Bullets, Heading, Paragraph, Table
from ..config import EvaluateConfig, Part
from ..findings import Findings
from ..inputs.sets import Sides

PUBLISHED = (
    ("Readers, brain MRI of a GAN, 5 radiologists", "24 to 71 % of the fakes called real"),
    ("Readers, body CT, 10 readers, 150 + 150 images", "48.1 % of the fakes called real; accuracy 59.4 %"),
    ("Readers, radiographs, 17 radiologists", "accuracy 70 to 75 %"),
    ("Readers with gaze tracking, 16 radiologists", "3.4 % of the fakes called real"),
    ("Quartets of images", "real one found in 29 % (chance 25 %)"),
    ("3-D latent diffusion, brain MRI, n = 31,740", "FID 0.0076 (3-D, not comparable with a 2-D FID); MS-SSIM 0.6555"),
)


def methods(sides: Sides, config: EvaluateConfig) -> list[Block]:
    """How it was measured, for the methods section of a paper."""
    words = (
        f"Synthetic images were compared with the {sides.held_out} split of the corpus, which training leaves out, "
        "each modality for itself; copies were searched for in its train split. A score is shown beside its null: what "
        "real images score against other real images at the same n, a patient never being on both sides. A score is "
        "apart where it lies beyond the range of 95 of 100 such draws, its interval excludes their middle and p is "
        "below 0.05; as real where its interval, and the spread of such draws around it, lie within the margin stated "
        "beside it and p is not below 0.05; and not shown else: too few images or patients to say either. What a row "
        "lacks is not asked for. Columns that say where a slice or a lesion lies make no groups; asked and found are "
        "compared. Where a measure's weights are missing it is listed as not available; nothing is put in its place."
    )
    settings = tuple(_settings(config.model_dump(mode="json")))
    table = Table(("Setting", "value"), settings, "Every setting of this run.", (1.5, 3), (0, 1))
    return [Heading("How it was measured"), Paragraph(words), table]


def _settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _settings(value, f"{name}.")
        elif value not in (None, "", False):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((prefix + name, shown.rsplit("/", 1)[-1]))
    return rows


def origin(record: Record) -> list[Block]:
    """The chain of records, from this evaluation back to the sources."""
    top = {"stage": record.stage, "config": {}, "seed": record.seed, "inputs": record.inputs}
    return [Heading("Where the images come from"), *closing.origin_table(top, "this evaluation")]


def limits(sides: Sides, found: Mapping[Part, Findings]) -> list[Block]:
    """What this evaluation cannot say."""
    said = [
        "No score here says that an image is anatomically right, or that a specialist would take it for real: "
        "that is what a reader study is for.",
        "Features of networks trained on photographs know little of medicine; handcrafted ones know only what "
        "they were made to see.",
        "A search that finds no copy among n images still allows a share of up to about 3/n.",
    ]
    if not any(row.patient_id for row in sides.corpus.rows):
        said.append(
            "The corpus has no patient ids: runs of neighbouring images stood in for patients, so that a "
            "patient may be on both sides of a split."
        )
    if any(score.name.startswith("member_loss") for findings in found.values() for score in findings.scores):
        said.append(
            "Whether the model's loss tells training images from held-out ones is no part of the verdict: "
            "people differ, and where few are held out this alone moves it."
        )
    absent = [part for part, findings in found.items() if not any(s.value is not None for s in findings.scores)]
    if absent:
        said.append(f"Asked for and not measured: {', '.join(absent)}.")
    return [Heading("Limits"), Bullets(tuple(said))]


def others() -> list[Block]:
    """Figures of others to stand beside these, and what lies beside the report."""
    return [
        *closing.published(("Study", "result"), PUBLISHED, (2, 2.4)),
        *closing.files(
            "scores.json and scores.csv: every score with interval, n, null, extractor and hash.",
            closing.FIGURES,
            "findings/: what each part found, with the arrays that were drawn.",
            "record.json: what this evaluation was made from, with which versions.",
        ),
    ]
