"""`phonybrains predict`: an attribute of images learnt from a corpus, and predicted for an image set."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from ..config import load_config
from ..errors import ConfigError
from ..files import write_whole
from ..imageset import ImageSet
from ..optimising.cache import keep, take
from ..optimising.processes import settled
from ..optimising.run import Run, running
from ..progress import progress_bars
from ..record import Record, as_input, check_files, is_published, publish, sha256_file, sha256_of_setting
from ..spreadsheet import cell_of, plain_name, sheet_text
from .answers import columns, figures
from .certainty import Array, best_temperature
from .config import Drawing, PredictConfig
from .labels import codes, label_of, rows_of, shared_out, subject_of, targets
from .predictor import Predictor

TABLE, SHARD = "predictions.csv", 64


def predict_train(
    corpus: str | Path, out: str | Path, config: PredictConfig | None = None, *, show: bool = True, **settings: Any
) -> Path:
    """Learn an attribute of the images of a corpus, with how sure each answer is, and write the model's folder.

    `settings`: fields of PredictConfig, of which `attribute` is needed. Learns from the split train, chooses weights by
    validation, and reports on test, people kept whole; the same call goes on where it stopped.
    Raises ImageSetError, ConfigError or ModelError before the first step where the attribute cannot be learnt.
    """
    corpus, out, config = Path(corpus), Path(out), config or load_config(PredictConfig, **settings)
    images = ImageSet.open(corpus)
    facts = config.model_dump(mode="json") | settled(config.precision)
    facts["features"] = sha256_of_setting("features", config.features)
    model = Predictor.new(subject_of(images, config.attribute, bool(config.features)), config.features, config.seed)
    record = Record("predict-train", facts, config.seed, [as_input(corpus)], images.record.get("sources", ()))
    if not is_published(out, record, check_files):
        with running(config, out, record, config.seed, show) as run:
            record.results.update(_learnt(model, images, config, run))
            model.save(run.draft)
            record.results["files"] = {path.name: sha256_file(path) for path in run.draft.glob("*.*")}
    shutil.rmtree(out / "work", ignore_errors=True)
    return out


def _learnt(model: Predictor, images: ImageSet, config: PredictConfig, run: Run) -> dict[str, Any]:
    """Train a predictor, and say how good it is on images kept apart."""
    rows = {name: rows_of(images, config.attribute, name) for name in ("train", "validation", "test")}
    rows |= shared_out(images, rows["train"])
    truth = {name: _truth(model, images, some) for name, some in rows.items()}
    x = {
        name: model.inputs(replace(images, rows=[images.rows[i] for i in some])) for name, some in rows.items() if some
    }
    train, around, held = ((x[name], targets(truth[name], model.subject)) for name in ("train", "around", "validation"))
    loops = config.base, config.diffusion
    model.learn(train, around, held, *loops, lambda task, loop: run.follow(task, loop, lambda _: {}))
    if model.subject.labels:
        draws = _drawn(model, x["validation"], rows["validation"], config, run.work, run.bars)
        model.subject = model.subject.model_copy(update={"temperature": best_temperature(draws, truth["validation"])})
    found: dict[str, Any] = {f"{name} images": len(some) for name, some in rows.items()}
    if rows["test"]:
        draws = _drawn(model, x["test"], rows["test"], config, run.work, run.bars)
        found["test"] = figures(model.subject, _columns(model, x["test"], draws, config), draws, truth["test"])
    return found


def predict_apply(
    images: str | Path, model: str | Path, out: str | Path, *, attribute: str = "", show: bool = True, **settings: Any
) -> Path:
    """Predict an attribute of each image of a set: predictions.csv, and figures in record.json where it is known.

    attribute: checked against what the model has learnt. `settings`: fields of Drawing; answer i to row r depends on
    (seed, r, i) alone, and the same call goes on where it stopped.
    Raises ImageSetError, ModelError, or ConfigError for another attribute, or images of another size or modality.
    """
    source, folder, out, how = ImageSet.open(images), Path(model), Path(out), load_config(Drawing, **settings)
    predictor = Predictor.load(folder)
    subject, rows = predictor.subject, range(len(source))
    if plain_name(attribute) not in ("", subject.attribute):
        raise ConfigError(
            f"{folder} predicts {subject.attribute}, not {attribute}. Train another with 'predict train'."
        )
    predictor.check(source)
    facts = how.model_dump(mode="json")
    record = Record("predict-apply", facts, how.seed, [as_input(source.folder), as_input(folder)])
    if not is_published(out, record, check_files):
        with publish(out, record, resume=True) as draft, progress_bars(show) as bars:
            x, truth = predictor.inputs(source), _truth(predictor, source, rows)
            draws = _drawn(predictor, x, rows, how, draft / "work", bars)
            table = _columns(predictor, x, draws, how)
            names = [[row.file_name, row.sha256, row.patient_id, row.split] for row in source.rows]
            said = [label_of(row, subject.attribute) for row in source.rows]
            values = zip(*(column.tolist() for column in table.values()), strict=True)
            lines = (map(cell_of, (*name, v, *line)) for name, v, line in zip(names, said, values, strict=True))
            head = ["file_name", "sha256", "patient_id", "split", subject.attribute, *table]
            write_whole(draft / TABLE, sheet_text([head, *lines]))
            known = truth >= 0 if subject.labels else np.isfinite(truth)
            if known.any():
                part = {name: column[known] for name, column in table.items()}
                record.results["known"] = figures(subject, part, draws[known], truth[known])
            record.results["files"] = {TABLE: sha256_file(draft / TABLE)}
            shutil.rmtree(draft / "work")
    return out


def _truth(model: Predictor, images: ImageSet, rows: Sequence[int]) -> Array:
    return codes([label_of(images.rows[i], model.subject.attribute) for i in rows], model.subject)


def _columns(model: Predictor, x: Tensor, draws: Array, how: Drawing) -> dict[str, Array]:
    return columns(model.subject, draws, model.guess(x)[1].numpy(), how.alpha)


def _drawn(model: Predictor, x: Tensor, rows: Sequence[int], how: Drawing, work: Path, bars: Progress) -> Array:
    """Answers to inputs, (N, n, K), kept in shards, so that a stopped run goes on."""
    line, found = bars.add_task("answers", total=len(rows), unit="images"), list[Tensor]()
    work.mkdir(exist_ok=True)
    for start in range(0, len(rows), SHARD):
        path, part = work / f"answers-{rows[start]:07d}.safetensors", rows[start : start + SHARD]
        if kept := take(path):
            found.append(kept[0]["draws"])
        else:
            each = (model.answers(x[start + i], how.seed, row, how.draws, how.steps) for i, row in enumerate(part))
            found.append(torch.stack(list(each)))
            keep(path, {"draws": found[-1]})
        bars.update(line, completed=start + len(part))
    return torch.cat(found).numpy()
