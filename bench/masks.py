"""Is what a mask asks for there? On phantoms: the Dice between the mask and the lesion that is found.

On the latents of the shipped model a small denoiser learns axial MR phantoms of 64×64 with the exact outline of their
tumour. It is asked for the masks of phantoms kept apart, and a small segmentation network, taught on other phantoms,
finds the tumour in what it draws. Beside it what the network finds in the phantoms of these masks, in these once
encoded and decoded, and in images told no mask.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from phonybrains.drafts import RECORD_NAME
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

SIZE = 64
SHAPE: dict[str, Any] = {"widths": (64, 64), "layers": 1}
LOOP: dict[str, Any] = {"learning_rate": 1e-3, "warmup": 100, "averages": (0.995,), "validate_every": 400}
OFF: dict[str, Any] = {"loop": {"steps": 0}}


def axial_phantoms(out: Path, n: int, seed: int) -> Path:
    """The axial slices of MR phantoms of n heads, with the masks of their tumours, as an image set."""
    if not (out / METADATA_NAME).is_file():
        how: dict[str, Any] = {"size": SIZE, "modalities": ("MR",), "slices_per_patient": 3, "masks": "lesion"}
        images = ImageSet.open(make_phantoms(3 * n, out / "all", seed=seed, **how)).where(plane="axial")
        for row in images.rows:
            for name in (row.file_name, row.mask_file_name):
                (out / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(images.folder / name, out / name)
        shutil.copyfile(images.folder / RECORD_NAME, out / RECORD_NAME)
        write_metadata(out, images.rows)
    return out


def untaught(out: Path, images: ImageSet) -> Path:
    """The shipped autoencoder with a new, small denoiser that takes no masks, as a model folder."""
    if not (out / "model.json").is_file():
        torch.manual_seed(0)
        heads, conditions = LatentDiffusion.load("heads"), fit_conditions(images.rows, ["diagnosis"])
        latents = heads.scale.restore(
            heads.encode(pixels_of(images).numpy(), ["MR"] * len(images)), ["MR"] * len(images)
        )
        mean, deviation = latents.mean((0, 2, 3)).tolist(), latents.std((0, 2, 3)).tolist()
        unet = build_unet(DenoiserShape(**SHAPE), latents.shape[1], SIZE // 8)
        denoiser = Denoiser(unet, build_embedding(unet, conditions.width, augment.WIDTH))
        scale = LatentScale({"MR": (mean, deviation)})
        LatentDiffusion(heads.autoencoder, denoiser, conditions, scale, size=SIZE).save(out)
    return out


class Finder(nn.Module):
    """A small U-Net: (B, 1, H, W) in -1…1 → logits of being inside."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(1, width), _block(width, 2 * width), _block(2 * width, 4 * width)])
        self.up = nn.ModuleList([_block(6 * width, 2 * width), _block(3 * width, width)])
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.down[0](x), []
        for block in self.down[1:]:
            skips.append(x)
            x = block(nn.functional.max_pool2d(x, 2))
        for block in self.up:
            x = block(torch.cat([interpolate(x, scale_factor=2.0), skips.pop()], dim=1))
        return self.last(x)


