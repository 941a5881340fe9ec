"""The commands of the evaluation: `phonybrains evaluate`, `phonybrains audit`, `phonybrains audit cascade`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from .options import Seed, Whole, Words
from .working import working

audit_app = App(name="audit", sort_key=8)


@working("quiet", "overwrite")
def evaluate(
    samples: Path,
    /,
    *,
    against: Path,
    out: Path,
    only: Words = None,
    features: str | None = None,
    model: Path | None = None,
    config: Path | None = None,
    attributes: Words = None,
    attribute: str | None = None,
    held_out: Literal["test", "validation"] | None = None,
    seed: Seed | None = None,
) -> None:
    """Measure synthetic images against the corpus their model learnt from: good, new, fair, useful?

    Exits with 1, and says so last, if the audit (of the part memorisation) fails; passed, look and undecided with 0.

    Args:
        samples: An image set of synthetic images.
        against: The image set that their model was trained on, with its splits.
        out: Folder for report.html, report.pdf, scores.json, scores.csv and the figures.
        only: Parts to measure, of quality, texture, memorisation, bias and utility.
        features: SqueezeNet weights (safetensors), a file or an address, for features besides the handcrafted ones.
        model: Folder of the model that made them, for what its autoencoder and its loss tell.
        config: TOML file with any of the settings of docs/evaluation.md; the options here win.
        attributes: Columns of metadata.csv to measure by; all that both sets have if not given.
        attribute: Columns that classifiers of the utility part learn, joined by commas.
        held_out: Split of the corpus to compare with (test; validation if there is none).
        seed: Start of the random numbers.
    """
    from ..config import load_config
    from ..evaluation.config import EvaluateConfig
    from ..evaluation.stage import evaluate
    from ..release_gate import refuse_failed

    given: dict[str, Any] = {"utility": {"attribute": attribute} if attribute else None}
    settings = load_config(
        EvaluateConfig,
        config,
        features=features,
        model=model,
        held_out=held_out,
        seed=seed,
        attributes=attributes and tuple(attributes),
        **given,
    )
    parts = [part for word in only or [] for part in word.split(",") if part]
    refuse_failed(evaluate(samples, against, out, settings, only=parts or None))


@audit_app.default
@working("quiet", "overwrite")
def audit(
    samples: Path,
    /,
    *,
    against: Path,
    out: Path,
    features: str | None = None,
    config: Path | None = None,
    seed: Seed | None = None,
) -> None:
    """Search generated images for repeated training images and patients: the part memorisation of evaluate alone.

    Exits with 1, and says so last, if the audit fails; passed, look and undecided with 0.

    Args:
        samples: An image set of synthetic images.
        against: The image set that their model was trained on, with its splits.
        out: Folder for audit.json, pairs.csv, report.html, report.pdf and the scores.
        features: SqueezeNet weights (safetensors), a file or an address, for search = "both".
        config: TOML file with any of the settings of docs/evaluation.md; the options here win.
        seed: Start of the random numbers.
    """
    only = ["memorisation"]
    evaluate(samples, against=against, out=out, only=only, features=features, config=config, seed=seed)


@audit_app.command
@working("quiet", "overwrite", "device")
def cascade(
    corpus: Path,
    /,
    *,
    out: Path,
    generations: Whole = 5,
    preset: str = "tiny",
    conditions: Words = None,
    steps: Whole = 8,
    seed: Seed = 0,
) -> None:
    """Train generation after generation of models, each on the images of the one before, and plot the drift.

    Args:
        corpus: An image set, of scans or of phantoms that play them.
        out: Folder for drift.csv, drift.png, drift.json and the images of each generation.
        generations: How many models.
        preset: Of their training, as for train; tiny takes seconds for each.
        conditions: Columns of metadata.csv that the models are told about; those with labels if not given.
        steps: Steps from noise to image.
        seed: Start of the random numbers.
    """
    from ..workflows.cascade import cascade

    cascade(corpus, out, generations, preset, seed=seed, conditions=conditions and tuple(conditions), steps=steps)
