"""`phonybrains augment`: a corpus and a model in, the corpus with synthetic training images of what is rare out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import load_config
from ..imageset import Attribute, ImageSet, Row, check_whole, how_split, write_metadata
from ..marks import SyntheticMark
from ..model.compiled import Compiled
from ..model.given import take_over
from ..model.opening import engine_of, open_fastest
from ..model.painting import paint_missing, painted_row
from ..model.sampling import Sampling
from ..networks.conditions import Value
from ..progress import progress_bars
from ..record import Record, as_input, is_published, publish
from ..replacing import check_vacant
from ..reporting.sheets import contact_sheet
from ..startup import say
from .config import AugmentConfig
from .grid import check_grid
from .plan import AUGMENT, Combination, check_augment, given, plan_in_words, plan_of

if TYPE_CHECKING:
    from ..model.opening import ImageModel

SHOWN = 60
"""Synthetic images on a contact sheet, evenly out of all."""


@dataclass(frozen=True)
class Additions:
    """The images that a corpus gets: what each shows, by index, and how it is made; and what there is to say of it."""

    corpus: ImageSet
    model: ImageModel
    generator: str
    sampling: Sampling
    wanted: Sequence[Mapping[str, Value]]
    warnings: Sequence[str]

    @classmethod
    def of(
        cls, corpus: ImageSet, model: ImageModel, generator: str, sampling: Sampling, groups: Sequence[Combination]
    ) -> Additions:
        """Settle what every image shows: what its group does, nothing where that has nothing, the rest drawn."""
        wanted: list[Mapping[str, Value]] = []
        for group in groups:
            for _ in range(group.more):
                drawn = model.ask([len(wanted)], given(group.shows), sampling.seed)[0]
                wanted.append({**drawn, **{name: None for name, value in group.shows.items() if value is None}})
        asked = [given(group.shows) for group in groups if group.more]
        warnings = dict.fromkeys(doubt for where in asked for doubt in model.doubts(where))
        return cls(corpus, model, generator, sampling, wanted, tuple(warnings))

    def paint(self, draft: Path, mark: SyntheticMark, show: bool) -> None:
        """Make what is missing."""
        paths = {index: draft / drawn_name(index) for index in range(len(self.wanted))}
        with progress_bars(show) as bar:
            paint_missing(self.model, self.wanted, self.sampling, paths, bar, AUGMENT, mark=mark)

    def rows(self, draft: Path) -> list[Row]:
        """The table's rows of the synthetic images: of no patient, and for training alone."""
        settings, rows = self.sampling, []
        for index, wanted in enumerate(self.wanted):
            made: dict[str, Attribute] = {"generator": self.generator, "seed": settings.seed, "index": index}
            made |= {"steps": settings.steps, "guidance": settings.guidance, "edit": AUGMENT}
            row = painted_row(draft, drawn_name(index), wanted, made, self.model.units)
            rows.append(replace(row, split="train"))
        return rows


