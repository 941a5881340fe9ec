"""Masks in an evaluation: Dice is Dice, true pairs are as good as real ones, and false ones are found out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from phonybrains.evaluation.config import EvaluateConfig, UtilityConfig
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.outcomes import outcome_of
from phonybrains.evaluation.score import Score
from phonybrains.evaluation.utility import outlines
from phonybrains.evaluation.utility.again import Again
from phonybrains.evaluation.utility.audit import utility_audit
from phonybrains.evaluation.utility.dice import dice, mean_of, of_empty
from phonybrains.evaluation.utility.segmentation import Segmenter, UNet, side_of, stacked, varied
from phonybrains.imageset import ImageSet, Row, write_mask, write_metadata, write_png

SIDE, STEPS = 32, 60
CONFIG = EvaluateConfig(utility=UtilityConfig(bootstraps=200, networks=2))


def square(*sides: int) -> np.ndarray:
    """A mask of 8 × 8: True in rows and columns from the first number up to the second."""
    mask = np.zeros((8, 8), np.bool_)
    mask[sides[0] : sides[1], sides[0] : sides[1]] = True
    return mask


def test_dice_of_known_masks():
    """One mask: 1; disjoint: 0; half of it: 2/3; nothing where something is: 0; where nothing is, it is left out."""
    truth = np.stack([square(0, 4), square(0, 4), square(0, 4), square(0, 0), square(0, 4)])
    found = np.stack([square(0, 4), square(4, 8), square(0, 4), square(0, 4), square(0, 0)])
    found[2, 2:] = False
    each = dice(found, truth)
    np.testing.assert_allclose(each, [1, 0, 2 / 3, np.nan, 0])
    said = of_empty(each, np.array([[True, True, True, True, False], [True] * 3 + [False] * 2]))
    assert said == "1 image with nothing to find left out, something is outlined in 0.5"
    assert of_empty(each[:3], np.ones((2, 3), bool)) == ""


def test_the_mean_is_over_images_and_draws_are_of_people():
    """Of one person with three images and one with one; every draw is a mean of whole people."""
    each = np.array([1.0, 1.0, 1.0, 0.0, np.nan])
    again = Again.of(["a", "a", "a", "b", "b"], 1, 500, np.random.default_rng(0))
    mean = mean_of(each[None], again)
    assert mean.value == 0.75
    assert set(np.round(mean.draws, 6)) == {0.0, 0.75, 1.0}


def test_three_networks_are_not_taken_for_as_many_as_there_are_people():
    """Networks that find .2, .3 and .4 everywhere: t with two degrees of freedom, though forty people were outlined."""
    again = Again.of([str(i) for i in range(40)], 3, 20_000, np.random.default_rng(0))
    mean = mean_of(np.repeat([[0.2], [0.3], [0.4]], 40, axis=1), again)
    assert mean.value == pytest.approx(0.3)
    low, high = stats.t.interval(0.95, 2, 0.3, 0.1 / np.sqrt(3))
    found = mean.interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_image_and_mask_are_varied_as_one():
    """Where the image is the mask, it still is afterwards, and most is no longer where it was."""
    rng = torch.Generator().manual_seed(1)
    masks = torch.zeros(6, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 10:26] = True
    grey, truth = varied(masks * torch.tensor(255, dtype=torch.uint8), masks, rng)
    assert truth.shape == (6, 1, 32, 32)
    assert ((grey > 127) == (truth > 0)).float().mean() > 0.97
    assert all((truth[i, 0] > 0).ne(masks[i]).sum() > 20 for i in range(6))
    assert ((truth.sum((1, 2, 3)) / 192).log().abs() < 0.4).all()


def test_the_network_gives_an_answer_for_each_pixel():
    """For any multiple of 16; equal seeds give equal networks."""
    assert UNet()(torch.zeros(2, 1, 48, 32)).shape == (2, 1, 48, 32)
    images, masks = np.zeros((4, 16, 16), np.uint8), np.zeros((4, 16, 16), np.bool_)
    masks[:, 4:8] = images[:, 4:8] = 1
    one, other = (Segmenter(3, steps=2).fit(images, masks).network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def blobs(folder: Path, n: int, seed: int, synthetic: bool, shuffled: bool = False, empty: int = 0) -> ImageSet:
    """Bright discs somewhere on noise, with their masks, or with those of other images; three images a person."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    y, x = np.mgrid[:SIDE, :SIDE]
    rows, masks = [], []
    for i in range(n):
        centre, radius = rng.uniform(8, 24, 2), rng.uniform(4, 7)
        masks.append((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (0 if i < empty else radius**2))
        pixels = np.clip(rng.normal(60, 20, (SIDE, SIDE)) + 110 * masks[-1], 0, 255).astype(np.uint8)
        name, split = f"images/{i:03d}.png", "" if synthetic else ("train", "train", "train", "test")[i // 3 % 4]
        digest = write_png(folder / name, pixels)
        rows.append(Row(name, digest, "MR", "" if synthetic else f"p{i // 3}", split, synthetic))
    if shuffled:
        masks = masks[7:] + masks[:7]
    write_metadata(folder, [write_mask(folder, row, mask) for row, mask in zip(rows, masks, strict=True)])
    return ImageSet.open(folder)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "Segmenter", partial(Segmenter, steps=STEPS))
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return blobs(tmp_path_factory.mktemp("real") / "set", 96, 0, synthetic=False, empty=12)


def of(found: Findings, name: str, group: str = "") -> Score:
    (score,) = [score for score in found.scores if score.name == name and group in score.group]
    return score


def test_true_pairs_are_as_good_as_real_ones(corpus: ImageSet, tmp_path: Path):
    """The asked masks are found as those of real people, and pairs that teach as well as real ones do no harm."""
    made = blobs(tmp_path / "made", 60, 1, synthetic=True, empty=3)
    found = utility_audit(made, corpus, CONFIG, folder=tmp_path / "kept")
    asked = of(found, "dice_asked")
    assert asked.value is not None
    assert asked.null is not None
    assert asked.value > 0.75
    assert abs(asked.value - asked.null.value) < 0.1
    assert outcome_of(asked) != "apart"
    assert (asked.n, asked.modality, asked.versus) == (57, "MR", "test")
    assert "3 images with nothing to find left out" in asked.note
    assert of(found, "dice", "masks: real, 100 % of real").value == asked.null.value
    alone = of(found, "dice", "synthetic only")
    assert alone.value is not None
    assert alone.value > 0.85 * asked.null.value
    for group in ("synthetic only", "real + synthetic"):
        assert outcome_of(of(found, "delta_dice", group)) != "apart"
    assert "MR: networks that real images taught find asked outlines with Dice" in (found.facts.sentence or "")


def test_masks_of_other_images_are_found_out(corpus: ImageSet, tmp_path: Path):
    """They are not found where they were asked, and a network that they taught finds nothing in real people."""
    made = blobs(tmp_path / "made", 60, 1, synthetic=True, shuffled=True)
    found = utility_audit(made, corpus, CONFIG)
    asked, alone = of(found, "dice_asked"), of(found, "delta_dice", "synthetic only")
    assert outcome_of(asked) == "apart"
    assert asked.value is not None
    assert asked.value < 0.4
    assert outcome_of(alone) == "apart"
    assert alone.value is not None
    assert alone.value < -0.3


def test_what_was_learnt_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With kept findings nothing is learnt again; with another mask it is."""
    made = blobs(tmp_path / "made", 12, 1, synthetic=True)
    pairs = outlines.Pairs.of(made, range(12), SIDE)
    first = outlines.learnt(pairs, pairs, 0, lambda *_: None, tmp_path / "kept")
    monkeypatch.setattr(outlines, "Segmenter", None)
    again = outlines.learnt(pairs, pairs, 0, lambda *_: None, tmp_path / "kept")
    np.testing.assert_array_equal(first.dice, again.dice)
    np.testing.assert_array_equal(first.anything, again.anything)
    with pytest.raises(TypeError):
        outlines.learnt(pairs, replace(pairs, hashes=pairs.hashes[::-1]), 0, lambda *_: None, tmp_path / "kept")


def test_without_masks_nothing_is_said_and_with_few_why(corpus: ImageSet, tmp_path: Path):
    """One side without masks: the part is as ever; too few, or all empty: a score without a value, and the reason."""
    made = blobs(tmp_path / "made", 12, 1, synthetic=True)
    bare = replace(made, rows=tuple(replace(row, mask_file_name="") for row in made.rows))
    assert {score.name for score in utility_audit(bare, corpus, CONFIG).scores} == {"auc"}
    few = replace(made, rows=made.rows[:5])
    note = of(utility_audit(few, corpus, CONFIG), "dice").note
    assert "too few images with a mask: 5 synthetic; 10 are needed" in note
    nothing = blobs(tmp_path / "nothing", 12, 1, synthetic=True, empty=12)
    assert "all masks of synthetic images are empty" in of(utility_audit(nothing, corpus, CONFIG), "dice").note


def test_images_and_masks_are_brought_to_one_side(tmp_path: Path):
    """The side is a multiple of 16 of at most 128, and a mask goes with its image."""
    made = blobs(tmp_path / "made", 2, 1, synthetic=True)
    assert side_of(made, made) == 32
    assert side_of(made, replace(made, height=24, width=24)) == 16
    assert side_of(replace(made, height=512, width=512)) == 64
    grey, masks = stacked(made, range(2), 16)
    assert grey.shape == masks.shape == (2, 16, 16)
    assert all(grey[i][masks[i]].mean() > grey[i][~masks[i]].mean() + 60 for i in range(2))


def test_no_mask_vanishes_on_the_way_down(tmp_path: Path):
    """A line one pixel wide, which covers no place by half, is still there; an empty mask stays empty."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    line = np.zeros((64, 64), np.bool_)
    line[31, 8:40] = True
    rows = [
        Row(name, write_png(folder / name, np.zeros((64, 64), np.uint8)), "MR")
        for name in ("images/0.png", "images/1.png")
    ]
    write_metadata(
        folder, [write_mask(folder, row, mask) for row, mask in zip(rows, (line, ~line & line), strict=True)]
    )
    _, masks = stacked(ImageSet.open(folder), range(2), 16)
    assert masks[0].sum() == 8
    assert not masks[1].any()
