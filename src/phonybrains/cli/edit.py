"""The commands that edit images: `phonybrains edit upscale`, `denoise`, `noise`, `inpaint`, `translate`, …"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from ..errors import ConfigError
from ..startup import lean_diffusers
from .options import Amount, Flag, Modality, Seed, Whole, Words
from .pairs import pairs
from .working import working

edit_app = App(name="edit", help="Edit images by what a model knows of heads: one prior, many uses.", sort_key=6)

Given = Annotated[Path, Parameter(name="SET")]


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What all edits take.

    Attributes:
        out: Folder of the edited image set; a .png where one picture is edited.
        model: A model folder, or the name of a model that comes with the package.
        n: Answers for each image; their deviation is written beside them as a map, in spread/.
        mean: Write the mean of the answers in place of them.
        seed: Start of the random numbers.
        steps: Steps of the walk (the edit's own).
        guidance: How strongly the conditions are pushed.
        batch_size: Images computed at a time.
        grid: Also draw before, after, spread and truth into this picture file.
        report: Also write a page (.html or .pdf) that shows them, and says what was not measured.
        modality: Of a picture, which does not say it.
    """

    out: Path
    model: str = "heads"
    n: Annotated[Whole | None, Parameter(name=["--n", "-n"])] = None
    mean: Flag | None = None
    seed: Seed = 0
    steps: Whole | None = None
    guidance: Amount | None = None
    batch_size: Whole = 8
    grid: Path | None = None
    report: Path | None = None
    modality: Modality | None = None


@edit_app.command(sort_key=1)
@working("quiet", "overwrite", "device")
def upscale(
    source: Given, /, *, factor: Literal[2, 4] = 2, start: float | None = None, simulate: Flag = False, options: Options
) -> None:
    """Make images 2 or 4 times larger: the detail is drawn, and fits what was measured.

    Args:
        source: An image set of half or a quarter of the model's size, or one picture.
        factor: How many times larger a side.
        start: Share of the way to pure noise at which the walk begins (.25).
        simulate: Take images of the model's size for the truth, make them small first, and compare.
    """
    _run("upscale", source, options, factor=factor, start=start, simulate=simulate)


@edit_app.command(sort_key=2)
@working("quiet", "overwrite", "device")
def denoise(
    source: Given,
    /,
    *,
    sigma: float | None = None,
    law: Literal["gaussian", "rician"] | None = None,
    simulate: Flag = False,
    options: Options,
) -> None:
    """Take the noise out of images.

    Args:
        source: An image set, or one picture.
        sigma: Deviation of the noise in grey levels of 8 bits (found in each image).
        law: Gaussian, or Rician as in MR magnitudes (found in each image).
        simulate: Take the images for the truth, add such noise first, and compare.
    """
    _run("denoise", source, options, sigma=sigma, law=law, simulate=simulate)


@edit_app.command(sort_key=3)
@working("quiet", "overwrite")
def noise(source: Given, /, *, like: Path, options: Options) -> None:
    """Give images the noise of another set's images, where they are quieter.

    Args:
        source: An image set, or one picture.
        like: The image set whose noise is to be had.
    """
    _run("noise", source, options, like=like)


@edit_app.command(sort_key=4)
@working("quiet", "overwrite", "device")
def inpaint(
    source: Given,
    /,
    *,
    mask: Flag = False,
    box: Literal["lesion"] | None = None,
    hole: str | None = None,
    where: Words = None,
    start: float | None = None,
    options: Options,
) -> None:
    """Fill an area of images with what could be there; every other pixel stays as it is.

    Args:
        source: An image set, or one picture.
        mask: Fill what each image's mask outlines.
        box: Fill the box of each image's lesion.
        hole: Fill a rectangle, x,y,width,height in pixels from the upper left.
        where: What the images are to show then, e.g. --where hemorrhage=none.
        start: Share of the way to pure noise at which the walk begins (.3, or 1 where something is asked for).
    """
    areas = {"mask": mask, "lesion": box is not None, "hole": hole is not None}
    if sum(areas.values()) != 1:
        raise CycloptsError(msg="edit inpaint takes one of --mask, --box lesion and --hole x,y,width,height.")
    area = next(name for name, given in areas.items() if given)
    asked = pairs(where or [], "--where")
    _run("inpaint", source, options, area=area, hole=_numbers(hole), where=asked, start=start)


@edit_app.command(sort_key=5)
@working("quiet", "overwrite", "device")
def translate(source: Given, /, *, to: Words, strength: float = 1.0, options: Options) -> None:
    """Show the same heads under other conditions, as CT for MR.

    Args:
        source: An image set, or one picture.
        to: What they are to show, e.g. --to modality=CT.
        strength: Share of the way to pure noise that is gone; below 1 more of the head stays, and more of its look.
    """
    _run("translate", source, options, to=pairs(to or [], "--to"), strength=strength)


@edit_app.command(sort_key=6)
@working("quiet", "overwrite", "device")
def vary(
    source: Given, /, *, strength: float | None = None, by: Literal["noise", "embedding"] = "noise", options: Options
) -> None:
    """Draw images near others.

    Args:
        source: An image set, or one picture.
        strength: How far from them: near 0 hardly, 1 any image that shows the same (.5).
        by: Begin with noise on the images; or with noise alone, told each image's embedding, if the model has one.
    """
    _run("vary", source, options, strength=strength, by=by)


@edit_app.command(sort_key=7)
@working("quiet", "overwrite", "device")
def explain(source: Given, /, *, change: Words, strength: float = 0.5, options: Options) -> None:
    """Show where images would be others if they showed something else, as maps.

    Args:
        source: An image set, or one picture.
        change: What they are to show instead, e.g. --change diagnosis=meningioma.
        strength: Share of the way to pure noise at which the two ways part.
    """
    _run("explain", source, options, change=pairs(change or [], "--change"), strength=strength)


def _run(edit: str, source: Path, options: Options, **settings: Any) -> None:
    with lean_diffusers():
        from ..model import latent_diffusion as _  # noqa: F401  # its imports are quicker here
    from ..workflows import edit as functions

    given = {name: value for name, value in {**vars(options), **settings}.items() if value is not None}
    out = given.pop("out")
    if edit == "noise":
        given.pop("model")
    getattr(functions, edit)(source, out, **given)
    seen = [f"; {name}: {path}" for name, path in (("grid", options.grid), ("report", options.report)) if path]
    print(f"{out}: edited ({edit}). What is new in it was not measured{''.join(seen)}")


def _numbers(text: str | None) -> tuple[int, ...] | None:
    """x,y,width,height. Raises ConfigError for anything else."""
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise ConfigError(f"--hole {text}: it is x,y,width,height in whole pixels, for instance 96,80,40,32.")
    return numbers