def augment(
    corpus: str | Path,
    out: str | Path,
    *,
    model: str | Path = "heads",
    balance: str | Sequence[str] | None = None,
    factor: float | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int = 16,
    grid: str | Path | None = None,
    show: bool = True,
) -> Path:
    """Write an image set of a corpus as it is, and of synthetic images of what is rare in its split train.

    balance: attributes of which every combination of values is filled up to the most frequent one of its modality;
    factor: to so many times as many images as it has, at most; alone: all combinations are made so many times as large.

    Writes  out/images, metadata.csv (the rows of the corpus, then synthetic ones of the split train and of no patient),
            record.json, in which corpus and model are nested; grid, a contact sheet of synthetic images
    Returns out; corpus, and nothing is written, where there is nothing to fill up
    Warns   of values that are left as they are, as the model does not know them or has withdrawn them, and of those
            that few patients stand behind
    Raises  ImageSetError, ModelError or ConfigError for what cannot be filled up, before anything is made

    Image i of those that are added depends on (seed, i) alone, but for the rounding of a grey level or two by what is
    in its batch. The same call makes only what is missing, with the same bits.
    """
    corpus, out = Path(corpus), Path(out)
    names = (balance,) if isinstance(balance, str) else tuple(balance or ())
    how: dict[str, Any] = {"balance": names, "factor": factor, "seed": seed, "steps": steps, "guidance": guidance}
    config = load_config(AugmentConfig, None, **how)
    images = ImageSet.open(corpus)
    folder = check_augment(images, model, out)
    if grid is not None:
        check_grid(Path(grid), out)
    groups = plan_of(images, folder, config)
    for line in plan_in_words(groups) if show else ():
        say(line)
    if not any(group.more for group in groups):
        return corpus
    additions = _additions(images, folder, config, groups, batch_size, out)
    for warning in additions.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    record = _record(additions, folder, config)
    said = {"record_identity": record.identity, "generator": additions.generator, "seed": config.seed}
    mark = SyntheticMark(facts={**said, "model_sha256": record.inputs[1]["sha256"]})
    if not is_published(out, record, check_whole):
        _ = grid is None or check_vacant(Path(grid))
        with publish(out, record, resume=True) as draft:
            take_over(images, draft)
            additions.paint(draft, mark, show)
            rows = additions.rows(draft)
            write_metadata(draft, [*images.rows, *rows])
            record.results.update(_results(additions, groups))
    if grid is not None:
        _draw(ImageSet.open(out), Path(grid), mark)
    return out


def drawn_name(index: int) -> str:
    """Where the synthetic image with this index lies in the set."""
    return f"images/{AUGMENT}-{index:06d}.png"


def _additions(
    images: ImageSet, folder: Path, config: AugmentConfig, groups: Sequence[Combination], batch_size: int, out: Path
) -> Additions:
    """Open the model, and settle how it draws."""
    asked = Sampling(config.seed, config.steps, batch_size=batch_size)
    opened = open_fastest(folder, engine_of(folder, "auto", asked, out), asked)
    guidance = opened.own_guidance if config.guidance is None else config.guidance
    sampling = opened.settle(replace(asked, guidance=guidance))
    return Additions.of(images, opened, folder.resolve().name, sampling, groups)


def _record(additions: Additions, folder: Path, config: AugmentConfig) -> Record:
    settings = additions.sampling
    facts = {**config.model_dump(mode="json", exclude={"seed"}), "steps": settings.steps}
    facts |= {"guidance": settings.guidance, "sampler": settings.sampler, "precision": settings.precision}
    facts |= {"engine": "compiled" if isinstance(additions.model, Compiled) else "torch"}
    inputs = [as_input(additions.corpus.folder), as_input(folder)]
    sources = [source for one in inputs for source in one["record"].get("sources") or ()]
    return Record(AUGMENT, facts, config.seed, inputs, list({str(one): one for one in sources}.values()))


def _results(additions: Additions, groups: Sequence[Combination]) -> dict[str, Any]:
    """What the record says was found and made; how the corpus was split, and what its masks outline, still holds."""
    corpus, made = additions.corpus, len(additions.wanted)
    masks = corpus.record.get("results", {}).get("masks")
    filled = [{**group.shows, "images": group.images, "added": group.more} for group in groups if group.more]
    left = [{**group.shows, "images": group.images, "why": group.why} for group in groups if group.why]
    found: dict[str, Any] = {"images": len(corpus) + made, "synthetic": made, "filled": filled, "left": left}
    return (
        found | {"warnings": list(additions.warnings), "split": how_split(corpus)} | ({"masks": masks} if masks else {})
    )


def _draw(images: ImageSet, path: Path, mark: SyntheticMark) -> None:
    """A contact sheet of synthetic images, and what each shows."""
    drawn = [i for i, row in enumerate(images.rows) if row["edit"] == AUGMENT]
    chosen = [drawn[i] for i in np.unique(np.linspace(0, len(drawn) - 1, SHOWN).astype(int))]
    labels = [" ".join([images.rows[i].modality, *_shown(images.rows[i])]) for i in chosen]
    contact_sheet([images.pixels(i) for i in chosen], path, labels=labels, mark=mark, named=True)


def _shown(row: Row) -> list[str]:
    made = ("generator", "edit")
    return [value for name, value in row.attributes.items() if name not in made and isinstance(value, str)]
