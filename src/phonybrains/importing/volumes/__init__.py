"""Volumes: NIfTI, NRRD, MetaImage, MGH to slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ...errors import SourceError
from ..config import ImportConfig
from ..reader import NO_MASKS, FormatReader, Masks
from ..slices import Notice, Slice
from .content import sidecar_of
from .magic import GZIP, family, unpacked
from .metaimage import read_header


class Volumes(FormatReader):
    """NIfTI, Analyze, MGH, NRRD and MetaImage, with BIDS sidecars; CT-ICH with its tables."""

    kind = "volume"
    formats = "NIfTI, Analyze, MGH, NRRD, MetaImage"
    extensions = (".nii", ".nii.gz", ".hdr", ".mgh", ".mgz", ".nrrd", ".nhdr", ".mha", ".mhd")
    an_image_each = False

    def takes(self, head: bytes) -> bool:
        return bool(family(unpacked(head) if head.startswith(GZIP) else head))

    def read(
        self, root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
    ) -> Iterator[Slice | Notice]:
        from .ct_ich import is_ct_ich, read_ct_ich
        from .reader import read_volumes

        return (read_ct_ich if is_ct_ich(root) else read_volumes)(root, files, config, masks)

    def parts(self, files: Iterable[Path]) -> set[Path]:
        found: set[Path] = set()
        for path in files:
            with suppress(SourceError, OSError, ValueError):
                match path.suffix.lower():
                    case ".hdr":
                        found |= {path.with_suffix(end) for end in (".img", ".IMG", ".mat")}
                    case ".mhd":
                        found |= {path.parent / name for name in read_header(path)[2]}
                    case ".nhdr":
                        from .nrrd import data_file

                        found |= {path.parent / data_file(path)}
        return found

    def sidecars(self, files: Iterable[Path]) -> set[Path]:
        return {sidecar_of(path) for path in files}
