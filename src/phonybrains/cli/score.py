"""The command that says how unusual images are to a model: `score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..startup import lean_diffusers
from ..wording import count_of
from .options import Seed, Whole
from .working import working


@working("quiet", "overwrite", "device")
def score(
    source: Annotated[Path, Parameter(name="SET")],
    /,
    *,
    out: Path,
    model: str = "heads",
    steps: Whole = 16,
    probes: Whole = 1,
    seed: Seed = 0,
    batch_size: Whole = 8,
) -> None:
    """Say how unusual images are to a model: bits per dimension of their latents, as a column.

    Args:
        source: An image set.
        out: Folder of the same image set, with the column bits_per_dim.
        model: A model folder, or the name of a model that comes with the package.
        steps: Steps of the way from image to noise.
        probes: Random probes for each image; more of them take longer, and scatter less.
        seed: Start of the random numbers.
        batch_size: Images computed at a time.
    """
    with lean_diffusers():
        from ..model import latent_diffusion as _  # noqa: F401  # its imports are quicker here
    from ..record import read_record
    from ..scoring.stage import score

    score(source, out, model=model, steps=steps, probes=probes, seed=seed, batch_size=batch_size)
    found = read_record(out)["results"]
    middle = ", ".join(f"{name} {bits:.3f}" for name, bits in found["bits_per_dim"].items())
    print(f"{out}: {count_of(found['images'], 'image')}; bits per dimension of their latents, median: {middle}")
