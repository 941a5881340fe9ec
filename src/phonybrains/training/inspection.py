"""What is looked at while a model trains: a sheet of images at each validation, and whether they are copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..imageset import ImageSet, from_unit_range, to_unit_range
from ..marks import EDITED, SyntheticMark
from ..model.latent_diffusion import LatentDiffusion
from ..model.masks import Mask
from ..model.sampling import Sampling
from ..networks.conditions import Value
from ..reporting.sheets import contact_sheet
from .autoencoder import AutoencoderTask
from .copies import CopyWatch
from .corpus import Corpus

COUNT = 16


@dataclass(frozen=True)
class Samples:
    """Generated images of a model in training, always of the same noise.

    masks, shown: those of validation images that have one, for a model that takes masks, and what these images show.
    """

    model: LatentDiffusion
    nearness: CopyWatch
    seed: int
    masks: Sequence[Mask] = ()
    shown: Sequence[Mapping[str, Value]] = ({},)

    @classmethod
    def of(cls, model: LatentDiffusion, images: ImageSet, corpus: Corpus, seed: int) -> Samples:
        """Those of a model, with the first masks of the validation images in which there is something."""
        masks, shown = list[Mask](), list[Mapping[str, Value]]()
        for i in corpus.validation.tolist() if model.masks else ():
            mask = images.mask(i) if len(masks) < COUNT else None
            if mask is not None and mask.any():
                masks.append(mask)
                shown.append(model.conditions.of(images.rows[i]))
        return cls(model, CopyWatch.of(corpus), seed, masks, shown or ({},))

    def draw(self, sheet: Path, steps: int) -> dict[str, float]:
        """Draw them, with the outlines of masks, and compare them with the training images."""
        wanted = [self.model.ask([i], self.shown[i % len(self.shown)], self.seed)[0] for i in range(COUNT)]
        sampling = Sampling(self.seed, steps, precision="fp32")
        made = np.stack(list(self.model.paint(range(COUNT), wanted, sampling, masks=self.masks or None)))
        outlined = [self.masks[i % len(self.masks)] for i in range(COUNT)] if self.masks else ()
        contact_sheet(made, sheet, columns=8, masks=outlined)
        images = torch.from_numpy(to_unit_range(made))[:, None]
        return self.nearness.figures(images, [row["modality"] for row in wanted])


def draw_reconstructions(task: AutoencoderTask, sheet: Path) -> dict[str, float]:
    """Draw images above what the autoencoder makes of them."""
    x, y = next(iter(task.reconstructions(task.network)))
    pairs = torch.cat([x[:8], y[:8].clamp(-1, 1)])[:, 0].float().detach().cpu().numpy()
    contact_sheet(from_unit_range(pairs), sheet, columns=min(8, len(x)), side=256, mark=SyntheticMark(EDITED))
    return {}
