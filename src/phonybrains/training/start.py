"""What training starts from: conditions, networks, and the weights of another model.

What is wrong with a corpus or a configuration shows here, before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate.utils import set_seed
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from ..errors import ConfigError, TrainingError
from ..imageset import ImageSet
from ..model.chains import chain_to_learn
from ..model.fitting import constants
from ..model.latent_diffusion import LatentDiffusion
from ..model.masks import MaskFacts
from ..model.parts import LatentScale
from ..model.withdrawal import on_columns_of
from ..networks.autoencoder import build_autoencoder
from ..networks.conditions import Conditions, Withdrawn
from ..networks.critic import Critic
from ..networks.denoiser import Denoiser, build_embedding, build_unet
from ..networks.patches import Patches
from ..networks.texture import Texture
from ..optimising.compiling import check_compiler
from . import augment
from .adversarial import check_adversarial
from .autoencoder import Reconstruction
from .classifier import classes_in
from .columns import meanings, weights_for
from .config import TrainConfig
from .corpus import check_corpus, rows_in
from .embedding import check_embedding
from .few_step import few_step_copy
from .perceptual import SMALLEST, PerceptualDistance
from .remarks import remarks

SEEN = "images seen by the denoiser"
GUIDED = "guidance built in"
FEW_STEP_DISTANCE, FEW_STEP_PATHS = "few steps end off the full path by", "paths walked for few-step weights"
JUDGED = "few steps judged against real latents"
TEXTURE_DISTANCE = "texture is off that of real images by"
CLASSIFIED = "classifier is right near images, halfway, near noise"
CARRIED = {SEEN, GUIDED, FEW_STEP_DISTANCE, FEW_STEP_PATHS, JUDGED, TEXTURE_DISTANCE, CLASSIFIED}
"""Figures of a start that can hold for other weights; all else on its card was measured on its own."""


def keep_a_share(network: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Average the weights that a network has learnt with those it started from.  [Wortsman 2022, WiSE-FT, eq. 1]"""
    learnt = network.state_dict()
    for name, weight in start.items():
        if weight.is_floating_point():
            learnt[name].lerp_(weight, share)


@dataclass(frozen=True)
class New:
    """What training starts from: conditions, networks as initialised, the perceptual term, and their figures so far.

    Each process has its own, and they are the same.
    """

    conditions: Conditions
    reconstruction: Reconstruction
    denoiser: Denoiser
    perceptual: PerceptualDistance | None
    figures: dict[str, Any] = field(default_factory=dict)
    scale: LatentScale | None = None
    """That of an encoder which is not trained any further."""
    few_step: Denoiser | None = None
    """Those of a denoiser which is not trained any further."""
    critic: Critic | None = None
    """What a GAN's generator learns against; it always begins anew."""
    texture: Texture | None = None
    """That of a decoder which is not trained any further."""
    classifier: Callable[[], Any] | None = None
    """That of latents which stay as they are."""
    worse: Denoiser | None = None
    """What predictions are pushed away from, if not from those without conditions."""
    embedding: Any = None
    """An ImageEmbedding of latents which stay as they are."""
    masks: MaskFacts | None = None
    """Those of the training images, where the model is told them."""
    said: tuple[str, ...] = ()
    """What a person who trains is told of the corpus at the start."""


def worse_of(config: TrainConfig) -> str | None:
    """The model that is pushed away from, if there is one and it is used."""
    return config.guidance.worse if config.guidance.loop.steps else None


