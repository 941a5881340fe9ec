"""Masks in training: augmented as their images, told with them, and a model that starts from one without them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.testing import assert_close

from phonybrains.errors import ConfigError, TrainingError
from phonybrains.imageset import ImageSet, write_mask, write_metadata
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.summary import summary
from phonybrains.networks.masks import MASK_CHANNELS, encode_masks
from phonybrains.record import read_record
from phonybrains.training import augment
from phonybrains.training.augment import GAMMA, augment_masks, draw_parameters
from phonybrains.training.config import load_train_config
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.denoiser import DenoiserTask, mask_weights
from phonybrains.training.few_step import FewStepTask
from phonybrains.training.guidance import GuidanceTask
from phonybrains.training.latents import Latents, encode_latents, load_latents, rows_encoded
from phonybrains.training.stage import train
from phonybrains.training.start import start
from tests.support.tiny_training import CPU, NAMES, OFF, Recorder, image_set, micro, noise_images
from tests.training.conftest import beginning

WHOLE = slice(0, 8, 1)


@pytest.fixture(scope="module")
def masked(masked_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The phantoms with their masks, but for the first image, whose mask is lost."""
    images = ImageSet.open(masked_corpus)
    rows = (replace(images.rows[0], mask_file_name=""), *images.rows[1:])
    images = replace(images, rows=rows)
    return Corpus.open(images, check_corpus(images, NAMES, 32), tmp_path_factory.mktemp("work"), CPU, masks=True)


def discs(n: int) -> Tensor:
    """(n, 1, 64, 64) of 0 and 1: discs here and there."""
    along, rng = torch.arange(64.0), np.random.default_rng(0)
    places = [(rng.uniform(12, 52), rng.uniform(12, 52), rng.uniform(3, 12)) for _ in range(n)]
    found = [((along[None] - x) ** 2 + (along[:, None] - y) ** 2 < r**2).float() for x, y, r in places]
    return torch.stack(found)[:, None]


# Augmentation


def test_a_mask_moves_as_an_image_that_equals_it():
    """Flipped, turned, enlarged and shifted like an image of the same pixels whose gray levels are left alone."""
    masks, parameters = discs(32), draw_parameters(32, 0.7, Generator().manual_seed(0))
    still = parameters.clone()
    still[:, GAMMA] = 0
    as_image = (augment.augment(masks * 2 - 1, still) + 1) / 2
    moved = augment_masks(masks, parameters)
    assert torch.equal(moved, as_image)
    assert 0 < (moved - masks).abs().mean() < 0.2
    assert bool((parameters[:, GAMMA] != 0).any())


def test_gamma_alone_leaves_a_mask_alone():
    """To the bit, as do no parameters at all."""
    parameters = torch.zeros(4, augment.WIDTH)
    parameters[2:, GAMMA] = torch.tensor([1.0, -1.0])
    assert torch.equal(augment_masks(discs(4), parameters), discs(4))


def test_a_moved_mask_stays_over_what_it_outlines():
    """White discs on black and their masks go through the same moves: gamma of white is white, so they are the same."""
    masks, parameters = discs(32), draw_parameters(32, 1.0, Generator().manual_seed(1))
    images = (augment.augment(masks * 2 - 1, parameters) + 1) / 2
    inside = augment_masks(masks, parameters) > 0.5
    both = (inside & (images > 0.5)).sum((1, 2, 3)) / inside.sum((1, 2, 3))
    assert both.min() > 0.9


# What is read and told


def test_the_corpus_tells_masks_that_are_there(masked: Corpus, masked_corpus: Path):
    """As they are in the set without parameters; zeros for the image whose mask is missing."""
    images, rows = ImageSet.open(masked_corpus), torch.tensor([5, 0, 40])
    told = masked.encoded_masks(rows, torch.zeros(3, augment.WIDTH))
    for one, i in ((told[0], 5), (told[2], 40)):
        assert torch.equal(one, encode_masks(torch.from_numpy(images.mask(i)).float()[None, None])[0])
    assert not told[1].any()


