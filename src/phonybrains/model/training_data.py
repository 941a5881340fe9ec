"""What a corpus says of itself to a model and to its card: units, splits, sources, licence."""

from __future__ import annotations

import re
from collections import Counter

from ..held_out import real_rows
from ..imageset import ImageSet, how_split

NO_SOURCES = "The corpus names no sources or licences: add them before you share this model."
"""What a card says where nothing is known of the training data."""
HUB_LICENCE = re.compile(
    r"apache-2\.0|mit|unlicense|gfdl|c-uda|cc|cc0-1\.0|cc-by-(2\.[05]|[34]\.0)|cc-by-sa-[34]\.0|cc-by-nc-[234]\.0"
    r"|cc-by-nd-4\.0|cc-by-nc-nd-[34]\.0|cc-by-nc-sa-[234]\.0|cdla-sharing-1\.0|cdla-permissive-[12]\.0|etalab-2\.0"
    r"|odbl|odc-by|pddl"
)
"""Licences of data by the names that the Hub takes [huggingface.co/docs/hub/repositories-licenses]."""


def shared_units(images: ImageSet) -> dict[str, tuple[float, float, str]]:
    """Slope, intercept and unit as of 8-bit pixels, for each modality whose training images have the same."""
    found: dict[str, set[tuple[float, float, str]]] = {}
    for row in images.rows:
        if row.split == "train":
            found.setdefault(row.modality, set()).add((row.slope, row.intercept, row.unit))
    step = (2**images.bits - 1) / 255
    agreed = {modality: kinds.pop() for modality, kinds in found.items() if len(kinds) == 1}
    return {modality: (slope * step, intercept, unit) for modality, (slope, intercept, unit) in agreed.items()}


def splits(images: ImageSet) -> str:
    """How many images are in each split, how many of them a model drew, and how it was made."""
    counts = {split: sum(row.split == split for row in images.rows) for split in ("train", "validation", "test")}
    split = "; ".join(f"{modality} split {method}" for modality, method in how_split(images).items())
    drawn = {name: f" ({said})" for name in counts if (said := drawn_in_words(images, name))}
    text = ", ".join(f"{count} for {name}{drawn.get(name, '')}" for name, count in counts.items())
    return text + (f" ({split})" if split else "")


def drawn_in_words(images: ImageSet, split: str) -> str:
    """How many images of a split are synthetic beside real ones, or drawn by a model, and by which; empty for none."""
    real = {*real_rows(images.rows)}
    rows = [row for i, row in enumerate(images.rows) if row.split == split and (row["generator"] or i not in real)]
    found = Counter(str(row["generator"] or row.source or "an unknown model") for row in rows)
    return ", ".join(f"{count} synthetic, drawn by {name}" for name, count in found.items())


def sources(images: ImageSet) -> str:
    """A list of the sources with their licences, or the sentence that there are none."""
    found = images.record.get("sources") or []
    lines = [
        f"- {s.get('name', '')}: {s.get('attribution', '')} {s.get('licence', '')} {s.get('url', '')}".rstrip()
        for s in found
    ]
    return "\n".join(lines) or NO_SOURCES


def licence(images: ImageSet) -> str:
    """The lines with the licence, as the Hub spells it, where all sources have the same one: `other` if it has none."""
    licences = {source.get("licence", "") for source in images.record.get("sources") or []}
    if len(licences) != 1 or not any(licences):
        return ""
    name = re.sub(r"[^a-z0-9.]+", "-", licences.pop().lower()).strip("-")
    return f"license: {name}\n" if HUB_LICENCE.fullmatch(name) else f"license: other\nlicense_name: {name}\n"
