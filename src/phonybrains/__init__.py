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
        ServiceError,
        SourceError,
        StudyError,
        TrainingError,
    )
    from .evaluation.config import EvaluateConfig
    from .evaluation.stage import evaluate
    from .finetuning.config import FinetuneConfig
    from .finetuning.stage import finetune
    from .generating.stage import generate
    from .imageset import ImageSet, Row
    from .importing import ImportConfig, import_images
    from .importing.fetch import fetch
    from .model.latent_diffusion import LatentDiffusion
    from .model.share import pull_model, push_model
    from .phantom.corpus import make_phantoms
    from .readerstudy.analyse import analyse_study
    from .readerstudy.config import StudyConfig, load_study_config
    from .readerstudy.design.power import study_power
    from .readerstudy.design.stage import design_study
    from .readerstudy.import_answers import check_counts, import_answers
    from .readerstudy.simulate import simulate_study
    from .readerstudy.study import Study
    from .readerstudy.web.serve import serve_study
    from .remote.config import ImagineConfig, load_imagine_config
    from .training.config import TrainConfig, load_train_config
    from .training.stage import train
    from .workflows.imagine import imagine

    __version__: str

__all__ = [
    "ConfigError",
    "EvaluateConfig",
    "FinetuneConfig",
    "ImageSet",
    "ImageSetError",
    "ImagineConfig",
    "ImportConfig",
    "LatentDiffusion",
    "ModelError",
    "OutputError",
    "PhonyBrainsError",
    "Row",
    "ServiceError",
    "SourceError",
    "Study",
    "StudyConfig",
    "StudyError",
    "TrainConfig",
    "TrainingError",
    "analyse_study",
    "check_counts",
    "design_study",
    "evaluate",
    "fetch",
    "finetune",
    "generate",
    "imagine",
    "import_answers",
    "import_images",
    "load_imagine_config",
    "load_study_config",
    "load_train_config",
    "make_phantoms",
    "pull_model",
    "push_model",
    "serve_study",
    "simulate_study",
    "study_power",
    "train",
]

_HOMES = {
    "EvaluateConfig": "evaluation.config",
    "FinetuneConfig": "finetuning.config",
    "ImageSet": "imageset",
    "ImagineConfig": "remote.config",
    "ImportConfig": "importing",
    "LatentDiffusion": "model.latent_diffusion",
    "Row": "imageset",
    "Study": "readerstudy.study",
    "StudyConfig": "readerstudy.config",
    "TrainConfig": "training.config",
    "analyse_study": "readerstudy.analyse",
    "check_counts": "readerstudy.import_answers",
    "design_study": "readerstudy.design.stage",
    "evaluate": "evaluation.stage",
    "fetch": "importing.fetch",
    "finetune": "finetuning.stage",
    "generate": "generating.stage",
    "imagine": "workflows.imagine",
    "import_answers": "readerstudy.import_answers",
    "import_images": "importing",
    "load_imagine_config": "remote.config",
    "load_study_config": "readerstudy.config",
    "load_train_config": "training.config",
    "make_phantoms": "phantom.corpus",
    "pull_model": "model.share",
    "push_model": "model.share",
    "serve_study": "readerstudy.web.serve",
    "simulate_study": "readerstudy.simulate",
    "study_power": "readerstudy.design.power",
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
