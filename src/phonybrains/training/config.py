"""Configuration of `phonybrains train`, and its presets."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ..config import Config, load_config
from ..errors import ConfigError
from ..networks.shapes import AutoencoderShape, Count, DenoiserShape
from ..optimising.config import LoopConfig, Share, Weight
from ..spreadsheet import plain_name

DDPM_STEPS = 250
"""Of the paper's chain, where none are named."""


class AutoencoderConfig(Config):
    """The autoencoder's shape, loss and loop."""

    kind: Literal["dc", "none"] = "dc"
    """Deep-compression autoencoder, or none: the denoiser runs on the pixels themselves."""
    patch: Literal[1, 2, 4, 8] = 4
    """Without an autoencoder: side of the squares of pixels that are one place of the denoiser."""
    shape: AutoencoderShape = AutoencoderShape()
    loop: LoopConfig
    decoder_only: bool = False
    """Train the decoder alone, from the weights of `start`: its latents stay, so the denoiser needs no training."""
    crop: Annotated[int, Field(ge=16, multiple_of=16)] = 128
    squared: Share = 0.5
    """Weight of the squared error beside the absolute error."""
    perceptual: Weight = 0.1
    """Weight of the SqueezeNet features' distance; used where `features` names their weights."""
    spectral: Weight = 0.1
    """Weight of the distance between power spectra, which keeps reconstructions as sharp as images."""
    evenness: Weight = 3.0
    """Weight of how unevenly rough reconstructions are over the decoder's grid of 8 pixels, which gives images away."""
    latent_noise: Share = 0.05
    """Noise on the latents, as a share of their deviation, so that the decoder forgives small errors."""
    equivariance: Share = 0.25
    """Share of batches whose latents are shrunk and must decode to the shrunk images.  [EQ-VAE, Kouzelis 2025]"""

    @model_validator(mode="after")
    def _none_learns_nothing(self) -> AutoencoderConfig:
        if self.kind == "none" and (self.loop.steps or self.decoder_only):
            raise ValueError('kind = "none" has nothing to train: set loop.steps = 0, and leave decoder_only out')
        return self


class DenoiserConfig(Config):
    """The denoiser's shape and loop, and the augmentation of what it learns from."""

    shape: DenoiserShape = DenoiserShape()
    loop: LoopConfig
    variants: Count = 8
    """How many versions of each image are encoded: the image itself, and augmented ones."""
    augment: Share = 0.3
    """Chance of each augmentation (flip, rotation, scale, shift, gamma) in an augmented version."""
    start_share: Share = 0.0
    """How much of the weights of `start` stay in those learnt from it, which are averaged in the end."""
    mask_share: Share = 0.0
    """How much of an image's loss is moved into the mask that is told with it, however small that is."""


class CriticConfig(Config):
    """The critic that a GAN's generator learns against; the generator has the shape and the loop of the denoiser."""

    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 96, 128)
    """At each resolution of the latents."""
    layers: Count = 1
    penalty: Weight = 1.0
    """Weight γ of the critic's squared slopes at real and at generated latents."""


class GuidanceConfig(Config):
    """The denoiser learns its own guided predictions, which then cost one network; `loop.steps = 0` leaves it out."""

    loop: LoopConfig
    strength: Weight = 1.5
    """How far predictions are pushed away from the worse ones; 1 changes nothing."""
    worse: str | None = None
    """A model folder from earlier in the same training, which predicts worse (autoguidance); the model itself, told no
    conditions and no mask, if there is none (classifier-free guidance)."""


class FewStepConfig(Config):
    """A copy of the denoiser learns the jumps of few-step sampling; `loop.steps = 0` leaves it out."""

    loop: LoopConfig
    """Its batch size counts sampling paths; each gives as many examples as `counts` has jumps."""
    counts: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4)
    """The numbers of steps that are learnt."""
    path_steps: Count = 12
    """Steps of the denoiser's own sampling paths: a multiple of each of `counts`."""
    guidance: Weight = 1.0
    """Strength of the guidance that is built in; 1 is none, at three quarters of the cost."""
    from_start: bool = False
    """Begin with the few-step weights of `start`, where it has some, and not with a copy of the denoiser."""

    @model_validator(mode="after")
    def _path_meets_jumps(self) -> FewStepConfig:
        if any(self.path_steps % count for count in self.counts):
            raise ValueError(f"path_steps {self.path_steps} is not a multiple of each of counts {self.counts}")
        return self


