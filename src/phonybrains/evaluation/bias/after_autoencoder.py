"""Where along real → autoencoder → generated does the mixture change? Real images through the model's autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import to_unit_range
from ...wording import count_of
from ..features.shards import pixels_of
from ..inputs.real import Compared, Real
from ..inputs.sets import grouping
from ..score import Null, Score, tried, unavailable
from .composition import LabelShare, found_shares

if TYPE_CHECKING:
    from ...model.latent_diffusion import LatentDiffusion

Array = NDArray[Any]
MOST, BATCH = 200, 8
"""Real images that go through the autoencoder, and how many at a time."""


def reconstructions(model: LatentDiffusion, images: NDArray[np.uint8], modality: str) -> NDArray[np.uint8]:
    """Images (n, H, W) of one modality after encoding and decoding."""
    parts = []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        latents = model.encode(to_unit_range(part)[:, None], [modality] * len(part))
        parts.append(model.decode(latents, [modality] * len(part)))
    return np.concatenate(parts)


def shares_after(
    real: Real, attribute: str, numbers: list[int], features: Array, rng: np.random.Generator
) -> list[LabelShare]:
    """The shares of an attribute's labels in changed copies of real images, beside the true shares of these images.

    numbers: the images; features: (n, d) of their copies. Who reads a copy did not learn from its person.
    Raises ValueError where the attribute cannot be read.
    """
    known = real.readable(attribute)
    place = {int(number): k for k, number in enumerate(known.kept)}
    told = [i for i, number in enumerate(numbers) if number in place]
    if len(told) < 10:
        raise ValueError(f"the attribute is known of only {count_of(len(told), 'copied image')}")
    which = np.array([place[numbers[i]] for i in told])
    calls = known.reader.held_out_calls(features[told], which)
    k = len(known.scale.names)
    true = np.bincount(known.reader.truth[which], minlength=k) / len(which)
    people = np.unique([real.people[numbers[i]] for i in told], return_inverse=True)[1]
    return found_shares(known.reader.confusion, np.eye(k)[calls], true, known.scale.names, rng, people)


def autoencoder_scores(side: Compared, model: Path) -> Iterator[Score]:
    """Composition and amplification after the autoencoder alone; what the denoiser adds is in `amplification`."""
    from ...model.latent_diffusion import LatentDiffusion

    real = side.real
    modality = real.rows[0].modality
    network = LatentDiffusion.load(model)
    if network.size != real.images.height or network.size != real.images.width:
        sizes = f"{network.size} pixels a side, the corpus has {real.images.width}×{real.images.height}"
        yield unavailable("amplification_autoencoder", f"the model makes images of {sizes}", versus="autoencoder")
        return
    numbers = sorted(side.rng(43).permutation(len(real.rows))[:MOST].tolist())
    features = side.extractor(reconstructions(network, pixels_of(real.images, numbers), modality)).astype(float)
    where: dict[str, Any] = {"versus": "autoencoder", "extractor": side.extractor.identity}

    def scores_of(attribute: str) -> Iterator[Score]:
        for one in shares_after(real, attribute, numbers, features, side.rng(47)):
            of = where | {"group": f"{attribute}={one.label}", "p": one.p_value}
            note, null = "of the same real images before: the null", Null.known(one.training)
            yield Score.of("composition_autoencoder", one.share, null=null, note=note, **of)
            yield Score.of("amplification_autoencoder", one.amplification, null=Null.known(0.0), **of)

    for attribute in grouping(side.attributes, side.config):
        yield from tried("amplification_autoencoder", scores_of(attribute), group=attribute, **where)