def start(images: ImageSet, withdrawn: Sequence[Withdrawn], config: TrainConfig) -> New:
    """Make the networks. Raises ConfigError, ModelError or TrainingError for what cannot be trained."""
    wanted = config.conditions
    old = LatentDiffusion.load(config.start) if config.start else None
    dropped = _dropped(images, wanted.attributes, withdrawn, old)
    names = tuple(name for name in wanted.attributes if name not in dropped)
    coder = config.autoencoder
    crop = coder.crop if coder.kind == "dc" else 0
    conditions = check_corpus(images, names, crop, withdrawn, wanted.min_patients)
    if old and config.texture_alone:  # no network that is trained reads them
        conditions = old.conditions
    elif old:
        learns = bool(config.denoiser.loop.steps)
        own = old.conditions if _conditions_stay(old, config) else conditions
        conditions = on_columns_of(old.conditions, conditions, learns) or own
    masks = masks_of(images) if config.masks else None
    set_seed(config.seed)
    autoencoder = build_autoencoder(coder.shape) if coder.kind == "dc" else Patches(coder.patch, coder.patch**2)
    channels, side = autoencoder.config["latent_channels"], images.height // autoencoder.spatial_compression_ratio
    unet = build_unet(config.denoiser.shape, channels, side, config.masks)
    if config.classifier.told:
        classes_in([images.rows[i] for i in rows_in(images, "train")], config.classifier.told, conditions)
    perceptual = PerceptualDistance(config.features) if config.features else None
    if perceptual:
        _check_crop(perceptual, config)
    if config.compile and config.denoiser.loop.steps:
        check_compiler()
    check_embedding(images, config)
    denoiser = Denoiser(unet, build_embedding(unet, conditions.width + config.embedding.told, augment.WIDTH))
    stay = bool(old) and conditions is old.conditions and not config.texture_alone
    said = remarks(images, dropped, masks, old, config, stay)
    new = New(conditions, Reconstruction(autoencoder), denoiser, perceptual, masks=masks, said=said)
    if config.diffusion == "gan":
        new = replace(new, critic=_critic(config, unet, conditions))
    new = _begin_with(new, old, config) if old else new
    if config.adversarial.loop.steps:
        check_adversarial(images, bool(new.few_step), config)
    return new


def _conditions_stay(old: LatentDiffusion, config: TrainConfig) -> bool:
    """Whether nothing learns to hear of a corpus, and those of the start are asked for, whatever values they have."""
    names = {a.name for a in old.conditions.attributes} - {"modality"}
    return not (config.denoiser.loop.steps or config.guidance.loop.steps) and names == {*config.conditions.attributes}


def _critic(config: TrainConfig, unet: UNet2DModel, conditions: Conditions) -> Critic:
    """Of latents as this U-Net takes them. Raises ConfigError for more widths than the latents can be halved."""
    size, channels, widths = unet.config["sample_size"], unet.config["in_channels"], config.critic.widths
    if size % 2 ** (len(widths) - 1):
        raise ConfigError(
            f"critic: {len(widths)} widths halve the latents {len(widths) - 1} times, but these are {size}×{size}. "
            "Give fewer widths or other images."
        )
    return Critic(channels, size, conditions.width, augment.WIDTH, widths, config.critic.layers)


def masks_of(images: ImageSet) -> MaskFacts:
    """What the masks of the training images are. Raises TrainingError where they have none."""
    found = {i: mask for i in rows_in(images, "train") if (mask := images.mask(i)) is not None}
    if not found:
        raise TrainingError(
            f"{images.folder}: no training image has a mask. Import it again with --masks, or train without."
        )
    counts = Counter(images.rows[i].modality for i in found)
    return MaskFacts(images.outline, dict(sorted(counts.items())), sum(not mask.any() for mask in found.values()))


def _dropped(
    images: ImageSet, names: Sequence[str], withdrawn: Sequence[Withdrawn], old: LatentDiffusion | None
) -> dict[str, float]:
    """Numbers that tell a network nothing, as they are the same on all training images; a start may know others."""
    known = {a.name for a in old.conditions.attributes} if old else set()
    stay = known | {one.attribute for one in withdrawn}
    return constants([images.rows[i] for i in rows_in(images, "train")], [name for name in names if name not in stay])


