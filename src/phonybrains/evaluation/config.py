"""Settings of an evaluation: one table for what all parts share, one for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..config import Config
from .weights import Weights

Part = Literal["quality", "texture", "memorisation", "bias", "utility"]
PARTS: tuple[Part, ...] = ("quality", "texture", "memorisation", "bias", "utility")

Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class QualityConfig(Config):
    """Distances, two-sample test, prevalence; `null_draws` are those of the texture too."""

    permutations: Whole = 500  # of the KID's p-value
    null_draws: Whole = 40  # real-real splits at the same n; fewer than 39 cannot show a two-sided p below 0.05
    neighbours: Whole = 5  # k of precision, recall, density, coverage
    network: bool = False  # a small network on crops of the images as one more classifier: a minute a modality
    inception: Weights | None = None  # file or address; shown as unavailable where there is none
    dinov2: Weights | None = None
    frd: bool = False  # Fréchet radiomics distance, with pyradiomics: half a second an image


class MemorisationConfig(Config):
    """Search for copies of training images."""

    search: Literal["registration", "features", "both"] = "registration"  # features: SqueezeNet's, which find less
    false_positives: Share = 0.01  # at which the threshold is calibrated on held-out patients
    pairs: Whole = 24  # most suspicious pairs shown to a human
    member_loss: bool = False  # whether the loss of `model` tells training images from held-out ones


class BiasConfig(Config):
    """Composition, noise and worst group."""

    smallest_group: Whole = 20  # groups with fewer images on either side are not measured


class UtilityConfig(Config):
    """A classifier for an attribute, trained with and without synthetic images."""

    attribute: str = ""  # column of metadata.csv that the classifier learns; "" skips the part with a note
    seeds: Whole = 5  # of which each begins a classifier anew
    networks: Whole = 5  # that learn to outline from the pairs of an arm; one says nothing of chance in learning
    real_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.25, 1.0)
    bootstraps: Whole = 1000


class EvaluateConfig(Config):
    """Settings of `evaluate`."""

    seed: Annotated[int, Field(ge=0)] = 0
    features: Weights | None = None  # SqueezeNet weights (safetensors), a file or an address
    model: Path | None = None  # model folder: its autoencoder alone is the chain's middle, its loss may tell members
    attributes: tuple[str, ...] | None = None  # columns to measure by; all that both sets have if not given
    held_out: Literal["test", "validation"] | None = None  # real split to compare with: test, else validation
    quality: QualityConfig = QualityConfig()
    memorisation: MemorisationConfig = MemorisationConfig()
    bias: BiasConfig = BiasConfig()
    utility: UtilityConfig = UtilityConfig()
