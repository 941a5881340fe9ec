"""CARD on its paper's toy tasks, and on a corpus beside its own base network and a calibrated logistic regression.

toys: the paper's 8 tasks (10,240 points, 80 % to learn from): RMSE of the mean, QICE and PICP of 1024 points.
diagnosis --corpus CORPUS: an attribute of it: accuracy, also of the answers it is sure of and of the rest.
age --n N: the age of phantoms: error, interval and its coverage.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Generator, Tensor

from phonybrains.imageset import ImageSet
from phonybrains.optimising.config import LoopConfig
from phonybrains.optimising.loop import Task, fit
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.predicting.certainty import picp, qice
from phonybrains.predicting.labels import codes, label_of, rows_of
from phonybrains.predicting.predictor import Predictor, Subject
from phonybrains.predicting.stage import predict_train

from .options import measurement

POINTS, LEARNT, MEASURED = 10_240, 8192, 1024
app = measurement(__name__, __doc__)


def _even(rng: Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(POINTS, generator=rng)


def _normal(rng: Generator, deviation: float) -> Tensor:
    return deviation * torch.randn(POINTS, generator=rng)


def _wave(x: Tensor) -> Tensor:
    return x + 0.3 * torch.sin(2 * math.pi * x)


def _linear(g: Generator) -> tuple[Tensor, Tensor]:
    x = _even(g, -5, 5)
    return x, 2 + 3 * x + _normal(g, 2)


def _quadratic(g: Generator) -> tuple[Tensor, Tensor]:
    x = _even(g, -5, 5)
    return x, 3 * x**2 + 2 * x + 1 + _normal(g, 2)


def _log_log(power: int) -> Callable[[Generator], tuple[Tensor, Tensor]]:
    def drawn(g: Generator) -> tuple[Tensor, Tensor]:
        x = _even(g, 0, 10)
        return x, x**power * _normal(g, 0.15).exp()

    return drawn


def _sinusoidal(g: Generator) -> tuple[Tensor, Tensor]:
    x = _even(g, 0, 1)
    return x, _wave(x) + _normal(g, 0.08)


def _inverse(g: Generator) -> tuple[Tensor, Tensor]:
    x, y = _sinusoidal(g)
    return y, x


def _gaussians(g: Generator) -> tuple[Tensor, Tensor]:
    angle = torch.randint(8, (POINTS,), generator=g) * math.pi / 4
    return (2 * angle.cos() + _normal(g, 0.1)) / 1.414, (2 * angle.sin() + _normal(g, 0.1)) / 1.414


def _circle(g: Generator) -> tuple[Tensor, Tensor]:
    angle, radius = _even(g, 0, 2 * math.pi), 10 + _normal(g, 0.5)
    return radius * angle.cos(), radius * angle.sin()


def _mean_of(power: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x**power * math.exp(0.15**2 / 2)


TASKS: dict[str, tuple[Callable[[Generator], tuple[Tensor, Tensor]], Callable[[Tensor], Tensor] | None]] = {
    "linear": (_linear, lambda x: 2 + 3 * x),
    "quadratic": (_quadratic, lambda x: 3 * x**2 + 2 * x + 1),
    "log-log linear": (_log_log(1), _mean_of(1)),
    "log-log cubic": (_log_log(3), _mean_of(3)),
    "sinusoidal": (_sinusoidal, _wave),
    "inverse sinusoidal": (_inverse, None),
    "8 Gaussians": (_gaussians, None),
    "full circle": (_circle, None),
}
"""How points are drawn, and E(y|x) where y has one mode.  [Han 2022, tab. 7; constants as in its code]"""


def _follow(task: Task, loop: LoopConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for _ in fit(task, loop, 0, Path(folder), Accelerator(cpu=True)):
            pass


def toy(name: str, steps: int, seed: int = 0, draws: int = 100) -> dict[str, Any]:
    """Learn one task, and measure it on the points kept apart."""
    begun, (drawn, mean) = time.process_time(), TASKS[name]
    x, y = drawn(Generator().manual_seed(seed))
    learnt, held = slice(LEARNT), slice(LEARNT, LEARNT + MEASURED)
    centre, spread, at, wide = y[learnt].mean(), y[learnt].std(), x[learnt].mean(), x[learnt].std()
    inputs, targets = ((x - at) / wide)[:, None], ((y - centre) / spread)[:, None]
    subject = Subject(attribute=name, width=1, centre=float(centre), spread=float(spread))
    model = Predictor.new(subject, seed=seed)
    pairs = inputs[learnt], targets[learnt]
    each = {"learning_rate": 2e-3, "averages": (0.995,), "keep": "last", "validate_every": steps}
    base, diffusion = (LoopConfig(steps=n, batch_size=256, **each) for n in (600, steps))
    model.learn(pairs, pairs, pairs, base, diffusion, _follow)
    rng, parts = Generator().manual_seed(seed + 1), inputs[held].split(32)
    found = torch.cat([model.draw(part, rng, draws, 20)[..., 0] for part in parts]).numpy()
    truth = y[held].numpy()
    error = None if mean is None else float(np.sqrt(np.mean((found.mean(1) - mean(x[held]).numpy()) ** 2)))
    row: dict[str, Any] = {
        "task": name,
        "RMSE": error,
        "QICE %": 100 * qice(found, truth),
        "PICP %": 100 * picp(found, truth),
    }
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
    return rounded | {"spread": round(float(spread), 3), "seconds": round(time.process_time() - begun, 1)}


@app.command
def toys(*names: str, steps: int = 2000, seed: int = 0) -> None:
    """The paper's toy tasks, all or some by name."""
    for name in names or TASKS:
        print(json.dumps(toy(name, steps, seed)), flush=True)