def _check_crop(perceptual: PerceptualDistance, config: TrainConfig) -> None:
    """Raise ConfigError if the smallest images that the loss is taken of are too small for its network."""
    shrunk = 2 if config.autoencoder.equivariance > 0 else 1
    blank = torch.zeros(1, 1, config.autoencoder.crop // shrunk, config.autoencoder.crop // shrunk)
    try:
        perceptual(blank, blank)
    except RuntimeError:
        least = -(-SMALLEST * shrunk // 16) * 16
        raise ConfigError(
            f"autoencoder.crop is {config.autoencoder.crop}, too small for the network of `features`. "
            f"Set it to {least} or more, or leave `features` out."
        ) from None


def _begin_with(new: New, old: LatentDiffusion, config: TrainConfig) -> New:
    """The networks with the weights of a model, and what of its figures still holds."""
    chain = chain_to_learn(config.diffusion, config.prediction)
    if not config.denoiser.loop.steps and old.chain.objective != chain.objective:
        other = old.chain.name if old.chain.name != config.diffusion else "another prediction"
        raise ConfigError(
            f"start: {config.start} is trained for {other}, not {config.diffusion}, and its denoiser makes no "
            "steps here. Set `diffusion` and `prediction` to what they are, or give it steps."
        )
    if config.embedding.told and not old.embedding and not config.denoiser.loop.steps:
        raise ConfigError(f"start: {config.start} has no embedding, and its denoiser makes no steps here to learn one.")
    _take_weights(new, old, config)
    if config.autoencoder.decoder_only:
        new.reconstruction.autoencoder.encoder.requires_grad_(False)
    trained = config.denoiser.loop.steps or config.guidance.loop.steps
    same_conditions = meanings(old.conditions) == meanings(new.conditions)
    told_alike = same_conditions and old.denoiser.condition_width == new.denoiser.condition_width
    same = old.chain == chain and old.denoiser.takes_masks == config.masks and told_alike
    few_step_stays = config.encoder_stays and not trained and same
    texture_stays = not config.autoencoder.loop.steps
    classifier_stays = config.encoder_stays and old.chain.name == config.diffusion and same_conditions
    few_step = old.few_step if few_step_stays else None
    if config.few_step.loop.steps:
        few_step = _few_step_of(old, new, config)
    stale = set() if few_step_stays else {FEW_STEP_DISTANCE}
    stale |= set() if few_step else {FEW_STEP_PATHS, JUDGED}
    stale |= set() if texture_stays else {TEXTURE_DISTANCE}
    stale |= set() if classifier_stays else {CLASSIFIED}
    if any(loop.steps for loop in config.loops.values()):
        stale |= new.figures.keys() - CARRIED
    return replace(
        new,
        figures={name: value for name, value in new.figures.items() if name not in stale},
        scale=old.scale if config.encoder_stays else None,
        worse=_worse_denoiser(old, config) if worse_of(config) else None,
        few_step=few_step,
        texture=old.texture if texture_stays else None,
        classifier=old.classifier if classifier_stays else None,
        embedding=old.embedding if config.encoder_stays and told_alike else None,
    )


def _worse_denoiser(old: LatentDiffusion, config: TrainConfig) -> Denoiser:
    """The denoiser of `guidance.worse`. Raises ConfigError if it is not of the model that training starts from."""
    folder = str(worse_of(config))
    worse = LatentDiffusion.load(folder)
    ours, theirs = (getattr(m.autoencoder, "encoder", m.autoencoder).state_dict() for m in (old, worse))
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    if not same or (meanings(old.conditions), old.scale) != (meanings(worse.conditions), worse.scale):
        raise ConfigError(
            f"guidance.worse: {folder} has other latents or conditions than {config.start}. "
            "It must be an earlier state of that model."
        )
    if worse.denoiser.takes_masks != config.masks:
        takes = "takes masks" if worse.denoiser.takes_masks else "takes no masks"
        raise ConfigError(f"guidance.worse: {folder} {takes}, unlike the model that is trained here.")
    if (worse.embedding.width if worse.embedding else 0) != config.embedding.told:
        raise ConfigError(f"guidance.worse: {folder} has another embedding, or none: it must be that trained here.")
    if worse.chain.name != config.diffusion:
        raise ConfigError(f"guidance.worse: {folder} is trained for {worse.chain.name}, not {config.diffusion}.")
    return worse.denoiser


def _take_weights(new: New, old: LatentDiffusion, config: TrainConfig) -> None:
    """Start from the weights of a model. Raises ConfigError if it has other shapes, or conditions it cannot learn."""
    if meanings(old.conditions) != meanings(new.conditions) and (worse_of(config) or not config.denoiser.loop.steps):
        raise ConfigError(
            f"start: {config.start} knows other conditions than this corpus and configuration give, and its denoiser "
            "makes no steps here to learn them. Give it steps, or the conditions of the model."
        )
    try:
        new.reconstruction.autoencoder.load_state_dict(old.autoencoder.state_dict())
        new.denoiser.load_state_dict(weights_for(new.denoiser, new.conditions, old.denoiser, old.conditions))
        new.figures.update(old.card)
    except RuntimeError:
        raise ConfigError(f"start: {config.start} has networks of other shapes than this configuration.") from None


def _few_step_of(old: LatentDiffusion, new: New, config: TrainConfig) -> Denoiser | None:
    """The few-step weights of the start, to be learnt further, where that is wanted and it has some."""
    if not (config.few_step.from_start and old.few_step):
        return None
    few_step = few_step_copy(new.denoiser)
    few_step.load_state_dict(weights_for(few_step, new.conditions, old.few_step, old.conditions))
    return few_step
