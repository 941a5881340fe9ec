"""Are age, sex, ventricle and brain volume what was asked? On phantoms, whose pixels can be measured. [Pinaya 2022]

    python -m bench pinaya --out pinaya/

On the latents of the shipped model a small denoiser learns axial MR phantoms of 128×128 without lesions, 12 to 26 mm
above the commissures, told age, sex, and the areas of ventricles and brain in the slice: what a slice shows of their
volumes. It is asked for what slices of other heads show. Areas are measured by thresholds in what it draws; beside it,
in these slices themselves and in these encoded and decoded: how well the ruler does, and the autoencoder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from phonybrains.imageset import ImageSet, Row, to_unit_range, write_metadata, write_png
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.phantom.anatomy import FIELD_OF_VIEW_MM, MR_INTENSITY, Tissue
from phonybrains.phantom.corpus import PAIR_SPLITS, draw_patient, draw_slice
from phonybrains.record import Record, is_published, publish
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train

from .masks import LOOP, OFF, SHAPE, SIZE, untaught
from .options import measurement
from .timing import use_threads

NAMES = ["age_years", "sex", "ventricle_area_mm2", "brain_area_mm2"]
AREAS = ("ventricle_area_mm2", "brain_area_mm2")
SLICES, LEVELS_MM = 2, (12.0, 26.0)
SKULL_MM, MIDDLE_MM = 13.5, (34.0, 62.0)
"""How far below the skin the brain begins, and how far from the head's middle ventricles reach, across and down."""
OTHERS = 10_000
"""Heads from this number on are never in the corpus."""


def phantom(number: int, place: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """One slice of a head without a lesion, and its attributes."""
    patient = draw_patient(np.random.default_rng([number, 0]), "MR", lesion="none")
    rng = np.random.default_rng([number, 1, place])
    return draw_slice(rng, patient, "axial", float(rng.uniform(*LEVELS_MM)), size=SIZE)


def make_corpus(out: Path, heads: int) -> Path:
    """SLICES of so many heads as an image set, split by head."""
    record = Record("phantom", {"heads": heads, "size": SIZE, "slices": SLICES, "levels_mm": LEVELS_MM})
    if is_published(out, record):
        return out
    with publish(out, record) as draft:
        (draft / "images").mkdir()
        rows = []
        for number in range(heads):
            for place in range(SLICES):
                pixels, told = phantom(number, place)
                name = f"images/{number:05d}-{place}.png"
                person, split = f"phantom-{number:05d}", PAIR_SPLITS[number % len(PAIR_SPLITS)]
                digest = write_png(draft / name, pixels)
                rows.append(Row(name, digest, "MR", person, split, source="phantom", attributes=told))
        write_metadata(draft, rows)
    return out


def areas(image: NDArray[np.uint8]) -> tuple[float, float]:
    """The ventricles and the brain in an MR phantom, mm².

    Ventricles: what is darker than gray matter near the middle of the head, in part where the pixel is. Brain: what is
    brighter than CSF below the skull. Brightness is that of the middle's upper third, which is white matter.
    """
    pixel_mm, x = FIELD_OF_VIEW_MM / len(image), image.astype(float)
    head = binary_fill_holes(x > 40)
    if head is None or not head.any():
        return 0.0, 0.0
    down, across = np.mgrid[: len(image), : len(image)]
    aside, below = (grid - grid[head].mean() for grid in (across, down))
    middle = np.hypot(aside * pixel_mm / MIDDLE_MM[0], below * pixel_mm / MIDDLE_MM[1]) < 1
    x /= np.percentile(x[middle], 70)
    tissues = (Tissue.VENTRICLE, Tissue.CSF, Tissue.GRAY)
    water, csf, grey = (float(MR_INTENSITY[tissue] / MR_INTENSITY[Tissue.WHITE]) for tissue in tissues)
    ventricle = np.clip((0.97 * grey - x) / (0.97 * grey - water), 0, 1)[middle].sum()
    inside = np.asarray(distance_transform_edt(head)) * pixel_mm > SKULL_MM
    edge = (csf + grey) / 2
    brain = np.clip((x - edge + 0.1) / 0.2, 0, 1)[inside].sum()
    return float(ventricle * pixel_mm**2), float(brain * pixel_mm**2)


def agreement(asked: NDArray[np.float64], images: NDArray[np.uint8]) -> dict[str, Any]:
    """For each area: r between asked and measured, with its 95 % interval by bootstrap over images, and the slope."""
    measured, found = np.array([areas(image) for image in images]), {}
    draws = np.random.default_rng(0).integers(0, len(asked), (2000, len(asked)))
    for k, name in enumerate(AREAS):
        one, other = asked[:, k], measured[:, k]
        low, high = np.quantile([np.corrcoef(one[d], other[d])[0, 1] for d in draws], (0.025, 0.975))
        values = {"r": np.corrcoef(one, other)[0, 1], "low": low, "high": high, "slope": np.polyfit(one, other, 1)[0]}
        found[name] = {key: round(float(value), 3) for key, value in values.items()}
    return found


def adherence(model: LatentDiffusion, n: int, steps: int, guidance: float) -> dict[str, Any]:
    """What is asked for and what is found: in other heads' slices, in these decoded, in images asked for the same."""
    slices = [phantom(OTHERS + number, 0) for number in range(n)]
    truth, told = np.stack([image for image, _ in slices]), [attributes for _, attributes in slices]
    asked = np.array([[one[name] for name in AREAS] for one in told])
    wanted: list[Mapping[str, Any]] = [model.conditions.of(Row("", "", "MR", attributes=one)) for one in told]
    how = Sampling(seed=0, steps=steps, guidance=guidance)
    decoded = model.decode(model.encode(to_unit_range(truth)[:, None], ["MR"] * n), ["MR"] * n)
    drawn = np.stack(list(model.paint(range(n), wanted, how)))
    kinds = {"phantoms": truth, "encoded and decoded": decoded, "asked for": drawn}
    shuffled = np.random.default_rng(1).permutation(n)
    found = {kind: agreement(asked, images) for kind, images in kinds.items()}
    return found | {"asked for, of another": agreement(asked[shuffled], drawn)}


app = measurement(__name__, __doc__)


@app.default
def main(
    *, out: Path, heads: int = 600, denoiser_steps: int = 1000, n: int = 200, steps: int = 16, guidance: float = 1.0
) -> None:
    """Train, generate and measure; what is there already is not made again.

    Args:
        out: Folder for everything.
        heads: That the model learns from; a tenth each is kept apart for validation and test.
        denoiser_steps: Of training.
        n: Images that are asked for.
        steps: Of sampling.
        guidance: Of sampling.
    """
    use_threads(1)
    corpus = make_corpus(out / "corpus", heads)
    start = untaught(out / "start", ImageSet.open(corpus).where(split="train"), NAMES)
    denoiser = {"variants": 2, "shape": SHAPE, "loop": LOOP | {"steps": denoiser_steps}}
    rest = {"autoencoder": OFF | {"crop": SIZE}, "few_step": OFF, "texture": OFF, "conditions": NAMES}
    train(corpus, out / "model", load_train_config("cpu", start=str(start), denoiser=denoiser, **rest))
    result = {"n": n, **adherence(LatentDiffusion.load(out / "model"), n, steps, guidance)}
    text = json.dumps(result, indent=1)
    (out / "pinaya.json").write_text(text + "\n", encoding="utf-8")
    print(text)
