"""`phonybrains demo`: 95 images from the shipped model, and the paper's first three figures drawn with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ModelError, OutputError
from ..generating.config import GenerateConfig, Request
from ..generating.sheet import draw_sheet
from ..generating.stage import generate_requests
from ..imageset import ImageSet
from ..marks import mark_in
from ..model.finding import shipped_models
from ..model.latent_diffusion import LatentDiffusion, image_rng
from ..model.sampling import Sampling
from ..networks.conditions import Value
from ..record import RECORD_NAME
from ..reporting.sheets import film_strip
from ..wording import count_of

REQUESTS = (Request(n=48, where={"modality": "MR"}), Request(n=47, where={"modality": "CT"}))
FRAMES = 8
NEXT = """\
What to try next:
  phonybrains demo --serve                    call each of 40 of them real, phony or unclear, in your browser
  phonybrains model info {name}
  phonybrains generate {name} -n 20 --where modality=CT --seed 7 --out ct/ --grid ct.png
  phonybrains import scans/ --out corpus/     your own scans: DICOM, NIfTI or pictures
  phonybrains train corpus/ --out model/      and a model of your own
These images are synthetic, but may resemble people the model was trained on (docs/evaluation.md). Not for diagnosis."""


def demo(out: str | Path, *, show: bool = True) -> Path:
    """Generate 95 images, 48 MR and 47 CT, and draw them; what is there already is not made again.

    Writes  out/samples (an image set); out/mri.png and out/ct.png, contact sheets (the paper's Fig. 2 and 3);
            out/process.png, one image drowned in noise and won back from noise (Fig. 1)
    Raises  ModelError if no model comes with the package; OutputError if `out` is something else or the disk is full.
    """
    name, folder = _shipped_model()
    out, config = Path(out), GenerateConfig(requests=REQUESTS)
    samples = generate_requests(folder, out / "samples", config, show=show)
    images = ImageSet.open(samples)
    figures: dict[str, Callable[[Path], Path]] = {
        "mri.png": lambda path: draw_sheet(images.where(modality="MR"), path),
        "ct.png": lambda path: draw_sheet(images.where(modality="CT"), path),
        "process.png": lambda path: _draw_process(LatentDiffusion.load(folder), config, path),
    }
    for figure, draw in figures.items():
        path, made = out / figure, (samples / RECORD_NAME).stat().st_mtime
        if not path.is_file() or path.stat().st_mtime < made:
            if path.is_file() and mark_in(path.read_bytes()) is None:
                raise OutputError(f"{path} is not of demo, and stays as it is. Choose another --out, or move it away.")
            draw(path)
    if show:
        print(f"{samples}: {count_of(len(images), 'synthetic image')}, metadata.csv, record.json")
        print(f"{out / 'mri.png'}, {out / 'ct.png'}: all of them at a glance")
        print(f"{out / 'process.png'}: how noise covers an image, and how the model finds one in noise")
        print(NEXT.format(name=name))
    return out


def demo_study(out: str | Path) -> Path:
    """The paper's study on the images of `demo`: 20 MR and 20 CT, all synthetic. One that is there already is kept.

    The corpus of the shipped model is not at hand: its images count as audited by model, if its model carries an audit,
    and are shown whatever that says. The protocol says what it is.

    Writes  out/study (a study folder)
    Raises  StudyError if out/study was changed; OutputError if it is something else.
    """
    from ..readerstudy.config import load_study_config
    from ..readerstudy.design.stage import design_study
    from ..readerstudy.study import PROTOCOL_NAME, Study

    study = Path(out) / "study"
    if not (study / PROTOCOL_NAME).is_file():
        config = load_study_config("paper", name="Phony brains", accept_unaudited=True)
        return design_study([Path(out) / "samples"], None, study, config)
    return Study.open(study).folder


def _shipped_model() -> tuple[str, Path]:
    for model in shipped_models().items():
        return model
    raise ModelError(
        "no model comes with this copy of the package: src/phonybrains/shipped is empty. "
        "Clone the repository again, or train one with 'phonybrains train'."
    )


def _draw_process(model: LatentDiffusion, config: GenerateConfig, path: Path) -> Path:
    """Draw the first image of the demo as it was won from noise, and as noise takes it back."""
    wanted = model.ask([0], REQUESTS[0].where, config.seed)
    times, rng = [i / (FRAMES - 1) for i in range(FRAMES)], image_rng(config.seed, 0)
    passed, won = zip(*_walk_past(model, wanted, rng, times[::-1]), strict=True)
    drowned = model.diffuse(won[-1], FRAMES - 1, config.seed + 1)  # not the noise it was made of
    modality = [row["modality"] for row in wanted] * FRAMES

    def frames(latents: Sequence[Tensor], times: Sequence[float]) -> list[tuple[str, NDArray[np.uint8]]]:
        same = [rng.clone_state() for _ in latents]
        return list(zip(map(_time, times), model.decode(torch.cat(list(latents)), modality, same), strict=True))

    rows = {
        "forward process q: noise covers an image": frames(drowned, times),
        "reverse process p: the model finds an image in noise": frames(won, passed),
    }
    return film_strip(rows, path)


def _walk_past(
    model: LatentDiffusion, wanted: Sequence[Mapping[str, Value]], rng: torch.Generator, times: Sequence[float]
) -> list[tuple[float, Tensor]]:
    """Time and latents of the first image at the steps nearest to these times, which are fractions of that of noise."""
    steps = 4 * len(times)
    passed = torch.tensor(model.chain.times(steps)) / model.chain.times(steps)[0]
    walk = list(model.walk_with([rng], wanted, Sampling(steps=steps)))
    nearest = [int((passed - t).abs().argmin()) for t in times]
    return [(float(passed[i]), walk[i]) for i in nearest]


def _time(fraction: float) -> str:
    return {0.0: "t = 0", 1.0: "t = T"}.get(fraction, f"t = {fraction:.2f} T")