class AdversarialConfig(Config):
    """Few-step weights learn to end where real latents lie, against heads; `loop.steps = 0` leaves it out."""

    loop: LoopConfig
    """Its rate is that of the few-step weights; heads learn thirty times as fast."""
    head_start: Annotated[int, Field(ge=0)] = 300
    """Steps in which the heads learn alone, before anything has to please them."""
    counts: Annotated[tuple[Count, ...], Field(min_length=1)] = (2,)
    """The numbers of steps whose last jump learns."""
    modalities: tuple[str, ...] = ()
    """Those whose images learn, where it is not all; images of others are held where they were."""
    faithful: Weight = 8.0
    """Weight of how far means over 8×8 places of the latents leave where they were, and whole latents that are held."""


class TextureConfig(Config):
    """Generated images learn to have the texture of real ones, after decoding; `loop.steps = 0` leaves it out."""

    loop: LoopConfig
    images: Count = 800
    """How many images are generated to learn from, half of them in the model's own number of steps, half in 2 and 4."""
    reconstructed: Count = 400
    """How many training images are encoded and decoded to learn from."""
    perceptual: Weight = 1.0
    """Weight of SqueezeNet's features beside the plain statistics; used where `features` names their weights."""
    faithful: Weight = 20.0
    """Weight of how far means over 8×8 pixels leave where the decoder put them, beyond half a grey level."""


class ClassifierConfig(Config):
    """A classifier of noisy latents, for `generate --classifier-guidance`; without an `attribute` it is left out."""

    attribute: str = ""
    """The condition whose labels it tells."""
    loop: LoopConfig

    @property
    def told(self) -> str:
        """The condition that is learnt, if one is."""
        return self.attribute if self.loop.steps else ""


class EmbeddingConfig(Config):
    """An embedding of images as one more condition, and the prior that draws it; `dim = 0` leaves it out."""

    dim: Annotated[int, Field(ge=0, le=1024)] = 0
    """Principal components of the pooled latents."""
    loop: LoopConfig = LoopConfig(steps=6000, batch_size=256, learning_rate=1e-3, averages=(0.99, 0.999))
    """The prior's: a diffusion over embeddings given the conditions."""

    @property
    def told(self) -> int:
        """How many numbers the denoiser is told of an image, and that they are given."""
        return self.dim + 1 if self.dim and self.loop.steps else 0


class ConditionsConfig(Config):
    """What the model is told of its images, besides the modality. A list of attributes alone will do."""

    attributes: tuple[Annotated[str, AfterValidator(plain_name)], ...] = ()
    min_patients: Annotated[int, Field(ge=0)] = 5
    """A value that fewer patients of a modality have becomes missing; 0 or 1 gives all, at the price of redrawing."""


