"""The commands that make images with a model: `generate`, `join` and `demo`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import CycloptsError, Parameter

from ..replacing import gives_way, overwriting
from ..startup import diffusers_for, lean_diffusers, say
from ..wording import count_of
from .options import Flag, Port, Seed, Whole, Words
from .pairs import pairs
from .working import working


@working("quiet", "overwrite", "device")
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
    config: Path | None = None,
    seed: Seed | None = None,
    steps: Whole | None = None,
    guidance: float | None = None,
    classifier_guidance: float | None = None,
    sampler: str | None = None,
    precision: Literal["auto", "bf16", "fp32"] | None = None,
    engine: Literal["auto", "torch", "compiled"] | None = None,
    shard: str | None = None,
    watermark: Path | None = None,
    batch_size: Whole | None = None,
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
        config: TOML file with any of the settings of docs/generate.md; the options here win.
        seed: Start of the random numbers (0): image i depends on (seed, i) alone.
        steps: Steps from noise to image; the model's own number if not given. Few-step weights serve up to 4.
        guidance: How strongly conditions and masks are pushed; 1 is plain, at half the cost (the model's own: 1).
        classifier_guidance: How strongly the model's classifier leads to what is asked, if it has one (0: without it).
        sampler: shortcut, adams, heun, ddim, ddpm or euler; the best for model and steps if not given.
        precision: Arithmetic of decoding: bf16, fp32, or (auto) the faster here; up to 5 gray levels apart.
        engine: What computes it: torch, compiled (see "phonybrains model compile"), or (auto) the faster here.
        shard: Make one part of the images alone, such as 3/8, the third of eight; "phonybrains join" joins them.
        watermark: A file with the key of an invisible watermark, which the images then carry.
        batch_size: Images computed at a time (16).
        grid: Also draw a contact sheet into this picture file.
    """
    from ..config import load_config
    from ..generating.config import GenerateConfig, GenerateFile, HowDrawn, check_names, open_masks

    asked = pairs([*(where or []), *([] if prompt is None else [f"prompt={prompt}"])], "--where")
    words = asked.pop("prompt", None)
    given = {"n": n, "where": asked or None, "prompt": words, "mask": mask, "mask_split": mask_split}
    given |= {"seed": seed, "steps": steps, "guidance": guidance, "classifier_guidance": classifier_guidance}
    given |= {"sampler": sampler, "precision": precision, "engine": engine, "shard": shard}
    said = load_config(GenerateFile, config, **given, watermark=watermark, batch_size=batch_size, grid=grid)
    if said.n is None and said.mask is None and not said.requests:
        raise CycloptsError(msg='Command "generate" requires -n, the number of images, or masks to follow with --mask.')
    masks, mine = open_masks(said.mask, said.mask_split), None
    if said.watermark:
        from ..watermark import Watermark

        mine = Watermark.read(said.watermark)
    how = said.model_dump(include={*HowDrawn.model_fields})
    settings = load_config(
        GenerateConfig, None, requests=said.asked(masks), **how, watermark=mine.name if mine else None
    )
    folder = check_names(model, settings, masks)
    from ..generating.stage import engine_for, generate_requests
    from ..record import read_record

    if engine_for(folder, settings, out) == "torch":
        with diffusers_for(folder):
            from ..model import latent_diffusion as _  # noqa: F401  # its imports are quicker here

    more: Any = {"masks": masks, "watermark": mine, "batch_size": said.batch_size, "grid": said.grid}
    files = [path for path in (said.mask, said.watermark) if path]
    with overwriting(out, *([said.grid] if said.grid else []), inputs=files) if gives_way(out) else nullcontext():
        generate_requests(model, out, settings, **more)
    if drawn := read_record(out)["results"].get("drawn"):
        own = f"Each image starts from noise of its own, of seed {settings.seed} and its index."
        say(f"Not asked for, so drawn as often as in training: {', '.join(drawn)}. {own}")
    part = f", the shard {settings.shard} of {settings.n}" if settings.shard else ""
    seen = f"; contact sheet: {said.grid}" if said.grid else ""
    say(f"{out}: {count_of(len(settings.indices), 'synthetic image')}{part}{seen}")


@working("quiet", "overwrite")
def join(parts: Annotated[list[Path], Parameter(name="PART", negative="")], /, *, out: Path) -> None:
    """Join the shards of a run of generate into one image set.

    Args:
        parts: The image sets that "phonybrains generate --shard" made of one run, all of them, in any order.
        out: Folder of the image set.
    """
    from ..generating.join import join

    join(parts, out)
    print(f"{out}: {count_of(len(parts), 'shard')} joined")


@working("device")
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
