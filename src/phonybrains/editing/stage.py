"""`phonybrains edit`: an image set and a model in, an image set of edited images out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from ..errors import ConfigError, ImageSetError
from ..held_out import edited_from
from ..imageset import HOW_MADE, OF_PLACE, ImageSet, Row, check_whole, read_png, write_mask, write_metadata, write_png
from ..marks import EDITED, ENHANCED, MADE, SyntheticMark, mark_in, set_mark
from ..model.description import check_denoises
from ..model.finding import is_fine_tuned, model_folder
from ..model.latent_diffusion import LatentDiffusion, image_rng
from ..model.workers import count_workers, even_batches, side_by_side, this_device
from ..progress import progress_bars
from ..record import Record, as_input, is_published, publish, sha256_file
from ..replacing import check_vacant
from ..wording import count_of
from .config import AddNoise, Edit, Explain
from .grid import MOST, check_grid, draw_grid
from .holes import BOX, box_of, still_outlined
from .jobs import EditBatch, EditJob, job_of
from .prior import Images
from .report import ROWS, check_report, write_report

QUARTER = 4
"""Maps hold quarters of a grey level, up to 63.75."""


@dataclass(frozen=True)
class EditedSet:
    """A set that is being edited, and where its images lie in a draft."""

    source: ImageSet
    how: Edit
    job: EditJob
    generator: str
    said: Mapping[str, Any] = field(default_factory=dict)
    """What each image says of itself, beside its row."""

    def name(self, row: int, draw: int | None = None) -> str:
        """The file of a draw of a row; of the one image that the set has of it, where no draw is named."""
        number = "" if draw is None or self.how.n == 1 else f"-{draw}"
        return f"images/{row:06d}-{self.how.name}{number}.png"

    def draws(self, row: int) -> list[str]:
        """The files of all draws of a row."""
        return [self.name(row, draw) for draw in range(self.how.n)]

    def mark(self, row: int, draw: int | None = None) -> SyntheticMark:
        """What an image says of itself: noise needs no model, and leaves what a synthetic image said of its source."""
        source = self.source.rows[row]
        kind = EDITED if _origin(source)["edit_of_kind"] == "real" else MADE
        if isinstance(self.how, AddNoise):
            before = mark_in((self.source.folder / source.file_name).read_bytes())
            kind = ENHANCED if kind == EDITED else before.source_type if before else MADE
        facts = {**self.said, "edit": self.how.name, "edit_of_sha256": source.sha256, "index": row}
        return SyntheticMark(kind, facts if draw is None else {**facts, "draw": draw})

    def paint(self, draft: Path, batch_size: int, bar: Progress) -> None:
        """Make what is missing; each image appears whole. A batch of which one is missing is made again as a whole."""
        pairs = list(product(range(len(self.source)), range(self.how.n)))
        done = {pair: self._is_done(draft, *pair) for pair in pairs}
        workers = count_workers(torch.device(this_device()))
        parts = [pairs[part] for part in even_batches(len(pairs), batch_size, workers)]
        parts = [part for part in parts if not all(done[pair] for pair in part)]
        line = bar.add_task(self.how.name, total=sum(not each for each in done.values()), unit="images")
        for part, (images, maps) in zip(parts, side_by_side(self._painted, parts, workers), strict=True):
            for i, pair in enumerate(part):
                if not done[pair]:
                    if maps is not None:
                        write_png(_beside(draft, "maps", self.name(*pair)), quarters(maps[i]), self.mark(*pair))
                    write_png(draft / self.name(*pair), images[i], self.mark(*pair))
                    bar.advance(line)

    def _painted(self, part: Sequence[tuple[int, int]]) -> tuple[Images, NDArray[np.float32] | None]:
        rows = [row for row, _ in part]
        images = np.stack([self.job.given(row) for row in rows])
        rngs = [image_rng(self.how.seed, row, draw) for row, draw in part]
        with torch.inference_mode():
            return self.job.paint(EditBatch(rows, images, [self.job.wanted[row] for row in rows], rngs))

    def _is_done(self, draft: Path, row: int, draw: int) -> bool:
        return any(_is_whole(draft / name) for name in {self.name(row, draw), self.name(row)})

    def finish(self, draft: Path) -> list[Row]:
        """The spread of each row's draws, their mean where it is asked for, the truth where it is known; the table."""
        rows: list[Row] = []
        for row in range(len(self.source)):
            if self.how.n > 1 and not _is_whole(draft / self.name(row)):
                self._gather(draft, row)
            if self.job.truth and self.how.simulate:
                write_png(_beside(draft, "truth", self.name(row)), self.job.truth(row))
            one = self.how.mean or self.how.n == 1
            names = [self.name(row)] if one else self.draws(row)
            for draw, name in enumerate(names):
                set_mark(draft / name, self.mark(row, None if self.how.mean else draw))
            rows += [self.row(draft, row, draw, name) for draw, name in enumerate(names)]
        return rows

    def _gather(self, draft: Path, row: int) -> None:
        stack = np.stack([read_png(draft / name) for name in self.draws(row)]).astype(np.float32)
        write_png(_beside(draft, "spread", self.name(row)), quarters(stack.std(axis=0, ddof=1)), self.mark(row))
        if isinstance(self.how, Explain):
            maps = [_beside(draft, "maps", name) for name in self.draws(row)]
            mean = np.mean([read_png(path) for path in maps], axis=0) / QUARTER
            write_png(_beside(draft, "maps", self.name(row)), quarters(mean), self.mark(row))
            for path in maps:
                path.unlink()
        if self.how.mean:
            write_png(draft / self.name(row), self.job.settle(stack.mean(axis=0), row), self.mark(row))
            for name in self.draws(row):
                (draft / name).unlink()

    def line(self, out: Path, row: int) -> dict[str, Images]:
        """What there is to see of a row: before, after, map and spread, truth; what lay in a hole is no truth, as
        something else may have been asked for."""
        after = read_png(out / (self.name(row) if self.how.mean else self.name(row, 0)))
        before = (self.job.before or self.job.given)(row)
        seen = {"before": before, f"{self.how.name}, not measured": np.asarray(after, np.uint8)}
        for folder, label in (("maps", "changed"), ("spread", "spread")):
            if (beside := out / folder / Path(self.name(row)).name).is_file():
                seen[label] = np.asarray(read_png(beside), np.uint8)
        known = "truth" if self.how.simulate else "as it was"
        return seen | ({known: self.job.truth(row)} if self.job.truth else {})

    def row(self, draft: Path, number: int, draw: int, name: str) -> Row:
        """The table's row of one edited image: its source's, marked as synthetic, and how it came to be."""
        source, told = self.source.rows[number], self.job.wanted[number]
        shows = self.job.shows[number] if self.job.shows else told
        modality = str(shows["modality"])
        same = modality == source.modality
        kept = {*source.attributes} - {*HOW_MADE} | {*OF_PLACE}
        attributes = {key: value for key, value in source.attributes.items() if key in kept}
        changed = {key: value for key, value in shows.items() if value != told[key] and key != "modality"}
        if not self._keeps_box(number) and not changed.keys() & {*BOX}:
            attributes |= dict.fromkeys(name for name in BOX if name in attributes)
        attributes |= changed
        attributes |= {"edit": self.how.name, "edit_of": source.file_name, **_origin(source)}
        attributes |= {"generator": self.generator, "seed": float(self.how.seed), "index": float(number)}
        attributes["edit_draw"] = "mean" if self.how.mean and self.how.n > 1 else float(draw)
        attributes |= self.job.columns(number)
        units: Any = {"slope": source.slope, "intercept": source.intercept, "unit": source.unit} if same else {}
        who: Any = {"patient_id": source.patient_id, "split": source.split, "synthetic": True}
        digest = sha256_file(draft / name)
        row = Row(name, digest, modality, source=source.source, attributes=attributes, **who, **units)
        mask = self._mask(number)
        if mask is None:
            return row
        larger = read_png(draft / name).shape[0] // mask.shape[0]
        return write_mask(draft, row, mask.repeat(larger, axis=0).repeat(larger, axis=1))

    def _mask(self, row: int) -> NDArray[np.bool_] | None:
        """The mask of a row's source, where it is true of the edited image."""
        mask = self.source.mask(row)
        return still_outlined(mask, self.job.redrawn(row)) if self.job.redrawn else mask

    def _keeps_box(self, row: int) -> bool:
        box = box_of(self.source, row)
        return box is None or not self.job.redrawn or still_outlined(box, self.job.redrawn(row)) is not None

    def notes(self) -> list[str]:
        """What there is to say of this edit, and of how many images the masks are lost."""
        masked = [i for i, row in enumerate(self.source.rows) if row.mask_file_name]
        lost = sum(self._mask(i) is None for i in masked) if self.job.redrawn else 0
        said = f"Of {count_of(len(masked), 'mask')}, {lost} outlined what is drawn anew: those images have none now."
        return [*self.job.notes, *([said] if lost else [])]


