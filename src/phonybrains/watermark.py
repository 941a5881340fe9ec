"""An invisible watermark: a keyed pattern in the middle frequencies of an image, and the test for it.  [Cox 1997]

The pattern g is complex standard normal noise, drawn from the key, on the Fourier coefficients of a ring. The test
brings an image to the pattern's grid, flattens its own coefficients to y, and takes z = Re Σ g* y / |y| at many shifts
and sizes. Whatever the image, if it does not depend on the key, z is normal of variance 1 at each of them, exactly; the
threshold pays for having looked so often by Bonferroni's bound.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.ndimage import uniform_filter
from scipy.stats import norm

from .errors import ConfigError

FALSE_POSITIVES = 1e-6
"""Of an image without the watermark, at most, whatever it shows: over random keys."""
SIDE, INNER, OUTER = 256, 12, 100
"""The grid of the pattern, over the width of an image, and its frequencies in cycles across it."""
WIDTHS, SHIFT = range(226, 262, 2), 32
"""Widths at which an image is looked at, as one of 256 may have been cropped, and how far it may have been moved."""
THRESHOLD = float(norm.isf(FALSE_POSITIVES / (len(WIDTHS) * (2 * SHIFT + 1) ** 2)))
SOUGHT, STRENGTHS = 16.0, (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""z of an image when it gets its watermark, and the amplitudes in grey levels, of which the first that gives it is
taken."""
SMALLEST, SHORTEST_KEY = 128, 16
FREQUENCIES = np.hypot(np.fft.fftfreq(SIDE, 1 / SIDE)[:, None], np.fft.rfftfreq(SIDE, 1 / SIDE)[None])
RING = (FREQUENCIES >= INNER) & (FREQUENCIES < OUTER) & (np.arange(SIDE // 2 + 1) > 0)
Image2D = NDArray[np.float32]


@dataclass(frozen=True)
class Watermark:
    """A model owner's key, which a pattern is drawn from."""

    key: bytes

    @classmethod
    def read(cls, path: str | Path) -> Watermark:
        """The key in a file. Raises ConfigError for one that is not there, or so short that it can be guessed."""
        try:
            key = Path(path).read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"{path}: the key of the watermark cannot be read ({error.strerror}).") from None
        if len(key) < SHORTEST_KEY:
            raise ConfigError(
                f"{path}: a key of {len(key)} bytes can be guessed. Make one of at least {SHORTEST_KEY}: "
                "openssl rand -hex 32 > KEYFILE"
            )
        return cls(key)

    def _digest(self, purpose: str) -> bytes:
        return hmac.new(self.key, f"phonybrains watermark: {purpose}".encode(), hashlib.sha256).digest()

    @property
    def name(self) -> str:
        """What a record says of the key: enough to tell two apart, nothing that leads to either."""
        return self._digest("name").hex()[:16]

    @cached_property
    def spectrum(self) -> NDArray[np.complex64]:
        """g, (SIDE, SIDE // 2 + 1): real and imaginary part standard normal in the ring, 0 outside."""
        words = np.frombuffer(self._digest("pattern"), np.uint64)
        real, imaginary = np.random.Generator(np.random.Philox(key=words[:2])).standard_normal((2, *RING.shape))
        return ((real + 1j * imaginary) * RING).astype(np.complex64)

    def check(self, size: int) -> None:
        """Raise ConfigError for images whose side is too small to carry it."""
        if size < SMALLEST:
            raise ConfigError(f"a watermark needs images of {SMALLEST} pixels or more, not {size}. Leave it out.")

    def put(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, H) uint8 with the watermark, as weak as it is found for sure; it follows the texture, and leaves the air.

        Its sides are at least SMALLEST, see `check`.
        """
        width = image.shape[1]
        pattern = _resized(np.asarray(irfft2(self.spectrum, (SIDE, SIDE)), np.float32), width)
        pattern = pattern / pattern.std() * _visibility(image)
        marked = image
        for strength in STRENGTHS:
            marked = np.clip(np.rint(image + strength * pattern), 0, 255).astype(np.uint8)
            if self._scores(_resized(marked.astype(np.float32), SIDE)).max() >= SOUGHT:
                break
        return marked

    def find(self, image: NDArray[np.uint8] | NDArray[np.uint16]) -> float:
        """The largest z of an image (H, W) over all widths and shifts: the watermark is there where it is above
        THRESHOLD."""
        return max(float(self._scores(sized).max()) for sized in _sizes(image.astype(np.float32)))

    def _scores(self, image: Image2D) -> Image2D:
        """z at every shift, (2 SHIFT + 1)²."""
        flat = _flattened(_framed(image))
        found = np.asarray(irfft2(self.spectrum.conj() * flat, (SIDE, SIDE), overwrite_x=True)) * (SIDE**2 / 2)
        scores = np.roll(found, (SHIFT, SHIFT), (0, 1))[: 2 * SHIFT + 1, : 2 * SHIFT + 1]
        return np.asarray(scores / max(float(np.linalg.norm(flat)), 1e-9), np.float32)


def p_value(z: float) -> float:
    """How often an image without the watermark would give z or more: at most."""
    return min(1.0, float(norm.sf(z)) * len(WIDTHS) * (2 * SHIFT + 1) ** 2)


def _sizes(image: Image2D) -> Iterator[Image2D]:
    return (_resized(image, width) for width in WIDTHS)


def _resized(image: Image2D, width: int) -> Image2D:
    """An image of another width, as high as its proportions say."""
    if image.shape[1] == width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _framed(image: Image2D) -> Image2D:
    """The middle of an image on the grid, with 0 around it where it is smaller."""
    frame = np.zeros((SIDE, SIDE), np.float32)
    taken = [slice(max(0, (n - SIDE) // 2), max(0, (n - SIDE) // 2) + SIDE) for n in image.shape]
    inner = image[taken[0], taken[1]]
    top, left = ((SIDE - n) // 2 for n in inner.shape)
    frame[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return frame


def _flattened(image: Image2D) -> NDArray[np.complex64]:
    """The coefficients of the ring, those that are large in their surroundings made as small as the others."""
    found = np.asarray(rfft2(image, overwrite_x=True)) * RING
    return np.asarray(found / (uniform_filter(np.abs(found), 9) + 0.3 * SIDE), np.complex64)


def _visibility(image: NDArray[np.uint8]) -> Image2D:
    """How much of a pattern texture hides, about 0…2: none in air, nor near black and white, where windows cut."""
    grey = image.astype(np.float32)
    mean = uniform_filter(grey, 11)
    spread = np.sqrt(np.maximum(uniform_filter(grey * grey, 11) - mean * mean, 0))
    inside = np.clip(np.minimum(grey, 255 - grey) / 16, 0, 1)
    return np.asarray((np.clip(spread / 12, 0, 1.5) + 0.5) * np.clip(mean / 24, 0, 1) * inside, np.float32)
