"""Whether a model's losses give away which images it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ...statistics.bootstrap import drawn_again, share_of
from ...statistics.multireader import areas, these_readers
from ...wording import count_of
from ..inputs.patients import patients
from ..score import Null, Score, unavailable

Array = NDArray[Any]
FEWEST, MEMBERS, FALSE, DRAWS = 10, 200, 0.01, 1000
"""Images of a side, at the least and at the most; false positives at which members are counted; draws of people."""


def membership_scores(
    members: Array, others: Array, owners: Sequence[str] | None = None, modality: str = "", seed: int = 0
) -> list[Score]:
    """How well a model's loss tells training images (n,) from held-out ones (m,): AUC, and true positives at 1 % false.

    Members have the lower loss. 0.5 and 1 % are chance, if both sides are alike but for that. owners: whom each image
    shows, members first, by default each another; people are kept together in the intervals. With fewer than 100
    held-out images none may be a false positive, and by chance far more than 1 % of the members lie beyond all of
    them: then the second figure cannot be had.  [Carlini 2022 for it]
    """
    losses, truth = -np.concatenate([members, others]), np.arange(len(members) + len(others)) < len(members)
    people = np.arange(len(losses)).astype(str) if owners is None else np.asarray(owners)
    n = min(len(members), len(others))
    where: dict[str, Any] = {"versus": "held-out", "modality": modality}
    area = these_readers(areas(losses[None], truth, people)).estimate
    scores = [Score.of("member_loss_auc", area, n=n, null=Null.known(0.5), **where)]
    if len(others) * FALSE < 1:
        few = f"1 % of {count_of(len(others), 'held-out image')} is less than one: {round(1 / FALSE)} are needed"
        return [*scores, unavailable("member_loss_tpr_at_1pct", few, **where)]
    rng = np.random.default_rng([seed, 19])
    again = np.concatenate([np.ones((1, len(losses))), drawn_again(people, DRAWS, rng)])
    found = found_at(losses, truth, again)
    units = min(len(np.unique(people[side])) for side in (truth, ~truth))
    share = share_of(float(found[0]), found[1:], units, rng).estimate(n)
    return [*scores, Score.of("member_loss_tpr_at_1pct", share, null=Null.known(FALSE), **where)]


def found_at(scores: Array, truth: Array, weights: Array, rate: float = FALSE) -> Array:
    """The share of positives above a threshold that at most a share `rate` of the negatives pass, (B,), under each row
    of weights (B, n); NaN where a side has no weight."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    passed = []
    for side in (truth, ~truth):
        counts = np.cumsum(weights[:, order] * side[order], axis=1)
        passed.append(np.divide(counts, counts[:, -1:], out=np.full(counts.shape, np.nan), where=counts[:, -1:] > 0))
    true, false = (shares[:, ends] for shares in passed)
    found = np.where(false <= rate + 1e-9, true, 0).max(axis=1)
    return np.where(np.isnan(false).any(axis=1) | np.isnan(true).any(axis=1), np.nan, found)


def membership_of(
    model: Path, training: ImageSet, corpus: ImageSet, others: Sequence[int], seed: int
) -> Iterator[Score]:
    """`membership_scores` of at most MEMBERS random images a side: training ones, and those of the corpus numbered so.

    Raises ValueError with fewer than FEWEST of a side, or images of another size; ModelError for what is no model.
    """
    rng, sides, owners = np.random.default_rng([seed, 13]), [], []
    for images, numbers, kind in ((training, range(len(training)), "training"), (corpus, others, "held-out")):
        chosen, people = sorted(rng.permutation(numbers)[:MEMBERS].tolist()), patients(images.rows)
        sides.append(replace(images, rows=tuple(images.rows[i] for i in chosen)))
        owners += [f"{kind} {people[i]}" for i in chosen]
    if min(map(len, sides)) < FEWEST:
        raise ValueError(f"only {count_of(min(map(len, sides)), 'training or held-out image')}: no loss to compare")
    members, held = (member_losses(model, images) for images in sides)
    yield from membership_scores(members, held, owners, training.rows[0].modality, seed)


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
