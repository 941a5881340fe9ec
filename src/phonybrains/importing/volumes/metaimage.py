"""Read MetaImage (.mha, .mhd) as stored: text lines `key = value`, then the voxels, here or in other files.

No package reads it safely enough: ITK's own reader ends the whole process on some damaged headers. Source: ITK,
"MetaIO Documentation", reference of the tags; the rows of TransformMatrix are the directions of the axes, in LPS.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...errors import SourceError
from .stored import LPS_TO_RAS, StoredVolume, Voxels, affine_of, data_beside, numbers

SIZES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8}
TYPES = {"MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
TYPES |= {f"MET_{name}": f"i{size}" for name, size in SIZES.items()}
TYPES |= {f"MET_U{name}": f"u{size}" for name, size in SIZES.items()}
LARGEST_HEADER = 1_000_000
MOST_FILES = 10_000
PATTERN = re.compile(r"(.*?)%0?(\d?)d(\S*)\s+(\d+)\s+(\d+)(?:\s+(\d+))?")


def read_header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """The fields, where the voxels begin, and the names of the data files (none: the voxels follow the header)."""
    with path.open("rb") as file:
        content = file.read(LARGEST_HEADER)
    end = re.search(rb"(?m)^[ \t]*ElementDataFile[ \t]*=[ \t]*([^\r\n]*)\r?\n?", content)
    if not end:
        raise SourceError("its header has no ElementDataFile; the file is damaged or cut short")
    lines = content[: end.start()].decode("latin-1").splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    named = end[1].decode("utf-8", "surrogateescape").strip()
    if named.upper() == "LOCAL":
        return fields, end.end(), []
    if named.upper().startswith("LIST"):
        rest = content[end.end() :].decode("utf-8", "surrogateescape").splitlines()
        return fields, 0, [line.strip() for line in rest if line.strip()][:MOST_FILES]
    if match := PATTERN.fullmatch(named):
        first, last, step = int(match[4]), int(match[5]), int(match[6] or 1) or 1
        places = range(first, last + 1, step)[:MOST_FILES]
        return fields, 0, [f"{match[1]}{place:0{match[2] or 1}d}{match[3]}" for place in places]
    return fields, 0, [named]


def read_metaimage(path: Path) -> StoredVolume:
    """A MetaImage as stored. Raises SourceError if its header is damaged or it holds several values per voxel."""
    fields, start, names = read_header(path)

    def first(*keys: str, default: str) -> str:
        return next((fields[key] for key in keys if key in fields), default)

    def is_true(*keys: str, default: str = "False") -> bool:
        return first(*keys, default=default).lower() in ("true", "1")

    if first("ObjectType", default="Image") != "Image":
        raise SourceError("a MetaIO file of another kind than Image")
    if int(numbers(first("ElementNumberOfChannels", default="1"))[0]) != 1:
        raise SourceError("it has several values per voxel (colours or vectors), not one real number")
    shape = tuple(int(length) for length in numbers(first("DimSize", default="")))
    kind = TYPES.get(first("ElementType", default=""))
    if len(shape) != int(numbers(first("NDims", default=""))[0]) or kind is None:
        raise SourceError("its NDims, DimSize or ElementType is missing or unknown")
    big = is_true("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    text = not is_true("BinaryData", default="True")
    voxels = Voxels(
        [data_beside(path, name) for name in names] or [path],
        start + max(0, int(numbers(first("HeaderSize", default="0"))[0])),
        dtype,
        shape,
        encoding="zlib" if is_true("CompressedData") else "text" if text else "raw",
        from_end=first("HeaderSize", default="0") == "-1",
    )
    directions = first("TransformMatrix", "Orientation", "Rotation", default="")
    axes = np.eye(3)
    if directions:
        given = numbers(directions)
        axes[: min(len(shape), 3), : min(len(shape), 3)] = given.reshape(len(shape), -1)[:3, :3]
    spacing = numbers(first("ElementSpacing", "ElementSize", default="1 " * len(shape)))
    origin = numbers(first("Offset", "Position", "Origin", default="0 0 0"))
    affine = LPS_TO_RAS @ affine_of(axes, spacing, origin)
    return StoredVolume(shape, dtype, affine, voxels.read, oriented=bool(directions))
