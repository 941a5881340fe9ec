"""A small U-Net that outlines in an image what it was taught to, learnt in minutes on one core."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor, nn

from ...imageset import ImageSet
from ..arrays import Array
from ..score import Progress, silent

STEPS, BATCH, RATE = 1000, 16, 4e-3
"""Steps of learning, whatever the number of images, so that arms differ in their images alone."""
SIDE, LEAST = 64, 16
"""Pixels of a side that it works on, at most; a multiple of LEAST. At 128 a step costs four times as much."""
WIDTHS = (16, 32, 64, 64)
"""Channels at a half, a quarter, an eighth and a sixteenth of the side."""

Masks = NDArray[np.bool_]


class UNet(nn.Module):
    """Images (B, 1, H, W), H and W multiples of 16, to the log odds of each pixel, (B, 1, H, W).

    Two convolutions a level, with the features of the way down joined on the way up; pixels are folded two by two into
    channels first and unfolded last, so that no level is at full resolution.  [Ronneberger 2015; Shi 2016]
    """

    def __init__(self) -> None:
        super().__init__()
        ways = list(zip((4, *WIDTHS[:-1]), WIDTHS, strict=True))
        self.down = nn.ModuleList(_twice(before, after) for before, after in ways)
        self.up = nn.ModuleList(_twice(before + after, before) for before, after in ways[:0:-1])
        self.last = nn.Conv2d(WIDTHS[0], 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(x, 2)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for block, beside in zip(self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), beside], 1))
        return F.pixel_shuffle(self.last(x), 2)


def _twice(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU(inplace=True)]
    return nn.Sequential(*layers)


class Segmenter:
    """A `UNet` with fit and predict for images (n, S, S) uint8 and masks (n, S, S), S a multiple of 16."""

    def __init__(self, seed: int = 0, steps: int = STEPS) -> None:
        self.seed, self.steps = seed, steps

    def fit(self, images: Array, masks: Masks, progress: Progress = silent) -> Segmenter:
        """Learn the masks of the images, by cross entropy and soft Dice in equal parts."""
        rng = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = UNet().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimiser = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=0.01)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=self.steps)
        turns = _turns(len(images), self.steps * BATCH, rng)
        for step in range(self.steps):
            chosen = turns[step * BATCH : (step + 1) * BATCH]
            x, truth = varied(torch.from_numpy(images[chosen]), torch.from_numpy(masks[chosen]), rng)
            loss = loss_of(self.network(look(x)), truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            progress("segmentation network", step + 1, self.steps)
        return self

    @torch.inference_mode()
    def predict(self, images: Array) -> Masks:
        """What it outlines in images it may not have seen, (n, S, S)."""
        parts = [
            self.network(look(torch.from_numpy(images[i : i + BATCH])[:, None]))[:, 0] > 0
            for i in range(0, len(images), BATCH)
        ]
        return torch.cat(parts).numpy()


def look(grey: Tensor) -> Tensor:
    """Grey (B, 1, h, w) of 0…255 as the network sees it."""
    return (grey.float() / 64 - 1).contiguous(memory_format=torch.channels_last)


def loss_of(answer: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy, and 1 - soft Dice over the batch, which the few pixels inside weigh in.  [Milletari 2016]"""
    inside = answer.sigmoid()
    dice = (2 * (inside * truth).sum() + 1) / (inside.sum() + truth.sum() + 1)
    return F.binary_cross_entropy_with_logits(answer, truth) + 1 - dice


def varied(images: Tensor, masks: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Images (B, S, S) uint8 and masks as (B, 1, S, S) float: turned, scaled, shifted, mirrored, brighter or darker."""
    n = len(images)
    draw = torch.rand(6, n, generator=rng) * 2 - 1
    angle, scale = 0.25 * draw[0], torch.exp(0.12 * draw[1])
    mirror = torch.where(draw[2] < 0, -1.0, 1.0)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack([cos * mirror, -sin, 0.1 * draw[3], sin * mirror, cos, 0.1 * draw[4]], 1).view(n, 2, 3)
    grid = F.affine_grid(turn, [n, 1, *images.shape[1:]], align_corners=False)
    moved = F.grid_sample(torch.stack([images.float(), masks.float() * 255], 1), grid, align_corners=False)
    grey = moved[:, :1] / 255
    grey = grey ** torch.exp(0.3 * draw[5]).view(n, 1, 1, 1)
    return grey * 255, (moved[:, 1:] >= 127.5).float()


def _turns(n: int, count: int, rng: Generator) -> list[int]:
    """All n images in random order, over and over."""
    rounds = [torch.randperm(n, generator=rng) for _ in range(-(-count // n))]
    return torch.cat(rounds)[:count].tolist()


def side_of(*sets: ImageSet) -> int:
    """Pixels of a side to work on: SIDE, or less where the images are smaller."""
    shortest = min(min(images.height, images.width) for images in sets)
    return min(SIDE, max(LEAST, shortest // LEAST * LEAST))


def stacked(images: ImageSet, numbers: Sequence[int], side: int) -> tuple[Array, Masks]:
    """Images (n, side, side) uint8 and their masks; all of them have one.

    Inside is what is covered by half or more, or where nothing is, what is covered most: no mask vanishes.
    """
    grey = np.empty((len(numbers), side, side), np.uint8)
    masks = np.empty((len(numbers), side, side), np.bool_)
    for place, number in enumerate(numbers):
        pixels, mask = images.pixels(number) >> (images.bits - 8), images.mask(number)
        if mask is None:
            raise ValueError(f"{images.rows[number].file_name} has no mask")
        picture = Image.fromarray(pixels.astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
        grey[place] = np.asarray(picture)
        share = np.asarray(Image.fromarray(mask.astype(np.float32)).resize((side, side), Image.Resampling.BOX))
        masks[place] = (share > 0) & (share >= min(0.5, share.max()))
    return grey, masks
