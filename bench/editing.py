"""How good edits are on held-out images, each beside plain baselines on the same pixels.

    python -m bench editing upscale --images held/ --features squeezenet.safetensors
    python -m bench editing denoise --images held/ --features squeezenet.safetensors
    python -m bench editing inpaint --images held/
    python -m bench editing translate --images held/ --features squeezenet.safetensors
    python -m bench editing speed --images held/ --n 32

images: an image set of people that the model has not seen. Every figure has a 95 % interval by bootstrap over patients.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from phonybrains.editing.config import Denoise, Edit, Inpaint, Translate, Upscale
from phonybrains.editing.jobs import EditBatch, EditJob, job_of
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.quality.distances import kid
from phonybrains.imageset import ImageSet, to_unit_range
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.model.sampling import Sampling
from phonybrains.training.perceptual import PerceptualDistance

from .options import measurement
from .timing import use_threads

Images = NDArray[np.uint8]
BATCH = 8
RESAMPLING = Image.Resampling


class Judge:
    """The truth of some images, and how far others are from it."""

    def __init__(self, truth: Images, people: Sequence[str], weights: Path | None) -> None:
        self.truth, self.people = truth, np.unique(people, return_inverse=True)[1]
        self.extractor = SqueezeNetFeatures(weights) if weights else None
        self.perceptual = PerceptualDistance(weights) if weights else None
        self.features = self.extractor(truth) if self.extractor else None

    def __call__(self, images: Images) -> dict[str, Any]:
        """PSNR and SSIM, the perceptual distance to the truth, and KID (×1000) of the set to the true set."""
        from skimage.metrics import structural_similarity

        errors = ((images.astype(np.float64) - self.truth) ** 2).mean((1, 2))
        pairs = list(zip(self.truth, images, strict=True))
        found: dict[str, Any] = {
            "psnr": self.interval(10 * np.log10(255**2 / np.maximum(errors, 1e-3))),
            "ssim": self.interval(np.array([structural_similarity(a, b) for a, b in pairs])),
        }
        if self.extractor and self.perceptual and self.features is not None:
            with torch.inference_mode():
                far = [float(self.perceptual(_unit(a), _unit(b)).mean()) for a, b in pairs]
            features = self.extractor(images)
            found["distance"] = self.interval(np.array(far))
            found["kid"] = round(kid(features.astype(float), self.features.astype(float))[0], 1)
        return found

    def interval(self, values: NDArray[np.float64]) -> list[float]:
        """The mean, and its 95 % interval by bootstrap over patients."""
        rng, count = np.random.default_rng(0), int(self.people.max()) + 1
        sums, sizes = np.bincount(self.people, values, count), np.bincount(self.people, minlength=count)
        drawn = rng.integers(0, count, (2000, count))
        means = sums[drawn].sum(1) / sizes[drawn].sum(1)
        return [round(float(v), 4) for v in (values.mean(), *np.quantile(means, (0.025, 0.975)))]


def _unit(image: Images) -> torch.Tensor:
    return torch.from_numpy(to_unit_range(image)[None, None])


def painted(job: EditJob, source: ImageSet, how: Edit, draws: int) -> NDArray[np.uint8]:
    """All images of a set, edited: (draws, n, H, W)."""
    found = []
    for draw in range(draws):
        for first in range(0, len(source), BATCH):
            rows = list(range(first, min(first + BATCH, len(source))))
            images = np.stack([job.given(i) for i in rows])
            rngs = [image_rng(how.seed, i, draw) for i in rows]
            with torch.inference_mode():
                made, _ = job.paint(EditBatch(rows, images.astype(np.uint8), [job.wanted[i] for i in rows], rngs))
            found.append(made)
    images = np.concatenate(found)
    return images.reshape(draws, len(source), *images.shape[1:])


def stack(source: ImageSet) -> Images:
    """All pixels of a set, (n, H, W)."""
    return np.stack([source.pixels(i) for i in range(len(source))]).astype(np.uint8)


def upscale(source: ImageSet, model: LatentDiffusion, judge: Judge, factor: int, draws: int) -> dict[str, Any]:
    """Images made smaller and larger again, beside bicubic and Lanczos interpolation."""
    how = Upscale(factor=factor, simulate=True)  # type: ignore[arg-type]
    job = job_of(source, how, model)
    small = np.stack([job.given(i) for i in range(len(source))])
    made = painted(job, source, how, draws)
    mean = np.stack([job.settle(one.mean(0), i) for i, one in enumerate(made.swapaxes(0, 1).astype(np.float32))])
    size = (source.width, source.height)
    plain = {
        name: np.stack([np.asarray(Image.fromarray(one).resize(size, filter)) for one in small])
        for name, filter in (("bicubic", RESAMPLING.BICUBIC), ("lanczos", RESAMPLING.LANCZOS))
    }
    back = made[0].reshape(len(source), small.shape[1], factor, small.shape[2], factor).mean((2, 4))
    misfit = float(np.abs(back - small).max())
    return {name: judge(images) for name, images in {"draw": made[0], "mean": mean, **plain}.items()} | {
        "largest |A x - y|, grey levels": misfit
    }


def denoise(source: ImageSet, model: LatentDiffusion, judge: Judge, sigma: float, draws: int) -> dict[str, Any]:
    """Noise added and taken out again, beside non-local means, total variation and wavelets; they are told σ."""
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

    how = Denoise(sigma=sigma, simulate=True)
    job = job_of(source, how, model)
    noisy = np.stack([job.given(i) for i in range(len(source))])
    made, share = painted(job, source, how, draws), sigma / 255
    kinds: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "non-local means": lambda x: denoise_nl_means(x, h=0.8 * share, sigma=share, patch_size=5, patch_distance=6),
        "total variation .1": lambda x: denoise_tv_chambolle(x, weight=0.1),
        "total variation .2": lambda x: denoise_tv_chambolle(x, weight=0.2),
        "wavelets": lambda x: denoise_wavelet(x, sigma=share, method="BayesShrink", rescale_sigma=True),
    }
    plain = {
        name: np.stack([np.clip(np.rint(255 * kind(one / 255)), 0, 255).astype(np.uint8) for one in noisy])
        for name, kind in kinds.items()
    }
    mean = np.rint(made.mean(0)).astype(np.uint8)
    return {name: judge(images) for name, images in {"draw": made[0], "mean": mean, "noisy": noisy, **plain}.items()}


def inpaint(source: ImageSet, model: LatentDiffusion, judge: Judge, draws: int) -> dict[str, Any]:
    """A hole of 48×40 pixels in the middle of each head, beside biharmonic inpainting and the mean of the rim."""
    from skimage.restoration import inpaint_biharmonic

    how = Inpaint(area="hole", hole=(104, 108, 48, 40))
    job, truth = job_of(source, how, model), stack(source)
    hole = np.zeros(truth.shape[1:], bool)
    hole[108:148, 104:152] = True
    made, rim = painted(job, source, how, draws), np.asarray(binary_dilation(hole), bool) & ~hole
    holed = np.where(hole, 0, truth) / 255
    smooth = [np.clip(np.rint(255 * inpaint_biharmonic(one, hole)), 0, 255).astype(np.uint8) for one in holed]
    filled = {
        "draw": made[0],
        "mean": np.rint(made.mean(0)).astype(np.uint8),
        "biharmonic": np.stack(smooth),
        "mean of the rim": np.where(hole, truth[:, rim].mean(1)[:, None, None], truth).astype(np.uint8),
    }
    edge, result = hole & ~np.asarray(binary_erosion(hole), bool), {}
    real = _seam(truth, edge, rim)
    for name, images in filled.items():
        error = np.abs(images.astype(float) - truth)[:, hole].mean(1)
        result[name] = {"error in the hole": judge.interval(error), "seam": judge.interval(_seam(images, edge, rim))}
        result[name]["others changed"] = int((images != truth)[:, ~hole].sum())
    return result | {"seam of real images": judge.interval(real)}


def _seam(images: Images, edge: NDArray[np.bool_], rim: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean step, in grey levels, between neighbours on the two sides of the border of a hole, for each image."""
    steps = []
    for axis in (0, 1):
        beside = np.roll(edge, 1, axis) & rim, np.roll(edge, -1, axis) & rim
        for here, by in zip(beside, (1, -1), strict=True):
            inner = np.roll(images.astype(float), by, axis + 1)
            steps.append(np.abs(inner - images)[:, here])
    return np.concatenate(steps, axis=1).mean(1)


