"""CARD: an attribute of an image as a diffusion around what a plain network says of it.  [Han 2022]

The forward process drifts to f(x): q(y_t|y_0, f) = N(√ᾱ_t y_0 + (1 - √ᾱ_t) f, (1 - ᾱ_t) I), eq. 5. So y_t - f is
DDPM's own process on y_0 - f, its posterior that of eq. 6-9, and a vector diffusion of y_0 - f, told x and f, is CARD.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Generator, Tensor

from ..config import Config
from ..errors import ConfigError, ModelError
from ..files import write_whole
from ..imageset import ImageSet
from ..model.drawing import image_seed
from ..model.seal import check_part, read_sealed, sealed
from ..model.vectors import AGAIN, VectorDiffusion
from ..networks.squeezenet import MEAN, SqueezeNet
from ..optimising.config import LoopConfig
from ..optimising.loop import Task
from ..optimising.vectors import VectorTask
from ..record import sha256_file
from ..tensors import write_tensors
from .base import EMBEDDED, SIDE, BaseNetwork, BaseTask, Labelled, shifted

DESCRIPTION, BASE, FEATURES, FORMAT_VERSION = "predictor.json", "base.safetensors", "features.safetensors", 1
SQUEEZED, AT_ONCE, VERSIONS = 512, 16, 8
Follow = Callable[[Task, LoopConfig], None]


class Subject(Config):
    """What is predicted, of which images: predictor.json.

    labels: of a category; empty for a number, which is centre + spread · y. width: of the vectors that f sees, 0 for
    images. temperature: of probabilities. size: height and width of images.
    """

    attribute: str
    labels: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0
    width: int = 0
    temperature: float = 1.0
    size: tuple[int, int] = (0, 0)
    modalities: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION
    sha256: dict[str, str] = {}


@dataclass
class Predictor:
    """A base network f, and the diffusion around what it says; features: SqueezeNet weights, if f sees theirs."""

    subject: Subject
    base: BaseNetwork
    diffusion: VectorDiffusion
    features: Path | None = None

    @classmethod
    def new(cls, subject: Subject, features: Path | None = None, seed: int = 0) -> Predictor:
        """One that has learnt nothing yet. Raises ModelError where `features` are not those weights."""
        if features:
            SqueezeNet(features)
        dim = len(subject.labels) or 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            base = BaseNetwork(dim, subject.width)
        return cls(subject, base, VectorDiffusion.new(dim, EMBEDDED + dim, chain="ddpm", seed=seed), features)

    def learn(
        self, train: Labelled, around: Labelled, held: Labelled, base: LoopConfig, diffusion: LoopConfig, follow: Follow
    ) -> None:
        """Learn f from `train`, the diffusion from `around`, and choose weights by held-out ones.

        What f has learnt from it fits too well: around it, answers would be narrower than they are of new images. Of
        images the diffusion learns from several versions, moved as for f, as it too would learn a few by heart.
        """
        follow(BaseTask(self.base, train, held, base.batch_size), base)
        rng, versions = Generator().manual_seed(0), [self._pairs(*around)]
        for _ in range(VERSIONS - 1 if around[0].ndim == 4 else 0):
            moved = torch.cat([shifted(part, rng) for part in around[0].split(AT_ONCE)])
            versions.append(self._pairs(moved, around[1]))
        learnt = torch.cat([y for y, _ in versions]), torch.cat([told for _, told in versions])
        task = VectorTask(self.diffusion, learnt, self._pairs(*held), diffusion.batch_size, name="diffusion")
        follow(task, diffusion)

    def _pairs(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """y_0 - f(x), and what the diffusion is told."""
        told, f = self.guess(x)
        return (F.one_hot(y, f.shape[1]).float() if self.subject.labels else y) - f, told

    @torch.no_grad()
    def guess(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the diffusion is told of inputs, (N, EMBEDDED + K), and f of them, (N, K): of classes, probabilities."""
        self.base.eval()
        embedded = torch.cat([self.base.embed(part) for part in x.split(256)])
        f = self.base.head(embedded).softmax(dim=1) if self.subject.labels else self.base.head(embedded)
        return torch.cat([embedded, f], dim=1), f

    def draw(
        self, x: Tensor, rng: Generator | Sequence[Generator], n: int, steps: int, sampler: str = "heun"
    ) -> Tensor:
        """n answers to each of N inputs, (N, n, K) in the label's units, from one generator or one for each answer."""
        told, f = self.guess(x)
        y = self.diffusion.draw(told.repeat_interleave(n, 0), rng, steps, sampler).unflatten(0, (-1, n)) + f[:, None]
        return y * self.subject.spread + self.subject.centre

    def answers(self, x: Tensor, seed: int, row: int, n: int, steps: int) -> Tensor:
        """n answers to the image of a row, (n, K): answer i depends on (seed, row, i), and on no other image."""
        return self.draw(x[None], [Generator().manual_seed(image_seed(seed, row, i)) for i in range(n)], n, steps)[0]

    def check(self, images: ImageSet) -> None:
        """Raise ConfigError for images of another size or modality than it is for."""
        subject, found = self.subject, sorted({row.modality for row in images.rows})
        height, width = subject.size
        if (images.height, images.width) != (height, width) or not {*found} <= {*subject.modalities}:
            raise ConfigError(
                f"{images.folder}: images are {images.width}×{images.height}, {' and '.join(found)}; the model "
                f"predicts {subject.attribute} of {width}×{height}, {' or '.join(subject.modalities)}."
            )

    def inputs(self, images: ImageSet) -> Tensor:
        """What f sees of images."""
        batches = (torch.from_numpy(batch) for batch in images.batches(AT_ONCE))
        if not self.features:
            return torch.cat([F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True) for x in batches])
        layers, mean = SqueezeNet(self.features).features, torch.tensor(MEAN).reshape(1, 3, 1, 1)
        with torch.no_grad():
            return torch.cat([layers((x + 1) * 127.5 - mean).mean(dim=(2, 3)) for x in batches])

    def save(self, folder: Path) -> None:
        """Write predictor.json, with the hash of every part, and the weights, into a folder that is there."""
        self.diffusion.save(folder)
        write_tensors(folder / BASE, self.base.state_dict())
        if self.features:
            copyfile(self.features, folder / FEATURES)
        parts = [BASE, *([FEATURES] if self.features else [])]
        facts = self.subject.model_dump(mode="json") | {"sha256": {name: sha256_file(folder / name) for name in parts}}
        write_whole(folder / DESCRIPTION, json.dumps(sealed(facts, DESCRIPTION), indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Read what `save` wrote. Raises ModelError for a part that is missing, damaged or of a newer format."""
        if not (folder / DESCRIPTION).is_file():
            how = "Make one with 'phonybrains predict train'."
            raise ModelError(f"{folder} is no predictor: it has no {DESCRIPTION}. {how}")
        subject = Subject(**read_sealed(folder / DESCRIPTION, Subject, FORMAT_VERSION, AGAIN))
        parts = [name for name in subject.sha256 if name != DESCRIPTION]
        for name in parts:
            check_part(folder / name, subject.sha256[name], DESCRIPTION, AGAIN)
        model = cls.new(subject, folder / FEATURES if FEATURES in parts else None)
        model.base.load_state_dict(load_file(folder / BASE))
        model.diffusion = VectorDiffusion.load(folder)
        return model
