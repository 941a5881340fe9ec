"""A model compiled for this machine's processor: the images of `LatentDiffusion` up to a gray level, sooner.

`model compile` puts its networks, as MNN computes them, into the cache of whoever runs it, in a folder named after the
model's identity. What they are asked for is the same; their convolutions are Winograd's, with fewer multiplications.
Nothing here needs torch, whose import takes longer than many images. An image is computed by itself, so that its bits
depend on nothing else.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ..diffusion.times import flow_times
from ..documents import read_json
from ..errors import ConfigError, ModelError
from ..imageset import from_unit_range
from ..networks.conditions import Conditions, Value
from ..record import fingerprint, sha256_file
from .backing import doubts
from .description import AGAIN, FEW_STEP, IMAGE_EMBEDDING, PATCHES, check_parts, has, read_description
from .drawing import Noise, drawn, image_noise
from .finding import is_fine_tuned
from .mnn import Network
from .sampling import SHORTCUT, Sampling, settle
from .schema import read_conditions
from .workers import MOST_WORKERS, in_order

FORMAT_VERSION = 3
MANIFEST = "compiled.json"
DENOISER, FEW_STEPS, DECODER, GRAIN = "denoiser.mnn", "few_step.mnn", "decoder.mnn", "texture.mnn"
SAMPLERS = ("adams", "ddim", "euler", SHORTCUT)
"""What is the flow's Euler or Adams-Bashforth method; the others draw noise on the way, or evaluate twice a step."""
NO_GRADIENT = "a compiled model gives no gradient, which classifier guidance needs."
REMEDY = "Give phonybrains model compile, which makes it anew."

Latent = NDArray[np.float32]


class Grain(TypedDict):
    """What a texture needs: how many numbers are drawn for an image, and the modalities it knows."""

    numbers: int
    modalities: list[str]


class Manifest(TypedDict):
    """What compiled.json holds.

    shift: of the flow's times; told: how many numbers each network is told beside the condition; seconds: that an image
    of two steps took one thread of this machine, by torch and compiled.
    """

    format_version: int
    mnn: str
    latent_channels: int
    shift: float
    told: dict[str, int]
    texture: Grain | None
    seconds: dict[str, float]
    sha256: dict[str, str]


def place_of(folder: Path) -> Path:
    """Where the compiled networks of a model folder lie, or would lie: in the user's cache, by format and identity."""
    from platformdirs import user_cache_path

    return user_cache_path("phonybrains") / "compiled" / f"{FORMAT_VERSION}-{fingerprint(folder)[:32]}"


def why_not(folder: Path, sampling: Sampling) -> str:
    """Why a compiled model cannot make images like this, as a sentence; empty where it can."""
    if is_fine_tuned(folder):
        return "a fine-tuned checkpoint is not compiled."
    description = read_description(folder)
    if "masks" in description:
        return "a model with masks is not compiled."
    if has(description, PATCHES):
        return "a model of pixels is not compiled."
    if has(description, IMAGE_EMBEDDING):
        return "a model with an embedding is not compiled."
    if description["diffusion"] != "flow":
        return f"a model trained with diffusion = {description['diffusion']} is not compiled."
    if sampling.sampler not in ("", *SAMPLERS):
        return f"a compiled model has no sampler {sampling.sampler}."
    if sampling.classifier_guidance:
        return NO_GRADIENT
    if sampling.precision == "bf16":
        return "a compiled model computes in fp32."
    if not installed():
        return "MNN is not installed. python -m pip install 'phonybrains[compile]' does that."
    return ""


def installed() -> str:
    """The version of MNN, the library that computes compiled networks; empty where it is not installed."""
    try:
        return version("MNN")
    except PackageNotFoundError:
        return ""


def is_quicker(folder: Path) -> bool:
    """Whether a model was compiled here by this MNN, and was not slower than by torch when both were measured.

    A manifest that cannot be read counts as quicker: somebody has compiled the model, and loading says what is wrong.
    """
    try:
        manifest = _read_manifest(place_of(folder))
    except ModelError:
        return place_of(folder).is_dir()
    return manifest["seconds"]["compiled"] <= manifest["seconds"]["torch"]


def _read_manifest(place: Path) -> Manifest:
    manifest = read_json(place / MANIFEST, Manifest, REMEDY, ModelError)
    if manifest["format_version"] != FORMAT_VERSION or manifest["mnn"] != installed():
        raise ModelError(f"{place} was made by MNN {manifest['mnn']}, and this is {installed()}. {REMEDY}")
    return manifest


