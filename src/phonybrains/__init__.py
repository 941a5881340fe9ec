"""Synthetic brain MRI and CT with latent diffusion models, put to the test.

The public names; each is imported when it is first used, so that `import phonybrains` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        ConfigError,
        ImageSetError,
        ModelError,
        OutputError,
        PhonyBrainsError,
        SourceError,
        StudyError,
        TrainingError,
    )
    from .generating.stage import generate
    from .imageset import ImageSet, Row
    from .importing import ImportConfig, import_images
    from .importing.fetch import fetch
    from .model.latent_diffusion import LatentDiffusion
    from .model.share import pull_model, push_model
    from .phantom import make_phantoms
    from .training.config import TrainConfig, load_train_config
    from .training.stage import train

    __version__: str

__all__ = [
    "ConfigError",
    "ImageSet",
    "ImageSetError",
    "ImportConfig",
    "LatentDiffusion",
    "ModelError",
    "OutputError",
    "PhonyBrainsError",
    "Row",
    "SourceError",
    "StudyError",
    "TrainConfig",
    "TrainingError",
    "fetch",
    "generate",
    "import_images",
    "load_train_config",
    "make_phantoms",
    "pull_model",
    "push_model",
    "train",
]

_HOMES = {
    "ImageSet": "imageset",
    "ImportConfig": "importing",
    "LatentDiffusion": "model.latent_diffusion",
    "Row": "imageset",
    "TrainConfig": "training.config",
    "fetch": "importing.fetch",
    "generate": "generating.stage",
    "import_images": "importing",
    "load_train_config": "training.config",
    "make_phantoms": "phantom",
    "pull_model": "model.share",
    "push_model": "model.share",
    "train": "training.stage",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = import_module("importlib.metadata").version(__name__)
    elif name in __all__:
        value = getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
