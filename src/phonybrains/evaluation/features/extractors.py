"""What turns images into feature vectors, each known by its name and the SHA-256 of its weights."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from ...errors import ModelError
from ...record import sha256_file
from ..arrays import Array
from ..config import EvaluateConfig
from ..weights import weights_file
from .handcrafted import NAMES, handcrafted
from .radiomics import Radiomics

if TYPE_CHECKING:
    from torch import Tensor, nn

Images = NDArray[np.uint8]
BATCH = 4
"""Images at a time: few, so that on a CPU memory is reused and not fetched anew."""


class Extractor(Protocol):
    """Images (n, H, W) uint8 in, features (n, width) float32 out."""

    name: str
    width: int

    @property
    def identity(self) -> str:
        """Name and start of the SHA-256 of the weights, as scores show it; changes whenever the features do."""
        ...

    def __call__(self, images: Images) -> Array: ...


class Handcrafted:
    """Histogram, spectrum, layout, texture, co-occurrence, wavelet: no weights."""

    name, width, identity = "handcrafted", len(NAMES), "handcrafted-3"

    def __call__(self, images: Images) -> Array:
        return handcrafted(images).astype(np.float32)


class _Network:
    """A network with weights from a file, run in small batches."""

    name: str
    width: int

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.device = device
        self.identity = f"{self.name} sha256:{sha256_file(weights)[:12]}"

    def __call__(self, images: Images) -> Array:
        import torch

        starts = range(0, len(images), BATCH)
        with torch.inference_mode():
            batches = (torch.from_numpy(np.ascontiguousarray(images[i : i + BATCH])) for i in starts)
            return torch.cat([self.features(batch.to(self.device)).float().cpu() for batch in batches]).numpy()

    def features(self, images: Tensor) -> Tensor:
        """(B, H, W) uint8 to (B, width)."""
        raise NotImplementedError


class SqueezeNetFeatures(_Network):
    """The last features of SqueezeNet 1.1, averaged over the image.  Raises ModelError for a file of another kind."""

    name, width = "squeezenet1_1", 512

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        import torch

        from ...networks.squeezenet import MEAN, SqueezeNet

        layers: nn.Module = SqueezeNet(weights).features
        self.layers = layers.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean = torch.tensor(MEAN, device=device).reshape(1, 3, 1, 1)
        super().__init__(weights, device)

    def features(self, images: Tensor) -> Tensor:
        return self.layers(images.float()[:, None] - self.mean).mean(dim=(2, 3))


class InceptionFeatures(_Network):
    """The 2048 features of Inception v3 that FID and KID are defined on, as torch-fidelity computes them.

    weights: torch-fidelity's file (`weights-inception-2015-12-05-6726825d.pth`), or its tensors as safetensors. Raises
    ModelError where torch-fidelity cannot be imported or the file holds anything but these tensors.
    """

    name, width = "inception-v3-compat", 2048

    def __init__(self, weights: Path) -> None:
        import torch

        try:
            module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        except (ImportError, RuntimeError) as error:  # torchvision that does not fit torch is a RuntimeError
            raise ModelError(
                f"Inception needs torch-fidelity and torchvision ({_line(error)}). "
                "Install them with: pip install torch-fidelity"
            ) from None
        with _refused(weights, "torch-fidelity's Inception"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"  # torch-fidelity loads whatever it is given: only tensors get there
            torch.save(_tensors(weights), path)
            self.network = module.FeatureExtractorInceptionV3(self.name, ["2048"], str(path))
        super().__init__(weights)

    def features(self, images: Tensor) -> Tensor:
        return self.network(images[:, None].expand(-1, 3, -1, -1))[0]


class Dinov2Features(_Network):
    """The class token of DINOv2 (ViT-S/14, B or L, as the file is) for images of 224 pixels a side.

    weights: safetensors or a state dictionary with the names of its publishers, which timm has too. Raises ModelError
    for a file of another kind.  [Oquab 2023; Stein 2023 on why to prefer it to Inception]
    """

    name = "dinov2"

    def __init__(self, weights: Path) -> None:
        from .dinov2 import Dinov2

        with _refused(weights, "DINOv2"):
            self.network = Dinov2(_tensors(weights))
        self.width = self.network.width
        super().__init__(weights)

    def features(self, images: Tensor) -> Tensor:
        return self.network(images.float()[:, None] / 255)


def _tensors(weights: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of one that torch.save wrote; code in the latter is refused."""
    import torch
    from safetensors.torch import load_file

    if weights.suffix == ".safetensors":
        return load_file(weights)
    found = torch.load(weights, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError("it holds no dictionary of tensors")
    return found


@contextmanager
def _refused(weights: Path, kind: str) -> Iterator[None]:
    """What goes wrong with a file of weights as a ModelError that names it."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError) as error:
        raise ModelError(f"{weights}: not {kind} ({_line(error)}).") from None


def _line(error: Exception) -> str:
    """An error's text on one line, cut off where torch goes on to list every weight."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"


@dataclass(frozen=True)
class Extractors:
    """The extractors that could be had, and why others could not, by name."""

    found: list[Extractor]
    missing: dict[str, str]


def extractors_of(config: EvaluateConfig) -> Extractors:
    """Handcrafted features, each network whose weights are at hand or come, radiomics if asked for; the others with
    the reason."""
    networks: dict[str, tuple[Callable[[Path], Extractor], Path | str | None, str]] = {
        "squeezenet1_1": (SqueezeNetFeatures, config.features, "--features"),
        "inception-v3-compat": (InceptionFeatures, config.quality.inception, "quality.inception"),
        "dinov2": (Dinov2Features, config.quality.dinov2, "quality.dinov2"),
    }
    makers: dict[str, Callable[[], Extractor]] = {name: partial(_network, *of) for name, of in networks.items()}
    if config.quality.frd:
        makers["radiomics"] = Radiomics
    found: list[Extractor] = [Handcrafted()]
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            found.append(make())
        except ModelError as error:
            missing[name] = str(error)
    return Extractors(found, missing)


def _network(make: Callable[[Path], Extractor], weights: Path | str | None, setting: str) -> Extractor:
    if weights is None:
        raise ModelError(f"no weights: name their file or address with {setting}")
    return make(weights_file(weights))