@dataclass
class Compiled:
    """A compiled model that can be asked for images, as a LatentDiffusion can."""

    place: Path
    manifest: Manifest
    conditions: Conditions
    description: Mapping[str, Any]
    _idle: dict[str, list[Network]] = field(default_factory=lambda: defaultdict(list))

    own_guidance = Sampling.guidance

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `compile_model` made of a model folder. Raises ModelError if it is missing, damaged or older."""
        place = place_of(folder)
        manifest = _read_manifest(place)
        for name, digest in manifest["sha256"].items():
            if not (place / name).is_file() or sha256_file(place / name) != digest:
                raise ModelError(f"{place / name} is missing or damaged. {REMEDY}")
        return cls.at(place, manifest, folder)

    @classmethod
    def at(cls, place: Path, manifest: Manifest, folder: Path) -> Self:
        """Networks at a place, with what a model folder says of them. Raises ModelError if that is damaged."""
        description = read_description(folder)
        check_parts(folder, description)
        return cls(place, manifest, read_conditions(folder / "conditions.json", AGAIN), description)

    @property
    def size(self) -> int:
        return int(self.description["size"])

    @property
    def steps(self) -> int:
        return int(self.description.get("steps", 16))

    @property
    def few_step(self) -> bool:
        """Whether it has weights for few steps."""
        return has(self.description, FEW_STEP)

    @property
    def units(self) -> Mapping[str, tuple[float, float, str]]:
        units = self.description.get("units", {}).items()
        return {modality: (float(slope), float(intercept), str(unit)) for modality, (slope, intercept, unit) in units}

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.manifest["latent_channels"], self.size // 8, self.size // 8

    def settle(self, sampling: Sampling) -> Sampling:
        """The sampling with nothing left open. Raises ConfigError for what this model cannot do."""
        settled = settle(sampling, self.steps, "adams", self.few_step)
        if settled.sampler not in SAMPLERS:
            raise ConfigError(f"a compiled model has no sampler {settled.sampler}. Take --engine torch.")
        if settled.classifier_guidance:
            raise ConfigError(f"{NO_GRADIENT} Take --engine torch.")
        return replace(settled, precision="fp32")

    def ask(self, indices: Sequence[int], where: Mapping[str, Value], seed: int) -> list[dict[str, Value]]:
        """The full conditions of the images with these indices: what is asked for, the rest drawn as in training."""
        return drawn(self.conditions, indices, where, seed)

    def doubts(self, where: Mapping[str, Value]) -> list[str]:
        """What there is to say against what is asked for: sentences of `backing.doubts`."""
        return doubts(self.conditions, self.conditions.check(where))

    def batches(self, n: int, sampling: Sampling) -> list[slice]:
        """Each of n images by itself."""
        return [slice(i, i + 1) for i in range(n)]

    def paint(
        self,
        indices: Sequence[int],
        wanted: Sequence[Mapping[str, Value]],
        sampling: Sampling,
        batches: Sequence[slice] | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the images with these indices one by one, (H, W) uint8; `batches` makes no difference."""
        sampling = self.settle(sampling)

        def image(order: tuple[int, Mapping[str, Value]]) -> NDArray[np.uint8]:
            noise = image_noise(sampling.seed, order[0])
            *_, latent = self.walk(noise, order[1], sampling)
            return self.decode(latent, order[1].get("modality"), noise)

        pool = ThreadPoolExecutor(workers())
        yield from in_order(image, zip(indices, wanted, strict=True), pool, 2 * workers())

    def walk(self, noise: Noise, wanted: Mapping[str, Value], sampling: Sampling) -> Iterator[Latent]:
        """Yield the latent of one image from pure noise to the clean end, one for each step, (1, C, h, w).

        On the flow's straight paths a network's output is the velocity, so a step is x_r = x_t - (t - r) v, Euler's
        method; Adams-Bashforth's guesses the velocity halfway from the one before.  [Liu 2023, eq. 1; Zhang 2023]
        """
        rows, none = (self.conditions.table([of]) for of in (wanted, {}))
        few = sampling.sampler == SHORTCUT
        network = FEW_STEPS if few else DENOISER
        told = np.zeros((1, self.manifest["told"][network]), np.float32)
        x: Any = noise.normal(1, *self.latent_shape)
        before: tuple[float, Any] | None = None
        yield x
        for t, r in pairwise(flow_times(sampling.steps or 1, self.manifest["shift"])):
            told[:] = t - r if few else 0
            velocity = self._compute(network, x=x, t=np.array([t]), told=np.hstack([rows, told]))
            if sampling.guidance != 1:
                without = self._compute(network, x=x, t=np.array([t]), told=np.hstack([none, told]))
                velocity = without + np.float32(sampling.guidance) * (velocity - without)
            halfway = velocity
            if before and sampling.sampler == "adams":
                halfway = velocity + np.float32((t - r) / (2 * (before[0] - t))) * (velocity - before[1])
            before = t, velocity
            x = x - np.float32(t - r) * halfway
            yield x

    def decode(self, latent: Latent, modality: Value, noise: Noise | None = None) -> NDArray[np.uint8]:
        """A standardised latent (1, C, h, w) to an image (H, W) uint8.

        noise: the image's own, of which a model with texture draws it; without it there is none.
        """
        scale = self.description["latent_scale"]
        mean, deviation = np.array(scale.get(str(modality)) or next(iter(scale.values())), np.float32)
        restored = latent * deviation[:, None, None] + mean[:, None, None]
        image = self._compute(DECODER, z=restored)
        if noise and (grain := self.manifest["texture"]):
            known = np.array([[modality == name for name in grain["modalities"]]])
            image = self._compute(GRAIN, image=image, drawn=noise.normal(1, grain["numbers"]), modality=known)
        return from_unit_range(image[0, 0])

    def _compute(self, name: str, **arrays: NDArray[Any]) -> NDArray[np.float32]:
        """What a network makes of these; each thread that is at work has its own."""
        idle = self._idle[name]
        try:
            network = idle.pop()  # not asked before whether there is one: another thread may take the last meanwhile
        except IndexError:
            network = Network(self.place / name, max(1, threads() // MOST_WORKERS))
        result = network(**arrays)
        idle.append(network)
        return result


def workers() -> int:
    """How many images are computed side by side."""
    return min(threads(), MOST_WORKERS)


def threads() -> int:
    """How many threads may compute: as OMP_NUM_THREADS says, else as many as there are cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else os.cpu_count() or 1
