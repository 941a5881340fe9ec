"""Stable Diffusion checkpoints through diffusers: found on the Hub or in a folder, loaded, and asked for gray images.

Three families: Stable Diffusion 1 and 2 (sd), XL (sdxl), and 3 (sd3).
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from ..documents import read_json
from ..errors import ConfigError, ModelError, PhonyBrainsError
from ..record import sha256_file
from ..tensors import brief
from .description import DESCRIPTION
from .hub_cache import fetched
from .lora_description import Family

INDEX = "model_index.json"
FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
}
GUIDANCE = {"sd": 7.5, "sdxl": 5.0, "sd3": 7.0}
"""Strength that each family's own pipeline takes where none is asked for."""
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that play no role here; the safety checker knows photographs, and blackens what it takes for skin."""
T5 = ("text_encoder_3", "tokenizer_3")
TEXT = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", *T5)
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Base:
    """A checkpoint in the manner of diffusers, on this machine. Find one with `Base.find`.

    revision: the commit, for a checkpoint of the Hub; t5: whether its T5 text encoder, if it has one, is used.
    """

    name: str
    folder: Path
    kind: str
    revision: str = ""
    variant: str | None = None
    t5: bool = True

    @classmethod
    def find(cls, name: str, revision: str | None = None, variant: str | None = None, t5: bool = True) -> Base:
        """Find a folder, or download a repository of the Hub into its cache, safetensors only.

        Raises ConfigError if it is neither or cannot be had, saying why, or if it is of no family known here.
        """
        require_extra()
        path, commit = Path(name).expanduser(), ""
        if path.exists() or name.startswith(("/", ".", "~")):
            if revision:
                raise ConfigError(f"{name} is a folder: it has no revisions.")
        else:
            path = _download(name, revision, variant, {} if t5 else dict.fromkeys(T5))
            commit = path.name
        return cls(name, path, _kind(path, name), commit, variant, t5)

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind]

    @property
    def pipeline(self) -> Any:
        """The class of diffusers that runs it."""
        import diffusers

        return getattr(diffusers, self.kind)

    def fingerprint(self) -> str:
        """SHA-256 over the names and contents of the files that are used."""
        digest = hashlib.sha256()
        for part in sorted(p for p in self.folder.iterdir() if p.is_dir() and p.name not in self._left_out()):
            for path in sorted(_used(part, self.variant)):
                digest.update(f"{part.name}/{path.name} {sha256_file(path)}\n".encode())
        return digest.hexdigest()

    def load(self, dtype: torch.dtype = torch.float32, without: Sequence[str] = ()) -> Any:
        """The pipeline, without some of its parts. Raises ModelError if a part is missing or damaged."""
        more: dict[str, Any] = {"requires_safety_checker": False} if self.family == "sd" else {}
        unused = {*self._left_out(), *without} & set(inspect.signature(self.pipeline.__init__).parameters)
        absent = {name for name in T5 if self.family == "sd3" and name not in self._parts()}
        try:
            with _no_bars():
                pipeline = self.pipeline.from_pretrained(
                    self.folder,
                    dtype=dtype,
                    variant=self.variant,
                    use_safetensors=True,
                    local_files_only=True,
                    **dict.fromkeys(unused | absent),
                    **more,
                )
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            how = "Download it again; it must be in diffusers' format, with safetensors."
            reason = brief(error).rstrip(".")
            raise ModelError(f"{self.name}: the checkpoint cannot be loaded ({reason}). {how}") from None
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def load_texts(self, device: torch.device) -> Any:
        """The pipeline with what reads texts alone, on a device."""
        pipeline = self.load(without=("unet", "transformer", "vae"))
        if self.family == "sd3":  # which asks its network how wide the embeddings are, where there is no T5
            from accelerate import init_empty_weights
            from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel as kind

            with init_empty_weights():
                network = kind.from_config(dict(kind.load_config(self.folder, subfolder="transformer")))  # pyright: ignore
            pipeline.register_modules(transformer=network)
        for name in TEXT[::2]:
            if getattr(pipeline, name, None) is not None:
                getattr(pipeline, name).to(device)
        return pipeline

    def _parts(self) -> set[str]:
        index = read_json(self.folder / INDEX, dict[str, Any], "Download it again.", ModelError)
        return {name for name, part in index.items() if isinstance(part, list) and part and part[0]}

    def _left_out(self) -> tuple[str, ...]:
        return UNUSED if self.t5 else (*UNUSED, *T5)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Load meanwhile without the progress bars of diffusers and Transformers."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    with ExitStack() as stack:
        for logging in (of_diffusers, of_transformers):
            logging.disable_progress_bar()
            stack.callback(logging.enable_progress_bar)
        yield


def require_extra() -> None:
    """Raise ConfigError unless the extra `finetune` is installed."""
    missing = [name for name in ("peft", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        how = "pip install 'phonybrains[finetune]'."
        raise ConfigError(f"Stable Diffusion needs {' and '.join(missing)}, which is not installed: {how}")


def backbone(pipeline: Any) -> tuple[str, Any]:
    """The name and the network of the part that takes the noise away."""
    name = "transformer" if hasattr(pipeline, "transformer") else "unet"
    return name, getattr(pipeline, name)


def native_size(pipeline: Any) -> int:
    """The side in pixels that a checkpoint was trained at."""
    return int(backbone(pipeline)[1].config.sample_size) * pipeline.vae_scale_factor


@torch.no_grad()
def encode_texts(pipeline: Any, texts: Sequence[str]) -> dict[str, Tensor]:
    """What a pipeline takes instead of texts: prompt_embeds, negative_prompt_embeds (of no words), pooled if it is."""
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    if pipeline.__class__.__name__ == "StableDiffusionPipeline":
        del names[2:]
    options: dict[str, Any] = {"num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    if hasattr(pipeline, "text_encoder_3"):
        options |= {"prompt_2": None, "prompt_3": None}
    found = pipeline.encode_prompt(prompt=list(texts), device=pipeline.text_encoder.device, **options)
    return dict(zip(names, found, strict=True))


@torch.no_grad()
def draw(
    pipeline: Any, rngs: Sequence[Generator], side: int, steps: int, guidance: float, out_side: int, **texts: Any
) -> NDArray[np.uint8]:
    """Gray images (B, out_side, out_side), each of its own generator, drawn at `side`; texts: prompt, or encoded."""
    made = pipeline(
        generator=list(rngs),
        height=side,
        width=side,
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="np",
        **texts,
    ).images
    gray = (np.asarray(made, np.float32) @ LUMINANCE).clip(0, 1)
    return np.stack([_resize(image, out_side) for image in gray])


def _resize(gray: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Gray values in 0…1 as (side, side) uint8: antialiased without dark halos; larger bicubic."""
    if gray.shape != (side, side):
        way = Image.Resampling.HAMMING if side < len(gray) else Image.Resampling.BICUBIC
        gray = np.asarray(Image.fromarray(gray).resize((side, side), way))
    return np.rint(gray.clip(0, 1) * 255).astype(np.uint8)


