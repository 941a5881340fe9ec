"""`phonybrains generate`: a model folder in, an image set of synthetic images out."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..config import Config, load_config
from ..errors import ConfigError, ImageSetError
from ..imageset import FIXED_COLUMNS, Attribute, ImageSet, Row, read_png, write_metadata, write_png
from ..model.conditions import Value
from ..model.latent_diffusion import Sampling
from ..model.networks import Count
from ..model.painter import Painter, load_painter, own_guidance, painter_folder
from ..model.precision import Precision
from ..record import Record, as_input, is_published
from ..sheets import contact_sheet
from .processes import Share, shared_draft, together, wait_for_all

SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


class Request(Config):
    """So many images that show this: values of attributes the model knows; the rest is drawn as in training."""

    n: Count
    where: dict[str, Value] = {}


class GenerateConfig(Config):
    """What is generated, and how: requests one after the other, and the fields of Sampling that change an image."""

    requests: tuple[Request, ...]
    seed: Annotated[int, Field(ge=0)] = Sampling.seed
    steps: Count | None = Sampling.steps
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Steps and guidance that are None are the model's own."""
    sampler: str = Sampling.sampler
    precision: Precision = "auto"


@dataclass(frozen=True)
class Work:
    """What to make: each image's conditions, by index, and how; and what there is to say against it."""

    model: Painter
    name: str
    wanted: Sequence[Mapping[str, Attribute]]
    config: GenerateConfig
    sampling: Sampling
    warnings: Sequence[str] = ()

    def missing(self, draft: Path, share: Share) -> list[int]:
        """Indices of this share whose images are not there yet."""
        mine = range(share.rank, len(self.wanted), share.world)
        return [i for i in mine if not _is_whole(draft / file_name(i), self.model.size)]

    def paint(self, draft: Path, share: Share, bar: Progress) -> None:
        """Make what is missing of this share; each image appears whole as soon as it is made."""
        indices = self.missing(draft, share)
        line = bar.add_task("generating", total=len(indices))
        for index, pixels in zip(
            indices, self.model.paint(indices, [self.wanted[i] for i in indices], self.sampling), strict=True
        ):
            write_png(draft / file_name(index), pixels)
            bar.advance(line)

    def row(self, index: int, draft: Path) -> Row:
        """The metadata of a finished image."""
        wanted, settings = self.wanted[index], self.sampling
        attributes: dict[str, Attribute] = {
            "generator": self.name, "seed": settings.seed, "index": index, "steps": settings.steps,
            "guidance": settings.guidance,
        }  # fmt: skip
        for name, value in wanted.items():
            if name != "modality":
                attributes[f"condition_{name}" if name in FIXED_COLUMNS else name] = value
        digest = hashlib.sha256((draft / file_name(index)).read_bytes()).hexdigest()
        modality = str(wanted["modality"] or "")
        slope, intercept, unit = self.model.units.get(modality, (1.0, 0.0, "a.u."))
        return Row(file_name(index), digest, modality, synthetic=True, source=self.name, slope=slope,
                   intercept=intercept, unit=unit, attributes=attributes)  # fmt: skip


def generate(
    model: str | Path, out: str | Path, n: int, *, where: Mapping[str, str | float] | None = None, seed: int = 0,
    steps: int | None = None, guidance: float | None = None, sampler: str = "", precision: str = "auto",
    batch_size: int = 16, grid: str | Path | None = None, show: bool = True,
) -> Path:  # fmt: skip
    """Generate n images that show what `where` asks for; see `generate_requests`."""
    config = load_config(
        GenerateConfig, None, requests=[{"n": n, "where": dict(where or {})}], seed=seed, steps=steps,
        guidance=guidance, sampler=sampler, precision=precision,
    )  # fmt: skip
    return generate_requests(model, out, config, batch_size=batch_size, grid=grid, show=show)


