"""The masks of a source: which file outlines which image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from ..errors import ConfigError, SourceError
from ..wording import count_of
from .config import ImportConfig
from .raster.table import find_tables, masks_of
from .scan import Scan, scan
from .sets import exported_masks
from .slices import Notice, name_below, shown

KINDS = ("raster", "volume", "mat")
"""Of images that can have a mask."""
EXTENSION = re.compile(r"(\.(nii|mgh))?\.[^./]+$")
OF_A_MASK = re.compile(r"[_-](mask|seg|segmentation|label)s?$", re.IGNORECASE)
CHANNEL = re.compile(r"_\d{4}$")
"""That nnU-Net puts behind the name of an image, and not of its labels."""
NAMED = 3
"""Names in a line of the report."""


def with_masks(
    scans: Sequence[Scan], config: ImportConfig, pool: ThreadPoolExecutor, place: Callable[[], Path]
) -> list[Scan]:
    """The scans with the masks that the settings name for them, told from images by their names.

    Archives among the masks are unpacked below `place()`, as those of a source are.

    Raises ConfigError for one folder for several sources, SourceError for a folder that is missing, that has no file of
    the name of an image, or where one name stands for two.
    """
    if config.masks and len(scans) > 1:
        how = 'masks = "…" in the table [sources.NAME] of the settings, for each'
        raise ConfigError(f"masks: {config.masks} belongs to one source, and {len(scans)} are given. Write {how}.")
    by_name = {normalize("NFC", name): source.masks for name, source in config.sources.items()}
    folders = [by_name.get(item.settings_name) or config.masks for item in scans]
    shared = {folder.resolve(): folder for folder in folders if folder}
    read = {
        where: _read(folder, pool, lambda n=number: place() / f"masks-{n}")
        for number, (where, folder) in enumerate(shared.items())
    }
    matched, unused = [_as_exported(item) for item in scans], dict[Path, set[Path]]()
    for i, folder in enumerate(folders):
        if folder:
            matched[i], others = _matched(matched[i], folder, read[folder.resolve()])
            unused[folder.resolve()] = others & unused.get(folder.resolve(), others)
    notices = [
        Notice("", "warning", f"{count_of(len(left), 'mask')} of no image: {some(sorted(left))}")
        for left in ([name_below(read[where].root, path) for path in paths] for where, paths in unused.items())
        if left
    ]
    return [*matched[:-1], replace(matched[-1], notices=[*matched[-1].notices, *notices])]


def _as_exported(item: Scan) -> Scan:
    """The scan with the masks of its volumes, where it is what `export` wrote."""
    of = {item.root / name: item.root / mask for name, mask in exported_masks(item.root).items()}
    volumes = item.files["volume"]
    of = {path: of[path] for path in volumes if of.get(path) in volumes}
    left = [path for path in volumes if path not in of.values()]
    return replace(item, files={**item.files, "volume": left}, masks=of) if of else item


def _read(folder: Path, pool: ThreadPoolExecutor, place: Callable[[], Path]) -> Scan:
    if not folder.is_dir():
        raise SourceError(f"{folder}: masks lie in a folder, and there is none of this name. Check the path.")
    return scan(folder, pool, place)


def _matched(item: Scan, folder: Path, masks: Scan) -> tuple[Scan, set[Path]]:
    """The scan with its masks, and those of the folder that are of none of its images."""
    inside = folder.resolve() == item.given
    found = {path for kind in KINDS for path in masks.files[kind] if not inside or OF_A_MASK.search(_key(path.name))}
    taken = {masks.origin(path) for path in found}
    files = {kind: [path for path in paths if item.origin(path) not in taken] for kind, paths in item.files.items()}
    own = {*masks_of(find_tables(item.root, files["raster"]), files["raster"]).values()}
    images = [path for kind in KINDS for path in files[kind] if path not in own]
    of = _pairs(item.root, images, masks.root, sorted(found))
    if inside:  # a MATLAB file holds an image and its outline
        of = {**item.masks, **of, **{path: path for path in files["mat"]}}
    if not of:
        such = f", such as {name_below(item.root, images[0])}" if images else ""
        raise SourceError(
            f"{folder}: of its {count_of(len(found), 'file')} none has the name of an image of {item.name}{such}."
        )
    notices = [notice for notice in masks.notices if notice.kind == "skipped" and not inside]
    matched = replace(
        item, files=files, masks={**item.masks, **of}, masks_sha256=masks.sha256, notices=[*item.notices, *notices]
    )
    return matched, found - set(of.values())


def _pairs(root: Path, images: Iterable[Path], folder: Path, masks: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each image: of the same path below its folder, else of the same name; extensions do not count."""
    by_path, by_name = _by(masks, lambda path: _path(folder, path)), _by(masks, lambda path: _path(path.parent, path))
    of, users = dict[Path, Path](), defaultdict[Path, set[Path]](set)
    for image in images:
        own = _key(image.relative_to(root).as_posix())
        known = (own, CHANNEL.sub("", own))
        found = next((by_path[name] for name in known if name in by_path), [])
        if not found:
            found = next((by_name[name] for name in (name.rpartition("/")[2] for name in known) if name in by_name), [])
            if found:
                users[found[0]].add(image.parent)
        if len(found) > 1:
            names = " and ".join(name_below(folder, path) for path in found[:2])
            raise SourceError(f"{names}: both have the name of {name_below(root, image)}. Keep one of them.")
        of |= {image: found[0]} if found else {}
    if shared := next((mask for mask, places in users.items() if len(places) > 1), None):
        what = "has the name of images in several folders. Put masks into folders as the images are"
        raise SourceError(f"{name_below(folder, shared)} {what}.")
    return of


def _by(paths: Iterable[Path], name: Callable[[Path], str]) -> Mapping[str, list[Path]]:
    found = defaultdict[str, list[Path]](list)
    for path in paths:
        found[name(path)].append(path)
    return dict(found)


def _path(folder: Path, mask: Path) -> str:
    return OF_A_MASK.sub("", _key(mask.relative_to(folder).as_posix()))


def _key(name: str) -> str:
    return normalize("NFC", EXTENSION.sub("", name))


def some(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(map(shown, names[:NAMED])) + (", …" if len(names) > NAMED else "")
