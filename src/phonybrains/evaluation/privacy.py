"""How much of its training images a set of synthetic images gives away: distances in features, and a model's losses.

All functions take features (n, d) as arrays. [AuthPct: Alaa 2022, sec. 3.3; C_T: Meehan 2020, sec. 3]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imageset import ImageSet, Row
from ..statistics.estimate import Estimate
from ..statistics.proportions import clopper_pearson
from ..statistics.roc import auc_interval, placements, roc_curve
from .score import Null, Score, unavailable

Array = NDArray[Any]
DRAWS = 20
FEWEST, MEMBERS = 10, 200


def nearest_distance(x: Array, stock: Array, *, itself: bool = False) -> tuple[Array, Array]:
    """Distance of each x, (n, d), to the nearest of a stock, (m, d), and which that is; `itself`: x is the stock."""
    distance, index = np.empty(len(x)), np.empty(len(x), dtype=int)
    squares = (stock.astype(np.float64) ** 2).sum(axis=1)
    for start in range(0, len(x), 512):
        part = x[start : start + 512].astype(np.float64)
        square = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ stock.T
        if itself:
            rows = np.arange(len(part))
            square[rows, start + rows] = np.inf
        index[start : start + 512] = square.argmin(axis=1)
        distance[start : start + 512] = np.sqrt(np.maximum(square.min(axis=1), 0))
    return distance, index


def authentic_share(training: Array, made: Array) -> Estimate:
    """AuthPct: the share of images farther from their nearest training image than that is from its own nearest.

    Copies are not authentic; a model that has only learnt the distribution scores about what held-out images score.
    """
    distance, index = nearest_distance(made, training)
    own, _ = nearest_distance(training, training, itself=True)
    return clopper_pearson(int((distance > own[index]).sum()), len(made))


def copying_z(training: Array, held_out: Array, made: Array) -> float:
    """C_T over the whole space: below -3 copies, about 0 as far from training as held-out images, above 3 under-fitted.

    The Mann-Whitney statistic of distances to the nearest training image, as a normal deviate.
    """
    far, _ = nearest_distance(held_out, training)
    near, _ = nearest_distance(made, training)
    n, m = len(near), len(far)
    truth = np.arange(n + m) < n
    u = float(placements(np.concatenate([near, far]), truth)[0].mean())  # P(made farther than held-out)
    return (u - 0.5) / math.sqrt((n + m + 1) / (12 * n * m))


def nearest_share(training: Array, held_out: Array, made: Array, seed: int = 0) -> Estimate:
    """The share of images whose nearest real image is a training one, among equally many of both; 0.5 is chance.

    The mean over random halves of the larger side; the interval is the exact one of a single draw.
    """
    m = min(len(training), len(held_out))
    shares = []
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, 12, draw])
        one, two = (x[rng.permutation(len(x))[:m]] for x in (training, held_out))
        shares.append(float((nearest_distance(made, one)[0] < nearest_distance(made, two)[0]).mean()))
    exact = clopper_pearson(round(float(np.mean(shares)) * len(made)), len(made))
    return Estimate(float(np.mean(shares)), exact.low, exact.high, len(made))


def privacy_scores(
    training: Array, held_out: Array, made: Array, *, modality: str = "", extractor: str = "", seed: int = 0
) -> list[Score]:
    """AuthPct beside that of held-out images, C_T, and the share of nearest neighbours."""
    where: dict[str, Any] = {"versus": "train", "modality": modality, "extractor": extractor}
    if len(training) < 2:
        return [unavailable("authentic_share", "fewer than two training images", **where)]
    share = authentic_share(training, made)
    if len(held_out) < FEWEST:
        note = f"only {len(held_out)} held-out images"
        return [Score("authentic_share", share.value, share.low, share.high, share.n, **where),
                *(unavailable(name, note, **where) for name in ("copying_z", "nearest_share"))]  # fmt: skip
    usual, z, nearest = (authentic_share(training, held_out), copying_z(training, held_out, made),
                         nearest_share(training, held_out, made, seed))  # fmt: skip
    n = min(len(made), len(held_out))
    return [
        Score("authentic_share", share.value, share.low, share.high, share.n,
              Null(usual.value, usual.low, usual.high, usual.n), note="null: held-out images", **where),
        Score("copying_z", z, z - 1.96, z + 1.96, n, Null(0.0, -1.96, 1.96), note="below -3: copies", **where),
        Score("nearest_share", nearest.value, nearest.low, nearest.high, nearest.n, Null(0.5, 0.5, 0.5), **where),
    ]  # fmt: skip


def membership_scores(members: Array, others: Array, modality: str = "") -> list[Score]:
    """How well a model's loss tells training images (n,) from held-out ones (m,): AUC, and true positives at 1 % false.

    Members have the lower loss. 0.5 and 1 % are chance, if both sides are alike but for that.  [Carlini 2022 for the
    second figure]
    """
    losses, truth = -np.concatenate([members, others]), np.arange(len(members) + len(others)) < len(members)
    n = min(len(members), len(others))
    where: dict[str, Any] = {"versus": "held-out", "modality": modality}
    area, curve = auc_interval(losses, truth), roc_curve(losses, truth)
    found = float(curve.true_positive_rate[curve.false_positive_rate <= 0.01].max())
    exact = clopper_pearson(round(found * len(members)), len(members))
    return [
        Score("member_loss_auc", area.value, area.low, area.high, n, Null(0.5, 0.5, 0.5), **where),
        Score("member_loss_tpr_at_1pct", found, exact.low, exact.high, n, Null(0.01, 0.01, 0.01), **where),
    ]


def membership_of(model: Path, training: ImageSet, corpus: ImageSet, others: Sequence[int], seed: int) -> list[Score]:
    """`membership_scores` of at most MEMBERS random images a side: training ones, and those of the corpus numbered so.

    Raises ValueError with fewer than FEWEST of a side, or images of another size; ModelError for what is no model.
    """
    rng = np.random.default_rng([seed, 13])
    sides = [replace(images, rows=tuple(images.rows[i] for i in sorted(rng.permutation(numbers)[:MEMBERS].tolist())))
             for images, numbers in ((training, range(len(training))), (corpus, others))]  # fmt: skip
    if min(map(len, sides)) < FEWEST:
        raise ValueError(f"only {min(map(len, sides))} training or held-out images: no loss to compare")
    return membership_scores(*(member_losses(model, images) for images in sides), modality=training.rows[0].modality)


def member_losses(model_folder: Path, images: ImageSet, repeats: int = 4) -> Array:
    """The denoising loss of a model for each image of a set, (n,), over times and noises that are always the same."""
    import torch

    from ..diffusion.objective import denoising_loss, draw_steps, draw_times
    from ..diffusion.process import Schedule, q_sample
    from ..model.latent_diffusion import LatentDiffusion

    model = LatentDiffusion.load(model_folder, "cpu")
    if (model.size, model.size) != (images.height, images.width):
        raise ValueError(f"{model_folder} makes images of {model.size} pixels a side, the corpus has "
                         f"{images.width}×{images.height}")  # fmt: skip
    process, objective, losses, start = model.chain.process, model.chain.objective, np.zeros(len(images)), 0
    names = [attribute.name for attribute in model.conditions.attributes]
    with torch.inference_mode():
        for batch in images.batches(16):
            rows = images.rows[start : start + len(batch)]
            x_0 = model.encode(batch, [row.modality for row in rows])
            wanted = model.conditions.encode([_asked(row, names) for row in rows]).to(x_0)
            times, noises = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
            for _ in range(repeats):
                n = len(batch)
                t = draw_steps(n, process.T, times) if isinstance(process, Schedule) else draw_times(n, times)
                noise = torch.randn(x_0.shape, generator=noises)
                output = model.denoiser(q_sample(x_0, t, process, noise), process.fraction(t), wanted)
                losses[start : start + n] += denoising_loss(output, x_0, noise, t, objective, process).numpy() / repeats
            start += len(batch)
    return losses


def _asked(row: Row, names: list[str]) -> dict[str, Any]:
    return {name: None if row[name] == "" else row[name] for name in names}
