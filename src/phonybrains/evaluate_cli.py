"""The commands of the evaluation: `phonybrains evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def evaluate(
    samples: Path,
    /,
    *,
    against: Path,
    out: Path,
    only: Words = None,
    features: Path | None = None,
    config: Path | None = None,
    attributes: Words = None,
    attribute: str | None = None,
    held_out: Literal["test", "validation"] | None = None,
    seed: int | None = None,
) -> None:
    """Measure synthetic images against the corpus their model learnt from: good, new, fair, useful?

    Args:
        samples: An image set of synthetic images.
        against: The image set that their model was trained on, with its splits.
        out: Folder for report.html, report.pdf, scores.json, scores.csv and the figures.
        only: Parts to measure, of quality, memorisation, bias and utility.
        features: SqueezeNet weights (safetensors) for features besides the handcrafted ones.
        config: TOML file with any of the settings of docs/evaluation.md; the options here win.
        attributes: Columns of metadata.csv to measure by; all that both sets have if not given.
        attribute: Column that the classifier of the utility part learns.
        held_out: Split of the corpus to compare with (test; validation if there is none).
        seed: Start of the random numbers.
    """
    from .config import load_config
    from .evaluation.config import EvaluateConfig
    from .evaluation.stage import evaluate

    given: dict[str, Any] = {"utility": {"attribute": attribute} if attribute else None}
    settings = load_config(EvaluateConfig, config, features=features, attributes=attributes and tuple(attributes),
                           held_out=held_out, seed=seed, **given)  # fmt: skip
    parts = [part for word in only or [] for part in word.split(",") if part]
    evaluate(samples, against, out, settings, only=parts or None)
