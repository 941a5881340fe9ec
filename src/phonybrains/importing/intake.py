"""Take slices in from the readers: bring them to size, drop blank ones and exact duplicates, number and write them."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from ..errors import SourceError
from ..imageset import METADATA_NAME, OF_PLACE, Attribute, Pixels, Row, write_mask, write_png
from ..marks import DRAWN, EDITED, MADE, SyntheticMark
from ..record import split_methods
from .burned_in import BURNED_IN, KEPT, find_text
from .config import ImportConfig
from .parallel import map_in_order
from .readers import READERS
from .resize import Placement, fit_mask, place, placed, thumbnail, to_pixels
from .scan import Scan
from .slices import NO_VALUES, Notice, Slice, shown

WIDTH, STACK, POSITION = OF_PLACE
NO_PIXELS = np.empty((0, 0), np.uint8)


@dataclass(frozen=True, slots=True)
class SizedSlice:
    """A slice brought to size, its values let go; `digest` is that of the values as they were read.

    source: the place of its source among all sources; mask: let go too when it is written, but for whether it is empty,
    or covers the image; text: what is said of text in it, "" without.
    """

    slice: Slice
    source: int
    pixels: Pixels
    slope: float
    intercept: float
    digest: bytes
    file_name: str = ""
    sha256: str = ""
    mask: NDArray[np.bool_] | None = None
    mask_is_empty: bool = False
    mask_is_whole: bool = False
    mask_file_name: str = ""
    mask_sha256: str = ""
    text: str = ""


@dataclass
class Intake:
    """What has been taken in so far: the images without their pixels, their thumbnails, the notices.

    with_text: in how many images of each source, by its place, text was found.
    """

    images: list[SizedSlice] = field(default_factory=list)
    thumbnails: list[NDArray[np.uint8]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    seen: dict[bytes, tuple[Slice, bytes]] = field(default_factory=dict)
    with_text: Counter[int] = field(default_factory=Counter[int])

    @property
    def slices(self) -> list[Slice]:
        return [image.slice for image in self.images]


def take_in(
    scans: Sequence[Scan],
    draft: Path,
    config: ImportConfig,
    pool: ThreadPoolExecutor,
    bar: Progress,
    intake: Intake,
    identity: str,
) -> None:
    """Read, resize, number and write all images into `draft`/images, with only a few of them in memory.

    identity: of the record of the import, which synthetic images carry.

    Fills `intake`, also when it fails. Raises SourceError with the first reasons if no image can be used.
    """
    kinds = [DRAWN if item.record.get("stage") == "phantom" else MADE for item in scans]
    marks = [SyntheticMark(kind, {"record_identity": identity}) for kind in kinds]
    numbered = _numbered(_sized(scans, config, pool, bar, intake), intake)
    for image in map_in_order(pool, partial(_write, draft, marks), numbered):
        intake.images.append(image)
    if not intake.images:
        names = ", ".join(item.name for item in scans)
        raise SourceError(f"{names}: no image can be used. {_reasons(scans, intake)}")


def _reasons(scans: Sequence[Scan], intake: Intake) -> str:
    """Three different reasons, those of files that were taken for images first."""
    other = {(shown(notice.file), notice.reason) for item in scans for notice in item.notices}
    skipped = [(notice.file, notice.reason) for notice in intake.notices if notice.kind == "skipped"]
    firsts: dict[str, str] = {}
    for file, reason in sorted(skipped, key=other.__contains__):
        firsts.setdefault(reason, f"{file}: {reason}")
    return f"{'; '.join([*firsts.values()][:3]) or 'There are no image files'}."


def _sized(
    scans: Sequence[Scan], config: ImportConfig, pool: ThreadPoolExecutor, bar: Progress, intake: Intake
) -> Iterator[SizedSlice | Notice]:
    for number, item in enumerate(scans):
        yield from item.notices
        described = any(item.files[reader.kind] for reader in READERS if reader.has_table)
        if not described and (item.root / METADATA_NAME).is_file():
            yield Notice(f"{item.root.name}/{METADATA_NAME}", "warning", "describes no picture here, and was not used")
        prefix = "" if item.name == item.root.name else f"{item.name} "
        of_source = partial(_of_source, prefix, split_methods(item.record), config)
        for reader in READERS:
            if files := item.files[reader.kind]:
                total = len(files) if reader.an_image_each else None
                task = bar.add_task(f"{item.name} ({reader.kind})", total=total, unit="images")
                read = map(of_source, reader.read(item.root, files, config, item.masks))
                for found in map_in_order(pool, partial(_resized, number, config), read):
                    bar.advance(task)
                    intake.with_text[number] += _has_text(found)
                    yield found


def _of_source(prefix: str, methods: Mapping[str, str], config: ImportConfig, found: Slice | Notice) -> Slice | Notice:
    """A slice with what is known of all in its source: a prefix of their series, and how it was split, by modality."""
    if isinstance(found, Notice):
        return found
    series = prefix + found.series
    if config.synthetic:
        made = {**found.attributes, "generator": config.generator}
        return replace(found, series=series, synthetic=True, patient="", attributes=made)
    inherited = "" if found.synthetic else methods.get(found.modality, "")
    return replace(found, series=series, inherited=inherited)


def _resized(source: int, config: ImportConfig, found: Slice | Notice) -> SizedSlice | Notice:
    """Resize one slice and map it to the range of the stored pixels."""
    if isinstance(found, Notice):
        return found
    values = found.values
    if not values.size or not np.isfinite([values.min(), values.max()]).all():  # min and max hand NaN on
        reason = "holds NaN or infinite values" if values.size else "holds no pixels"
        return Notice(found.name, "skipped", reason)
    text = find_text(values, found.low, found.high)
    if text and not (config.keep_text or found.synthetic):
        return Notice(found.name, "skipped", str(text))
    placement = place((values.shape[0], values.shape[1]), found.spacing_mm, config.size)
    pixels, slope, intercept = to_pixels(values, found.low, found.high, placement, config.bits)
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    kept = replace(found, values=NO_VALUES, mask=None, attributes=_with_place(found, placement))
    sized = SizedSlice(kept, source, pixels, slope, intercept, digest.digest(), text=f"{text}{KEPT}" if text else "")
    if found.mask is None:
        return sized
    mask = fit_mask(found.mask, placement)
    return replace(sized, mask=mask, mask_is_empty=not mask.any(), mask_is_whole=bool(mask.all()))


def _with_place(found: Slice, placement: Placement) -> dict[str, Attribute]:
    """The attributes of a slice in its square, with its width in mm and its place, as far as these are known."""
    attributes = placed(found.attributes, placement)
    across = found.values.shape[1] * found.spacing_mm[1] if found.in_mm else attributes.get(WIDTH)
    with suppress(TypeError, ValueError):  # not known, or a text
        attributes[WIDTH] = round(float(across) * placement.size / placement.width, 4)  # type: ignore[arg-type]
    if found.position_mm is not None:
        attributes[POSITION] = round(found.position_mm, 4)
    return attributes


def _in_stack(item: SizedSlice, stacks: dict[object, int]) -> SizedSlice:
    """A slice whose place is known, with the number of its volume; those of image sets are counted anew."""
    found = item.slice
    if found.attributes.get(POSITION) is None:
        return item
    series = found.series if found.position_mm is not None else found.attributes.get(STACK)
    number = stacks.setdefault((item.source, series), len(stacks) + 1)
    return replace(item, slice=replace(found, attributes={**found.attributes, STACK: float(number)}))


def _has_text(found: SizedSlice | Notice) -> bool:
    """Whether an image has text, kept or not; a file that only says so, and is kept, is not counted."""
    if isinstance(found, Notice):
        return found.kind == "skipped" and found.reason.startswith(BURNED_IN)
    return bool(found.text)


def _numbered(found: Iterable[SizedSlice | Notice], intake: Intake) -> Iterator[SizedSlice]:
    """Give each image its file name, in order; blank ones and exact duplicates are left out and listed.

    A blank image that was generated stays, with a warning: it is a fact about its generator.
    """
    numbers, stacks = itertools.count(1), dict[object, int]()
    for item in found:
        if isinstance(item, Notice):
            intake.notices.append(replace(item, file=shown(item.file)))
            continue
        name = item.slice.name
        blank = item.pixels.min() == item.pixels.max()
        if blank and not item.slice.synthetic:
            kind = "note" if item.slice.volume else "skipped"  # the ends of a volume often are
            intake.notices.append(Notice(name, kind, "blank: all its pixels are equal"))
            continue
        outline = b"" if item.mask is None else hashlib.sha256(np.packbits(item.mask).tobytes()).digest()
        first, its_outline = intake.seen.setdefault(item.digest, (item.slice, outline))
        if first is not item.slice:
            reason = _duplicate(item.slice, first, unlike_mask=outline != its_outline)
            intake.notices.append(Notice(name, "duplicate", reason))
            continue
        if blank:
            intake.notices.append(Notice(name, "warning", "all pixels are equal"))
        if item.text:
            intake.notices.append(Notice(name, "warning", item.text))
        intake.thumbnails.append(thumbnail(item.pixels))
        yield replace(_in_stack(item, stacks), file_name=f"images/{next(numbers):06d}.png")


def _duplicate(found: Slice, first: Slice, unlike_mask: bool) -> str:
    """Say what a duplicate is equal to, and where the two contradict each other."""
    columns = [name for name in ("modality", "patient", "split") if getattr(found, name) != getattr(first, name)]
    told = ("diagnosis", "hemorrhage")
    columns += [name for name in told if found.attributes.get(name) != first.attributes.get(name)]
    columns += ["mask"] * unlike_mask
    unlike = f", though {' and '.join(columns)} {'differs' if len(columns) == 1 else 'differ'}" if columns else ""
    return f"same pixels as {first.name}{unlike}; left out"


def _mark(mark: SyntheticMark, found: Slice) -> SyntheticMark | None:
    """What a synthetic image says of itself, out of the mark for its source; nothing where it is a scan."""
    if not found.synthetic:
        return None
    known = {name: found.attributes[name] for name in ("generator", "seed", "index") if name in found.attributes}
    edited = found.attributes.get("edit_of_kind") == "real"
    return replace(mark, source_type=EDITED if edited else mark.source_type).of(**known)


def _write(draft: Path, marks: Sequence[SyntheticMark], image: SizedSlice) -> SizedSlice:
    mark = _mark(marks[image.source], image.slice)
    written = replace(image, sha256=write_png(draft / image.file_name, image.pixels, mark), pixels=NO_PIXELS)
    if image.mask is None:
        return written
    row = write_mask(draft, Row(image.file_name, written.sha256, image.slice.modality), image.mask)
    return replace(written, mask=None, mask_file_name=row.mask_file_name, mask_sha256=row.mask_sha256)
