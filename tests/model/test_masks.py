"""What is a mask and what is none, and what a model makes of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from phonybrains.errors import ConfigError, ModelError
from phonybrains.model.description import read_description, write_description
from phonybrains.model.for_diffusers import scheduler_of
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.masks import as_masks
from phonybrains.model.pipeline import PhonyBrainsPipeline
from phonybrains.model.sampling import Sampling

DISC = ((np.arange(64) - 40) ** 2 + (np.arange(64)[:, None] - 24) ** 2) < 100
pytestmark = pytest.mark.filterwarnings("ignore:Too few")
SEEDED: dict[str, Any] = {"steps": 3, "seed": 5, "where": {"modality": "CT"}}


@pytest.fixture(scope="module")
def model(masked_model: Path) -> LatentDiffusion:
    return LatentDiffusion.load(masked_model)


@pytest.mark.parametrize(
    "given",
    [DISC, DISC.astype(np.uint8), DISC * np.uint8(255), Image.fromarray(DISC), Image.fromarray(DISC * np.uint8(7))],
)
def test_pictures_of_two_values_are_masks(given: Any):
    """As arrays or pictures, of any value inside; one alone, in a list, or stacked."""
    for several in (given, [given], np.asarray(given)[None]):
        (mask,) = as_masks(several, 64)
        assert mask is not None
        assert mask.dtype == bool
        assert (mask == DISC).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Image.fromarray(DISC).convert("RGB"), r"mask 0 is of shape \(64, 64, 3\)"),
        ([DISC, np.arange(4096).reshape(64, 64) % 9], r"mask 1 has 9 different values, 0 to 8"),
        ([DISC, DISC + 1], "mask 1 has 2 different values, 1 to 2"),
        (np.ones((64, 64)), "mask 0 covers the whole image"),
        ([None, DISC[:32]], "mask 1 is 64×32, and the model draws 64×64"),
        ([], "the list is empty"),
        (np.dstack([DISC] * 3), r"mask is of shape \(64, 64, 3\): a mask is gray"),
        (np.where(DISC, np.nan, 0), "mask 0 has values that are not finite"),
    ],
)
def test_what_is_no_mask_is_refused(given: Any, words: str):
    """Colours, grays, a blank sheet, another size: said which, and why."""
    with pytest.raises(ConfigError, match=words):
        as_masks(given, 64)


def test_images_follow_their_masks(model: LatentDiffusion):
    """A mask changes an image; image i takes mask i, counted around; an empty one is not a missing one."""
    other = np.roll(DISC, 20, axis=0)
    plain, one = (model.generate(3, mask=mask, **SEEDED).images for mask in (None, DISC))
    assert (plain != one).any((1, 2)).all()
    around = model.generate(3, mask=[DISC, other], **SEEDED).images
    assert np.abs(around.astype(int)[[0, 2]] - one[[0, 2]]).max() <= 1
    assert np.abs(around.astype(int)[1] - one[1]).max() > 1
    unsaid, empty = (model.generate(3, mask=[mask], **SEEDED).images for mask in (None, DISC & ~DISC))
    assert np.abs(unsaid.astype(int) - plain).max() <= 1
    assert np.abs(empty.astype(int) - plain).max(axis=(1, 2)).min() > 1


@pytest.mark.parametrize("sampling", [{"steps": 2}, {"steps": 5, "guidance": 2.0}, {"steps": 5, "sampler": "heun"}])
def test_every_way_to_sample_follows_masks(model: LatentDiffusion, sampling: dict[str, Any]):
    """Few-step weights, guidance and the samplers are told the mask; alone or in a batch, an image is the same."""
    masks = [DISC, np.roll(DISC, 20, axis=0)]
    made = model.generate(2, mask=masks, **SEEDED | sampling).images.astype(int)
    assert np.abs(made - model.generate(2, **SEEDED | sampling).images).max() > 1
    alone = next(
        model.paint([1], model.ask([1], {"modality": "CT"}, 5), Sampling(**{"seed": 5} | sampling), masks=masks)
    )
    assert np.abs(made[1] - alone).max() <= 1


def test_a_model_without_masks_refuses_one(tiny_model: Path):
    """Rather than draw what it was not asked for."""
    with pytest.raises(ConfigError, match="this model takes no masks"):
        LatentDiffusion.load(tiny_model).generate(1, mask=DISC)


def test_a_saved_model_is_the_same(model: LatentDiffusion, tmp_path: Path):
    """Written and read, it says the same of its masks and follows them alike."""
    model.save(tmp_path / "copy")
    again = LatentDiffusion.load(tmp_path / "copy")
    assert again.masks == model.masks
    found, expected = (m.generate(2, mask=DISC, **SEEDED).images.astype(int) for m in (again, model))
    assert np.abs(found - expected).max() <= 1


def test_a_description_that_lies_about_masks_is_refused(masked_model: Path, tmp_path: Path):
    """model.json without masks, of networks that take them: the parts do not fit together."""
    copy = Path(shutil.copytree(masked_model, tmp_path / "copy"))
    content = read_description(copy)
    del content["masks"]
    write_description(copy, content)
    with pytest.raises(ModelError, match="do not fit together"):
        LatentDiffusion.load(copy)


def test_the_pipeline_follows_masks(masked_model: Path, model: LatentDiffusion):
    """diffusers' way of opening the folder gives the images of phonybrains; a picture will do as a mask."""
    few = {"few_step_unet": model.few_step.unet, "few_step_condition_embedding": model.few_step.embed}  # type: ignore[union-attr]
    settings = {"size": 64, "steps": model.steps, "latent_scale": dict(model.scale.statistics)}
    pipe = PhonyBrainsPipeline(
        model.autoencoder,
        model.denoiser.unet,
        model.denoiser.embed,
        scheduler_of(model),
        **few,
        **settings,
        conditions=json.loads(model.conditions.to_json()),
    )
    pipe.set_progress_bar_config(disable=True)
    made: Any = pipe(n=2, mask=Image.fromarray(DISC), output_type="np", **SEEDED)
    expected = model.generate(2, mask=DISC, **SEEDED).images
    assert np.abs(np.asarray(made.images)[..., 0] * 255 - expected).max() <= 1.001
    with pytest.raises(ConfigError, match="mask 0 covers the whole image"):
        pipe(mask=np.ones((64, 64)))


def test_masks_are_encoded_as_training_tells_them(model: LatentDiffusion):
    """One that is not said is zeros, all others have the given channel."""
    told = model.encode_masks([DISC, None, DISC & ~DISC])
    assert told.shape == (3, 5, 8, 8)
    assert 16 * told[0, :4].sum() == DISC.sum()
    assert not told[1].any()
    assert torch.equal(told[2, 4], torch.ones(8, 8))
