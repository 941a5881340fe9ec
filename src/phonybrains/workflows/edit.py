"""The edits as functions, of an image set or of one picture; each takes the settings of its configuration, too."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import load_config
from ..editing.config import AddNoise, Denoise, Edit, Explain, Inpaint, Translate, Upscale, Vary
from ..editing.stage import edit
from ..errors import ConfigError
from ..networks.conditions import Value
from ..replacing import check_vacant
from .picture import as_set, is_picture, publish_picture

Source = str | Path


def upscale(source: Source, out: Source, *, factor: int = 2, model: Source = "heads", **options: Any) -> Path:
    """Super-resolution, 2 or 4 times a side: images whose means over blocks are the pixels given.

    All edits: source is an image set or a picture, out the folder of an image set, or a picture; options are the
    fields of the edit's configuration (seed, n, mean, steps, guidance …), and model, batch_size, grid, show, and
    modality for a picture. See `editing.stage.edit` for what is written and raised.
    """
    return _run(Upscale, source, out, {"factor": factor, "model": model, **options})


def denoise(
    source: Source, out: Source, *, sigma: float | None = None, model: Source = "heads", **options: Any
) -> Path:
    """Noise removal; sigma: in grey levels of 8 bits, found in each image where it is not said."""
    return _run(Denoise, source, out, {"sigma": sigma, "model": model, **options})


def noise(source: Source, out: Source, *, like: Source, **options: Any) -> Path:
    """Noise adaptation: images with the noise of the images of another set, where they are quieter."""
    return _run(AddNoise, source, out, {"like": like, **options})


def inpaint(source: Source, out: Source, *, model: Source = "heads", **options: Any) -> Path:
    """Inpainting: area "mask", "lesion" or "hole", with hole=(x, y, width, height); where: what it is to show then."""
    return _run(Inpaint, source, out, {"model": model, **options})


def translate(source: Source, out: Source, *, to: Mapping[str, Value], model: Source = "heads", **options: Any) -> Path:
    """Domain-to-domain translation: the same head under other conditions, such as {"modality": "CT"}."""
    return _run(Translate, source, out, {"to": dict(to), "model": model, **options})


def vary(
    source: Source, out: Source, *, strength: float | None = None, model: Source = "heads", **options: Any
) -> Path:
    """Variations: the farther from an image the nearer `strength` is to 1 (.5); or, by="embedding", under its own."""
    return _run(Vary, source, out, {"strength": strength, "model": model, **options})


def explain(
    source: Source, out: Source, *, change: Mapping[str, Value], model: Source = "heads", **options: Any
) -> Path:
    """Explanation: where an image would be another if it showed something else, as maps."""
    return _run(Explain, source, out, {"change": dict(change), "model": model, **options})


def _run(kind: type[Edit], source: Source, out: Source, options: Mapping[str, Any]) -> Path:
    source, out = Path(source), Path(out)
    settings = {name: value for name, value in options.items() if name in kind.model_fields}
    rest = {name: value for name, value in options.items() if name not in kind.model_fields}
    how, modality = load_config(kind, None, **settings), str(rest.pop("modality", None) or "")
    if unknown := rest.keys() - {"model", "like", "batch_size", "grid", "report", "show"}:
        known = ", ".join(kind.model_fields)
        raise ConfigError(f"{sorted(unknown)[0]}: {kind.name} takes no such setting. Known: {known}.")
    if not is_picture(source):
        if is_picture(out):
            raise ConfigError(f"{out} is one picture, and {source} is a set of images. Name a folder.")
        return edit(source, out, how, **rest)
    with as_set(source, modality) as folder:
        if not is_picture(out):
            return edit(folder, out, how, **rest)
        if out.suffix.lower() != ".png":
            raise ConfigError(f"{out}: an edited picture is written as PNG, which keeps it as it is.")
        check_vacant(out)
        with tempfile.TemporaryDirectory() as work:
            publish_picture(edit(folder, Path(work) / "edited", how, **rest), out)
    return out