def test_the_cache_holds_a_mask_for_each_version(masked: Corpus, masked_model: Path, tmp_path: Path):
    """Version 0 as it is, the others moved by the parameters beside them, in half precision."""
    coder = LatentDiffusion.load(masked_model).autoencoder
    *_, done = encode_latents(coder, masked, micro(denoiser={"variants": 3}).denoiser, 0, tmp_path / "z", CPU)
    latents, n = load_latents(tmp_path / "z", masked), len(masked.pixels)
    assert done == sum(map(len, rows_encoded(masked, 3))) < 3 * n
    assert latents.masks is not None
    assert latents.masks.shape == (3, n, MASK_CHANNELS, 8, 8)
    for v, rows in enumerate(rows_encoded(masked, 3)):
        expected = masked.encoded_masks(rows, latents.parameters[v, rows])
        assert_close(latents.masks[v, rows].float(), expected, rtol=0, atol=2e-3)
    assert (latents.masks[1, masked.train] != latents.masks[0, masked.train]).any()


def coded(corpus: Corpus) -> Latents:
    """Latents and masks whose every number tells version and row."""
    n, versions = len(corpus.pixels), torch.arange(2)
    codes = (100.0 * versions[:, None] + torch.arange(n) + 1)[:, :, None, None, None]
    masks = codes.expand(-1, -1, MASK_CHANNELS, 4, 4).half()
    return Latents(codes.expand(-1, -1, 4, 4, 4), torch.zeros(2, n, augment.WIDTH), None, masks)  # type: ignore[arg-type]


class Shown(DenoiserTask):
    """A task that keeps what it would show."""

    def errors(self, network: nn.Module, *batch: Any) -> Tensor:  # type: ignore[override]
        self.__dict__.setdefault("shown", []).append((batch[0], batch[5]))
        return batch[0][:, 0, 0, 0] * 0


