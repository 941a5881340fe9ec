"""An answer as an image set in a ZIP file: what `phonybrains generate` would have written for the same request."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from ..imageset import FIXED_COLUMNS, Attribute, Row, write_metadata, write_png
from ..marks import SyntheticMark
from ..model.compiled import Compiled
from ..model.latent_diffusion import LatentDiffusion
from ..record import Record, as_input
from .answer_cache import KeptAnswer
from .batch import Order


def zip_image_set(kept: KeptAnswer, model: LatentDiffusion | Compiled, folder: Path) -> bytes:
    """Images, marked as those of the set, metadata.csv and record.json in one folder; `folder` is the model's."""
    name, record = folder.resolve().name, _record(kept, folder)
    said = {"record_identity": record.identity, "generator": name, "model_sha256": record.inputs[0]["sha256"]}
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / f"{name}-seed-{kept.commission.seed}"
        (out / "images").mkdir(parents=True)
        rows = []
        for order, png in zip(kept.commission.orders, kept.pngs, strict=True):
            file_name = f"images/{order.index:06d}.png"
            with Picture.open(io.BytesIO(png), formats=["PNG"]) as picture:
                mark = SyntheticMark(facts={**said, "seed": order.seed, "index": order.index})
                digest = write_png(out / file_name, np.asarray(picture), mark)
            rows.append(_row(order, file_name, digest, model, name))
        write_metadata(out, rows)
        record.write(out)
        return _zip(Path(place))


def _row(order: Order, file_name: str, digest: str, model: LatentDiffusion | Compiled, name: str) -> Row:
    attributes: dict[str, Attribute] = {"generator": name, "seed": order.seed, "index": order.index}
    attributes |= {setting: order.settings[setting] for setting in ("steps", "guidance")}
    for attribute, value in order.wanted.items():
        if attribute != "modality":
            attributes[f"condition_{attribute}" if attribute in FIXED_COLUMNS else attribute] = value
    modality = str(order.wanted.get("modality") or "")
    slope, intercept, unit = model.units.get(modality, (1.0, 0.0, "a.u."))
    scale = {"slope": slope, "intercept": intercept, "unit": unit}
    return Row(file_name, digest, modality, synthetic=True, source=name, attributes=attributes, **scale)


def _record(kept: KeptAnswer, folder: Path) -> Record:
    """The record of `phonybrains generate` for the same images, and how they were asked for in fact."""
    asked, origin = kept.commission, as_input(folder)
    requests = [{"n": len(asked.orders), "where": dict(asked.where)}]
    config = {"requests": requests, "seed": asked.seed, **asked.orders[0].settings}
    results = {"images": len(asked.orders), "served": True, "prompt": asked.request.prompt}
    return Record("generate", config, asked.seed, [origin], origin["record"].get("sources", ()), results)


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
