"""`phonybrains generate`: a model folder in, an image set of synthetic images out."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from ..errors import ConfigError, ImageSetError
from ..imageset import (
    FIXED_COLUMNS,
    METADATA_NAME,
    Attribute,
    ImageSet,
    Row,
    read_metadata,
    read_png,
    write_metadata,
    write_png,
)
from ..model.compiled import Compiled, installed
from ..model.opening import open_fastest, settle_engine
from ..model.sampling import Engine, Sampling
from ..networks.conditions import Category
from ..progress import progress_bars
from ..record import RECORD_NAME, Record, as_input, draft_folder, is_published, read_record, sha256_file
from ..reporting.sheets import SHEET_SUFFIXES, contact_sheet, most_images
from .config import GenerateConfig, Request, check_names, generate_config
from .processes import Share, shared_draft, together, wait_for_all

if TYPE_CHECKING:
    from ..model.opening import ImageModel


@dataclass(frozen=True)
class Work:
    """What to make: each image's conditions, by index, and how; and what there is to say against it."""

    model: ImageModel
    name: str
    wanted: Sequence[Mapping[str, Attribute]]
    config: GenerateConfig
    sampling: Sampling
    warnings: Sequence[str] = ()

    @property
    def drawn(self) -> list[str]:
        """Attributes that some images show without having been asked for them: drawn as often as in training."""
        names = [a.name for a in self.model.conditions.attributes if isinstance(a, Category)]
        if any("prompt" in request.where for request in self.config.requests):
            return []
        shown = {name for image in self.wanted for name, value in image.items() if value is not None}
        return [n for n in names if n in shown and any(n not in request.where for request in self.config.requests)]

    def paint(self, draft: Path, share: Share, bar: Progress) -> None:
        """Make what is missing of this share; each image appears whole as soon as it is made.

        A batch of which an image is missing is computed as a whole again, so that its bits are those of an undisturbed
        run.
        """
        mine = range(share.rank, len(self.wanted), share.world)
        missing = {i for i in mine if not _is_whole(draft / file_name(i), self.model.size)}
        parts = [mine[part] for part in self.model.batches(len(mine), self.sampling)]
        parts = [part for part in parts if not missing.isdisjoint(part)]
        edges = [0, *accumulate(map(len, parts))]
        indices = [i for part in parts for i in part]
        wanted, batches = [self.wanted[i] for i in indices], [slice(*pair) for pair in pairwise(edges)]
        line = bar.add_task("generating", total=len(missing), unit="images")
        for index, pixels in zip(indices, self.model.paint(indices, wanted, self.sampling, batches), strict=True):
            if index in missing:
                write_png(draft / file_name(index), pixels)
                bar.advance(line)

    def row(self, index: int, draft: Path) -> Row:
        """The metadata of a finished image."""
        wanted, settings = self.wanted[index], self.sampling
        attributes: dict[str, Attribute] = {"generator": self.name, "seed": settings.seed, "index": index}
        attributes |= {"steps": settings.steps, "guidance": settings.guidance}
        for name, value in wanted.items():
            if name != "modality":
                attributes[f"condition_{name}" if name in FIXED_COLUMNS else name] = value
        digest = hashlib.sha256((draft / file_name(index)).read_bytes()).hexdigest()
        modality = str(wanted["modality"] or "")
        slope, intercept, unit = self.model.units.get(modality, (1.0, 0.0, "a.u."))
        made: Any = {"synthetic": True, "source": self.name, "attributes": attributes}
        return Row(file_name(index), digest, modality, slope=slope, intercept=intercept, unit=unit, **made)


def generate(
    model: str | Path,
    out: str | Path,
    n: int,
    *,
    where: Mapping[str, str | float] | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str = "",
    precision: str = "auto",
    engine: str = "auto",
    batch_size: int = 16,
    grid: str | Path | None = None,
    show: bool = True,
) -> Path:
    """Generate n images that show what `where` asks for; see `generate_requests`."""
    how = {"seed": seed, "steps": steps, "guidance": guidance, "sampler": sampler, "precision": precision}
    how |= {"engine": engine}
    config = generate_config(n, where, **how)
    return generate_requests(model, out, config, batch_size=batch_size, grid=grid, show=show)


def generate_requests(
    model: str | Path,
    out: str | Path,
    config: GenerateConfig,
    *,
    batch_size: int = 16,
    grid: str | Path | None = None,
    show: bool = True,
) -> Path:
    """Write an image set of synthetic images with a model folder of either kind, or with a shipped model by name.

    Writes  out (an image set: synthetic, with generator, seed, index and conditions); grid, a contact sheet beside it
    Warns   on standard error and in the record, where few training images or patients, or none, show what is asked for
    Raises  ModelError for a folder that is no sound model, ConfigError for what the model does not know: both before
            anything is written; OutputError if `out` is something else or the disk is full.

    Image i depends on (seed, i) alone, but for the rounding of a gray level or two, which depends on what else is in
    its batch: on the batch size and the number of processes that torchrun starts. The same call makes only what is
    missing, with the same bits.
    """
    out, share = Path(out), Share.of_this_process()
    if grid is not None:
        _check_sheet(Path(grid), out, sum(request.n for request in config.requests))
    folder = check_names(model, config)
    engine = engine_for(folder, config, out)
    work = _prepare(open_fastest(folder, engine, config.sampling), folder.resolve().name, config, batch_size)
    origin = as_input(folder)
    record = Record("generate", work.config.recorded(), config.seed, [origin], origin["record"].get("sources", ()))
    if isinstance(work.model, Compiled):
        record.results["engine"] = f"MNN {installed()}"
    for warning in work.warnings if share.rank == 0 else ():
        print(f"WARNING: {warning}", file=sys.stderr)
    with together(share):
        if share.rank == 0:
            _take_up(out, record, len(work.wanted))
        wait_for_all(share)
        if not is_published(out, record):
            with shared_draft(out, record, share) as draft, progress_bars(show and share.rank == 0) as bar:
                work.paint(draft, share, bar)
                wait_for_all(share)
                if share.rank == 0:
                    write_metadata(draft, [work.row(i, draft) for i in range(len(work.wanted))])
                    record.results.update(images=len(work.wanted), warnings=list(work.warnings), drawn=work.drawn)
        wait_for_all(share)
    if grid is not None and share.rank == 0:
        draw_sheet(ImageSet.open(out), Path(grid))
    return out


