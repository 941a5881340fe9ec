"""Does the model copy? The training image nearest to each of some generated ones, watched while it trains.

A quick look by correlation with mirror images; it knows no rotations, scales or shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from .corpus import Corpus

SIDE = 64


@dataclass(frozen=True)
class CopyWatch:
    """Training images as thumbnails less their mean, by modality, and how near images not trained on come to them."""

    means: dict[str, Tensor]
    train: dict[str, Tensor]
    usual: dict[str, float]
    """99th percentile of the nearness of validation images."""

    @classmethod
    def of(cls, corpus: Corpus) -> CopyWatch:
        """Learn what is usual from a corpus; a modality without validation images has no usual nearness."""
        found = cls({}, {}, {})
        for modality in dict.fromkeys(corpus.modalities):
            train, held_out = (_of_modality(corpus, split, modality) for split in (corpus.train, corpus.validation))
            if len(train) and len(held_out):
                found.means[modality] = train.mean(dim=0)
                found.train[modality] = _directions(train, found.means[modality])
                found.usual[modality] = found._nearest(held_out, modality).quantile(0.99).item()
        return found

    def figures(self, images: Tensor, modalities: Sequence[object]) -> dict[str, float]:
        """Of generated images (n, 1, H, W): the highest correlation with a training image, and how many are unusual."""
        nearest, unusual = [0.0], 0
        for index, modality in enumerate(map(str, modalities)):
            if modality in self.usual:
                nearness = self._nearest(_thumbnails(images[index : index + 1]), modality).item()
                nearest.append(nearness)
                unusual += nearness > self.usual[modality]
        return {"nearest training image": round(max(nearest), 4), "nearer than 99 % of validation": unusual}

    def _nearest(self, thumbnails: Tensor, modality: str) -> Tensor:
        """Highest correlation with any training image or its mirror image, (n,)."""
        both = torch.stack([thumbnails, thumbnails.flip(-1)])
        directions = _directions(both.flatten(0, 1), self.means[modality])
        return (directions @ self.train[modality].T).amax(dim=1).unflatten(0, (2, -1)).amax(dim=0)


def _of_modality(corpus: Corpus, split: Tensor, modality: str) -> Tensor:
    rows = torch.tensor([i for i in split.tolist() if corpus.modalities[i] == modality], dtype=torch.long)
    return torch.cat([_thumbnails(corpus.images(part)).cpu() for part in rows.split(256)] or [torch.empty(0)])


def _thumbnails(images: Tensor) -> Tensor:
    return adaptive_avg_pool2d(images.float(), SIDE)[:, 0]


def _directions(thumbnails: Tensor, mean: Tensor) -> Tensor:
    flat = (thumbnails - mean).flatten(1)
    return normalize(flat - flat.mean(dim=1, keepdim=True))
