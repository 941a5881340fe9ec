"""What is looked at while a model trains: a sheet of images at each validation, and whether they are copies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..imageset import from_unit_range, to_unit_range
from ..model.latent_diffusion import LatentDiffusion
from ..reporting.sheets import contact_sheet
from .autoencoder import AutoencoderTask
from .copies import CopyWatch

COUNT = 16


@dataclass(frozen=True)
class Samples:
    """Generated images of a model in training, always of the same noise."""

    model: LatentDiffusion
    nearness: CopyWatch
    seed: int

    def draw(self, sheet: Path, steps: int) -> dict[str, float]:
        """Draw them, and compare them with the training images."""
        made = self.model.generate(COUNT, steps=steps, seed=self.seed, precision="fp32")
        contact_sheet(made.images, sheet, columns=8)
        images = torch.from_numpy(to_unit_range(made.images))[:, None]
        return self.nearness.figures(images, [row["modality"] for row in made.conditions])


def draw_reconstructions(task: AutoencoderTask, sheet: Path) -> dict[str, float]:
    """Draw images above what the autoencoder makes of them."""
    x, y = next(iter(task.reconstructions(task.network)))
    pairs = torch.cat([x[:8], y[:8].clamp(-1, 1)])[:, 0].float().detach().cpu().numpy()
    contact_sheet(from_unit_range(pairs), sheet, columns=min(8, len(x)), side=256)
    return {}
