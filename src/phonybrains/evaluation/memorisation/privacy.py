"""Whether a model's losses give away which images it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ...statistics.proportions import clopper_pearson
from ...statistics.roc import auc_interval, roc_curve
from ...wording import count_of
from ..score import Null, Score

Array = NDArray[Any]
FEWEST, MEMBERS = 10, 200


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
        Score.of("member_loss_auc", area, n=n, null=Null.known(0.5), **where),
        Score("member_loss_tpr_at_1pct", found, exact.low, exact.high, n, Null.known(0.01), **where),
    ]


def membership_of(
    model: Path, training: ImageSet, corpus: ImageSet, others: Sequence[int], seed: int
) -> Iterator[Score]:
    """`membership_scores` of at most MEMBERS random images a side: training ones, and those of the corpus numbered so.

    Raises ValueError with fewer than FEWEST of a side, or images of another size; ModelError for what is no model.
    """
    rng = np.random.default_rng([seed, 13])
    sides = [
        replace(images, rows=tuple(images.rows[i] for i in sorted(rng.permutation(numbers)[:MEMBERS].tolist())))
        for images, numbers in ((training, range(len(training))), (corpus, others))
    ]
    if min(map(len, sides)) < FEWEST:
        raise ValueError(f"only {count_of(min(map(len, sides)), 'training or held-out image')}: no loss to compare")
    losses = (member_losses(model, images) for images in sides)
    yield from membership_scores(*losses, modality=training.rows[0].modality)


def member_losses(model_folder: Path, images: ImageSet, repeats: int = 4) -> Array:
    """The denoising loss of a model for each image of a set, (n,), over times and noises that are always the same."""
    import torch

    from ...diffusion.objective import denoising_loss, draw_steps, draw_times
    from ...diffusion.process import Schedule, q_sample
    from ...model.latent_diffusion import LatentDiffusion
    from ...model.sampling import GAN

    model = LatentDiffusion.load(model_folder, "cpu")
    if model.chain.name == GAN:
        raise ValueError(f"{model_folder} is a GAN, which has no loss of single images to compare")
    if (model.size, model.size) != (images.height, images.width):
        raise ValueError(
            f"{model_folder} makes images of {model.size} pixels a side, the corpus has {images.width}×{images.height}"
        )
    process, objective, losses, start = model.chain.process, model.chain.objective, np.zeros(len(images)), 0
    names = [attribute.name for attribute in model.conditions.attributes]
    with torch.inference_mode():
        for batch in images.batches(16):
            rows = images.rows[start : start + len(batch)]
            x_0 = model.encode(batch, [row.modality for row in rows])
            asked = [{name: None if row[name] == "" else row[name] for name in names} for row in rows]
            wanted = model.conditions.encode(asked).to(x_0)
            times, noises = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
            for _ in range(repeats):
                n = len(batch)
                t = draw_steps(n, process.T, times) if isinstance(process, Schedule) else draw_times(n, times)
                noise = torch.randn(x_0.shape, generator=noises)
                output = model.denoiser(q_sample(x_0, t, process, noise), process.fraction(t), wanted)
                losses[start : start + n] += denoising_loss(output, x_0, noise, t, objective, process).numpy() / repeats
            start += len(batch)
    return losses
