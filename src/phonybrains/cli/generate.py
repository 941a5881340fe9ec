"""The commands that make images with a model: `generate`, `join` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import CycloptsError, Parameter

from ..startup import diffusers_for, lean_diffusers, say
from .options import Flag, Port, Seed, Whole, Words
from .pairs import pairs


def generate(
    model: str,
    /,
    *,
    n: Annotated[Whole | None, Parameter(name=["-n", "--n"])] = None,
    out: Path,
    where: Words = None,
    prompt: str | None = None,
    mask: Path | None = None,
    mask_split: Literal["train", "validation", "test"] | None = None,
    seed: Seed = 0,
    steps: Whole | None = None,
    guidance: float | None = None,
    classifier_guidance: float = 0.0,
    sampler: str = "",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    engine: Literal["auto", "torch", "compiled"] = "auto",
    shard: str = "",
    watermark: Path | None = None,
    batch_size: Whole = 16,
    grid: Path | None = None,
) -> None:
    """Generate synthetic images as an image set.

    Args:
        model: A model folder, or the name of a model that comes with the package.
        n: How many images; with --mask as many as there are masks if not given.
        out: Folder of the image set.
        where: What they show, e.g. modality=CT hemorrhage=epidural. "phonybrains model info MODEL" lists what it knows.
        prompt: The same in words, for a model that was fine-tuned from Stable Diffusion.
        mask: An image set with masks, or a folder of black and white pictures: image i follows mask i, counted around.
        mask_split: Of an image set, only the masks of this split.
        seed: Start of the random numbers: image i depends on (seed, i) alone.
        steps: Steps from noise to image; the model's own number if not given. Few-step weights serve up to 4.
        guidance: How strongly the conditions are pushed; 1 is the plain model, at half the cost (the model's own: 1).
        classifier_guidance: How strongly the model's classifier leads to what is asked, if it has one; 0 is without it.
        sampler: shortcut, adams, heun, ddim, ddpm or euler; the best for model and steps if not given.
        precision: Arithmetic of decoding: bf16, fp32, or auto for the faster here; up to 5 gray levels apart.
        engine: What computes it: torch, compiled (see "phonybrains model compile"), or auto for the faster here.
        shard: Make one part of the images alone, such as 3/8, the third of eight; "phonybrains join" joins them.
        watermark: A file with the key of an invisible watermark, which the images then carry.
        batch_size: Images computed at a time.
        grid: Also draw a contact sheet into this picture file.
    """
    from ..generating.config import check_names, count, generate_config, open_masks

    asked = pairs([*(where or []), *([] if prompt is None else [f"prompt={prompt}"])], "--where")
    how = {"seed": seed, "steps": steps, "guidance": guidance, "sampler": sampler}
    how |= {"precision": precision, "engine": engine, "shard": shard, "classifier_guidance": classifier_guidance}
    if n is None and mask is None:
        raise CycloptsError(msg='Command "generate" requires -n, the number of images, or masks to follow with --mask.')
    masks = open_masks(mask, mask_split)
    mine = None
    if watermark:
        from ..watermark import Watermark

        mine = Watermark.read(watermark)
    config = generate_config(n := count(n, masks), asked, **how, watermark=mine.name if mine else "")
    folder = check_names(model, config, masks)
    from ..generating.stage import engine_for, generate_requests
    from ..record import read_record

    if engine_for(folder, config, out) == "torch":
        with diffusers_for(folder):
            from ..model import latent_diffusion as _  # noqa: F401  # its imports are quicker here

    generate_requests(model, out, config, masks=masks, watermark=mine, batch_size=batch_size, grid=grid)
    if drawn := read_record(out)["results"].get("drawn"):
        own = f"Each image starts from noise of its own, of seed {seed} and its index."
        say(f"Not asked for, so drawn as often as in training: {', '.join(drawn)}. {own}")
    part = f", the shard {shard} of {n}" if shard else ""
    say(f"{out}: {len(config.indices)} synthetic images{part}" + (f"; contact sheet: {grid}" if grid else ""))


def join(parts: Annotated[list[Path], Parameter(name="PART", negative="")], /, *, out: Path) -> None:
    """Join the shards of a run of generate into one image set.

    Args:
        parts: The image sets that "phonybrains generate --shard" made of one run, all of them, in any order.
        out: Folder of the image set.
    """
    from ..generating.join import join

    join(parts, out)
    print(f"{out}: {len(parts)} shards joined")


def demo(*, out: Path = Path("out/demo"), serve: Flag = False, port: Port = 8000) -> None:
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
