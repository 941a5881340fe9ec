"""Does a model copy? As many of its images come near a training image as chance gives, or more?

    python -m bench copies samples/ --corpus corpus/ --out copies.png

Per modality: how many are nearer to a training image (mirrored, turned, scaled and shifted ones included) than 99 % of
the validation images are, the chance of so many or more if the true share is 1 %, and a sheet of all of them, each
beside its training image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from scipy.stats import binomtest

from phonybrains.held_out import held_out
from phonybrains.imageset import ImageSet
from phonybrains.reporting.sheets import contact_sheet

from .nearest import SearchedImages
from .options import measurement
from .study import read

app = measurement(__name__, __doc__)


@app.default
def main(
    samples: Annotated[Path, Parameter(name="SAMPLES")], /, *, corpus: Path, out: Path = Path("copies.png")
) -> None:
    """Count the images of a set that come nearer to a training image than is usual, and draw them.

    Args:
        samples: An image set of generated images.
        corpus: The image set that the model was trained on, with its splits.
        out: Picture of those above the threshold, or of the nearest eight where there are none; figures beside it.
    """
    made, real, figures = ImageSet.open(samples), ImageSet.open(corpus), {}
    shown, labels = [], []
    taught = [i for i, row in enumerate(real.rows) if row.split == "train"]
    for modality in sorted({row.modality for row in made.rows}):
        train, unseen = (
            read(real, [i for i in numbers if real.rows[i].modality == modality])
            for numbers in (taught, held_out(real.rows, "validation"))
        )
        images = read(made, [i for i, row in enumerate(made.rows) if row.modality == modality])
        gallery = SearchedImages(train)
        threshold = float(np.quantile(gallery.nearest(unseen).correlation, 0.99))
        found = gallery.nearest(images)
        above = np.flatnonzero(found.correlation > threshold)
        figures[modality] = {
            "n": len(images),
            "threshold": threshold,
            "above": len(above),
            "highest": float(found.correlation.max()),
            "p": float(binomtest(len(above), len(images), 0.01, alternative="greater").pvalue),
        }
        print(modality, json.dumps(figures[modality]), flush=True)
        for i in above if len(above) else np.argsort(-found.correlation)[:8]:
            shown += [images[i], train[found.index[i]]]
            labels += [f"{modality} {found.correlation[i]:.3f}", "training"]
    contact_sheet(shown, out, columns=8, labels=labels)
    out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