def generate_requests(
    model: str | Path, out: str | Path, config: GenerateConfig, *, batch_size: int = 16,
    grid: str | Path | None = None, show: bool = True,
) -> Path:  # fmt: skip
    """Write an image set of synthetic images with a model folder of either kind, or with a shipped model by name.

    Writes  out (an image set: synthetic, with generator, seed, index and conditions); grid, a contact sheet beside it
    Warns   on standard error and in the record, where few training images or patients, or none, show what is asked for
    Raises  ModelError for a folder that is no sound model, ConfigError for what the model does not know: both before
            anything is written; OutputError if `out` is something else or the disk is full.

    Image i depends on (seed, i) alone: neither on the batch size, nor on the number of processes that torchrun starts,
    nor on where a stopped call is taken up again (within one gray level). The same call makes only what is missing.
    """
    out, share = Path(out), Share.of_this_process()
    _check_sheet(grid, out)
    folder = painter_folder(model)
    work = _prepare(load_painter(folder, _device()), folder.resolve().name, config, batch_size)
    origin = as_input(folder)
    record = Record("generate", work.config.model_dump(mode="json"), config.seed, [origin],
                    origin["record"].get("sources", ()))  # fmt: skip
    for warning in work.warnings if share.rank == 0 else ():
        print(f"WARNING: {warning}", file=sys.stderr)
    with together(share):
        if not is_published(out, record):
            with shared_draft(out, record, share) as draft, _progress_bar(show and share.rank == 0) as bar:
                work.paint(draft, share, bar)
                wait_for_all(share)
                if share.rank == 0:
                    write_metadata(draft, [work.row(i, draft) for i in range(len(work.wanted))])
                    record.results.update(images=len(work.wanted), warnings=list(work.warnings))
        wait_for_all(share)
    if grid is not None and share.rank == 0:
        draw_sheet(ImageSet.open(out), Path(grid))
    return out


def draw_sheet(images: ImageSet, path: Path) -> Path:
    """Draw a contact sheet of an image set; below each image what it shows."""
    labels = [" ".join([row.file_name[-10:-4].lstrip("0") or "0", row.modality, *_shown(row)]) for row in images.rows]
    return contact_sheet([images.pixels(i) for i in range(len(images))], path, labels=labels)


def file_name(index: int) -> str:
    """Where the image with this index lies in its set."""
    return f"images/{index:06d}.png"


def _prepare(model: Painter, name: str, config: GenerateConfig, batch_size: int) -> Work:
    """Check what is asked for against the model, and settle the conditions of every image."""
    guidance = own_guidance(model) if config.guidance is None else config.guidance
    asked = Sampling(config.seed, config.steps, guidance, config.sampler, batch_size, config.precision)
    sampling = model.settle(asked)
    requests = [Request(n=r.n, where=model.conditions.check(r.where)) for r in config.requests]
    wanted: list[Mapping[str, Attribute]] = []
    for request in requests:
        indices = range(len(wanted), len(wanted) + request.n)
        wanted += model.ask(indices, request.where, config.seed)
    settled = {"requests": tuple(requests), "steps": sampling.steps, "guidance": guidance, "sampler": sampling.sampler,
               "precision": sampling.precision}  # fmt: skip
    found = dict.fromkeys(doubt for request in requests for doubt in model.doubts(request.where))
    return Work(model, name, wanted, config.model_copy(update=settled), sampling, tuple(found))


def _is_whole(path: Path, size: int) -> bool:
    """Whether an image is there; one that a power cut left damaged is made again."""
    try:
        return path.is_file() and read_png(path).shape == (size, size)
    except ImageSetError:
        return False


def _shown(row: Row) -> list[str]:
    known = ("generator", "seed", "index", "steps", "guidance", "prompt")
    return [str(value) for name, value in row.attributes.items() if name not in known and isinstance(value, str)]


def _check_sheet(grid: str | Path | None, out: Path) -> None:
    if grid is None:
        return
    if Path(grid).suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{grid}: a contact sheet is a picture: {', '.join(SHEET_SUFFIXES)}.")
    if Path(grid).resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{grid} lies inside {out}, which holds the images alone. Put the sheet beside it.")


def _device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"


class Speed(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / max(task.elapsed or 0, 1e-3):.1f} images/s")


def _progress_bar(show: bool) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn(),
                    disable=not show)  # fmt: skip
