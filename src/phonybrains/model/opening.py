"""Opens whichever kind of model: one of our own, or a fine-tuned Stable Diffusion; both are asked for images alike."""

from __future__ import annotations

from pathlib import Path

from .finding import is_fine_tuned
from .fine_tuned import FineTuned
from .latent_diffusion import LatentDiffusion

ImageModel = LatentDiffusion | FineTuned


def open_model(folder: Path, device: str = "cpu") -> ImageModel:
    """Load a model folder of either kind. Raises ModelError if it is damaged, before anything is computed."""
    return (FineTuned if is_fine_tuned(folder) else LatentDiffusion).load(folder, device)