def translate(source: ImageSet, model: LatentDiffusion, weights: Path, to: str, others: ImageSet) -> dict[str, Any]:
    """Images as of another modality: KID (×1000) to real images of it, before, after, and after histogram matching.

    And the Dice of the outlines of the heads before and after.
    """
    from skimage.exposure import match_histograms

    job = job_of(source, Translate(to={"modality": to}), model)
    before, real, extractor = stack(source), stack(others), SqueezeNetFeatures(weights)
    after = painted(job, source, Translate(to={"modality": to}), 1)[0]
    levels = np.sort(real.reshape(len(real), -1), axis=1).mean(0).astype(np.uint8).reshape(real.shape[1:])
    matched = np.stack([match_histograms(one, levels) for one in before]).clip(0, 255).astype(np.uint8)
    target = extractor(real).astype(float)
    kinds = {"as it was": before, "translated": after, "histogram matched": matched}
    found: dict[str, Any] = {name: round(kid(extractor(x).astype(float), target)[0], 1) for name, x in kinds.items()}
    return found | {
        "Dice of the heads": round(float(np.mean([_dice(a, b) for a, b in zip(before, after, strict=True)])), 3)
    }


def speed(source: ImageSet, model: LatentDiffusion, steps: int) -> dict[str, float]:
    """Seconds to upscale ×2 in so many steps, and to generate as many images in as many, in turns; and the ratio."""
    how = Upscale(simulate=True, steps=steps)
    job, wanted = job_of(source, how, model), [dict(one) for one in job_of(source, how, model).wanted]
    spent = {"upscale": 0.0, "generate": 0.0}
    for _ in range(2):
        begun = time.perf_counter()
        painted(job, source, how, 1)
        spent["upscale"] += time.perf_counter() - begun
        begun = time.perf_counter()
        list(model.paint(range(len(source)), wanted, Sampling(steps=steps, sampler="adams", batch_size=BATCH)))
        spent["generate"] += time.perf_counter() - begun
    return {
        **{name: round(s / 2, 2) for name, s in spent.items()},
        "ratio": round(spent["upscale"] / spent["generate"], 2),
    }