class TrainConfig(Config):
    """How a model is trained. The presets (tiny, laptop, cpu, gpu, ddpm, gan) are complete; options go over them."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    conditions: ConditionsConfig = ConditionsConfig()
    masks: bool = False
    """The model is told the masks of its images, and can later be asked to follow one."""
    diffusion: Literal["flow", "ddpm", "gan"] = "flow"
    """Rectified flow, or the paper's DDPM; or none: a GAN, whose generator is the denoiser."""
    prediction: Literal["noise", "v"] = "noise"
    """What the network of a DDPM predicts: the noise, as in the paper, or v, which is learnt sooner on pixels."""
    autoencoder: AutoencoderConfig
    denoiser: DenoiserConfig
    critic: CriticConfig = CriticConfig()
    """Used for a GAN alone."""
    guidance: GuidanceConfig
    few_step: FewStepConfig
    """Used for the flow alone."""
    adversarial: AdversarialConfig
    texture: TextureConfig
    classifier: ClassifierConfig
    embedding: EmbeddingConfig = EmbeddingConfig()
    steps: Annotated[int, Field(ge=1, le=1000)] = 16
    """How many steps the finished model takes where none are asked for: 16, and 250 of the paper's chain."""
    features: Path | None = None
    """SqueezeNet weights (safetensors) for the perceptual term; without them it is left out."""
    start: str | None = None
    """A model folder, or a shipped model by name, whose weights training starts from instead of random ones."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    """Compile the denoiser's training step: two minutes at the start, then two to three times the speed on a GPU."""

    @model_validator(mode="after")
    def _share_of_a_start(self) -> TrainConfig:
        if self.denoiser.start_share and self.start is None:
            raise ValueError("denoiser.start_share is a share of the weights of `start`, and none is named")
        if self.denoiser.mask_share and not self.masks:
            raise ValueError("denoiser.mask_share is a share of the loss inside masks, and `masks` is off")
        return self

    @property
    def loops(self) -> dict[str, LoopConfig]:
        parts = ["autoencoder", "denoiser", "guidance", "few_step", "texture"]
        parts += ["adversarial"] * bool(self.adversarial.loop.steps)
        parts += ["classifier"] * bool(self.classifier.told) + ["embedding"] * bool(self.embedding.told)
        return {f"{name}.loop": getattr(self, name).loop for name in parts}

    @property
    def texture_alone(self) -> bool:
        """Whether nothing but the texture is learnt, which needs no latents."""
        return [name for name, loop in self.loops.items() if loop.steps] == ["texture.loop"]

    @property
    def encoder_stays(self) -> bool:
        return self.autoencoder.decoder_only or not self.autoencoder.loop.steps

    @classmethod
    def spelt_out(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A list of conditions as their table, and `min_patients` as a part of it."""
        table = values.get("conditions", {})
        table = {"attributes": table} if isinstance(table, (list, tuple)) else table
        least = values.get("min_patients")
        table = table if least is None or not isinstance(table, dict) else table | {"min_patients": least}
        rest = {name: value for name, value in values.items() if name not in ("conditions", "min_patients")}
        return rest | ({"conditions": table} if table else {})

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        own = {"steps": DDPM_STEPS} if values.get("diffusion") == "ddpm" else {}
        return own | cls.spelt_out(values)

    @model_validator(mode="after")
    def _decoder_has_latents(self) -> TrainConfig:
        if self.autoencoder.decoder_only and not self.start:
            raise ValueError("autoencoder.decoder_only needs `start`, a model whose encoder is kept")
        if self.autoencoder.kind == "none" and self.texture.loop.steps:
            raise ValueError('texture.loop.steps: with autoencoder.kind = "none" no texture is lost. Set it to 0')
        if self.autoencoder.kind == "none" and self.masks and self.autoencoder.patch != 8:
            raise ValueError(
                f"masks are told for squares of 8×8 pixels, not {self.autoencoder.patch}×"
                f"{self.autoencoder.patch}: set autoencoder.patch = 8"
            )
        if self.guidance.worse and self.guidance.loop.steps and not (self.start and self.encoder_stays):
            raise ValueError(
                "guidance.worse needs `start` and an encoder that is not trained "
                "(autoencoder.loop.steps = 0), as both models must have the same latents"
            )
        return self

    @model_validator(mode="after")
    def _only_ddpm_predicts_v(self) -> TrainConfig:
        if self.prediction == "v" and self.diffusion != "ddpm":
            raise ValueError('prediction = "v" is of diffusion = "ddpm". Leave it out')
        return self

    @model_validator(mode="after")
    def _gan_is_alone(self) -> TrainConfig:
        """A GAN has no denoiser for what is learnt from one, and the compiler takes no gradients of gradients."""
        never = ("guidance", "few_step", "adversarial")
        wrong = [f"{part}.loop.steps = 0" for part in never if getattr(self, part).loop.steps]
        wrong += ["embedding.dim = 0"] * bool(self.embedding.told)
        wrong += ["steps = 1"] * (self.steps != 1) + ["compile = false"] * self.compile
        wrong += ['classifier.attribute = ""'] * bool(self.classifier.told)
        if self.diffusion == "gan" and wrong:
            raise ValueError(f"diffusion = gan needs {', '.join(wrong)}, as --preset gan has them")
        return self


def preset(name: str) -> Path:
    """The file of a preset. Raises ConfigError listing the presets."""
    folder = Path(str(resources.files("phonybrains"))) / "training" / "presets"
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise ConfigError(f"preset '{name}' is not known. Known: {known}.")
    return path


def load_train_config(name: str = "cpu", path: str | Path | None = None, **given: object) -> TrainConfig:
    """A preset, a TOML file laid over it, and the given values on top."""
    return load_config(TrainConfig, preset(name), path, **given)
