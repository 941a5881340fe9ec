"""The public names, and where each is defined: one line for a name, which `__init__.py` reads too."""

from .editing.augment import augment as augment
from .errors import ConfigError as ConfigError
from .errors import ImageSetError as ImageSetError
from .errors import ModelError as ModelError
from .errors import OutputError as OutputError
from .errors import PhonyBrainsError as PhonyBrainsError
from .errors import ServiceError as ServiceError
from .errors import SourceError as SourceError
from .errors import StudyError as StudyError
from .errors import TrainingError as TrainingError
from .evaluation.config import EvaluateConfig as EvaluateConfig
from .evaluation.stage import evaluate as evaluate
from .exporting.stage import export as export
from .finetuning.config import FinetuneConfig as FinetuneConfig
from .finetuning.stage import finetune as finetune
from .generating.join import join as join
from .generating.stage import generate as generate
from .imageset import ImageSet as ImageSet
from .imageset import Row as Row
from .importing import ImportConfig as ImportConfig
from .importing import import_images as import_images
from .importing.fetch import fetch as fetch
from .model.latent_diffusion import LatentDiffusion as LatentDiffusion
from .model.share import pull_model as pull_model
from .model.share import push_model as push_model
from .phantom.corpus import make_phantoms as make_phantoms
from .predicting.config import PredictConfig as PredictConfig
from .predicting.stage import predict_apply as predict_apply
from .predicting.stage import predict_train as predict_train
from .readerstudy.analyse import analyse_study as analyse_study
from .readerstudy.config import StudyConfig as StudyConfig
from .readerstudy.config import load_study_config as load_study_config
from .readerstudy.design.power import study_power as study_power
from .readerstudy.design.stage import design_study as design_study
from .readerstudy.import_answers import check_counts as check_counts
from .readerstudy.import_answers import import_answers as import_answers
from .readerstudy.simulate import simulate_study as simulate_study
from .readerstudy.study import Study as Study
from .readerstudy.web.serve import serve_study as serve_study
from .remote.config import ImagineConfig as ImagineConfig
from .remote.config import load_imagine_config as load_imagine_config
from .scoring.stage import score as score
from .training.config import TrainConfig as TrainConfig
from .training.config import load_train_config as load_train_config
from .training.stage import train as train
from .workflows.edit import denoise as denoise
from .workflows.edit import explain as explain
from .workflows.edit import inpaint as inpaint
from .workflows.edit import noise as noise
from .workflows.edit import translate as translate
from .workflows.edit import upscale as upscale
from .workflows.edit import vary as vary
from .workflows.imagine import imagine as imagine

__all__: list[str]
__version__: str
