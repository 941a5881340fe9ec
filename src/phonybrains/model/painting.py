"""Images of a model as rows and files of an image set: what generating and augmenting share. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageSetError
from ..imageset import FIXED_COLUMNS, Attribute, Pixels, Row, read_png, write_png
from ..marks import SyntheticMark, set_mark
from ..record import sha256_file

if TYPE_CHECKING:
    from rich.progress import Progress

    from .opening import ImageModel
    from .sampling import Sampling


def paint_missing(
    model: ImageModel,
    wanted: Sequence[Mapping[str, Attribute]],
    sampling: Sampling,
    paths: Mapping[int, Path],
    bar: Progress,
    what: str = "generating",
    *,
    mark: SyntheticMark,
    finish: Callable[[Any], Pixels] | None = None,
    **masks: Any,
) -> None:
    """Write the images that are not there yet, each whole as soon as it is made; paths: of some, by index in `wanted`.

    The batches are those of the whole run. One of which an image is missing is computed as a whole, so that the bits
    are those of an undisturbed run that makes all. mark: what each says of itself, with its index, also one that was
    there without; finish: what is done to its pixels; masks: as `paint` takes them, of models that do.
    """
    missing = {i for i, path in paths.items() if not is_whole(path, model.size)}
    for index in paths.keys() - missing:
        set_mark(paths[index], mark.of(index=index))
    parts = [range(len(wanted))[part] for part in model.batches(len(wanted), sampling)]
    parts = [part for part in parts if not missing.isdisjoint(part)]
    edges = [0, *accumulate(map(len, parts))]
    indices = [i for part in parts for i in part]
    batches = [slice(*pair) for pair in pairwise(edges)]
    line = bar.add_task(what, total=len(missing), unit="images")
    asked: Any = (indices, [wanted[i] for i in indices], sampling, batches)
    for index, pixels in zip(indices, model.paint(*asked, **masks), strict=True):
        if index in missing:
            write_png(paths[index], finish(pixels) if finish else pixels, mark.of(index=index))
            bar.advance(line)


def is_whole(path: Path, size: int) -> bool:
    """Whether an image is there; one that a power cut left damaged is made again."""
    try:
        return path.is_file() and read_png(path).shape == (size, size)
    except ImageSetError:
        return False


def painted_row(
    folder: Path,
    name: str,
    wanted: Mapping[str, Attribute],
    made: Mapping[str, Attribute],
    units: Mapping[str, tuple[float, float, str]],
) -> Row:
    """The metadata of a finished image.

    name: of its file below the folder; wanted: what it shows; made: how it was made, generator and index among it.
    """
    attributes = dict(made)
    for key, value in wanted.items():
        if key != "modality":
            attributes[f"condition_{key}" if key in FIXED_COLUMNS else key] = value
    modality = str(wanted["modality"] or "")
    slope, intercept, unit = units.get(modality, (1.0, 0.0, "a.u."))
    how: Any = {"synthetic": True, "source": str(made["generator"]), "attributes": attributes}
    return Row(name, sha256_file(folder / name), modality, slope=slope, intercept=intercept, unit=unit, **how)
