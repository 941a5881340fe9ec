"""Is what a mask asks for there? On phantoms: the Dice between the mask and the lesion that is found.

On the latents of the shipped model a small denoiser learns axial MR phantoms of 128×128 with the exact outline of their
tumour. It is asked for the masks of phantoms kept apart, and a small segmentation network, taught on other phantoms,
finds the tumour in what it draws. Beside it what the network finds in the phantoms of these masks, in these once
encoded and decoded, and in images told no mask.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from phonybrains.drafts import RECORD_NAME
from phonybrains.evaluation.utility.dice import dice
from phonybrains.evaluation.utility.segmentation import Segmenter, stacked
from phonybrains.imageset import METADATA_NAME, ImageSet, to_unit_range, write_metadata
from phonybrains.model.fitting import fit_conditions
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.parts import LatentScale
from phonybrains.model.sampling import Sampling
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.networks.shapes import DenoiserShape
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.training import augment
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train

from .options import measurement

SIZE = 128
SHAPE: dict[str, Any] = {"widths": (64, 64), "layers": 1}
LOOP: dict[str, Any] = {"learning_rate": 1e-3, "warmup": 100, "averages": (0.995,), "validate_every": 400}
OFF: dict[str, Any] = {"loop": {"steps": 0}}


def axial_phantoms(
    out: Path, n: int, seed: int, modalities: tuple[str, ...] = ("MR",), synthetic: bool = True, size: int = SIZE
) -> Path:
    """The axial slices of phantoms of n heads, with the masks of their lesions, as an image set."""
    if not (out / METADATA_NAME).is_file():
        how: dict[str, Any] = {"size": size, "modalities": modalities, "slices_per_patient": 3, "masks": "lesion"}
        phantoms = make_phantoms(3 * n, out / "all", seed=seed, synthetic=synthetic, **how)
        images = ImageSet.open(phantoms).where(plane="axial")
        for row in images.rows:
            for name in (row.file_name, row.mask_file_name):
                (out / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(images.folder / name, out / name)
        shutil.copyfile(images.folder / RECORD_NAME, out / RECORD_NAME)
        write_metadata(out, images.rows)
    return out


def untaught(
    out: Path, images: ImageSet, names: Sequence[str] = ("diagnosis",), widths: tuple[int, ...] = SHAPE["widths"]
) -> Path:
    """The shipped autoencoder with a new, small denoiser for these conditions, without masks, as a model folder."""
    if not (out / "model.json").is_file():
        torch.manual_seed(0)
        heads, conditions, scale = LatentDiffusion.load("heads"), fit_conditions(images.rows, names), {}
        for modality in sorted({row.modality for row in images.rows}):
            mine = images.where(modality=modality)
            pixels = to_unit_range(np.stack([mine.pixels(i) for i in range(len(mine))]))[:, None]
            latents = heads.scale.restore(heads.encode(pixels, [modality] * len(mine)), [modality] * len(mine))
            scale[modality] = (latents.mean((0, 2, 3)).tolist(), latents.std((0, 2, 3)).tolist())
        shape = DenoiserShape(**dict[str, Any](SHAPE | {"widths": widths}))
        unet = build_unet(shape, int(heads.autoencoder.config["latent_channels"]), images.height // 8)
        denoiser = Denoiser(unet, build_embedding(unet, conditions.width, augment.WIDTH))
        LatentDiffusion(heads.autoencoder, denoiser, conditions, LatentScale(scale), size=images.height).save(out)
    return out


def summary(each: NDArray[np.float64], found: NDArray[np.bool_]) -> dict[str, float]:
    """Mean Dice of images that have a lesion, with its 95 % interval by bootstrap over images, and median.

    And in how many of the images without one something was found.
    """
    there = each[np.isfinite(each)]
    low, high = np.quantile(np.random.default_rng(0).choice(there, (2000, len(there))).mean(axis=1), (0.025, 0.975))
    values = {"mean": there.mean(), "low": low, "high": high, "median": np.median(there)}
    rounded = {name: round(float(value), 3) for name, value in values.items()}
    false = found[np.isnan(each)]
    return rounded | {"n": len(there), "found where none is": int(false.sum()), "of": len(false)}


def measured(model: LatentDiffusion, finder: Segmenter, held: ImageSet, steps: int, guidance: float) -> dict[str, Any]:
    """The Dice on each kind of image."""
    pixels, masks = stacked(held, range(len(held)), SIZE)
    modalities = [row.modality for row in held.rows]
    wanted = [model.conditions.of(row) for row in held.rows]
    encoded = model.encode(to_unit_range(pixels)[:, None], modalities)
    kinds = {"real": pixels, "encoded and decoded": model.decode(encoded, modalities)}
    for told, kind in ((masks, "asked for"), (None, "not told the mask")):
        given = None if told is None else list(told)
        how = Sampling(seed=0, steps=steps, guidance=guidance)
        kinds[kind] = np.stack(list(model.paint(range(len(held)), wanted, how, masks=given)))
    found = {kind: finder.predict(images) for kind, images in kinds.items()}
    return {kind: summary(dice(outlined, masks), outlined.sum((1, 2)) > 0) for kind, outlined in found.items()}


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    out: Path,
    n: int = 1200,
    denoiser_steps: int = 1200,
    finder_steps: int = 1500,
    steps: tuple[int, ...] = (16, 4),
    guidance: tuple[float, ...] = (1.0, 2.0),
) -> None:
    """Train, generate and measure; what is there already is not made again.

    Args:
        out: Folder for everything.
        n: Heads that the model learns from; a tenth each is kept apart for validation and test.
        denoiser_steps: Of training.
        finder_steps: Of the segmentation network.
        steps: Of sampling.
        guidance: Of sampling.
    """
    corpus, others = axial_phantoms(out / "corpus", n, seed=0), axial_phantoms(out / "others", n // 2, seed=1)
    denoiser = {"variants": 2, "shape": SHAPE, "loop": LOOP | {"steps": denoiser_steps}}
    rest = {"autoencoder": OFF | {"crop": SIZE}, "few_step": OFF, "texture": OFF, "conditions": ["diagnosis"]}
    beginning = untaught(out / "start", ImageSet.open(corpus).where(split="train"))
    config = load_train_config("cpu", masks=True, start=str(beginning), denoiser=denoiser, **rest)
    model = LatentDiffusion.load(train(corpus, out / "model", config))
    taught = ImageSet.open(others)
    finder = Segmenter(steps=finder_steps).fit(*stacked(taught, range(len(taught)), SIZE))
    held = ImageSet.open(corpus).where(split="validation")
    result: dict[str, Any] = {}
    for count in steps:
        for strength in guidance:
            result[f"{count} steps, guidance {strength:g}"] = measured(model, finder, held, count, strength)
    text = json.dumps(result, indent=1)
    (out / "masks.json").write_text(text + "\n", encoding="utf-8")
    print(text)
