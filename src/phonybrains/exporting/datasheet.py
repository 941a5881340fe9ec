"""A datasheet beside an export: what a reader of the data asks, answered from its record (Gebru et al., CACM 2021)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..imageset import MADE_COLUMNS
from ..wording import count_of
from .exported import ExportedSet, Kind

KINDS: dict[Kind, str] = {
    "synthetic": "synthetic: no scanner made them, and they show no patient",
    "edited": "edits of real scans: detail in them was drawn by a model and not measured",
    "real": "scans of people, under pseudonyms",
}
MOST_LABELS = 12


def in_words(exported: ExportedSet) -> str:
    """What the images are, and what made them, in two sentences."""
    kinds: Counter[Kind] = Counter(series.kind for series in exported.series for _ in series.rows)
    told = "; ".join(f"{count_of(count, 'image is', 'images are')} {KINDS[kind]}" for kind, count in kinds.items())
    maker = exported.maker
    return f"{told[0].upper()}{told[1:]}. They were made by {maker.name}" + (
        f", a model with SHA-256 {maker.sha256}." if maker.sha256 else "."
    )


def licences(exported: ExportedSet) -> Sequence[str]:
    """The licences of the sources, each once."""
    return list(dict.fromkeys(filter(None, (source.get("licence") for source in exported.sources))))


def datasheet(exported: ExportedSet) -> str:
    """The datasheet as Markdown, with the sections of the paper; what no record says is left to be filled in."""
    sections = {
        "Motivation": _motivation(exported),
        "Composition": _composition(exported),
        "Collection process": _collection(exported),
        "Preprocessing, cleaning, labelling": _preprocessing(exported),
        "Uses": [
            "For research and teaching: rehearsing software, augmenting training data, reader studies.",
            "Not for diagnosis, nor as evidence of how often something is in a population: a set shows what was asked "
            "for, and what its model learnt.",
        ],
        "Distribution": _distribution(exported),
        "Maintenance": ["Who keeps this set, and how it is corrected: to be filled in by whoever passes it on."],
    }
    lines = [f"# Datasheet: {exported.images.folder.resolve().name}", "", in_words(exported)]
    for title, told in sections.items():
        lines += ["", f"## {title}", *(f"- {one}" for one in told)]
    return "\n".join(lines) + "\n"


def _motivation(exported: ExportedSet) -> list[str]:
    return [
        "Why the set was made, by whom and with whose money: to be filled in by whoever passes it on.",
        f"It was made by the stage `{exported.images.record.get('stage', 'unknown')}` of phonybrains on "
        f"{str(exported.images.record.get('created', 'an unknown day'))[:10]}.",
    ]


def _composition(exported: ExportedSet) -> list[str]:
    images = exported.images
    counts = Counter(row.modality for row in images.rows)
    found = [
        f"{count_of(len(images), 'image')} of {images.width}×{images.height} pixels, {images.bits} bits: "
        + ", ".join(f"{n} {modality}" for modality, n in counts.items())
        + f"; {len(exported.series)} series.",
        count_of(sum(bool(row.mask_file_name) for row in images.rows), "image has a mask", "images have a mask")
        + (f" ({images.outline})." if images.outline else "."),
        *_attributes(exported),
        *(f"Not known: {doubt}" for doubt in exported.doubts()),
    ]
    if any(series.kind != "synthetic" for series in exported.series):
        found.append(
            "Some images come from people: the pixels of a head can identify a person whatever the header says."
        )
    return found


def _attributes(exported: ExportedSet) -> Iterator[str]:
    rows = exported.images.rows
    for name in dict.fromkeys(name for row in rows for name in row.attributes if name not in MADE_COLUMNS):
        values = [value for row in rows if (value := row[name]) not in (None, "")]
        labels = Counter(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        if len(labels) <= MOST_LABELS:
            yield f"{name}: " + ", ".join(f"{label} {n}" for label, n in labels.most_common())
        elif all(isinstance(value, float) for value in values):
            yield f"{name}: {min(values):g} to {max(values):g}, {count_of(len(values), 'value')}"
        else:
            yield f"{name}: {count_of(len(labels), 'different value')}"


def _collection(exported: ExportedSet) -> list[str]:
    record = exported.images.record
    found = [f"SHA-256 of the record of the set: {exported.record_sha256 or 'it has no record'}."]
    if exported.maker.sha256:
        found.append(f"Model: {exported.maker.name}, SHA-256 {exported.maker.sha256}.")
    if record.get("seed") is not None:
        found.append(
            f"Seed {record['seed']}; all settings are in record.json, with the records of the inputs inside it."
        )
    return found + [f"Warned of: {one}" for one in record.get("results", {}).get("warnings") or ()]


def _preprocessing(exported: ExportedSet) -> list[str]:
    images = range(len(exported.images))
    scales = Counter((exported.images.rows[index].modality, exported.scale(index)) for index in images)
    told = [
        f"{modality}: value = {one.slope:.6g} · grey level + {one.intercept:.6g} in {one.unit} "
        f"({count_of(n, 'image')})."
        for (modality, one), n in scales.most_common(MOST_LABELS)
    ]
    return [
        *told,
        "images.csv or metadata.csv names, for each image, the file and the hash of the set that it is from.",
    ]


def _distribution(exported: ExportedSet) -> list[str]:
    told = [f"Licences of the sources: {'; '.join(licences(exported)) or 'not given'}."]
    for source in exported.sources:
        told.append("; ".join(filter(None, (source.get(key, "") for key in ("name", "licence", "attribution", "url")))))
    return told