def _kind(folder: Path, name: str) -> str:
    try:
        kind = str(read_json(folder / INDEX, dict[str, Any], "")["_class_name"])
    except (PhonyBrainsError, KeyError):
        how = "Turn a single file into such a folder with diffusers' from_single_file and save_pretrained."
        why = f"is not a checkpoint in diffusers' format: it has no readable {INDEX}"
        raise ConfigError(f"{name} {why}. {how}") from None
    if kind not in FAMILIES:
        made_by_train = (folder / DESCRIPTION).is_file()
        what = f"was made by phonybrains train; train --start {name} goes on" if made_by_train else f"is a {kind}"
        raise ConfigError(f"{name} {what}. Known: {', '.join(FAMILIES)}.")
    return kind


def _used(part: Path, variant: str | None) -> list[Path]:
    """The files of a part that are loaded: of its weights, those of the variant where it has them."""
    files = [p for p in part.iterdir() if p.is_file() and p.suffix in (".json", ".txt", ".model", ".safetensors")]
    marked = {name for name in ("fp16", "bf16", "fp32", "ema", "non_ema") if name != variant}
    own = [p for p in files if variant and f".{variant}" in p.name]
    plain = [p for p in files if not any(f".{name}" in p.name for name in marked) and p not in own]
    return own + [p for p in plain if not own or p.suffix != ".safetensors"]


def _download(name: str, revision: str | None, variant: str | None, left_out: dict[str, None]) -> Path:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    fetch = partial(
        DiffusionPipeline.download,
        name,
        revision=revision,
        variant=variant,
        use_safetensors=True,
        **dict.fromkeys(UNUSED),
        **left_out,
    )
    try:
        return fetched(name, fetch)
    except Exception as error:  # what the Hub's client raises differs from version to version; its kind is told below
        raise ConfigError(f"{name}: {_reason(error, name, revision)}") from None


def _reason(error: BaseException, name: str, revision: str | None) -> str:
    from huggingface_hub import errors

    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    log_in = "with 'hf auth login', or set HF_TOKEN."
    kinds: list[tuple[Any, str]] = [
        (
            errors.GatedRepoError,
            f"its licence must be accepted first: open https://huggingface.co/{name}, agree to it with your account, "
            f"then log in on this machine {log_in}",
        ),
        (errors.RevisionNotFoundError, f"the Hub has no revision '{revision}' of it."),
        (
            errors.RepositoryNotFoundError,
            "there is no such folder here, and the Hub has no such repository, or shows it only to its members: check "
            f"the name, and log in {log_in}",
        ),
        (errors.HFValidationError, "this is neither a folder here nor the name of a repository, USER/NAME."),
        (
            (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, ConnectionError),
            "the Hub cannot be reached, and the checkpoint is not in the cache. Connect, or fetch it elsewhere with "
            f"'hf download {name} --local-dir FOLDER' and give the folder.",
        ),
    ]
    for kind, reason in kinds:
        if any(isinstance(one, kind) for one in chain):
            return reason
    return f"it cannot be had from the Hub ({brief(Exception(str(error))).rstrip('.')}). Check name and connection."
