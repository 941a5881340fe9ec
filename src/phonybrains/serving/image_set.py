"""An answer as an image set, what `phonybrains generate` would have written for it: in a ZIP file, or as DICOM."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from ..errors import ImageSetError
from ..exporting.config import ExportConfig
from ..exporting.stage import open_set
from ..imageset import write_metadata, write_png
from ..marks import SyntheticMark
from ..model.compiled import Compiled
from ..model.latent_diffusion import LatentDiffusion
from ..model.painting import painted_row
from ..record import Record, as_input
from .answer_cache import KeptAnswer
from .refusal import Refusal


def zip_image_set(kept: KeptAnswer, model: LatentDiffusion | Compiled, folder: Path) -> bytes:
    """Images, marked as those of the set, metadata.csv and record.json in one folder; `folder` is the model's."""
    with tempfile.TemporaryDirectory() as place:
        _write_set(kept, model, folder, Path(place))
        return _zip(Path(place))


def dicom_of(kept: KeptAnswer, index: int, model: LatentDiffusion | Compiled, folder: Path) -> bytes:
    """The bytes of the file that `phonybrains export --to dicom` makes of an image of the set.

    Raises Refusal (400) for an image that DICOM has no name for: of no modality.
    """
    from ..exporting.dicom import DicomFiles, as_file

    with tempfile.TemporaryDirectory() as place:
        try:
            exported, _ = open_set(_write_set(kept, model, folder, Path(place)), ExportConfig(to="dicom"))
        except ImageSetError:
            raise Refusal(400, "DICOM needs a modality, MR or CT, and this image has none. Save it as PNG.") from None
        return as_file(DicomFiles(exported).image(index))


def _write_set(kept: KeptAnswer, model: LatentDiffusion | Compiled, folder: Path, place: Path) -> Path:
    """The set's folder, in the folder `place`."""
    name, record = folder.resolve().name, _record(kept, folder)
    said = {"record_identity": record.run_identity, "generator": name, "model_sha256": record.inputs[0]["sha256"]}
    out = place / f"{name}-seed-{kept.commission.seed}"
    (out / "images").mkdir(parents=True)
    rows = []
    for order, png in zip(kept.commission.orders, kept.pngs, strict=True):
        file_name, own = f"images/{order.index:06d}.png", {"seed": order.seed, "index": order.index}
        with Picture.open(io.BytesIO(png), formats=["PNG"]) as picture:
            write_png(out / file_name, np.asarray(picture), SyntheticMark(facts=said | own))
        made = {"generator": name, **own, **{key: order.settings[key] for key in ("steps", "guidance")}}
        rows.append(painted_row(out, file_name, order.wanted, made, model.units))
    write_metadata(out, rows)
    record.write(out)
    return out


def _record(kept: KeptAnswer, folder: Path) -> Record:
    """The record of `phonybrains generate` for the same images, and how they were asked for in fact."""
    asked, origin = kept.commission, as_input(folder)
    requests = [{"n": len(asked.orders), "where": dict(asked.where)}]
    config = {"requests": requests, "seed": asked.seed, **asked.orders[0].settings}
    results = {"images": len(asked.orders), "served": True, "prompt": asked.request.prompt}
    sources = origin["record"].get("sources", ())
    return Record("generate", config, asked.seed, [origin], sources, results, kept.created)


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
