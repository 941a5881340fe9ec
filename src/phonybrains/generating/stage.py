"""`phonybrains generate`: a model folder in, an image set of synthetic images out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from ..errors import ImageSetError
from ..imageset import METADATA_NAME, Attribute, ImageSet, Row, read_metadata, write_mask, write_metadata
from ..marks import SyntheticMark
from ..model.compiled import Compiled, installed
from ..model.opening import engine_of, open_fastest
from ..model.painting import paint_missing, painted_row
from ..model.sampling import Engine, Sampling
from ..networks.conditions import Category
from ..progress import progress_bars
from ..record import Record, as_input, draft_folder, is_published, sha256_file
from ..replacing import check_vacant, overwriting
from .config import GenerateConfig, Request, check_names, count, generate_config, open_masks
from .growing import is_smaller, take_over
from .masks import MaskFolder, combinations
from .processes import Share, shared_draft, together, wait_for_all
from .sheet import check_sheet, draw_sheet

if TYPE_CHECKING:
    from ..model.opening import ImageModel
    from ..watermark import Watermark


@dataclass(frozen=True)
class Work:
    """What to make: each image's conditions, by index, and how; and what there is to say against it."""

    model: ImageModel
    name: str
    wanted: Sequence[Mapping[str, Attribute]]
    config: GenerateConfig
    sampling: Sampling
    warnings: Sequence[str] = ()
    masks: MaskFolder | None = None
    asked: Sequence[Mapping[str, Attribute]] = ()
    """Of each image's conditions, those that were not drawn."""
    watermark: Watermark | None = None

    @property
    def drawn(self) -> list[str]:
        """Attributes that some images show without having been asked for them: drawn as often as in training."""
        names = [a.name for a in self.model.conditions.attributes if isinstance(a, Category)]
        if any("prompt" in asked for asked in self.asked):
            return []
        pairs = list(zip(self.wanted, self.asked, strict=True))
        return [n for n in names if any(shown[n] is not None and n not in asked for shown, asked in pairs)]

    def paint(self, draft: Path, share: Share, bar: Progress, mark: SyntheticMark) -> None:
        """Make what is missing of this share; each image appears whole as soon as it is made."""
        paths = {i: draft / file_name(i) for i in share.of(self.config.indices)}
        masks: dict[str, Any] = {"masks": self.masks} if self.masks else {}  # no other kind of model takes masks
        finish = self.watermark.put if self.watermark else None
        paint_missing(self.model, self.wanted, self.sampling, paths, bar, mark=mark, finish=finish, **masks)

    def said(self, record: Record) -> dict[str, Any]:
        """What each image says of itself, beside its index: the run, whatever the shard, and the model."""
        facts = {"record_identity": record.run_identity, "generator": self.name}
        return facts | {"model_sha256": record.inputs[0]["sha256"], "seed": self.sampling.seed}

    def row(self, index: int, draft: Path) -> Row:
        """The metadata of a finished image, beside which its mask is written if it follows one."""
        settings = self.sampling
        made: dict[str, Attribute] = {"generator": self.name, "seed": settings.seed, "index": index}
        made |= {"steps": settings.steps, "guidance": settings.guidance}
        made |= {"classifier_guidance": settings.classifier_guidance} if settings.classifier_guidance else {}
        row = painted_row(draft, file_name(index), self.wanted[index], made, self.model.units)
        if not self.masks:
            return row
        number = index % len(self.masks)
        row = replace(row, attributes={**row.attributes, "mask_source": self.masks.names[number]})
        return write_mask(draft, row, self.masks[number])

    def results(self) -> dict[str, Any]:
        """What a record says was made; of a shard, in how many batches the whole run is computed.

        Masks outline what their folder says, else what those of the training did.
        """
        found: dict[str, Any] = {"images": len(self.config.indices), "warnings": list(self.warnings)}
        found |= {"drawn": self.drawn}
        if self.masks:
            taken = getattr(self.model, "masks", None)
            found |= {"masks": {"outline": self.masks.outline or (taken.outline if taken else "")}}
        if self.config.shard:
            found |= {"batches": len(self.model.batches(len(self.wanted), self.sampling))}
        return found


def generate(
    model: str | Path,
    out: str | Path,
    n: int | None = None,
    *,
    where: Mapping[str, str | float] | None = None,
    mask: str | Path | None = None,
    mask_split: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    classifier_guidance: float = 0.0,
    sampler: str = "",
    precision: str = "auto",
    engine: str = "auto",
    shard: str = "",
    watermark: str | Path | None = None,
    batch_size: int = 16,
    grid: str | Path | None = None,
    show: bool = True,
) -> Path:
    """Generate n images that show what `where` asks for; see `generate_requests`.

    mask: an image set or a folder of pictures whose masks the images follow, by default as many as there are.
    shard: such as "3/8", to make the third of eight parts of them alone; `join` joins these. watermark: a file with the
    key of an invisible watermark, which the images then carry.
    """
    masks, mine = open_masks(mask, mask_split), None
    if watermark:
        from ..watermark import Watermark  # scipy, which nothing else here needs

        mine = Watermark.read(watermark)
    how = {"seed": seed, "steps": steps, "guidance": guidance, "sampler": sampler}
    how |= {"precision": precision, "engine": engine, "shard": shard, "classifier_guidance": classifier_guidance}
    how |= {"watermark": mine.name if mine else ""}
    config = generate_config(count(n, masks), where, **how)
    return generate_requests(
        model, out, config, masks=masks, watermark=mine, batch_size=batch_size, grid=grid, show=show
    )


