"""What edits do where the truth is known: phantoms as MR and as CT of one head, and lesions whose outline is exact.

    python -m bench editing_phantoms --out phantoms/

On the latents of the shipped model a small denoiser learns axial phantoms of 128×128, MR and CT, by their lesion.
translate: other heads from MR to CT and back, against the same head drawn in the other modality. explain: other heads
with a tumour, asked to show none; does the map light up where the tumour is? Beside it, the gradient of a classifier.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from sklearn.metrics import roc_auc_score

from phonybrains.editing.config import Explain, Translate
from phonybrains.editing.explain import explained
from phonybrains.editing.prior import Prior
from phonybrains.editing.translate import translated
from phonybrains.imageset import ImageSet, to_unit_range
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.phantom.anatomy import CT_HU, MR_INTENSITY, Tissue
from phonybrains.phantom.corpus import CT_WINDOW_HU, draw_level, draw_patient, draw_slice
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train

from .masks import LOOP, OFF, SHAPE, SIZE, axial_phantoms, untaught
from .options import measurement
from .timing import use_threads

Images = NDArray[np.uint8]
NAMES = ["diagnosis", "hemorrhage"]
CONDITIONS: dict[str, Any] = dict.fromkeys(["modality", *NAMES])
OTHERS = 10_000
"""Heads from this number on are never in the corpus."""


def pair(number: int) -> tuple[dict[str, Images], dict[str, Any]]:
    """One head without a lesion, cut once, as MR and as CT; and the attributes of the slice."""
    rng = np.random.default_rng([number, 0])
    patient = draw_patient(rng, "MR", lesion="none")
    level = draw_level(rng, patient, "axial")
    drawn = {
        modality: draw_slice(
            np.random.default_rng([number, 1]), replace(patient, modality=modality), "axial", level, size=SIZE
        )
        for modality in ("MR", "CT")
    }
    return {modality: image for modality, (image, _) in drawn.items()}, drawn["CT"][1]


def darkness(modality: str) -> float:
    """The grey level halfway between ventricle and white matter."""
    if modality == "MR":
        return float(MR_INTENSITY[[Tissue.VENTRICLE, Tissue.WHITE]].mean())
    low, high = CT_WINDOW_HU
    return float((CT_HU[[Tissue.VENTRICLE, Tissue.WHITE]].mean() - low) * 255 / (high - low))


def volumes(truth: Images, other: Images, source: Images, modality: str, to: str) -> tuple[float, float]:
    """Ventricle pixels in the true and the translated slice: dark ones around those that are dark in both truths."""
    inner = np.zeros(truth.shape, bool)
    inner[40:88, 44:84] = True
    dark = inner & (truth < darkness(to)) & (source < darkness(modality))
    near = binary_dilation(dark, iterations=2) & inner
    return float((near & (truth < darkness(to))).sum()), float((near & (other < darkness(to))).sum())


def translate(model: LatentDiffusion, n: int, means: dict[str, Images], strength: float = 1.0) -> dict[str, Any]:
    """Both ways, beside the image as it was, matched by histogram, and the mean image of the corpus."""
    from skimage.exposure import match_histograms
    from skimage.metrics import structural_similarity

    pairs, results = [pair(OTHERS + number)[0] for number in range(n)], {}
    none = {"MR": {"diagnosis": "none", "hemorrhage": None}, "CT": {"diagnosis": None, "hemorrhage": "none"}}
    for modality, to in (("MR", "CT"), ("CT", "MR")):
        how = Translate(to={"modality": to}, strength=strength)
        source, truth = (np.stack([one[name] for one in pairs]) for name in (modality, to))
        here, there = ([{**CONDITIONS, "modality": name, **none[name]}] for name in (modality, to))
        made = []
        with torch.inference_mode():
            for first in range(0, n, 10):
                part = source[first : first + 10]
                prior = Prior(model, here * len(part), [image_rng(0, first + i, 0) for i in range(len(part))])
                made.append(translated(part, prior, how, there * len(part)))
        again = draws_of(to, n)
        kinds = {
            "translated": np.concatenate(made),
            "as it was": source,
            "histogram matched": np.stack([match_histograms(a, b) for a, b in zip(source, again, strict=True)]),
            "mean image": np.stack([means[to]] * n),
        }
        found: dict[str, Any] = {}
        for name, images in kinds.items():
            error = np.abs(images.astype(float) - truth).mean((1, 2))
            alike = [structural_similarity(a, b.astype(np.uint8)) for a, b in zip(truth, images, strict=True)]
            found[name] = {"MAE": round(float(error.mean()), 2), "SSIM": round(float(np.mean(alike)), 3)}
        areas = [volumes(t, o, s, modality, to) for t, o, s in zip(truth, kinds["translated"], source, strict=True)]
        true, others = np.array(areas).T
        off = np.abs(others - true)[true > 20] / true[true > 20]
        found["ventricles, translated / true"] = round(float(others.sum() / true.sum()), 3)
        found["ventricles, median deviation of a head"] = round(float(np.median(off)), 3)
        results[f"{modality} to {to}"] = found
    return results


def draws_of(modality: str, n: int) -> Images:
    """Slices of other heads in a modality, which histograms are matched to."""
    return np.stack([pair(2 * OTHERS + number)[0][modality] for number in range(n)])


def classifier(images: ImageSet, steps: int = 400) -> torch.nn.Module:
    """A small convolutional network that tells MR phantoms with a tumour from those without."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, 2, 1), torch.nn.GroupNorm(8, after), torch.nn.SiLU()]
    network = torch.nn.Sequential(*layers, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 1))
    pixels = to_unit_range(np.stack([images.pixels(i) for i in range(len(images))]))[:, None]
    truth = torch.tensor([float(row["diagnosis"] != "none") for row in images.rows])
    optimizer, rng = torch.optim.AdamW(network.parameters(), 2e-3), np.random.default_rng(0)
    for _ in range(steps):
        chosen = rng.integers(0, len(pixels), 32)
        loss = F.binary_cross_entropy_with_logits(network(torch.from_numpy(pixels[chosen]))[:, 0], truth[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def explain(model: LatentDiffusion, corpus: ImageSet, n: int) -> dict[str, Any]:
    """Held-out MR heads with a tumour, asked for none: the AUC of the map over the pixels of the head, for each."""
    taught = classifier(corpus.where(split="train", modality="MR"))
    rows, images, masks = [], [], []
    number = 3 * OTHERS
    while len(images) < n:
        rng = np.random.default_rng([number, 0])
        patient = draw_patient(rng, "MR", lesion=("glioma", "meningioma")[number % 2])
        level = draw_level(rng, patient, "axial")
        seed = [number, 1]
        image, told = draw_slice(np.random.default_rng(seed), patient, "axial", level, size=SIZE)
        number += 1
        if told["lesion_x"] is None:
            continue
        box = [float(told[name] or 0) * SIZE for name in ("lesion_x", "lesion_y", "lesion_width", "lesion_height")]
        y, x = np.mgrid[:SIZE, :SIZE] + 0.5
        inside = ((x - box[0]) / (box[2] / 2)) ** 2 + ((y - box[1]) / (box[3] / 2)) ** 2 <= 1
        images.append(image)
        masks.append(inside)
        rows.append({**CONDITIONS, "modality": "MR", "diagnosis": told["diagnosis"]})
    stack, maps = np.stack(images), []
    how = Explain(change={"diagnosis": "none"})
    with torch.inference_mode():
        for first in range(0, n, 10):
            part = slice(first, first + 10)
            there = [{**row, "diagnosis": "none"} for row in rows[part]]
            draws = []
            for draw in range(4):
                rngs = [image_rng(0, first + i, draw) for i in range(len(there))]
                draws.append(explained(stack[part], Prior(model, rows[part], rngs), how, there)[1])
            maps.append(np.mean(draws, axis=0))
    x = torch.from_numpy(to_unit_range(stack)[:, None]).requires_grad_()
    taught(x).sum().backward()
    assert x.grad is not None
    gradient = F.avg_pool2d(x.grad.abs(), 5, stride=1, padding=2)[:, 0].numpy()
    found = {}
    for name, each in {"map": np.concatenate(maps), "gradient": gradient}.items():
        aucs = [roc_auc_score(m[i > 20], v[i > 20]) for m, v, i in zip(masks, each, stack, strict=True)]
        low, high = np.quantile(np.random.default_rng(0).choice(aucs, (2000, n)).mean(1), (0.025, 0.975))
        found[name] = {"AUC": round(float(np.mean(aucs)), 3), "interval": [round(float(low), 3), round(float(high), 3)]}
    return found


app = measurement(__name__, __doc__)


@app.default
def main(*, out: Path, heads: int = 1000, denoiser_steps: int = 1500, n: int = 100) -> None:
    """Train, edit and measure; what is there already is not made again.

    Args:
        out: Folder for everything.
        heads: That the model learns from; a tenth each is kept apart for validation and test.
        denoiser_steps: Of training.
        n: Other heads that are edited.
    """
    use_threads(1)
    corpus = ImageSet.open(axial_phantoms(out / "corpus", heads, 0, ("MR", "CT"), synthetic=False))
    learnt = corpus.where(split="train")
    start = untaught(out / "start", learnt, NAMES)
    denoiser = {"variants": 2, "shape": SHAPE, "loop": LOOP | {"steps": denoiser_steps}}
    rest = {"autoencoder": OFF | {"crop": SIZE}, "few_step": OFF, "texture": OFF, "conditions": NAMES}
    if not (out / "model" / "model.json").is_file():
        train(corpus.folder, out / "model", load_train_config("cpu", start=str(start), denoiser=denoiser, **rest))
    model, means = LatentDiffusion.load(out / "model"), {}
    for modality in ("MR", "CT"):
        mine = learnt.where(modality=modality)
        means[modality] = np.rint(np.mean([mine.pixels(i) for i in range(len(mine))], axis=0)).astype(np.uint8)
    result = {"n": n} | {f"translate, strength {s:g}": translate(model, n, means, s) for s in (1.0, 0.9, 0.8)}
    result["explain"] = explain(model, corpus, n)
    text = json.dumps(result, indent=1)
    (out / "editing.json").write_text(text + "\n", encoding="utf-8")
    print(text)