def edit(
    source: str | Path,
    out: str | Path,
    how: Edit,
    *,
    model: str | Path = "heads",
    like: str | Path | None = None,
    batch_size: int = 8,
    grid: str | Path | None = None,
    report: str | Path | None = None,
    show: bool = True,
) -> Path:
    """Write an image set of edited images of a set; image (row, draw) depends on (seed, row, draw) alone.

    model: a model folder, or a shipped one by its name. like: for `noise`, the set whose noise is to be had.

    Writes  out/images, metadata.csv (the rows of the source, marked as synthetic and as edits), spread/ with the
            deviation over the draws, maps/ of an explanation, both in quarters of a grey level, truth/ where it is
            known; record.json, in which both inputs are nested; grid, a picture of before, after, spread and truth;
            report, a page (.html, .pdf) of these with what was not measured
    Raises  ImageSetError, ModelError or ConfigError, naming the row, for what cannot be edited, before anything is made

    The same call makes only what is missing, with the same bits.
    """
    source, out = Path(source), Path(out)
    images = ImageSet.open(source)
    needs_model = not isinstance(how, AddNoise)
    folder = model_folder(model) if needs_model else None
    if folder and is_fine_tuned(folder):
        raise ConfigError(f"{folder.name} was fine-tuned from Stable Diffusion; edits are made by models of `train`.")
    if folder:
        check_denoises(folder, "an edit")
    for named, check in ((grid, check_grid), (report, check_report)):
        if named is not None:
            check(Path(named), out)
    opened = LatentDiffusion.load(folder, this_device()) if folder else None
    other = ImageSet.open(like) if like is not None else None
    edits = EditedSet(images, how, job_of(images, how, opened, other), folder.resolve().name if folder else "noise")
    record = _record(how, list(filter(None, (source, folder, Path(like) if like else None))))
    said = {"record_identity": record.identity, "generator": edits.generator, "seed": how.seed}
    edits = replace(edits, said=said | ({"model_sha256": record.inputs[1]["sha256"]} if folder else {}))
    notes = edits.notes()
    for note in notes:
        print(f"WARNING: {note}", file=sys.stderr)
    if not is_published(out, record, check_whole):
        for picture in filter(None, (grid, report)):
            check_vacant(Path(picture))
        with publish(out, record, resume=True) as draft, progress_bars(show) as bar:
            (draft / "images").mkdir(exist_ok=True)
            edits.paint(draft, batch_size, bar)
            rows = edits.finish(draft)
            write_metadata(draft, rows)
            outlined = {"masks": {"outline": images.outline}} if any(row.mask_file_name for row in rows) else {}
            record.results.update(images=len(rows), note=how.invented, warnings=notes, **outlined)
            record.results.update(_scores(edits, draft, rows))
    if grid is not None:
        draw_grid([edits.line(out, row) for row in range(min(MOST, len(images)))], Path(grid))
    if report is not None:
        write_report(Path(report), out, how, [edits.line(out, row) for row in range(min(ROWS, len(images)))])
    return out


