"""What is said of an import as a whole, beside what is said of each file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import normalize

from ..record import Record
from ..wording import count_of
from .config import ImportConfig
from .duplicates import NearDuplicates
from .intake import Intake, SizedSlice
from .pairing import some
from .report import Values, few_patients
from .scan import Scan
from .slices import Notice, Slice, shown
from .split import Splits

IDENTIFYING = re.compile(
    r"name|birth|dob|mrn|accession|address|phone|mail|ssn|subject|participant|patient|pid|(^|_)(file|path|folder)(name|s)?($|_)",
    re.IGNORECASE,
)


def strange(scans: Sequence[Scan], config: ImportConfig) -> list[str]:
    """Names of sources in the configuration that no source has."""
    return sorted({normalize("NFC", name) for name in config.sources} - {item.settings_name for item in scans})


def on_the_set(slices: Sequence[Slice], splits: Splits, near: NearDuplicates, values: Values) -> list[Notice]:
    """Notices on the set as a whole."""
    warnings = [*splits.warnings, *few_patients(values)]
    for name in filter(IDENTIFYING.search, dict.fromkeys(name for item in slices for name in item.attributes)):
        warnings.append(f"column '{name}' may identify patients: leave it out with the option attributes")
    if near.across_splits or near.across_patients:
        warnings.append(
            f"near duplicates in two splits: {count_of(near.across_splits, 'pair')}, "
            f"{count_of(near.across_patients, 'belongs', 'belong')} to two patients"
        )
    notices = [Notice("", "warning", text) for text in warnings]
    for pair in near.worst:
        where = " and ".join(splits.names[place] or "no split" for place in (pair.first, pair.second))
        reason = f"like {slices[pair.second].name} ({where}; correlation {pair.correlation:.4f})"
        notices.append(Notice(slices[pair.first].name, "near duplicate", reason))
    return notices


def on_sources(scans: Sequence[Scan], record: Record, config: ImportConfig) -> list[Notice]:
    """A note for each source without licence, by its name on the disk, and for each name that no source has."""
    names = {item.label: shown(item.root.name) for item in scans}
    bare = [source.get("name", "") for source in record.sources if not source.get("licence")]
    said = "no licence given: name it in the option sources"
    notices = [Notice(names.get(name, name), "note", said) for name in bare]
    return notices + [Notice(name, "note", "in the option sources, but no source") for name in strange(scans, config)]


def on_masks(scans: Sequence[Scan], images: Sequence[SizedSlice], config: ImportConfig) -> list[Notice]:
    """What is said of images without a mask, in sources that have masks, and of masks with nothing inside, or all."""
    having = {image.source for image in images if image.mask_file_name}
    having |= {place for place, item in enumerate(scans) if item.masks}
    bare = [image.slice.name for image in images if image.source in having and not image.mask_file_name]
    empty = [image.slice.name for image in images if image.mask_is_empty]
    whole = [image.slice.name for image in images if image.mask_is_whole]
    notices = [Notice("", "warning", f"{count_of(len(bare), 'image')} without a mask: {some(bare)}")] if bare else []
    if whole:
        covers = f"{count_of(len(whole), 'mask covers', 'masks cover')} the whole image, so nothing is outlined"
        notices.append(Notice("", "warning", f"{covers}: {some(whole)}. Is inside 0 there, and outside not?"))
    if config.mask_label is not None and len(empty) == sum(bool(image.mask_file_name) for image in images) > 0:
        notices.append(Notice("", "warning", f"the label {config.mask_label} is in no mask. Is it the right one?"))
    nothing = Notice("", "note", f"{count_of(len(empty), 'empty mask')}, nothing is outlined: {some(empty)}")
    return [*notices, nothing] if empty else notices


def on_text(intake: Intake) -> list[Notice]:
    """In how many images text was found, and how to have them all the same."""
    found, kept = intake.with_text.total(), sum(bool(image.text) for image in intake.images)
    told = f"text burned into the pixels of {count_of(found, 'image')}; {kept} of them kept"
    more = "" if kept == found else ". Look at those left out: --keep-text keeps them"
    return [Notice("", "warning", told + more)] if found else []
