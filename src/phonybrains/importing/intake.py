"""Take slices in from the readers: bring them to size, drop blank ones and exact duplicates, number and write them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from ..errors import SourceError
from ..imageset import METADATA_NAME, Attribute, Pixels, write_png
from ..record import split_methods
from .config import ImportConfig
from .parallel import map_in_order
from .resize import Placement, place, thumbnail, to_pixels
from .scan import Scan
from .slices import Notice, Slice, shown

Reader = Callable[[Path, Sequence[Path], ImportConfig], Iterator[Slice | Notice]]
NO_VALUES = np.empty((0, 0), np.float32)
NO_PIXELS = np.empty((0, 0), np.uint8)
BOX = {"lesion_x": "x", "lesion_y": "y", "lesion_width": "width", "lesion_height": "height"}


@dataclass(frozen=True, slots=True)
class Image:
    """A slice brought to size, its values let go; `digest` is that of the values as they were read."""

    slice: Slice
    pixels: Pixels
    slope: float
    intercept: float
    digest: bytes
    volume: bool
    source: int
    """The place of its source among all sources."""
    inherited: str = ""
    """How the image set that it comes from was split."""
    file_name: str = ""
    sha256: str = ""


@dataclass
class Intake:
    """What has been taken in so far: the images without their pixels, their thumbnails, the notices."""

    images: list[Image] = field(default_factory=list)
    thumbnails: list[NDArray[np.uint8]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    seen: dict[bytes, Slice] = field(default_factory=dict)


def take_in(
    scans: Sequence[Scan], draft: Path, config: ImportConfig, pool: ThreadPoolExecutor, bar: Progress, intake: Intake
) -> None:
    """Read, resize, number and write all images into `draft`/images, with only a few of them in memory.

    Fills `intake`, also when it fails. Raises SourceError with the first reasons if no image can be used.
    """
    numbered = _numbered(_prepared(scans, config, pool, bar), intake)
    for image in map_in_order(pool, partial(_write, draft), numbered):
        intake.images.append(image)
    if not intake.images:
        names = ", ".join(item.name for item in scans)
        raise SourceError(f"{names}: no image can be used. {_reasons(scans, intake)}")


def _reasons(scans: Sequence[Scan], intake: Intake) -> str:
    """Three different reasons, those of files that were taken for images first."""
    other = {(shown(notice.file), notice.reason) for item in scans for notice in item.notices}
    skipped = [notice for notice in intake.notices if notice.kind == "skipped"]
    firsts: dict[str, str] = {}
    for notice in sorted(skipped, key=lambda notice: (notice.file, notice.reason) in other):
        firsts.setdefault(notice.reason, f"{notice.file}: {notice.reason}")
    return f"{'; '.join([*firsts.values()][:3]) or 'There are no image files'}."


def report_name(found: Slice) -> str:
    """What the report calls a slice."""
    return shown(found.file or f"{found.source} {found.series} {found.order:g}")


def _prepared(
    scans: Sequence[Scan], config: ImportConfig, pool: ThreadPoolExecutor, bar: Progress
) -> Iterator[Image | Notice]:
    for number, item in enumerate(scans):
        yield from item.notices
        if not item.files["raster"] and (item.root / METADATA_NAME).is_file():
            yield Notice(f"{item.root.name}/{METADATA_NAME}", "warning", "describes no picture here, and was not used")
        methods = split_methods(item.record)
        for kind, reader in _readers(item):
            files = item.files[kind]
            task = bar.add_task(f"{item.name} ({kind})", total=None if kind == "volume" else len(files), unit="images")
            prefix = "" if item.name == item.root.name else f"{item.name} "
            of_source = {"source": number, "volume": kind != "raster", "prefix": prefix, "methods": methods}
            prepare = partial(_prepare, config=config, **of_source)
            for found in map_in_order(pool, prepare, reader(item.root, files, config)):
                bar.advance(task)
                yield found


def _readers(item: Scan) -> Iterator[tuple[str, Reader]]:
    """The readers of the kinds of file that a source has; the heavy ones are loaded only for these."""
    if item.files["raster"]:
        from .raster.reader import read_rasters

        yield "raster", read_rasters
    if item.files["dicom"]:
        from .dicom.reader import read_dicom

        yield "dicom", read_dicom
    if item.files["volume"]:
        from .public import is_ct_ich, read_ct_ich
        from .volumes.reader import read_volumes

        yield "volume", read_ct_ich if is_ct_ich(item.root) else read_volumes
    if item.files["mat"]:
        from .public import read_cheng2017

        yield "mat", read_cheng2017


def _prepare(
    found: Slice | Notice, config: ImportConfig, source: int, volume: bool, prefix: str, methods: Mapping[str, str]
) -> Image | Notice:
    """Resize one slice and map it to the range of the stored pixels."""
    if isinstance(found, Notice):
        return found
    values = found.values
    if not values.size or not np.isfinite([values.min(), values.max()]).all():  # min and max hand NaN on
        return Notice(
            report_name(found), "skipped", "holds NaN or infinite values" if values.size else "holds no pixels"
        )
    placement = place((values.shape[0], values.shape[1]), found.spacing_mm, config.size)
    pixels, slope, intercept = to_pixels(values, found.low, found.high, placement, config.bits)
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    attributes, series = _placed(found.attributes, placement), prefix + found.series
    kept = replace(found, values=NO_VALUES, attributes=attributes, series=series)
    if config.synthetic:
        kept = replace(kept, synthetic=True, patient="", attributes=attributes | {"generator": config.generator})
    inherited = "" if kept.synthetic else methods.get(kept.modality, "")
    return Image(kept, pixels, slope, intercept, digest.digest(), volume or found.volume, source, inherited)


def _placed(attributes: Mapping[str, Attribute], placement: Placement) -> dict[str, Attribute]:
    """Attributes with the lesion's box, given as fractions of the source, as fractions of the padded square."""
    placed = dict(attributes)
    for name, what in BOX.items():
        length = placement.width if what in ("x", "width") else placement.height
        shift = {"x": placement.left, "y": placement.top}.get(what, 0)
        with suppress(TypeError, ValueError):  # no box, or a text
            if length != placement.size and placed.get(name) is not None:
                placed[name] = (float(placed[name]) * length + shift) / placement.size  # type: ignore[arg-type]
    return placed