def generate_requests(
    model: str | Path,
    out: str | Path,
    config: GenerateConfig,
    *,
    masks: MaskFolder | None = None,
    watermark: Watermark | None = None,
    batch_size: int = 16,
    grid: str | Path | None = None,
    show: bool = True,
) -> Path:
    """Write an image set of synthetic images with a model folder of either kind, or with a shipped model by name.

    masks: image i follows mask i, counted around, and shows what the row of that mask says where nothing else is asked
    for. watermark: the one that config.watermark names.

    Writes  out (an image set: synthetic, with generator, seed, index, conditions and masks); grid, a contact sheet
            beside it
    Warns   on standard error and in the record, where few training images or patients, or none, show what is asked for
    Raises  ModelError for a folder that is no sound model, ConfigError for what the model does not know: both before
            anything is written; OutputError if `out` is something else or the disk is full.

    Image i depends on (seed, i) alone, but for the rounding of a gray level or two, which depends on what else is in
    its batch: on n, the batch size and the number of threads, not on shards and processes, which share the batches of
    the whole run. The same call makes only what is missing, with the same bits; with a larger n of the last request it
    keeps the images that are there, and makes those beyond.
    """
    out, share = Path(out), Share.of_this_process()
    if grid is not None:
        check_sheet(Path(grid), out, len(config.indices))
    folder = check_names(model, config, masks)
    opened = open_fastest(folder, engine_for(folder, config, out), config.sampling)
    work = _prepare(opened, folder.resolve().name, config, batch_size, masks)
    if watermark:
        watermark.check(work.model.size)
        work = replace(work, watermark=watermark)
    record = _record(work, folder)
    mark = SyntheticMark(facts=work.said(record))
    for warning in work.warnings if share.rank == 0 else ():
        print(f"WARNING: {warning}", file=sys.stderr)
    smaller = is_smaller(out, record)
    if grid is not None and (smaller or not is_published(out, record)):
        check_vacant(Path(grid))
    with overwriting(out) if smaller else nullcontext(), together(share):
        if share.rank == 0:
            _take_up(out, record, len(config.indices))
        wait_for_all(share)
        if not is_published(out, record):
            begin = partial(take_over, out) if smaller else Path
            with shared_draft(out, record, share, begin) as draft, progress_bars(show and share.rank == 0) as bar:
                work.paint(draft, share, bar, mark)
                wait_for_all(share)
                if share.rank == 0:
                    write_metadata(draft, [work.row(i, draft) for i in config.indices])
                    record.results.update(work.results())
        wait_for_all(share)
    if grid is not None and share.rank == 0:
        draw_sheet(ImageSet.open(out), Path(grid), mark, named=True)
    return out


def engine_for(folder: Path, config: GenerateConfig, out: Path) -> Engine:
    """The engine that is asked for; where that is open, the one that made what is there already. Needs no torch.

    Raises ConfigError where a compiled model is asked for what it cannot do.
    """
    return engine_of(folder, config.engine, config.sampling, out)


def file_name(index: int) -> str:
    """Where the image with this index lies in its set."""
    return f"images/{index:06d}.png"


def _record(work: Work, folder: Path) -> Record:
    """The record of a set, made with the model in a folder."""
    facts, inputs = work.config.recorded(), [as_input(folder)]
    if work.masks:
        facts |= {"mask_split": work.masks.split}
        inputs.append(as_input(work.masks.folder))
    sources = [source for one in inputs for source in one["record"].get("sources") or ()]
    results: dict[str, Any] = {"engine": f"MNN {installed()}"} if isinstance(work.model, Compiled) else {}
    return Record("generate", facts, work.config.seed, inputs, list({str(s): s for s in sources}.values()), results)


def _prepare(
    model: ImageModel, name: str, config: GenerateConfig, batch_size: int, masks: MaskFolder | None = None
) -> Work:
    """Check what is asked for against the model, and settle the conditions of every image."""
    guidance = model.own_guidance if config.guidance is None else config.guidance
    sampling = model.settle(replace(config.sampling, guidance=guidance, batch_size=batch_size))
    requests = [Request(n=r.n, where=model.conditions.check(r.where)) for r in config.requests]
    asked: list[Mapping[str, Attribute]] = [request.where for request in requests for _ in range(request.n)]
    if masks:
        asked = [masks.asked(i, where, model.conditions) for i, where in enumerate(asked)]
    if sampling.classifier_guidance and (classifier := getattr(model, "classifier", None)):
        classifier().places(asked)  # refuses what it does not tell
    wanted = [model.ask([i], where, config.seed)[0] for i, where in enumerate(asked)]
    settled = {name: getattr(sampling, name) for name in ("steps", "sampler", "precision")}
    settled |= {"requests": tuple(requests), "guidance": guidance}
    settled |= {"engine": "compiled" if isinstance(model, Compiled) else "torch"}
    said = [request.where for request in requests] if masks is None else combinations(asked, model.conditions)
    found = dict.fromkeys(doubt for where in said for doubt in model.doubts(where))
    if masks and (taken := getattr(model, "masks", None)):
        found |= dict.fromkeys(masks.doubts(taken, asked))
    return Work(model, name, wanted, config.model_copy(update=settled), sampling, tuple(found), masks, asked)


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