def _block(channels: int, width: int) -> nn.Sequential:
    layers = (nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


def learn_finder(images: ImageSet, steps: int, seed: int = 0) -> Finder:
    """Teach a finder on an image set with masks."""
    torch.manual_seed(seed)
    x, y = pixels_of(images), torch.from_numpy(masks_of(images)).float()[:, None]
    finder, rng = Finder(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(finder.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (16,), generator=rng)
        noisy = x[rows] + 0.03 * torch.randn(x[rows].shape, generator=rng)
        loss = binary_cross_entropy_with_logits(finder(noisy), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return finder.eval()


def pixels_of(images: ImageSet) -> Tensor:
    return torch.from_numpy(to_unit_range(np.stack([images.pixels(i) for i in range(len(images))])))[:, None]


def masks_of(images: ImageSet) -> NDArray[np.bool_]:
    """The masks of a set in which every image has one, (N, H, W)."""
    masks = [images.mask(i) for i in range(len(images))]
    assert all(mask is not None for mask in masks)
    return np.stack(masks)  # type: ignore[arg-type]


@torch.no_grad()
def dice(finder: Finder, x: Tensor, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each image (N, 1, H, W) in -1…1: 2 |found ∩ asked| / (|found| + |asked|), 1 where both are empty."""
    found = torch.cat([finder(part) for part in x.split(64)])[:, 0].numpy() > 0
    both, sizes = (found & masks).sum((1, 2)), found.sum((1, 2)) + masks.sum((1, 2))
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)


def summary(values: NDArray[np.float64]) -> dict[str, float]:
    """Mean with its 95 % interval by bootstrap over images, median, and share of images above one half."""
    rng = np.random.default_rng(0)
    low, high = np.quantile(rng.choice(values, (2000, len(values))).mean(axis=1), (0.025, 0.975))
    found = {
        "mean": values.mean(),
        "low": low,
        "high": high,
        "median": np.median(values),
        "found": (values > 0.5).mean(),
    }
    return {name: round(float(value), 3) for name, value in found.items()} | {"n": len(values)}


def measured(model: LatentDiffusion, finder: Finder, held: ImageSet, steps: int, guidance: float) -> dict[str, Any]:
    """The Dice on each kind of image; lesions and none apart."""
    masks, x = masks_of(held), pixels_of(held)
    modalities = [row.modality for row in held.rows]
    wanted = [model.conditions.of(row) for row in held.rows]
    decoded = model.decode(model.encode(x.numpy(), modalities), modalities)
    kinds = {"real": x, "encoded and decoded": _unit(decoded)}
    for told, kind in ((masks, "asked for"), (None, "not told the mask")):
        given = None if told is None else list(told)
        how = {"seed": 0, "steps": steps, "guidance": guidance}
        kinds[kind] = _unit(np.stack(list(model.paint(range(len(held)), wanted, Sampling(**how), masks=given))))
    there = masks.any(axis=(1, 2))
    scores = {kind: dice(finder, images, masks) for kind, images in kinds.items()}
    return {kind: {"lesion": summary(v[there]), "none": summary(v[~there])} for kind, v in scores.items()}


def _unit(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(to_unit_range(images))[:, None]


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    out: Path,
    n: int = 1200,
    denoiser_steps: int = 1200,
    finder_steps: int = 200,
    steps: tuple[int, ...] = (16, 4),
    guidance: tuple[float, ...] = (1.0,),
) -> None:
    """Train, generate and measure; what is there already is not made again.

    Args:
        out: Folder for everything.
        n: Heads that the model learns from; a tenth each is kept apart for validation and test.
        denoiser_steps: Of training.
        finder_steps: Of the segmentation network.
        steps: Of sampling.
        guidance: Of sampling, where steps are more than few.
    """
    corpus, others = axial_phantoms(out / "corpus", n, seed=0), axial_phantoms(out / "others", n // 2, seed=1)
    denoiser = {"variants": 2, "shape": SHAPE, "loop": LOOP | {"steps": denoiser_steps}}
    rest = {"autoencoder": OFF | {"crop": SIZE}, "few_step": OFF, "conditions": ["diagnosis"]}
    beginning = untaught(out / "start", ImageSet.open(corpus).where(split="train"))
    config = load_train_config("cpu", masks=True, start=str(beginning), denoiser=denoiser, **rest)
    model = LatentDiffusion.load(train(corpus, out / "model", config))
    finder = learn_finder(ImageSet.open(others), finder_steps)
    held = ImageSet.open(corpus).where(split="validation")
    result: dict[str, Any] = {}
    for count in steps:
        for strength in guidance:
            result[f"{count} steps, guidance {strength:g}"] = measured(model, finder, held, count, strength)
    text = json.dumps(result, indent=1)
    (out / "masks.json").write_text(text + "\n", encoding="utf-8")
    print(text)