def _numbered(found: Iterable[Image | Notice], intake: Intake) -> Iterator[Image]:
    """Give each image its file name, in order; blank ones and exact duplicates are left out and listed.

    A blank image that was generated stays, with a warning: it is a fact about its generator.
    """
    numbers = itertools.count(1)
    for item in found:
        if isinstance(item, Notice):
            intake.notices.append(replace(item, file=shown(item.file)))
            continue
        if item.pixels.min() == item.pixels.max() and not item.slice.synthetic:
            reason = "blank: all its pixels are equal"
            kind = "note" if item.volume else "skipped"  # the ends of a volume often are
            intake.notices.append(Notice(report_name(item.slice), kind, reason))
            continue
        first = intake.seen.setdefault(item.digest, item.slice)
        name = report_name(item.slice)
        if first is not item.slice:
            intake.notices.append(Notice(name, "duplicate", _duplicate(item.slice, first)))
            continue
        if item.pixels.min() == item.pixels.max():
            intake.notices.append(Notice(name, "warning", "all pixels are equal"))
        intake.thumbnails.append(thumbnail(item.pixels))
        yield replace(item, file_name=f"images/{next(numbers):06d}.png")


def _duplicate(found: Slice, first: Slice) -> str:
    """Say what a duplicate is equal to, and where the two contradict each other."""
    columns = [name for name in ("modality", "patient", "split") if getattr(found, name) != getattr(first, name)]
    columns += [
        name for name in ("diagnosis", "hemorrhage") if found.attributes.get(name) != first.attributes.get(name)
    ]
    unlike = f", though {' and '.join(columns)} differ" if columns else ""
    return f"same pixels as {report_name(first)}{unlike}; left out"


def _write(draft: Path, image: Image) -> Image:
    sha256 = write_png(draft / image.file_name, image.pixels)
    return replace(image, sha256=sha256, pixels=NO_PIXELS)
