"""What turns images into feature vectors, each known by its name and the SHA-256 of its weights."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from ...errors import ModelError
from ...record import sha256_file
from ..config import EvaluateConfig
from ..weights import weights_file
from .handcrafted import NAMES, handcrafted
from .radiomics import Radiomics

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = NDArray[Any]
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

    def __init__(self, weights: Path, device: str) -> None:
        self.device = device
        self.sha256 = sha256_file(weights)

    @property
    def identity(self) -> str:
        return f"{self.name} sha256:{self.sha256[:12]}"

    def __call__(self, images: Images, batch_size: int = BATCH) -> Array:
        import torch

        with torch.inference_mode():
            parts = [
                torch.from_numpy(np.ascontiguousarray(images[i : i + batch_size]))
                for i in range(0, len(images), batch_size)
            ]
            return torch.cat([self.features(part.to(self.device)).float().cpu() for part in parts]).numpy()

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

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        try:
            module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        except (ImportError, RuntimeError) as error:  # torchvision that does not fit torch is a RuntimeError
            raise ModelError(
                f"Inception needs torch-fidelity and torchvision ({_line(error)}). "
                "Install them with: pip install torch-fidelity"
            ) from None
        try:
            with _as_pth(weights) as path:
                network = module.FeatureExtractorInceptionV3(self.name, ["2048"], str(path))
        except (OSError, RuntimeError, ValueError, UnpicklingError, SafetensorError) as error:
            raise ModelError(f"{weights}: not torch-fidelity's Inception ({_line(error)}).") from None
        self.network = network.to(device)
        super().__init__(weights, device)

    def features(self, images: Tensor) -> Tensor:
        return self.network(images[:, None].expand(-1, 3, -1, -1))[0]


class Dinov2Features(_Network):
    """The class token of DINOv2 (ViT-S/14, B or L, as the file is) for images of 224 pixels a side.

    weights: safetensors or a state dictionary with the names of its publishers, which timm has too. Raises ModelError
    for a file of another kind.  [Oquab 2023; Stein 2023 on why to prefer it to Inception]
    """

    name = "dinov2"

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        from .dinov2 import Dinov2

        try:
            self.network = Dinov2(_tensors(weights)).to(device)
        except (OSError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError) as error:
            raise ModelError(f"{weights}: not DINOv2 ({_line(error)}).") from None
        self.width = self.network.width
        super().__init__(weights, device)

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
def _as_pth(weights: Path) -> Iterator[Path]:
    """The file as torch-fidelity reads it, which loads whatever it is given: only tensors get there."""
    import torch

    tensors = _tensors(weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(tensors, path)
        yield path


def _line(error: Exception) -> str:
    """An error's text on one line, cut off where torch goes on to list every weight."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"


@dataclass(frozen=True)
class Extractors:
    """The extractors that could be had, and why others could not, by name."""

    found: list[Extractor]
    missing: dict[str, str]


def extractors_of(config: EvaluateConfig, device: str = "cpu") -> Extractors:
    """Handcrafted features, each network whose weights are at hand or come, radiomics if asked for; the others with
    the reason."""
    wanted: dict[str, tuple[Callable[[Path, str], Extractor], Path | str | None, str]] = {
        "squeezenet1_1": (SqueezeNetFeatures, config.features, "--features"),
        "inception-v3-compat": (InceptionFeatures, config.quality.inception, "quality.inception"),
        "dinov2": (Dinov2Features, config.quality.dinov2, "quality.dinov2"),
    }
    found: list[Extractor] = [Handcrafted()]
    missing: dict[str, str] = {}
    for name, (make, weights, setting) in wanted.items():
        if weights is None:
            missing[name] = f"no weights: name their file or address with {setting}"
            continue
        try:
            found.append(make(weights_file(weights), device))
        except ModelError as error:
            missing[name] = str(error)
    if config.quality.frd:
        try:
            found.append(Radiomics())
        except ModelError as error:
            missing["radiomics"] = str(error)
    return Extractors(found, missing)
