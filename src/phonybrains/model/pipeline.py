"""A model as a pipeline of diffusers, which samples as phonybrains does: see docs/share.md.

A model folder holds this class with all that it needs as one file, `pipeline.py`, which for_diffusers.py writes. So
nothing here, nor in what comes along, may need more than torch, diffusers and what those bring.
"""

from __future__ import annotations

import inspect
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.outputs import BaseOutput
from numpy.typing import NDArray
from PIL import Image

from ..errors import ConfigError
from ..networks.conditions import Conditions, Value
from ..networks.denoiser import Denoiser
from ..networks.patches import Patches
from .chains import chain_of
from .latent_diffusion import LatentDiffusion
from .masks import as_masks
from .parts import LatentScale
from .sampling import GAN, Sampling, check_integer

KINDS = {"FlowMatchEulerDiscreteScheduler": "flow", "DDPMScheduler": "ddpm"}
"""The scheduler says what kind of diffusion the networks were trained for."""
OWN = {"ConditionEmbedding": "condition_embedding", "Texture": "texture", "Patches": "patches"}
"""Components that diffusers does not have, and where their code is."""


@dataclass
class SyntheticImages(BaseOutput):
    """PIL images in a list, or (n, H, W, 1) float32 in 0…1; and what each was asked to show."""

    images: list[Image.Image] | NDArray[np.float32]
    conditions: list[dict[str, Value]]


class PhonyBrainsPipeline(DiffusionPipeline):
    """Synthetic head images for research and teaching, not for diagnosis.

    conditions, latent_scale: as in conditions.json and model.json of the model folder.
    """

    _optional_components = ["few_step_unet", "few_step_condition_embedding", "texture"]

    def __init__(
        self,
        autoencoder: AutoencoderDC | Patches,
        unet: UNet2DModel,
        condition_embedding: ModelMixin,
        scheduler: SchedulerMixin,
        few_step_unet: UNet2DModel | None = None,
        few_step_condition_embedding: ModelMixin | None = None,
        texture: ModelMixin | None = None,
        size: int = 256,
        steps: int = 16,
        conditions: dict[str, Any] | None = None,
        latent_scale: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            autoencoder=autoencoder,
            unet=unet,
            condition_embedding=condition_embedding,
            scheduler=scheduler,
            few_step_unet=few_step_unet,
            few_step_condition_embedding=few_step_condition_embedding,
            texture=texture,
        )
        self.register_to_config(size=size, steps=steps, conditions=conditions, latent_scale=latent_scale)

    @property
    def latent_diffusion(self) -> LatentDiffusion:
        """The components as they are now, joined into the model that phonybrains generates with."""
        kind = KINDS.get(type(self.scheduler).__name__)
        if kind is None:
            raise ConfigError("this pipeline has samplers of its own: leave its scheduler, and give sampler=.")
        if any(part.dtype != torch.float32 for part in self.components.values() if isinstance(part, ModelMixin)):
            raise ConfigError("this pipeline computes in float32: load it without a dtype.")
        few = Denoiser(self.few_step_unet, self.few_step_condition_embedding) if self.few_step_unet else None
        kind = GAN if self.scheduler.config.get("num_train_timesteps") == 1 else kind
        return LatentDiffusion(
            self.autoencoder,
            Denoiser(self.unet, self.condition_embedding),
            Conditions.from_json(json.dumps(self.config["conditions"])),
            LatentScale(self.config["latent_scale"]),
            chain_of(kind, self.scheduler.config),
            self.config["size"],
            few_step=few,
            steps=self.config["steps"],
            texture=self.texture,
        ).to(str(self.device))

    def __call__(
        self,
        n: int = 1,
        where: Mapping[str, Value] | None = None,
        mask: Any = None,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        **sampling: Any,
    ) -> SyntheticImages | tuple[Any, ...]:
        """Make n images; image i depends on (seed, i) alone.

        where: what they show, e.g. {"modality": "CT", "plane": "axial"}; the rest is drawn as it occurred in training.
        mask: for a model that takes masks: a picture or array of two values, 0 outside, or several: image i follows
        mask i, counted around.
        sampling: seed, steps, guidance, sampler, batch_size (computed at a time), …: the fields of Sampling.
        num_inference_steps and guidance_scale are steps and guidance; a generator stands for the seed it was given.
        output_type: "pil", or "np" for (n, H, W, 1) float32 in 0…1.
        Warns where few training images or patients, or none, show what is asked for.
        Raises ConfigError for what the model does not know or cannot do.
        """
        if output_type not in ("pil", "np"):
            raise ConfigError(f"output_type '{output_type}' is not known. Known: pil, np.")
        check_integer("n", n, 0)
        seed = generator.initial_seed() if generator else None
        settings = Sampling(**_joined(sampling, seed=seed, steps=num_inference_steps, guidance=guidance_scale))
        model = self.latent_diffusion
        for doubt in model.doubts(where or {}):
            warnings.warn(doubt, stacklevel=2)
        masks = None if mask is None else as_masks(mask, model.size)
        wanted = model.ask(range(n), where or {}, settings.seed)
        painted = model.paint(range(n), wanted, settings, masks=masks)
        bar: Any = self.progress_bar(range(n))  # type: ignore[arg-type]  # its type is that of a decorator
        pixels = [image for image, _ in zip(painted, bar, strict=True)]
        if output_type == "pil":
            images = [Image.fromarray(image) for image in pixels]
        else:
            images = np.array(pixels, np.float32).reshape(-1, model.size, model.size, 1) / np.float32(255)
        return SyntheticImages(images, wanted) if return_dict else (images, wanted)

    def save_config(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write model_index.json, as `save_pretrained` does last, and beside it the code that it names."""
        super().save_config(save_directory, *args, **kwargs)
        folder = Path(save_directory)
        index = json.loads((folder / self.config_name).read_text(encoding="utf-8"))
        index["_class_name"] = ["pipeline", type(self).__name__]
        index.pop("_name_or_path", None)
        shutil.copyfile(inspect.getfile(type(self)), folder / "pipeline.py")
        for name, network in self.components.items():
            if module := OWN.get(type(network).__name__):
                index[name] = [module, type(network).__name__]
                shutil.copyfile(inspect.getfile(type(network)), folder / name / f"{module}.py")
        (folder / self.config_name).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _joined(sampling: dict[str, Any], **also: Any) -> dict[str, Any]:
    """What is given under our names and under those of diffusers. Raises ConfigError for a setting given twice."""
    ours, theirs = ({name: value for name, value in given.items() if value is not None} for given in (sampling, also))
    if twice := ", ".join(sorted(ours.keys() & theirs.keys())):
        raise ConfigError(f"{twice}: given twice, under two names.")
    return ours | theirs
