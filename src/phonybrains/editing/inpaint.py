"""Inpainting: what could lie in a hole, given all that is around it?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve
from torch import Tensor

from ..diffusion.inverse import Masked, Measurement, given
from ..diffusion.sampler import renewed
from .config import Inpaint
from .prior import Images, Prior, as_images, as_pixels


def inpainted(images: Images, prior: Prior, how: Inpaint, holes: NDArray[np.bool_]) -> Images:
    """Images and holes (B, H, W), True inside, to images that differ inside their holes alone, to the bit.

    The walk begins at the smoothest filling, under as much noise as hides what it lacks. All noise is drawn anew in
    each step, so that what does not fit the rim is soon forgotten; what is left of a seam is spread over the hole.
    """
    device, y = prior.model.device, as_pixels(images)
    known = torch.from_numpy(~holes)[:, None].float().to(device)
    measured = Measurement(y.to(device), Masked(known), lambda t: torch.ones(1, device=device))
    times = prior.times(how.start, how.steps)
    z = prior.noised(prior.encode(_blended(torch.zeros_like(y), y, holes)), times[0])
    z = prior.walk(given(prior.predict(), measured, prior.codec), z, times, renewed)
    return np.where(holes, as_images(_blended(prior.draw(z).cpu(), y, holes)), images)


def _blended(inside: Tensor, outside: Tensor, holes: NDArray[np.bool_]) -> Tensor:
    """`seamless` of each image, (B, 1, H, W)."""
    images = zip(inside[:, 0].numpy(), outside[:, 0].numpy(), holes, strict=True)
    return torch.from_numpy(np.stack([seamless(*one) for one in images]))[:, None]


def seamless(inside: NDArray[np.float32], outside: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`outside` (H, W) with its hole filled from `inside`, shifted by a harmonic function so that no step is left.

    The shift is the difference of the two on the rim and solves Laplace's equation within.  [Pérez 2003, eq. 4]
    """
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    here = np.argwhere(hole)
    right, rows, columns, degree = np.zeros(len(here)), [], [], np.zeros(len(here))
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        there = here + step
        valid = ((there >= 0) & (there < hole.shape)).all(axis=1)
        place, beside = np.flatnonzero(valid), tuple(there[valid].T)
        degree += valid
        unknown = hole[beside]
        rows.append(place[unknown])
        columns.append(number[beside][unknown])
        known = tuple(axis[~unknown] for axis in beside)
        np.add.at(right, place[~unknown], outside[known] - inside[known])
    every = np.arange(len(here))
    links = -np.ones(sum(map(len, rows)))
    values = np.concatenate([degree, links])
    at = (np.concatenate([every, *rows]), np.concatenate([every, *columns]))
    matrix = coo_array((values, at), shape=(len(here),) * 2).tocsc()
    filled = outside.copy()
    filled[hole] = inside[hole] + spsolve(matrix, right)
    return filled