def _record(how: Edit, read: Sequence[Path]) -> Record:
    """The record of an edit; read: the source, then the model and the set whose noise is wanted, where there are."""
    inputs = [as_input(folder) for folder in read]
    sources = [one for part in inputs for one in part["record"].get("sources") or ()]
    unsaid = {"seed", *(["by"] if getattr(how, "by", "") == "noise" else [])}  # nothing else there was before
    config = {"edit": how.name, **how.model_dump(mode="json", exclude=unsaid)}
    return Record("edit", config, how.seed, inputs, list({str(one): one for one in sources}.values()))


def _scores(edits: EditedSet, draft: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Where the truth is known: the mean PSNR of the edited images, in dB."""
    if not (edits.how.simulate and edits.job.truth):
        return {}
    truths = [edits.job.truth(int(float(str(row["index"])))) for row in rows]
    errors = [(read_png(draft / row.file_name).astype(float) - t) ** 2 for row, t in zip(rows, truths, strict=True)]
    return {"psnr_db": float(np.mean([10 * np.log10(255**2 / max(e.mean(), 1e-3)) for e in errors]))}


def _origin(source: Row) -> dict[str, str]:
    """What an edit comes from: the SHA-256 of its source, and of what that was edited from; whether that is real."""
    kind = source["edit_of_kind"] or ("synthetic" if source.synthetic else "real")
    return {"edit_of_sha256": ";".join([source.sha256, *edited_from(source)]), "edit_of_kind": str(kind)}


def quarters(grey: NDArray[Any]) -> Images:
    """Grey levels 0…63.75 as quarters of one, uint8."""
    return np.clip(np.rint(grey * QUARTER), 0, 255).astype(np.uint8)


def _beside(draft: Path, folder: str, name: str) -> Path:
    """The file of an image's name in a folder beside `images`."""
    path = draft / folder / Path(name).name
    path.parent.mkdir(exist_ok=True)
    return path


def _is_whole(path: Path) -> bool:
    try:
        return path.is_file() and bool(read_png(path).size)
    except ImageSetError:
        return False
