"""`phonybrains model compile`: the networks of a model folder, traced by torch and converted by MNN, into the cache.

MNN's converter is called as a library, never by its command, which reports to its makers.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_dc import DCUpBlock2d
from torch import Tensor, nn

from ..drafts import appear
from ..errors import ConfigError, ModelError
from ..networks.denoiser import Denoiser
from ..networks.texture import MOST_STYLE, Texture
from ..process_wide import OUTPUT, silenced
from ..record import sha256_file
from .compiled import (
    DECODER,
    DENOISER,
    FEW_STEPS,
    FORMAT_VERSION,
    GRAIN,
    MANIFEST,
    Compiled,
    Manifest,
    installed,
    place_of,
    why_not,
)
from .finding import find_model
from .latent_diffusion import LatentDiffusion
from .sampling import Sampling
from .workers import this_device

FARTHEST = 2
"""Gray levels that a compiled model may be off by; more is an error of the compiler."""
MEASURED = 3
"""Images that are measured, and compared."""


class Decoding(nn.Module):
    """The decoder by itself: latents z to images, in an order that MNN computes sooner.

    It would copy all that passes a shortcut, so these are taps of the convolutions beside them; and it moves whole
    channels, but no single pixels, at once.
    """

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(autoencoder.decoder)
        for parent in list(self.modules()):
            for name, block in parent.named_children():
                if isinstance(block, DCUpBlock2d) and not block.interpolate:
                    setattr(parent, name, nn.Sequential(_upsampling(block), Shuffle()))

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z)  # type: ignore[operator]


def _upsampling(block: DCUpBlock2d) -> nn.Conv2d:
    """The convolution of a block, with its shortcut, whose channels come in the order that Shuffle takes."""
    conv = block.conv
    out, weight, bias = torch.arange(conv.out_channels), conv.weight.data, conv.bias
    if block.shortcut:
        weight[out, out // block.repeats, 1, 1] += 1
    order = out.view(-1, 4).t().flatten()
    conv.weight.data = weight[order]
    if bias is not None:
        bias.data = bias.data[order]
    return conv


class Shuffle(nn.Module):
    """A pixel shuffle of channels that come by place, and not by what they are of."""

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        places = x.view(n, 2, 2, channels // 4, height, width)
        return places.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // 4, 2 * height, 2 * width)


class Texturing(nn.Module):
    """The texture by itself, of numbers that are drawn already."""

    def __init__(self, texture: Texture) -> None:
        super().__init__()
        self.texture = texture

    def forward(self, image: Tensor, drawn: Tensor, modality: Tensor) -> Tensor:
        return self.texture.drawn(image, drawn, modality)


class Denoising(nn.Module):
    """A denoiser whose condition, and what else it is told, come joined."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.unet, self.embed = denoiser.unet, denoiser.embed

    def forward(self, x: Tensor, t: Tensor, told: Tensor) -> Tensor:
        return self.unet(x, t * 1000, self.embed(told), return_dict=False)[0]


def compile_model(name: str | Path) -> Manifest:
    """Compile a model folder, or a shipped model by name, for this machine; what was compiled before is replaced.

    The images are compared with torch's, and both are measured. Raises ConfigError for a model that cannot be compiled
    or a package that is missing, ModelError where the images differ by more than FARTHEST gray levels.
    """
    folder = find_model(name)
    if reason := why_not(folder, Sampling()):
        raise ConfigError(f"{folder.resolve().name}: {reason}")
    model = LatentDiffusion.load(folder)
    place = place_of(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    denoisers = {DENOISER: model.denoiser} | ({FEW_STEPS: model.few_step} if model.few_step else {})
    manifest: Manifest = {
        "format_version": FORMAT_VERSION,
        "mnn": installed(),
        "latent_channels": model.latent_shape[0],
        "shift": model.chain.shift,
        "told": {name: denoiser.extra_width for name, denoiser in denoisers.items()},
        "texture": None,
        "seconds": {"torch": 0.0, "compiled": 0.0},
        "sha256": {},
    }
    with appear(place, place.with_name(f".{place.name}.partial")) as draft:
        x = torch.zeros(1, *model.latent_shape)
        _convert(Decoding(model.autoencoder), {"z": x}, draft / DECODER)
        if model.texture:
            known, image = list(model.texture.config["modalities"]), torch.zeros(1, 1, model.size, model.size)
            manifest["texture"] = {"numbers": image.numel() + MOST_STYLE, "modalities": known}
            drawn = torch.zeros(1, manifest["texture"]["numbers"])
            given = {"image": image, "drawn": drawn, "modality": torch.zeros(1, len(known))}
            _convert(Texturing(model.texture), given, draft / GRAIN)
        for name, denoiser in denoisers.items():
            told = torch.zeros(1, denoiser.condition_width + denoiser.extra_width)
            _convert(Denoising(denoiser), {"x": x, "t": torch.ones(1), "told": told}, draft / name)
        manifest["sha256"] = {path.name: sha256_file(path) for path in sorted(draft.glob("*.mnn"))}
        manifest["seconds"] = _compare(model.to(this_device()), Compiled.at(draft, manifest, folder))
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)  # last: another process may be reading it
    return manifest


def _convert(network: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    """Write a network as MNN reads it, by way of ONNX."""
    try:
        with silenced(OUTPUT):
            converter = import_module("_tools")  # of MNN
        import_module("onnxscript")  # torch.onnx needs it
    except ImportError as error:
        how = "python -m pip install 'phonybrains[compile]' does that."
        raise ConfigError(f"{error.name} is not installed. {how}") from None
    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        onnx = str(Path(scratch) / "network.onnx")
        names, example = list(inputs), tuple(inputs.values())
        torch.onnx.export(
            network.eval(), example, onnx, input_names=names, dynamo=True, external_data=False, verbose=False
        )
        with silenced(OUTPUT):
            converter.mnnconvert(
                ["mnnconvert", "-f", "ONNX", "--modelFile", onnx, "--MNNModel", str(path), "--bizCode", "-"]
            )
    if not path.is_file():
        raise ModelError(f"MNN {installed()} cannot convert {path.stem}. Generate with --engine torch.")


def _compare(model: LatentDiffusion, compiled: Compiled) -> dict[str, float]:
    """Seconds that an image of two steps takes one thread, by torch and compiled: the best of MEASURED images.

    Raises ModelError where an image is another than torch's.
    """
    wanted, sampling = model.ask(range(MEASURED), {}, 0), Sampling(steps=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours, theirs = (
            [_timed(lambda i=i, m=m: next(iter(m.paint([i], [wanted[i]], sampling)))) for i in range(MEASURED)]
            for m in (compiled, model)
        )
    finally:
        torch.set_num_threads(threads)
    farthest = max(int(np.abs(a.astype(int) - b).max()) for (a, _), (b, _) in zip(ours, theirs, strict=True))
    if farthest > FARTHEST:
        raise ModelError(
            f"What MNN {installed()} makes of this model differs from torch by {farthest} gray levels: it is not kept. "
            "Generate with --engine torch."
        )
    return {"torch": min(s for _, s in theirs), "compiled": min(s for _, s in ours)}


def _timed(make: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    begin = time.perf_counter()
    image = make()
    return image, time.perf_counter() - begin
