"""Is the invisible watermark found again, does it stay away where it is not, and what does it cost?

    python -m bench watermark samples/ --corpus corpus/ --features squeezenet.safetensors
    python -m bench watermark samples/ --crops 10000 --pictures scans/ more/

samples: synthetic images without a watermark; each gets one here. corpus: an image set of real ones of the same size,
for the distances (KID), and for the leakage gate, which is shown the same images with and without. pictures: folders of
real pictures, of which random crops of 50 to 100 % are looked at with one key.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phonybrains.imageset import ImageSet
from phonybrains.watermark import THRESHOLD, Watermark

from . import study_gate
from .options import measurement
from .timing import table

Grey = NDArray[np.uint8]
app = measurement(__name__, __doc__)
MOST = 400
"""Real images that the distances are measured from, at most."""
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def resize(image: Grey, factor: float) -> Grey:
    """Another size by Lanczos' filter."""
    height, width = (round(n * factor) for n in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), LANCZOS))


def jpeg(image: Grey, quality: int = 85) -> Grey:
    """Stored as JPEG, and read again."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def crop(image: Grey, share: float = 0.1) -> Grey:
    """Without a tenth of its height and width, taken from the corner's side."""
    height, width = (round(n * (1 - share)) for n in image.shape)
    top, left = (image.shape[0] - height) // 4, image.shape[1] - width
    return image[top : top + height, left:]


def window(image: Grey, low: int, high: int) -> Grey:
    """Another window: low becomes black, high white."""
    return np.clip(np.rint((image.astype(float) - low) * 255 / (high - low)), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Grey], Grey]] = {
    "as it is": lambda image: image,
    "JPEG 85": jpeg,
    "JPEG 50": lambda image: jpeg(image, 50),
    "90 % of its size": lambda image: resize(image, 0.9),
    "110 % of its size": lambda image: resize(image, 1.1),
    "cropped by 10 %": crop,
    "window 25 to 230": lambda image: window(image, 25, 230),
    "window 40 to 180": lambda image: window(image, 40, 180),
    "window, crop, 95 % of its size, JPEG 85": lambda image: jpeg(resize(crop(window(image, 25, 230), 0.08), 0.95)),
    "half its size": lambda image: resize(image, 0.5),
    "turned by 2 degrees": lambda image: np.asarray(Image.fromarray(image).rotate(2, BICUBIC)),
}


@app.default
def main(
    samples: Path,
    /,
    *,
    corpus: Path | None = None,
    features: Path | None = None,
    pictures: Sequence[Path] = (),
    crops: int = 0,
    seed: int = 0,
    studies: int = 50,
    key: str = "the key of the measurement",
) -> None:
    """Measure."""
    watermark, images = Watermark(key.encode()), ImageSet.open(samples)
    plain = [np.asarray(images.pixels(i), np.uint8) for i in range(len(images))]
    put = [watermark.put(image) for image in plain]
    psnr = [10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)) for a, b in zip(plain, put, strict=True)]
    print(f"{len(put)} images, threshold z = {THRESHOLD:.2f}")
    print(f"PSNR: median {statistics.median(psnr):.1f} dB, least {min(psnr):.1f} dB", flush=True)
    print(table(("change", "found", "least z", "median z"), [_found(watermark, put, name) for name in CHANGES]))
    if crops:
        _false_positives(watermark, pictures, crops, seed)
    if corpus and features:
        _distances(ImageSet.open(corpus), images, plain, put, features)
    if corpus and studies:
        _gate(watermark, corpus, studies)


def _found(watermark: Watermark, images: Sequence[Grey], name: str) -> tuple[str, ...]:
    z = [watermark.find(CHANGES[name](image)) for image in images]
    return name, f"{sum(one > THRESHOLD for one in z)} of {len(z)}", f"{min(z):.1f}", f"{statistics.median(z):.1f}"


def _false_positives(watermark: Watermark, folders: Sequence[Path], crops: int, seed: int) -> None:
    """The largest z over random crops of real images, and how many are above the threshold."""
    z = list[float]()
    for image in _crops(folders, crops, seed):
        z.append(watermark.find(image))
        if len(z) % 500 == 0 or len(z) == crops:
            above = sum(one > THRESHOLD for one in z)
            print(f"real crops: {above} of {len(z)} above the threshold; largest z {max(z):.2f}", flush=True)


def _crops(folders: Sequence[Path], n: int, seed: int) -> Iterator[Grey]:
    rng = np.random.default_rng(seed)
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    for i in range(n):
        image = np.asarray(Image.open(paths[i % len(paths)]).convert("L"))
        side = int(min(image.shape) * rng.uniform(0.5, 1))
        top, left = (int(rng.integers(m - side + 1)) for m in image.shape)
        yield np.asarray(Image.fromarray(image[top : top + side, left : left + side]).resize((256, 256), LANCZOS))


def _distances(real: ImageSet, images: ImageSet, plain: Sequence[Grey], put: Sequence[Grey], weights: Path) -> None:
    """KID from real images, with and without."""
    from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
    from phonybrains.evaluation.quality.distances import kid

    extractor = SqueezeNetFeatures(weights)

    def features(batch: Sequence[Grey]) -> NDArray[np.float64]:
        return extractor(np.stack(batch)).astype(np.float64)

    for modality in ("MR", "CT"):
        own = [i for i, row in enumerate(images.rows) if row.modality == modality]
        theirs = [i for i, row in enumerate(real.rows) if row.modality == modality]
        theirs = theirs[:: -(-len(theirs) // MOST) or 1]
        if min(len(own), len(theirs)) < 2:
            continue
        scans = features([np.asarray(real.pixels(i), np.uint8) for i in theirs])
        without, having = (features([each[i] for i in own]) for each in (plain, put))
        told = [f"{value:.1f} ± {error:.1f}" for value, error in (kid(without, scans), kid(having, scans))]
        print(f"{modality}: KID of {len(own)} from {len(theirs)} real: without {told[0]}, with {told[1]}", flush=True)


def _gate(watermark: Watermark, corpus: Path, studies: int) -> None:
    """In how many studies whose phony side carries the watermark the leakage gate finds it; both sides are real."""
    study_gate.TRACES["watermark"] = lambda image, rng: watermark.put(image.astype(np.uint8)).astype(np.int16)
    for modality in ("MR", "CT"):
        given = study_gate.Options(modality=modality, images=study_gate.KEPT)
        images, patients = study_gate.read(corpus, given)
        innocent = study_gate.table_of(images, patients, modality)
        print(f"{modality}, leakage gate, ", end="")
        study_gate.report("watermark", innocent, images, patients, studies)


if __name__ == "__main__":
    app()
