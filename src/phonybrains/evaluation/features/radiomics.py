"""Radiomic features of whole images, those that the Fréchet radiomics distance is defined on."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ...errors import ModelError
from ..arrays import Array

TEXTURE = """
    Autocorrelation JointAverage ClusterProminence ClusterShade ClusterTendency Contrast Correlation DifferenceAverage
    DifferenceEntropy DifferenceVariance JointEnergy JointEntropy Imc1 Imc2 Idm Idmn Id Idn InverseVariance
    MaximumProbability SumEntropy SumSquares
""".split()  # noqa: SIM905
SETTINGS = {
    "imageType": {"Original": {}, "LoG": {"sigma": [2.0, 3.0, 4.0, 5.0]}, "Wavelet": {}},
    "featureClass": {"firstorder": None, "glcm": TEXTURE, "glrlm": None, "glszm": None, "ngtdm": None},
    "setting": {
        "normalize": True,
        "normalizeScale": 100,
        "interpolator": "sitkBSpline",
        "padDistance": 10,
        "resampledPixelSpacing": [2, 2, 0],
        "preCrop": True,
        "force2D": True,
        "force2Ddimension": 0,
        "binWidth": 5,
        "voxelArrayShift": 300,
        "label": 1,
    },
}
"""Of pyradiomics for 2-D images, as frd-score 1.0 has them."""
INSTALL = (
    "pip install 'phonybrains[frd]', then pip install --no-build-isolation pyradiomics==3.0.1, which needs a C compiler"
)


class Radiomics:
    """Features of pyradiomics (398 in its version 3.0.1), half a second for an image of 256 pixels a side.

    Of the image and its wavelet bands, and pyradiomics' numbers on the image as it came, as frd-score takes them: the
    rest is of normalised grey levels and knows nothing of brightness. pyradiomics makes no LoG images of a single
    slice. Raises ModelError where it is not installed.  [van Griethuysen 2017; Konz 2026]
    """

    name = "radiomics"

    def __init__(self) -> None:
        try:
            self.images = importlib.import_module("SimpleITK")
            package = importlib.import_module("radiomics")
            extractor = importlib.import_module("radiomics.featureextractor")
        except ImportError as error:
            raise ModelError(f"FRD needs pyradiomics ({error}). Install it: {INSTALL}.") from None
        package.setVerbosity(60)  # it warns of every image
        self.extractor = extractor.RadiomicsFeatureExtractor(SETTINGS)
        self.identity = f"radiomics pyradiomics-{str(package.__version__).lstrip('v')}"
        self.width = len(self._of(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)))

    def __call__(self, images: Array) -> Array:
        found = np.full((len(images), self.width), np.nan, np.float32)
        for i, image in enumerate(images):
            if len(np.unique(image.ravel()[1:])) > 1:  # no grey levels can be counted in a constant one
                found[i] = self._of(image)
        return found

    def _of(self, image: Array) -> Array:
        mask = np.ones((1, *image.shape), np.uint8)
        mask[0, 0, 0] = 0  # pyradiomics wants something outside
        sides = self.images.GetImageFromArray(image[None].astype(np.float32)), self.images.GetImageFromArray(mask)
        values = map(_number, self.extractor.execute(*sides).values())
        return np.array([value for value in values if value is not None])


def _number(found: Any) -> float | None:
    """A feature, or a diagnostic that is a number; None for versions, hashes and places."""
    try:
        return None if isinstance(found, str) else float(found)
    except (TypeError, ValueError):
        return None
