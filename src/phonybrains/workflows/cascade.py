"""`phonybrains audit cascade`: what becomes of images when each model learns from the images of the one before."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..evaluation.findings import write_json
from ..evaluation.inputs.real import modalities_of
from ..evaluation.measures import measure_of
from ..evaluation.score import Score
from ..generating.stage import generate
from ..held_out import held_out
from ..imageset import FIXED_COLUMNS, HOW_MADE, ImageSet, write_metadata
from ..record import Record, as_input, check_files, hashes_of, is_published, publish
from ..training.config import load_train_config
from ..training.stage import train
from ..wording import count_of
from .drift import Yardstick

COLUMNS = ("generation", "modality", "name", "group", "value", "low", "high", "n", "note")
NOT_SHOWN = (*HOW_MADE, "source_index", "slice")
MOST_LABELS = 12


def cascade(
    corpus: str | Path,
    out: str | Path,
    generations: int = 5,
    preset: str = "tiny",
    *,
    seed: int = 0,
    conditions: Sequence[str] | None = None,
    steps: int = 8,
    show: bool = True,
    **settings: Any,
) -> Path:
    """Train a model on a corpus, the next on its images, and so on, and measure how the images drift.

    conditions: attributes the models are told (by default all that have labels); steps: of sampling; settings: fields
    of TrainConfig over the preset. Each generation has as many training and validation images as the corpus.
    Writes  out/{drift.csv, drift.png, drift.json}; out/generation-N/samples (image sets); record.json
    Raises  ConfigError, TrainingError or ImageSetError before the first step where the corpus does not do; OutputError
            if `out` is something else. The same call goes on where a stopped one was.
    """
    corpus, out = Path(corpus), Path(out)
    if generations < 1:
        raise ConfigError(f"generations is {generations}: at least one is needed.")
    images = ImageSet.open(corpus)
    told = tuple(conditions) if conditions is not None else _with_labels(images)
    config = load_train_config(preset, seed=seed, conditions=told, **settings)
    config = _with(config, few_step=_with(config.few_step, loop=_with(config.few_step.loop, steps=0)))
    steps = 1 if config.diffusion == "gan" else steps
    facts = {"generations": generations, "steps": steps} | config.model_dump(mode="json", exclude={"features", "start"})
    record = Record("cascade", facts, seed, [as_input(corpus)], images.record.get("sources", ()))
    if not is_published(out, record, _check_whole):
        with publish(out, record, resume=True) as draft:
            taught = corpus
            folders = [draft / f"generation-{number}" for number in range(1, generations + 1)]
            for number, folder in enumerate(folders):
                if show:
                    print(f"generation {number + 1} of {generations}")
                mine = _with(config, seed=(seed + number) % 2**32)
                if number > 0:  # what a model was not told of, for it is of too few patients, its images do not have
                    left = (n for n in told if any(row[n] not in (None, "") for row in ImageSet.open(taught).rows))
                    mine = _with(mine, conditions=_with(config.conditions, attributes=tuple(left)))
                _next_generation(taught, images, folder, mine, steps, show)
                taught = _as_corpus(folder / "samples", images, folder / "corpus")
            _measure(draft, images, told, folders, seed)
            for folder in folders:
                for part in ("model", "corpus"):
                    shutil.rmtree(folder / part, ignore_errors=True)
            record.results.update(files=hashes_of(draft))
    if show:
        print(f"{out / 'drift.png'}, {out / 'drift.csv'}: how images drift over {count_of(generations, 'generation')}")
    return out


def _with(config: Any, **changes: Any) -> Any:
    """A configuration with other values for some of its fields."""
    return config.model_copy(update=changes)


def _check_whole(out: Path) -> None:
    """Raise a PhonyBrainsError where a finished cascade has lost a table, a figure or an image."""
    check_files(out)
    for samples in out.glob("generation-*/samples"):
        ImageSet.open(samples)


def _with_labels(images: ImageSet) -> tuple[str, ...]:
    """The attributes whose values are words, few and not all the same."""
    names = dict.fromkeys(name for row in images.rows for name in row.attributes if name not in NOT_SHOWN)
    found = {name: {row[name] for row in images.rows if row.split == "train"} - {None, ""} for name in names}
    return tuple(
        name
        for name, values in found.items()
        if 1 < len(values) <= MOST_LABELS and all(isinstance(value, str) for value in values)
    )


def _next_generation(taught: Path, corpus: ImageSet, folder: Path, config: Any, steps: int, show: bool) -> None:
    """Train on a corpus and generate as many images as the first corpus has for training and validation."""
    model, samples = folder / "model", folder / "samples"
    if not (samples / "metadata.csv").is_file():
        n = sum(row.split in ("train", "validation") for row in corpus.rows)
        train(taught, model, config, show=show)
        generate(model, samples, n, seed=config.seed, steps=steps, precision="fp32", show=show)


def _as_corpus(samples: Path, corpus: ImageSet, out: Path) -> Path:
    """Generated images as the next corpus: a part of them validates, as many as in the first corpus."""
    made = ImageSet.open(samples)
    validating = sum(row.split == "validation" for row in corpus.rows)
    chosen = set(np.linspace(0, len(made) - 1, validating).round().astype(int).tolist()) if validating else set()
    record = Record("cascade corpus", {"validation": validating}, inputs=[as_input(samples)])
    if not is_published(out, record):
        with publish(out, record) as draft:
            for folder in filter(Path.is_dir, (samples / "images", samples / "masks")):
                shutil.copytree(folder, draft / folder.name)
            shown = [{k: v for k, v in row.attributes.items() if k not in NOT_SHOWN} for row in made.rows]
            splits = ["validation" if i in chosen else "train" for i in range(len(made))]
            rows = zip(made.rows, splits, shown, strict=True)
            write_metadata(draft, [replace(row, split=split, attributes=told) for row, split, told in rows])
    return out


def _measure(draft: Path, images: ImageSet, told: Sequence[str], folders: Sequence[Path], seed: int) -> None:
    """Measure real held-out images as generation 0, and each generation; write table, plot and scores."""
    yardstick = Yardstick.of(images, [name for name in told if name not in FIXED_COLUMNS], seed)
    real = replace(images, rows=tuple(images.rows[i] for i in held_out(images.rows)) or images.rows)
    found = dict(enumerate(map(yardstick.scores, (real, *(ImageSet.open(folder / "samples") for folder in folders)))))
    with (draft / "drift.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, scores in found.items():
            writer.writerows([number, *(_cell(getattr(score, name)) for name in COLUMNS[1:])] for score in scores)
    write_json(draft / "drift.json", {number: [s.to_json() for s in scores] for number, scores in found.items()})
    draw_drift(found, draft / "drift.png", [modality for modality, _ in modalities_of(images)])


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


PANELS = {
    "share found (dashed: asked for)": ("share_found", "share_asked"),
    "KID from training images": ("kid",),
    "diversity (real: 1)": ("diversity",),
    "MS-SSIM of pairs (1: all alike)": ("ms_ssim_diversity",),
    "noise": ("noise_background", "noise_tissue", "spread_tissue"),
}
"""What is plotted, from the top down, and the scores that it shows."""
Series = dict[tuple[str, str], list[tuple[int, Score]]]


def draw_drift(found: Mapping[int, Sequence[Score]], path: Path, modalities: Sequence[str]) -> Path:
    """Plot each measure over the generations, a column for each modality; generation 0 is real held-out images."""
    from ..reporting.drawing import WIDTH, draw

    rows = [[_series(found, modality, names) for modality in modalities] for names in PANELS.values()]
    heights = [1.5 + 0.19 * max(len(_labels(series)) for series in row) for row in rows]

    def paint(grid: Any) -> None:
        for line, row, title in zip(grid, rows, PANELS, strict=True):
            for axes, series, modality in zip(line, row, modalities, strict=True):
                _plot(axes, series)
                axes.set_title(f"{modality}: {title}", fontsize=9)
                axes.set_yscale("symlog" if title.startswith("KID") else "linear")
        grid[0][0].figure.supxlabel("generation (0: real)", fontsize=9)

    grid = {"nrows": len(PANELS), "ncols": len(modalities), "squeeze": False, "height_ratios": heights}
    path.write_bytes(draw("drift", "", sum(heights), paint, width=min(WIDTH, 0.3 + 3.6 * len(modalities)), **grid).png)
    return path


def _series(found: Mapping[int, Sequence[Score]], modality: str, names: Sequence[str]) -> Series:
    """The points of each line by label and by the score's name: (generation, score)."""
    series: Series = {}
    for name, (number, scores) in product(names, found.items()):
        for score in scores:
            if (score.name, score.modality) == (name, modality) and score.value is not None:
                label = score.group.replace("=", " = ", 1) or measure_of(name).title
                series.setdefault((label, name), []).append((number, score))
    return series


def _labels(series: Series) -> list[str]:
    """What the legend names: nothing where there is one line alone."""
    labels = list(dict.fromkeys(label for label, _ in series))
    return labels if len(labels) > 1 else []


def _plot(axes: Any, series: Series) -> None:
    from matplotlib.ticker import MaxNLocator

    from ..reporting.drawing import COLOURS, MARKERS, colour_of

    labels = list(dict.fromkeys(label for label, _ in series))
    for (label, name), points in series.items():
        asked, place = name == "share_asked", labels.index(label)
        colour, marker = colour_of(place), MARKERS[place // len(COLOURS) % len(MARKERS)]
        x = [number for number, _ in points]
        y, low, high = np.array([[s.value, s.low, s.high] for _, s in points], float).T  # none becomes nan
        style = {"ls": "--", "marker": ""} if asked else {"marker": marker, "ms": 3, "label": label}
        axes.plot(x, y, color=colour, lw=1.2, **style)
        if not asked:
            axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if _labels(series):
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16), borderaxespad=0)