def engine_for(folder: Path, config: GenerateConfig, out: Path) -> Engine:
    """The engine that is asked for; where that is open, the one that made what is there already.

    Raises ConfigError where a compiled model is asked for what it cannot do. Needs no torch.
    """
    made = read_record(out).get("config", {}) if config.engine == "auto" and (out / RECORD_NAME).is_file() else None
    engine = config.engine if made is None else made.get("engine", "torch")
    return settle_engine(folder, engine, config.sampling)


def draw_sheet(images: ImageSet, path: Path) -> Path:
    """Draw a contact sheet of an image set; below each image what it shows."""
    labels = [" ".join([row.file_name[-10:-4].lstrip("0") or "0", row.modality, *_shown(row)]) for row in images.rows]
    return contact_sheet([images.pixels(i) for i in range(len(images))], path, labels=labels)


def file_name(index: int) -> str:
    """Where the image with this index lies in its set."""
    return f"images/{index:06d}.png"


def _prepare(model: ImageModel, name: str, config: GenerateConfig, batch_size: int) -> Work:
    """Check what is asked for against the model, and settle the conditions of every image."""
    guidance = model.own_guidance if config.guidance is None else config.guidance
    asked = Sampling(config.seed, config.steps, guidance, config.sampler, batch_size, config.precision)
    sampling = model.settle(asked)
    requests = [Request(n=r.n, where=model.conditions.check(r.where)) for r in config.requests]
    wanted: list[Mapping[str, Attribute]] = []
    for request in requests:
        indices = range(len(wanted), len(wanted) + request.n)
        wanted += model.ask(indices, request.where, config.seed)
    settled = {name: getattr(sampling, name) for name in ("steps", "sampler", "precision")}
    settled |= {"requests": tuple(requests), "guidance": guidance}
    settled |= {"engine": "compiled" if isinstance(model, Compiled) else "torch"}
    found = dict.fromkeys(doubt for request in requests for doubt in model.doubts(request.where))
    return Work(model, name, wanted, config.model_copy(update=settled), sampling, tuple(found))


def _take_up(out: Path, record: Record, n: int) -> None:
    """Make a finished set that lost something a draft again, without what is not as its table says.

    What is left out is then made anew; where the table is lost, nobody can tell which images are whole, and all are.
    """
    if not is_published(out, record):
        return
    try:
        if len(ImageSet.open(out)) == n:
            return
    except ImageSetError as error:
        print(
            f"WARNING: {out} was finished, but is no longer whole: {str(error).partition('. ')[0]}. What is lost is "
            "made anew.",
            file=sys.stderr,
        )
    try:
        table = {row.file_name: row.sha256 for row in read_metadata(out / METADATA_NAME)}
    except ImageSetError:
        table = {}
    for path in (out / "images").glob("*.png"):
        if sha256_file(path) != table.get(f"images/{path.name}"):
            path.unlink()
    draft = draft_folder(out, record)
    shutil.rmtree(draft, ignore_errors=True)
    out.resolve().rename(draft)


def _is_whole(path: Path, size: int) -> bool:
    """Whether an image is there; one that a power cut left damaged is made again."""
    try:
        return path.is_file() and read_png(path).shape == (size, size)
    except ImageSetError:
        return False


def _shown(row: Row) -> list[str]:
    known = ("generator", "seed", "index", "steps", "guidance", "prompt")
    return [str(value) for name, value in row.attributes.items() if name not in known and isinstance(value, str)]


def _check_sheet(grid: Path, out: Path, n: int) -> None:
    """Raise ConfigError for a contact sheet that cannot be drawn: before the images are, not after."""
    if grid.suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{grid}: a contact sheet is a picture: {', '.join(SHEET_SUFFIXES)}.")
    if grid.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{grid} lies inside {out}, which holds the images alone. Put the sheet beside it.")
    if n > (most := most_images(grid)):
        raise ConfigError(
            f"{grid}: a contact sheet of this kind holds up to {most} images, not {n}. "
            "Name another kind of picture (.png holds most), or leave --grid out."
        )
    try:
        grid.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=grid.parent):
            pass
        if grid.exists() and not (grid.is_file() and os.access(grid, os.W_OK)):
            raise PermissionError(errno.EACCES, "it is no file, or must not be written to")
    except OSError as error:
        why = f"the contact sheet cannot be written there ({error.strerror})"
        raise ConfigError(f"{grid}: {why}. Choose another place.") from None
