"""The command line: parsing only, each command calls one stage."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter, validators

from ..errors import ConfigError, PhonyBrainsError
from ..startup import diffusers_for, lean_diffusers, say
from .evaluate import audit_app, evaluate
from .finetune import finetune
from .imagine import imagine
from .model import model_app
from .serve import serve
from .study import study_app

Whole = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Seed = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
Flag = Annotated[bool, Parameter(negative="")]
GOES_ON = {"audit cascade", "demo", "evaluate", "fetch", "finetune", "generate", "imagine", "train"}
"""Commands that, stopped and given again, go on; the others start over."""


def _version() -> str:
    from .. import __version__

    return f"phonybrains {__version__}"


app = App(
    name="phonybrains",
    help="Synthetic brain MRI and CT with latent diffusion models. For research and teaching, not for diagnosis.",
    version=_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
for commands in (model_app, study_app, audit_app):
    app.command(commands)
for command, place in ((finetune, 4.5), (imagine, 5), (evaluate, 6), (serve, 6)):
    app.command(command, sort_key=place)


@app.command(name="import", sort_key=1)
def import_(
    sources: Annotated[list[Path], Parameter(name="SRC", negative="")],
    /,
    *,
    out: Path,
    config: Path | None = None,
    size: int | None = None,
    bits: Literal[8, 16] | None = None,
    modality: Literal["MR", "CT"] | None = None,
    window: Annotated[tuple[float, float] | None, Parameter(negative="")] = None,
    no_window: Flag = False,
    plane: Literal["native", "axial", "coronal", "sagittal"] | None = None,
    seed: int | None = None,
    key_file: Path | None = None,
    synthetic: Flag = False,
    generator: str | None = None,
    strict: Flag = False,
) -> int:
    """Turn scans (DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, …; also in archives) into an image set.

    Args:
        sources: Folders or files, of any mixture.
        out: Folder of the image set; what was left out is listed beside it, in OUT.import.csv.
        config: TOML file with any of the settings of docs/import.md; the options here win.
        size: Side of the images in pixels (256).
        bits: Bits of a pixel (8).
        modality: Modality of files that do not say theirs.
        window: CT: centre and width in HU (40 80).
        no_window: CT: keep the HU as they are, in 16 bits.
        plane: volumes: the plane to slice in (native: the one with the finest pixels).
        seed: Start of the random numbers of the split (0).
        key_file: Another key of the patient pseudonyms.
        synthetic: The images were generated: no split, no patients; colour becomes luminance, and is noted.
        generator: With --synthetic: what generated them, e.g. "Midjourney 8".
        strict: Exit with 1 if any file was left out.
    """
    from ..config import load_config
    from ..importing import ImportConfig, import_images

    if no_window and window is not None:
        raise ConfigError("--window and --no-window do not go together.")
    settings = load_config(
        ImportConfig,
        config,
        size=size,
        bits=16 if no_window else bits,
        modality=modality,
        window="none" if no_window else window,
        plane=plane,
        seed=seed,
        key_file=key_file,
        synthetic=synthetic or None,
        generator=generator,
    )
    return int(import_images(sources, out, settings, strict=strict).failed)


@app.command(sort_key=2)
def fetch(name: str, /, *, out: Path) -> None:
    """Download a public data set from its publisher, for import.

    Args:
        name: cheng2017 (brain MRI with tumours) or ct-ich (head CT with hemorrhages; needs a PhysioNet login).
        out: Folder for its files.
    """
    from ..importing.fetch import fetch

    print(f"{fetch(name, out)} is complete. Next: phonybrains import {out} --out corpus/")


@app.command(sort_key=3)
def phantom(
    *,
    n: Annotated[Whole, Parameter(name=["--n", "-n"])],
    out: Path,
    seed: Seed = 0,
    size: Annotated[int, Parameter(validator=validators.Number(gte=16))] = 256,
    as_scans: Flag = False,
) -> None:
    """Draw head phantoms, MR and CT, as an image set with known ventricles, brain, age and lesions.

    Args:
        n: How many images.
        out: Folder of the image set.
        seed: Start of the random numbers.
        size: Side of the images in pixels, a multiple of 32.
        as_scans: Mark them as scans: for rehearsals in which they play the patients.
    """
    from ..phantom.corpus import make_phantoms

    if size % 32:
        sizes = " or ".join(str(side) for side in (size // 32 * 32, size // 32 * 32 + 32) if side)
        raise ConfigError(f"--size {size}: training needs a multiple of 32 pixels a side. Give {sizes}.")
    print(f"{make_phantoms(n, out, seed=seed, size=size, synthetic=not as_scans)}: {n} phantoms")


@app.command(sort_key=4)
def train(
    corpus: Path,
    /,
    *,
    out: Path,
    preset: str = "cpu",
    config: Path | None = None,
    conditions: Words = None,
    min_patients: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    features: Path | None = None,
    start: str | None = None,
    seed: int | None = None,
) -> None:
    """Train a latent diffusion model on an image set.

    Args:
        corpus: An image set.
        out: Folder of the model.
        preset: tiny (seconds, for rehearsals), cpu or gpu.
        config: TOML file with any of the settings of docs/train.md, laid over the preset; the options here win.
        conditions: Columns of metadata.csv that the model is told about, besides the modality.
        min_patients: Values of fewer patients are no conditions (5), as images of them would redraw these; 0 gives all.
        features: SqueezeNet weights (safetensors) for the perceptual part of the autoencoder's loss.
        start: Begin with the weights of this model folder, or of a model that comes with the package; same conditions.
        seed: Start of the random numbers.
    """
    from ..training.config import load_train_config
    from ..training.stage import train

    settings = load_train_config(
        preset,
        config,
        conditions=conditions and tuple(conditions),
        min_patients=min_patients,
        features=features,
        start=start,
        seed=seed,
    )
    train(corpus, out, settings)
    say(f"{out} is trained. Next: phonybrains generate {out} -n 95 --out samples/")


@app.command(sort_key=5)
def generate(
    model: str,
    /,
    *,
    n: Annotated[Whole, Parameter(name=["-n", "--n"])],
    out: Path,
    where: Words = None,
    prompt: str | None = None,
    seed: Seed = 0,
    steps: Whole | None = None,
    guidance: float | None = None,
    sampler: str = "",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    batch_size: Whole = 16,
    grid: Path | None = None,
) -> None:
    """Generate synthetic images as an image set.

    Args:
        model: A model folder, or the name of a model that comes with the package.
        n: How many images.
        out: Folder of the image set.
        where: What they show, e.g. modality=CT hemorrhage=epidural. "phonybrains model info MODEL" lists what it knows.
        prompt: The same in words, for a model that was fine-tuned from Stable Diffusion.
        seed: Start of the random numbers: image i depends on (seed, i) alone.
        steps: Steps from noise to image; the model's own number if not given. Few-step weights serve up to 4.
        guidance: How strongly the conditions are pushed; 1 is the plain model, at half the cost (the model's own: 1).
        sampler: shortcut, adams, heun, ddim, ddpm or euler; the best for model and steps if not given.
        precision: Arithmetic of decoding: bf16, fp32, or auto for the faster here; up to 5 gray levels apart.
        batch_size: Images computed at a time.
        grid: Also draw a contact sheet into this picture file.
    """
    with diffusers_for(model):
        from ..generating.stage import generate
        from ..record import read_record

    asked = _pairs([*(where or []), *([] if prompt is None else [f"prompt={prompt}"])])
    generate(
        model,
        out,
        n,
        where=asked,
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        precision=precision,
        batch_size=batch_size,
        grid=grid,
    )
    if drawn := read_record(out)["results"].get("drawn"):
        say(
            f"Not asked for, so drawn as often as in training: {', '.join(drawn)}. Each image starts from noise of its "
            f"own, of seed {seed} and its index."
        )
    say(f"{out}: {n} synthetic images" + (f"; contact sheet: {grid}" if grid else ""))


@app.command(sort_key=10)
def demo(*, out: Path = Path("out/demo"), serve: Flag = False, port: Whole = 8000) -> None:
    """Generate 95 images with the model that comes with the package, and draw sheets of them.

    Args:
        out: Folder for the image set and the sheets.
        serve: Then let two readers judge 40 of the images, as in the paper, in their browsers.
        port: Port of that study.
    """
    with lean_diffusers():
        from ..workflows.demo import demo, demo_study

    demo(out)
    if serve:
        from ..readerstudy.web.serve import serve_study

        serve_study(demo_study(out), port=port)


def main() -> NoReturn:
    """Run the command line: 0 done, 1 an error that a person can act on, 2 wrong usage, 130 stopped."""
    warnings.simplefilter("ignore")
    # On busy cores, threads that spin while they wait make everything three times slower.
    settings = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "DIFFUSERS_VERBOSITY": "error",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    os.environ.update(settings | os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(print_error=False, exit_on_error=False)
    except CycloptsError as error:
        _fail(f"{error}\nphonybrains --help lists the commands and their options.", 2)
    except PhonyBrainsError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail(f"stopped. {_what_again_does(sys.argv[1:])}", 130)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}." if error.filename else str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        _fail("the memory of this machine is not enough. A smaller batch size needs less.", 1)
    sys.exit(code)


def _what_again_does(words: list[str]) -> str:
    if " ".join(words[:2] if words[:1] == ["audit"] else words[:1]) in GOES_ON:
        return "Give the same command again to go on."
    return "Given again, the same command starts over."


def _fail(text: str, code: int) -> NoReturn:
    print(f"phonybrains: {text}", file=sys.stderr)
    sys.exit(code)


def _pairs(words: list[str]) -> dict[str, Any]:
    """`name=value` words as a mapping."""
    pairs: dict[str, Any] = {}
    for word in words:
        name, _, value = (part.strip() for part in word.partition("="))
        if not name or not value:
            raise ConfigError(f"--where takes name=value, for instance modality=CT, not '{word}'.")
        if name in pairs:
            raise ConfigError(
                f"--where: {name} is asked for twice, as {pairs[name]} and as {value}. Say it once; "
                "labels that one image has together are joined by ';'."
            )
        pairs[name] = value
    return pairs
