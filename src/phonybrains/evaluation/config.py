"""Settings of an evaluation: one table for what all parts share, one for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..config import Config

Part = Literal["quality", "memorisation", "bias", "utility"]
PARTS: tuple[Part, ...] = ("quality", "memorisation", "bias", "utility")

Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class QualityConfig(Config):
    """Distances, two-sample test, spectra, prevalence."""

    permutations: Whole = 500  # of the KID's p-value
    null_draws: Whole = 20  # real-real splits at the same n
    neighbours: Whole = 5  # k of precision, recall, density, coverage
    inception: Path | None = None  # weights file; shown as unavailable where there is none
    dinov2: Path | None = None


class MemorisationConfig(Config):
    """Search for copies of training images."""

    false_positives: Share = 0.01  # at which the threshold is calibrated on held-out patients
    pairs: Whole = 24  # most suspicious pairs shown to a human


class BiasConfig(Config):
    """Composition, noise and worst group."""

    model: Path | None = None  # model folder: its autoencoder alone is the chain's middle
    smallest_group: Whole = 20  # groups with fewer images on either side are not measured


class UtilityConfig(Config):
    """A classifier for an attribute, trained with and without synthetic images."""

    attribute: str = ""  # column of metadata.csv that the classifier learns; "" skips the part with a note
    seeds: Whole = 5
    real_shares: tuple[float, ...] = (0.1, 0.25, 1.0)
    bootstraps: Whole = 1000


class EvaluateConfig(Config):
    """Settings of `evaluate`."""

    seed: Annotated[int, Field(ge=0)] = 0
    features: Path | None = None  # SqueezeNet weights (safetensors)
    attributes: tuple[str, ...] | None = None  # columns to measure by; all that both sets have if not given
    held_out: Literal["test", "validation"] | None = None  # real split to compare with: test, else validation
    quality: QualityConfig = QualityConfig()
    memorisation: MemorisationConfig = MemorisationConfig()
    bias: BiasConfig = BiasConfig()
    utility: UtilityConfig = UtilityConfig()