def test_each_image_is_shown_with_its_own_mask_or_none(masked: Corpus):
    """The mask is that of the image and version, and missing in about a fifth of all."""
    task = Shown(nn.Identity(), masked, coded(masked), CHAINS["flow"], micro().denoiser, CPU)
    for seed in range(60):
        task.loss(task.network, Generator().manual_seed(seed), WHOLE)
    x_0, mask = (torch.cat(parts)[:, 0, 0, 0] for parts in zip(*task.__dict__["shown"], strict=True))
    assert bool(((mask == x_0) | (mask == 0)).all())
    assert (mask == 0).float().mean().item() == pytest.approx(0.2, abs=0.08)
    assert {int(code - 1) // 100 for code in mask[mask > 0]} == {0, 1}


def test_validation_tells_all_masks_as_they_are(masked: Corpus):
    """Version 0 of each held-out image's own mask."""
    network = Recorder(lambda x, *_: x)
    task = DenoiserTask(network, masked, coded(masked), CHAINS["flow"], micro().denoiser, CPU)
    assert task.validate(network) == task.validate(network)
    told = torch.cat([mask[:, 0, 0, 0] for *_, mask in network.calls])
    assert {*told.tolist()} == {float(row + 1) for row in masked.validation}


def test_guidance_hides_the_mask_where_it_hides_the_conditions(masked: Corpus):
    """What is built in is what mask and conditions add: the worse prediction is told neither, the good one both."""

    class Answer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[Tensor] = []

        def forward(self, x: Tensor, time: Tensor, condition: Tensor, augmentation: Tensor, mask: Tensor) -> Tensor:
            self.told.append(mask)
            return mask[:, :1] + torch.zeros_like(x) + condition.sum(1)[:, None, None, None]

    task = GuidanceTask(Answer(), masked, coded(masked), CHAINS["flow"], load_train_config("tiny").denoiser, CPU)
    x, rng = torch.randn(3, 4, 4, 4, generator=Generator().manual_seed(0)), Generator().manual_seed(1)
    mask, condition = torch.rand(3, MASK_CHANNELS, 4, 4, generator=rng), task.encoded[:3]
    task.errors(task.network, x, torch.rand(3), condition, torch.zeros(3, augment.WIDTH), rng, mask)
    good, worse = task.teacher.told  # type: ignore[misc]
    assert all(torch.equal(told, mask) for told in (good, *task.network.told))  # type: ignore[union-attr, list-item]
    assert not worse.any()  # type: ignore[union-attr]


def test_few_step_paths_are_walked_and_learnt_under_one_mask(masked: Corpus, masked_model: Path):
    """A jump is told the mask under which the teacher went, of the same image as the condition, or none."""
    teacher, network = LatentDiffusion.load(masked_model), Recorder()
    masks = coded(masked).masks[0].repeat(1, 1, 2, 2) / 100  # type: ignore[index]
    config = load_train_config("tiny", few_step={"loop": {"batch_size": 8}}).few_step
    walked: list[Tensor] = []
    predict = teacher.predict
    teacher.predict = lambda x, t, c, *mask: (walked.extend(mask), predict(x, t, c, *mask))[1]  # type: ignore[method-assign]
    task = FewStepTask(network, teacher, masked, config, CPU, masks=masks)
    task.loss(network, Generator().manual_seed(0), WHOLE)
    ((_, _, condition, _, mask),) = network.calls
    told = mask.unflatten(0, (8, -1))
    assert bool((told == told[:, :1]).all())
    assert all(torch.equal(told[:, 0], one) for one in walked)
    rows = (told[:, 0, 0, 0, 0] * 100).round().int() - 1
    for row, asked in zip(rows.tolist(), condition.unflatten(0, (8, -1))[:, 0], strict=True):
        if row >= 0:
            assert row in masked.train.tolist()
            assert bool(((asked == masked.encoded[row]) | (asked == masked.conditions.null(1)[0])).all())
    with torch.no_grad():
        assert task.validate(network) == task.validate(network)


# From end to end


def test_a_model_says_that_it_takes_masks(masked_model: Path, masked_corpus: Path, tiny_model: Path):
    """In model.json, as a format that earlier releases refuse, in its card, its record, and `model info`."""
    content = json.loads((masked_model / "model.json").read_text())
    images = ImageSet.open(masked_corpus).where(split="train")
    counts = {m: sum(row.modality == m for row in images.rows) for m in ("CT", "MR")}
    empty = sum(not images.mask(i).any() for i in range(len(images)))  # type: ignore[union-attr]
    facts = {"outline": "lesion", "images": counts, "empty": empty}
    assert 0 < empty < len(images)
    assert (content["format_version"], content["masks"]) == (2, facts)
    assert read_record(masked_model)["results"]["masks"] == facts
    said = f"lesion; training images that have one: {counts['CT']} CT and {counts['MR']} MR, {empty} of them an empty"
    assert said in (masked_model / "README.md").read_text()
    assert said in summary(masked_model)
    plain = json.loads((tiny_model / "model.json").read_text())
    assert plain["format_version"] == 1
    assert "masks" not in plain


def test_a_sheet_shows_outlines(masked_corpus: Path, masked_model: Path):
    """Sample sheets of a model that takes masks are in colour: the outline over what was generated."""
    trained = masked_model.with_name("masked")
    with Image.open(trained / "training" / "denoiser-0000002.png") as sheet:
        assert sheet.mode == "RGB"
        assert (np.asarray(sheet) == (255, 176, 0)).all(-1).any()


def test_a_corpus_without_masks_cannot_teach_them(phantom_corpus: Path, tmp_path: Path):
    """Said before anything is written, with what to do."""
    with pytest.raises(TrainingError, match=r"no training image has a mask. Import it again with --masks"):
        train(phantom_corpus, tmp_path / "model", micro(masks=True), show=False)
    assert list(tmp_path.iterdir()) == []


def test_masks_that_are_not_told_are_said(masked_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A corpus with masks trains without them as ever, and the command says so; the record is that of before."""
    train(masked_corpus, tmp_path / "model", micro(conditions=NAMES, min_patients=0))
    assert "training images have a mask, which the model is not told: --masks tells it." in capsys.readouterr().out
    assert "masks" not in read_record(tmp_path / "model")["config"]
    assert not LatentDiffusion.load(tmp_path / "model").denoiser.takes_masks


def test_a_start_without_masks_learns_them_from_where_it_was(tiny_model: Path, masked_corpus: Path):
    """`start` of a model without masks: what it predicts is what that one did, whatever mask it is told."""
    old = LatentDiffusion.load(tiny_model)
    new = start(ImageSet.open(masked_corpus), (), beginning(tiny_model, masks=True))
    rng = Generator().manual_seed(0)
    x, t, condition = torch.randn(2, *old.latent_shape, generator=rng), torch.tensor([0.2, 0.7]), old.conditions.null(2)
    mask = torch.rand(2, MASK_CHANNELS, 8, 8, generator=rng)
    denoiser = new.denoiser.eval()
    with torch.no_grad():
        for told in (None, mask):
            found = denoiser(x, t, condition, None, told)
            assert_close(found, old.denoiser(x, t, condition), rtol=0, atol=1e-5)
    assert new.few_step is None


def test_a_start_with_masks_can_go_on_without(masked_model: Path, phantom_corpus: Path):
    """It loses them, which is said, and predicts what that one did where no mask is said."""
    old = LatentDiffusion.load(masked_model)
    new = start(ImageSet.open(phantom_corpus), (), beginning(masked_model))
    assert any("will take none" in line for line in new.said)
    x, t, condition = torch.randn(2, *old.latent_shape), torch.tensor([0.2, 0.7]), old.conditions.null(2)
    with torch.no_grad():
        assert_close(new.denoiser.eval()(x, t, condition), old.denoiser(x, t, condition), rtol=0, atol=1e-5)
    assert new.few_step is None
    assert new.masks is None


def test_a_worse_model_must_take_masks_as_well(masked_model: Path, tiny_model: Path, masked_corpus: Path):
    """Guidance away from a model that takes none, where this one does, is refused."""
    guidance = {"worse": str(tiny_model), "loop": OFF["loop"] | {"steps": 2}}
    with pytest.raises(ConfigError, match=r"guidance.worse: .*(takes no masks|has other latents)"):
        start(ImageSet.open(masked_corpus), (), beginning(masked_model, masks=True, guidance=guidance))


def test_a_set_of_images_with_and_without_masks_trains(tmp_path: Path):
    """One mask in a corpus is enough; the others are told as missing."""
    images = ImageSet.open(image_set(tmp_path / "set", noise_images(4)))
    rows = [write_mask(images.folder, images.rows[0], np.eye(32, dtype=bool)), *images.rows[1:]]
    write_metadata(images.folder, rows)
    model = LatentDiffusion.load(train(tmp_path / "set", tmp_path / "model", micro(masks=True), show=False))
    assert model.masks is not None
    assert (dict(model.masks.images), model.masks.empty, model.masks.outline) == ({"MR": 1}, 0, "")


def test_a_share_of_the_loss_lies_inside_the_mask():
    """A share lies inside beside what is there by area; without a mask, or with an empty one, all weights are 1."""
    masks = discs(32)[discs(32).mean(dim=(1, 2, 3)) > 0.02][:6]
    masks[4] = 0
    told = encode_masks(masks)
    told[5] = 0
    weights = mask_weights(told, 0.3)
    inside = told[:4, :-1].mean(dim=1, keepdim=True)
    area = inside.mean(dim=(1, 2, 3))
    assert bool((area > 0.01).all())
    assert_close(weights[:4].mean(dim=(1, 2, 3)), torch.ones(4))
    there = (inside > 0).float()
    assert_close((weights[:4] * there).mean(dim=(1, 2, 3)), 0.3 + 0.7 * there.mean(dim=(1, 2, 3)))
    assert bool((weights[4:] == 1).all())


def test_a_share_inside_masks_needs_masks():
    """Where none are told, the setting would do nothing."""
    with pytest.raises(ConfigError, match="mask_share is a share of the loss inside masks"):
        micro(denoiser={"mask_share": 0.3})
