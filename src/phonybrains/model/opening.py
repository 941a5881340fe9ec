"""Opens whichever kind of model: one of our own, by torch or compiled, or a fine-tuned Stable Diffusion.

All are asked for images alike. torch is imported where it is needed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import ConfigError, ModelError, PhonyBrainsError
from ..files import in_turn
from ..record import RECORD_NAME, read_record
from .compiled import Compiled, is_quicker, place_of, why_not
from .description import check_model
from .finding import is_fine_tuned
from .sampling import Engine, Sampling
from .workers import chosen_device, this_device

if TYPE_CHECKING:
    from .fine_tuned import FineTuned
    from .latent_diffusion import LatentDiffusion

    ImageModel = LatentDiffusion | FineTuned | Compiled


def open_model(folder: Path, device: str = "cpu") -> LatentDiffusion | FineTuned:
    """Load a model folder of either kind. Raises ModelError if it is damaged, before anything is computed."""
    from .fine_tuned import FineTuned
    from .latent_diffusion import LatentDiffusion

    return (FineTuned if is_fine_tuned(folder) else LatentDiffusion).load(folder, device)


def open_fastest(folder: Path, engine: Engine, sampling: Sampling) -> ImageModel:
    """Load a model folder for an engine, or for the one that `settle_engine` takes.

    What the cache has lost of a compiled model is made anew. Raises ModelError if the folder is damaged, ConfigError
    where a compiled model is asked for and cannot be.
    """
    if settle_engine(folder, engine, sampling) == "compiled":
        try:
            return _open_compiled(folder)
        except PhonyBrainsError as error:
            if engine == "compiled":
                raise
            print(f"WARNING: {error} Until then torch does it.", file=sys.stderr)
    return open_model(folder, this_device())


def settle_engine(folder: Path, engine: Engine, sampling: Sampling) -> Literal["torch", "compiled"]:
    """`auto` is compiled where the model was compiled here, and is not slower by it. Raises ConfigError if it cannot.

    Takes milliseconds, and no torch.
    """
    reason = "" if engine == "torch" else why_not(folder, sampling)
    if (device := chosen_device()) not in ("", "cpu"):
        reason = reason or f"a compiled model runs on the processor, not on {device}."
    if reason and engine == "compiled":
        raise ConfigError(f"--engine compiled: {reason}")
    compiled = engine == "compiled" or (engine == "auto" and not reason and is_quicker(folder))
    return "compiled" if compiled else "torch"


def engine_of(folder: Path, engine: Engine, sampling: Sampling, out: Path) -> Literal["torch", "compiled"]:
    """`settle_engine`, where the choice is open the engine that made what is in `out` already."""
    made = read_record(out).get("config", {}) if engine == "auto" and (out / RECORD_NAME).is_file() else None
    return settle_engine(folder, engine if made is None else made.get("engine", "torch"), sampling)


def _open_compiled(folder: Path) -> Compiled:
    """Load a compiled model; one that is not there, or not whole, is compiled first: by one of the shards of a run."""
    check_model(folder)
    place = place_of(folder)
    with suppress(ModelError):
        return Compiled.load(folder)
    with in_turn(place.with_name(f".{place.name}.turn")):
        try:
            return Compiled.load(folder)
        except ModelError as error:
            from .compiling import compile_model

            print(f"{error} It is done now, which takes about a minute.", file=sys.stderr)
            compile_model(folder)
        return Compiled.load(folder)
