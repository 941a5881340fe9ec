"""`phonybrains score`: an image set and a model in, the set with the bits per dimension of each image's latents out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.progress import Progress

from ..config import load_config
from ..errors import ConfigError, ModelError
from ..files import write_whole
from ..imageset import ImageSet, check_whole, how_split, to_unit_range, write_metadata
from ..model.description import check_denoises
from ..model.finding import is_fine_tuned, model_folder
from ..model.given import check_size, shown_by, take_over
from ..model.latent_diffusion import LatentDiffusion, image_rng
from ..model.workers import count_workers, even_batches, side_by_side, this_device
from ..networks.conditions import Value
from ..progress import progress_bars
from ..record import Record, as_input, is_published, publish
from .config import ScoreConfig
from .likelihood import bits_per_dim

COLUMN = "bits_per_dim"


@dataclass(frozen=True)
class Scoring:
    """A set that is scored, and by what; wanted: what each row shows."""

    images: ImageSet
    model: LatentDiffusion
    wanted: Sequence[Mapping[str, Value]]
    how: ScoreConfig

    def bits(self, path: Path, batch_size: int, bar: Progress) -> list[float]:
        """The score of each row; what is found is kept in a file as it comes, so that a stopped run goes on."""
        found: dict[str, float] = json.loads(path.read_bytes()) if path.is_file() else {}
        workers, n = count_workers(torch.device(this_device())), len(self.images)
        parts = [range(n)[part] for part in even_batches(n, batch_size, workers)]
        parts = [part for part in parts if any(str(row) not in found for row in part)]
        line = bar.add_task("scoring", total=sum(map(len, parts)), unit="images")
        for part, scores in zip(parts, side_by_side(self._scored, parts, workers), strict=True):
            found |= {str(row): bits for row, bits in zip(part, scores, strict=True)}
            write_whole(path, json.dumps(found).encode())
            bar.advance(line, len(part))
        return [found[str(row)] for row in range(n)]

    def _scored(self, rows: range) -> list[float]:
        pixels = to_unit_range(np.stack([self.images.pixels(row) for row in rows]))[:, None]
        rngs = [image_rng(self.how.seed, row) for row in rows]
        scores = bits_per_dim(self.model, pixels, [self.wanted[row] for row in rows], rngs, self.how)
        for row, bits in zip(rows, scores, strict=True):
            if not math.isfinite(bits):
                raise ModelError(f"{self.images.rows[row].file_name} has no finite density: the model is not sound.")
        return [round(bits, 4) for bits in scores]


def score(
    source: str | Path,
    out: str | Path,
    *,
    model: str | Path = "heads",
    steps: int = 16,
    probes: int = 1,
    seed: int = 0,
    batch_size: int = 8,
    show: bool = True,
) -> Path:
    """Write an image set again, each row with the bits per dimension of its latents under a model.

    model: a model folder, or a shipped one by its name; it is told what each row shows, as far as it knows it.
    steps, probes: see `ScoreConfig`; image i depends on (seed, i), but for rounding by what is in its batch.

    Writes  out: the images and masks as they are, metadata.csv with the column bits_per_dim, record.json, in which
            both inputs are nested
    Raises  ImageSetError, ModelError or ConfigError, naming the row, for what cannot be scored, before anything is made

    The same call goes on where a stopped one was.
    """
    source, out = Path(source), Path(out)
    how = load_config(ScoreConfig, None, steps=steps, probes=probes, seed=seed)
    if is_fine_tuned(model):
        raise ConfigError(f"{model} was fine-tuned from Stable Diffusion; densities are those of models of `train`.")
    images, folder = ImageSet.open(source), model_folder(model)
    check_denoises(folder, "a score")
    if images.bits != 8:
        raise ConfigError(f"{source} has 16-bit images, and scores are of 8. Import them with a window.")
    opened = LatentDiffusion.load(folder, this_device())
    check_size(images, opened.size)
    scoring = Scoring(images, opened, shown_by(images, opened.conditions), how)
    inputs = [as_input(source), as_input(folder)]
    sources = [one for part in inputs for one in part["record"].get("sources") or ()]
    facts = how.model_dump(mode="json", exclude={"seed"})
    record = Record("score", facts, seed, inputs, list({str(one): one for one in sources}.values()))
    if is_published(out, record, check_whole):
        return out
    with publish(out, record, resume=True) as draft, progress_bars(show) as bar:
        kept = draft / "bits.json"
        bits = scoring.bits(kept, batch_size, bar)
        take_over(images, draft)
        pairs = zip(images.rows, bits, strict=True)
        rows = [replace(row, attributes={**row.attributes, COLUMN: value}) for row, value in pairs]
        write_metadata(draft, rows)
        masks = images.record.get("results", {}).get("masks")
        record.results.update(images=len(rows), split=how_split(images), **({"masks": masks} if masks else {}))
        record.results[COLUMN] = medians(ImageSet(draft, tuple(rows), images.height, images.width, images.bits))
        kept.unlink()
    return out


def medians(images: ImageSet) -> dict[str, float]:
    """The median bits per dimension of a scored set, by modality."""
    modalities = sorted({row.modality for row in images.rows})
    return {name: round(median(row[COLUMN] for row in images.where(modality=name).rows), 4) for name in modalities}
