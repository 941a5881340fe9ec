"""The commands that make models: `train` and `finetune`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from ..startup import say
from .options import Flag, Least, Seed, Whole, Words
from .working import working


@working("quiet", "overwrite", "device")
def train(
    corpus: Path,
    /,
    *,
    out: Path,
    preset: str = "cpu",
    config: Path | None = None,
    conditions: Words = None,
    min_patients: Least | None = None,
    features: Path | None = None,
    start: str | None = None,
    masks: Flag = False,
    classifier: str | None = None,
    embedding: Whole | None = None,
    seed: Seed | None = None,
) -> None:
    """Train a latent diffusion model on an image set.

    Args:
        corpus: An image set.
        out: Folder of the model.
        preset: tiny (seconds, for rehearsals), laptop (heads learns your scans), cpu, gpu, ddpm (on pixels) or gan.
        config: TOML file with any of the settings of docs/train.md, laid over the preset; the options here win.
        conditions: Columns of metadata.csv that the model is told about, besides the modality.
        min_patients: Values of fewer patients are no conditions (5), as images of them would redraw these; 0 gives all.
        features: SqueezeNet weights (safetensors) for the perceptual part of the autoencoder's loss.
        start: Begin with the weights of this model folder, or of a model that comes with the package; same shapes.
        masks: Tell the model the masks of the corpus, so that it can be asked to follow one.
        classifier: Also train a classifier of this condition, for generate --classifier-guidance.
        embedding: Also tell the model what an image looks like in so many numbers, as 64, for edit vary --by embedding.
        seed: Start of the random numbers.
    """
    from ..model.finding import model_folder
    from ..training.config import load_train_config

    settings = load_train_config(
        preset,
        config,
        conditions=conditions and tuple(conditions),
        min_patients=min_patients,
        features=features,
        start=start,
        masks=masks or None,
        classifier={"attribute": classifier} if classifier else None,
        embedding={"dim": embedding} if embedding else None,
        seed=seed,
    )
    if settings.start:
        model_folder(settings.start)
    from ..training.stage import train

    train(corpus, out, settings)
    say(f"{out} is trained. Next: phonybrains generate {quote(str(out))} -n 95 --out samples/")


@working("quiet", "overwrite", "device")
def finetune(
    base: str,
    corpus: Path,
    /,
    *,
    out: Path,
    config: Path | None = None,
    caption: str | None = None,
    size: Whole | None = None,
    revision: str | None = None,
    variant: str | None = None,
    seed: Seed | None = None,
) -> None:
    """Fine-tune a Stable Diffusion checkpoint on an image set, as a LoRA.

    Args:
        base: USER/NAME on the Hugging Face Hub, or a folder, in diffusers' format: SD 1 and 2, SDXL, SD 3.
        corpus: An image set.
        out: Folder of the LoRA, for generate.
        config: TOML file with any of the settings of docs/finetune.md; the options here win.
        caption: Template of the captions, as "{plane} {modality} of the brain, {diagnosis}".
        size: Side in pixels that the base draws at (the one it was trained at); images keep the corpus's side.
        revision: Branch, tag or commit of the base on the Hub.
        variant: The base's weights of this name, as fp16.
        seed: Start of the random numbers.
    """
    from ..config import load_config
    from ..finetuning.config import FinetuneConfig

    settings = load_config(
        FinetuneConfig, config, caption=caption, size=size, revision=revision, variant=variant, seed=seed
    )
    from ..finetuning.stage import finetune

    finetune(base, corpus, out, settings)
    say(f"{out} is fine-tuned. Next: phonybrains generate {quote(str(out))} -n 8 --out samples/")
