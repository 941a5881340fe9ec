"""The commands that say what images show: `phonybrains predict train` and `predict apply`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import App, Parameter

from ..startup import say
from .options import Seed, Share, Whole
from .working import working

predict_app = App(name="predict", help="Predict an attribute of images, and how sure each answer is (CARD).")


@predict_app.command(sort_key=1)
@working("quiet", "overwrite")
def train(
    corpus: Path,
    /,
    *,
    attribute: str,
    out: Path,
    config: Path | None = None,
    features: Path | None = None,
    draws: Whole | None = None,
    seed: Seed | None = None,
) -> None:
    """Learn an attribute from an image set, as a diffusion around what a plain network says of it.

    Args:
        corpus: An image set with the splits train, validation and test.
        attribute: Column of metadata.csv: a category, as diagnosis, or a number, as age_years.
        out: Folder of the model.
        config: TOML file with any of the settings of docs/predict.md; the options here win.
        features: SqueezeNet weights (safetensors), whose features the plain network sees in place of small images.
        draws: Answers to each image of test, which the figures come from (100).
        seed: Start of the random numbers.
    """
    from ..config import load_config
    from ..predicting.config import PredictConfig

    given = {"attribute": attribute, "features": features, "draws": draws, "seed": seed}
    settings = load_config(PredictConfig, config, **given)
    from ..predicting.stage import predict_train

    predict_train(corpus, out, settings)
    _tell(out, "test")
    following = f"phonybrains predict apply SET --model {quote(str(out))} --out answers/"
    say(f"{out} predicts {settings.attribute}. Next: {following}")


@predict_app.command(sort_key=2)
@working("quiet", "overwrite")
def apply(
    source: Annotated[Path, Parameter(name="SET")],
    /,
    *,
    model: Path,
    out: Path,
    attribute: str = "",
    draws: Whole = 100,
    steps: Whole = 20,
    alpha: Share = 0.01,
    seed: Seed = 0,
) -> None:
    """Predict the attribute of each image of a set: answer, probabilities or interval, and how sure it is.

    Args:
        source: An image set, of the size and modality that the model has learnt.
        model: A folder that "predict train" made.
        out: Folder of predictions.csv and its record.
        attribute: What is wanted, if it is to be checked against what the model predicts.
        draws: Answers to each image.
        steps: Steps of each answer.
        alpha: Level of the t-test that tells certain answers from others.
        seed: Start of the random numbers: answer i to row r depends on (seed, r, i) alone.
    """
    from ..predicting.stage import predict_apply

    predict_apply(source, model, out, attribute=attribute, draws=draws, steps=steps, alpha=alpha, seed=seed)
    _tell(out, "known")
    say(f"{out}/predictions.csv: an answer to each image. For research and teaching, not for diagnosis.")


def _tell(out: Path, part: str) -> None:
    """The figures of a record."""
    from ..record import read_record

    found = read_record(out)["results"].get(part, {})
    said = (f"{name} {value:.4g}" for name, value in found.items() if value is not None)
    if found:
        say(f"Where the truth is known ({part}): {', '.join(said)}.")
