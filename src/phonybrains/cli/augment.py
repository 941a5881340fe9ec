"""The command that fills up what is rare: `augment`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from cyclopts import CycloptsError

from ..startup import lean_diffusers, say
from ..wording import count_of
from .options import Finite, Flag, Seed, Whole, Words
from .working import working


@working("quiet", "overwrite", "device")
def augment(
    corpus: Path,
    /,
    *,
    out: Path | None = None,
    model: str = "heads",
    balance: Words = None,
    factor: Finite | None = None,
    seed: Seed = 0,
    steps: Whole | None = None,
    guidance: Finite | None = None,
    batch_size: Whole = 16,
    grid: Path | None = None,
    dry_run: Flag = False,
) -> None:
    """Add synthetic training images of what is rare in an image set, drawn by a model.

    Args:
        corpus: An image set with a split train, which alone is counted and filled up.
        out: Folder of the image set: the images of the corpus as they are, and synthetic ones.
        model: A model folder, or the name of a model that comes with the package.
        balance: Attributes, e.g. hemorrhage: all values get as many images as the most frequent one of their modality.
        factor: At most so many times as many images as a value has; without --balance, so many times of everything.
        seed: Start of the random numbers: added image i depends on (seed, i) alone.
        steps: Steps from noise to image; the model's own number if not given.
        guidance: How strongly the conditions are pushed; the model's own if not given.
        batch_size: Images computed at a time.
        grid: Also draw a contact sheet of synthetic images into this picture file.
        dry_run: Only say how many images of what would be added.
    """
    from ..config import load_config
    from ..editing.config import AugmentConfig
    from ..editing.plan import check_augment, plan_in_words, plan_of
    from ..imageset import ImageSet
    from ..model.finding import find_model

    names = tuple(balance or ())
    config = load_config(AugmentConfig, None, balance=names, factor=factor, seed=seed, steps=steps, guidance=guidance)
    if dry_run:
        images = ImageSet.open(corpus)
        for line in plan_in_words(plan_of(images, check_augment(images, model, out), config)):
            print(line)
        return
    if out is None:
        raise CycloptsError(msg='Command "augment" requires --out, the folder of the image set, or --dry-run.')
    find_model(model)
    with lean_diffusers():
        from ..model import latent_diffusion as _  # noqa: F401  # its imports are quicker here
    from ..editing.augment import augment as stage

    how = config.model_dump(exclude={"seed"})
    made = stage(corpus, out, model=model, seed=seed, batch_size=batch_size, grid=grid, **how)
    if made == out:
        following = f"phonybrains train {quote(str(out))} --out model/"
        say(f"{out}: {count_of(len(ImageSet.open(out)), 'image')}. Next: {following}")