@app.command
def diagnosis(
    *, corpus: Path, attribute: str = "diagnosis", features: Path | None = None, out: Path | None = None, seed: int = 0
) -> None:
    """An attribute of a corpus: CARD, its base network, and a calibrated logistic regression on the same features."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        wanted: Any = {"attribute": attribute, "features": features, "seed": seed}
        trained = predict_train(corpus, out or Path(folder) / "model", **wanted)
        results = json.loads((trained / "record.json").read_text())["results"]
        print(json.dumps(results["test"], indent=1), f"{time.process_time() - begun:.0f} s", flush=True)
        model, images = Predictor.load(trained), ImageSet.open(corpus)
        x, y = {}, {}
        for split in ("train", "validation", "test"):
            rows = rows_of(images, attribute, split)
            part = replace(images, rows=tuple(images.rows[i] for i in rows))
            x[split] = model.inputs(part) if features else model.base.embed(model.inputs(part)).detach()
            y[split] = codes([label_of(row, attribute) for row in part.rows], model.subject)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)).fit(x["train"], y["train"])
    calibrated: Any = CalibratedClassifierCV(FrozenEstimator(logistic), method="sigmoid")
    calibrated.fit(x["validation"], y["validation"])
    found = calibrated.predict_proba(x["test"])
    answer, sure = calibrated.classes_[found.argmax(1)], found.max(1)
    right, most = answer == y["test"], np.argsort(-sure)[: results["test"]["certain"]]
    rest = np.setdiff1d(np.arange(len(right)), most)
    said = {"accuracy": right.mean(), "of as many surest": right[most].mean(), "of the rest": right[rest].mean()}
    print("calibrated logistic:", {key: round(float(value), 4) for key, value in said.items()}, flush=True)


@app.command
def age(*, n: int = 1200, out: Path | None = None, seed: int = 0) -> None:
    """The age of phantoms of 64×64, from n images."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_phantoms(n, Path(folder) / "phantoms", seed=seed, size=64)
        trained = predict_train(corpus, out or Path(folder) / "model", attribute="age_years", seed=seed)
        print(json.dumps(json.loads((trained / "record.json").read_text())["results"], indent=1))


if __name__ == "__main__":
    app()