def _dice(one: Images, other: Images) -> float:
    from scipy.ndimage import binary_fill_holes

    a, b = (np.asarray(binary_fill_holes(image > 20), bool) for image in (one, other))
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


app = measurement(__name__, __doc__)


@app.default
def main(
    what: Literal["upscale", "denoise", "inpaint", "translate", "speed"],
    /,
    *,
    images: Path,
    features: Path | None = None,
    model: str = "heads",
    n: int = 100,
    skip: int = 0,
    draws: int = 2,
    modalities: tuple[str, ...] = ("MR", "CT"),
    levels: tuple[float, ...] = (),
    out: Path | None = None,
) -> None:
    """Edit held-out images, and print figures of them beside those of baselines.

    Args:
        what: The edit.
        images: The image set.
        features: SqueezeNet weights (safetensors, torchvision's names).
        model: A model folder, or the name of a model that comes with the package.
        n: Images of each modality.
        skip: So many images of each modality are left out first: those that settings were chosen on.
        draws: Of each image, for the mean.
        modalities: Which.
        levels: Factors of upscale (2 4), deviations of denoise (20 40), or steps of speed (4 8).
        out: File for the figures.
    """
    use_threads(1)
    opened, prior = ImageSet.open(images), LatentDiffusion.load(model)
    results: dict[str, Any] = {}
    for modality in modalities:
        every = opened.where(modality=modality)
        source = part_of(every, skip, n)
        judge = Judge(stack(source), [row.patient_id for row in source.rows], features)
        if what == "upscale":
            found: Mapping[str, Any] = {
                f"×{f:g}": upscale(source, prior, judge, int(f), draws) for f in levels or (2, 4)
            }
        elif what == "denoise":
            found = {f"sigma {s:g}": denoise(source, prior, judge, s, draws) for s in levels or (20, 40)}
        elif what == "inpaint":
            found = inpaint(source, prior, judge, draws)
        elif what == "speed":
            found = {f"{steps:g} steps": speed(source, prior, int(steps)) for steps in levels or (4, 8)}
        else:
            other = next(m for m in ("MR", "CT") if m != modality)
            assert features, "translate needs --features"
            found = {
                f"to {other}": translate(source, prior, features, other, part_of(opened.where(modality=other), 0, 400))
            }
        results[modality] = {"n": len(source), "patients": len({row.patient_id for row in source.rows}), **found}
        print(json.dumps({modality: results[modality]}, indent=1), flush=True)
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def part_of(images: ImageSet, first: int, n: int) -> ImageSet:
    """Some of the rows, drawn at random once and for all."""
    from dataclasses import replace

    order = np.random.default_rng(0).permutation(len(images))[first : first + n]
    return replace(images, rows=tuple(images.rows[i] for i in sorted(order)))
