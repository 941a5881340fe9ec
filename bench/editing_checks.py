"""What edits keep and how sure they are: lesions after denoising, distance by strength of vary, what the spread covers.

    python -m bench editing_checks lesions --images held/
    python -m bench editing_checks vary --images held/ --features squeezenet.safetensors
    python -m bench editing_checks spread --images held/ --draws 8

images: an image set of people that the model has not seen; of MR for lesions, with the boxes of their lesions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from phonybrains.editing.config import Denoise, Edit, Inpaint, Upscale, Vary
from phonybrains.editing.holes import BOX, rectangle
from phonybrains.editing.jobs import job_of
from phonybrains.imageset import ImageSet
from phonybrains.model.latent_diffusion import LatentDiffusion

from .editing import Images, Judge, painted, part_of, stack
from .options import measurement
from .timing import use_threads


def contrasts(images: Images, source: ImageSet) -> Images:
    """Mean of each lesion's box less that of a frame around it, in grey levels."""
    found = []
    for image, row in zip(images.astype(float), source.rows, strict=True):
        x, y, width, height = (float(row[name] or 0) for name in BOX)
        box = x - width / 2, y - height / 2, width, height
        inside, around = rectangle(source, box, 0), rectangle(source, box, 0.5)
        found.append(image[inside].mean() - image[around & ~inside].mean())
    return np.array(found)


def lesions(source: ImageSet, model: LatentDiffusion, sigma: float, draws: int) -> dict[str, Any]:
    """How much of a lesion's contrast is left after noise was added and taken out; and under the noise."""
    how = Denoise(sigma=sigma, simulate=True)
    job = job_of(source, how, model)
    clean, noisy = contrasts(stack(source), source), np.stack([job.given(i) for i in range(len(source))])
    seen = np.abs(clean) >= 5
    found: dict[str, Any] = {"n, contrast 5 or more": int(seen.sum())}
    for name, images in {"noisy": noisy, "denoised": painted(job, source, how, draws).mean(0)}.items():
        share = contrasts(images, source)[seen] / clean[seen]
        found[name] = {
            "median share of contrast": round(float(np.median(share)), 3),
            "below half": int((share < 0.5).sum()),
        }
    return found


def ranked(one: Images, other: Images) -> float:
    """Rank correlation."""
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def vary(source: ImageSet, model: LatentDiffusion, weights: Path) -> dict[str, Any]:
    """Perceptual distance to the image by strength, and its rank correlation with strength."""
    judge = Judge(stack(source), [row.patient_id for row in source.rows], weights)
    strengths, far = (0.2, 0.4, 0.6, 0.8, 1.0), []
    for strength in strengths:
        how = Vary(strength=strength, n=1)
        far.append(judge(painted(job_of(source, how, model), source, how, 1)[0])["distance"][0])
    return {f"{s:g}": d for s, d in zip(strengths, far, strict=True)} | {
        "rank correlation": round(ranked(np.array(strengths), np.array(far)), 3)
    }


def spread(source: ImageSet, model: LatentDiffusion, draws: int) -> dict[str, Any]:
    """How often the truth lies within two deviations of the answers' mean, and whether errors are where it is wide."""
    hole = np.zeros((source.height, source.width), bool)
    hole[108:148, 104:152] = True
    kinds: dict[str, tuple[Edit, Images]] = {
        "upscale ×4": (Upscale(factor=4, simulate=True), np.ones_like(hole)),
        "inpaint": (Inpaint(area="hole", hole=(104, 108, 48, 40)), hole),
        "denoise 20": (Denoise(sigma=20, simulate=True), np.ones_like(hole)),
    }
    found, truth = {}, stack(source).astype(float)
    for name, (how, where) in kinds.items():
        made = painted(job_of(source, how, model), source, how, draws).astype(float)
        error, deviation = np.abs(made.mean(0) - truth), np.maximum(made.std(0, ddof=1), 1)
        seen = where & (truth > 10)
        ranks = [ranked(d[s], e[s]) for d, e, s in zip(deviation, error, seen, strict=True)]
        found[name] = {
            "within two deviations": round(float((error <= 2 * deviation)[seen].mean()), 3),
            "rank correlation of error and spread": round(float(np.mean(ranks)), 3),
        }
    return found


app = measurement(__name__, __doc__)


@app.default
def main(
    what: Literal["lesions", "vary", "spread"],
    /,
    *,
    images: Path,
    features: Path | None = None,
    model: str = "heads",
    n: int = 32,
    skip: int = 0,
    draws: int = 4,
    modalities: tuple[str, ...] = ("MR", "CT"),
) -> None:
    """Edit held-out images, and print what is asked of them.

    Args:
        what: What is looked at.
        images: The image set.
        features: SqueezeNet weights (safetensors, torchvision's names), for vary.
        model: A model folder, or the name of a model that comes with the package.
        n: Images of each modality.
        skip: So many images of each modality are left out first.
        draws: Of each image.
        modalities: Which; of lesions, those whose lesions have boxes.
    """
    use_threads(1)
    opened, prior = ImageSet.open(images), LatentDiffusion.load(model)
    for modality in ("MR",) if what == "lesions" else modalities:
        source = part_of(opened.where(modality=modality), skip, n)
        if what == "lesions":
            found: dict[str, Any] = {f"sigma {s}": lesions(source, prior, s, draws) for s in (20, 40)}
        elif what == "vary":
            assert features, "vary needs --features"
            found = vary(source, prior, features)
        else:
            found = spread(source, prior, draws)
        print(json.dumps({modality: {"n": len(source)} | found}, indent=1), flush=True)
