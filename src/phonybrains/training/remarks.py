"""What a person who trains is told of the corpus and of the start, before anything is learnt."""

from __future__ import annotations

from collections.abc import Mapping

from ..held_out import held_out
from ..imageset import ImageSet
from ..model.latent_diffusion import LatentDiffusion
from ..model.masks import MaskFacts, masks_in_words
from ..model.training_data import drawn_in_words
from ..wording import count_of
from .config import TrainConfig
from .corpus import rows_in


def remarks(
    images: ImageSet,
    dropped: Mapping[str, float],
    masks: MaskFacts | None,
    old: LatentDiffusion | None,
    config: TrainConfig,
    stay: bool,
) -> tuple[str, ...]:
    """Sentences on what is no condition, on splits, drawn images and masks, and on what a start (`old`) has.

    dropped: attributes that are the same everywhere; stay: whether the conditions of the start do, whatever the corpus.
    """
    said = [f"{name} is {value:g} wherever it is given: it is no condition." for name, value in dropped.items()]
    if not held_out(images.rows, "validation"):
        of_others = " of other patients than train has" if rows_in(images, "validation") else ""
        said.append(
            f"No image{of_others} is in the split 'validation': the weights that are kept are those that fit the "
            "training images best, and the card has no validation loss."
        )
    if drawn := drawn_in_words(images, "train"):
        said.append(
            f"Of {count_of(len(rows_in(images, 'train')), 'training image')}, {drawn}: those show nobody, and count no "
            "people."
        )
    if stay:
        said.append(f"The denoiser stays, and with it the conditions of {config.start}: other values count as missing.")
    said += _of_masks(images, masks, old)
    if old and old.embedding and not config.embedding.told:
        said.append("The model to start from has an embedding; this one, trained without --embedding, will have none.")
    return tuple(said)


def _of_masks(images: ImageSet, masks: MaskFacts | None, old: LatentDiffusion | None) -> list[str]:
    if masks:
        return [f"Masks: {masks_in_words(masks)}."]
    said = []
    if there := sum(bool(images.rows[i].mask_file_name) for i in rows_in(images, "train")):
        said.append(
            f"{count_of(there, 'training image has', 'training images have')} a mask, which the model is not told: "
            "--masks tells it."
        )
    if old and old.denoiser.takes_masks:
        said.append("The model to start from takes masks; this one, trained without --masks, will take none.")
    return said
