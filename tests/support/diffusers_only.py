"""A program that has torch and diffusers alone: it opens model folders, calls the pipelines and keeps what comes out.

    python diffusers_only.py OUT FOLDER=CALLS …     CALLS: a JSON list of arguments

OUT.npz has the images of call i of folder f as "f.i"; OUT.json the conditions, and what else a test wants to know.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def needed(*names: str) -> set[str]:
    """The distributions with these names, and those that they cannot do without."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = normal(waiting.pop())
        if name not in found:
            found.add(name)
            try:
                lines = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # for another platform
                continue
            waiting += [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]
    return found


NEEDED = needed("torch", "diffusers", "safetensors")
HIDDEN = {"phonybrains"} | {
    name for name, owners in metadata.packages_distributions().items() if not NEEDED & set(map(normal, owners))
}


class OthersHidden:
    """Finds modules as ever, but for those of other packages: they are not installed."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        return None if name.partition(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)

    @staticmethod
    def find_distributions(*args: Any, **kwargs: Any) -> list[metadata.Distribution]:
        return [found for found in PathFinder.find_distributions(*args, **kwargs) if normal(found.name) in NEEDED]


def refusal(function: Any, *args: Any, **kwargs: Any) -> str:
    try:
        function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(out: str, *jobs: str) -> None:
    sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder]
    sys.meta_path.append(OthersHidden)  # type: ignore[arg-type]

    import diffusers
    import numpy as np
    import torch

    images: dict[str, Any] = {}
    facts: dict[str, Any] = {"conditions": {}, "dtypes": {}}

    def opened(folder: str | Path, **options: Any) -> Any:
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True, **options)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    for folder, calls in (job.split("=", 1) for job in jobs):
        pipe = opened(folder)
        facts["dtypes"][folder] = sorted({str(part.dtype) for part in (pipe.unet, pipe.condition_embedding)})
        for number, call in enumerate(json.loads(calls)):
            made = pipe(**call, output_type="np")
            images[f"{folder}.{number}"] = made.images
            facts["conditions"][f"{folder}.{number}"] = made.conditions

    last = opened(jobs[-1].partition("=")[0])
    last.save_pretrained(f"{out}-last")
    for name, one in (("last", last), ("last saved", opened(f"{out}-last"))):
        images[name] = one(n=1, steps=2, output_type="np").images
    folder = jobs[0].partition("=")[0]
    pipe = opened(folder).to("cpu")
    call = {"n": 2, "where": {"modality": "CT"}, "sampler": "ddim"}
    images["plain"] = pipe(**call, seed=7, steps=6, guidance=2.0, output_type="np").images
    images["habits"] = pipe(
        **call, generator=torch.Generator().manual_seed(7), num_inference_steps=6, guidance_scale=2.0, output_type="np"
    ).images
    pictures, conditions = pipe(**call, seed=7, steps=6, guidance=2.0, return_dict=False)
    images["pictures"] = np.stack([np.asarray(picture) for picture in pictures])
    facts["picture"] = [pictures[0].mode, pictures[0].size, conditions[0]["modality"]]
    pipe.save_pretrained(f"{out}-saved")
    images["saved"] = opened(f"{out}-saved")(**call, seed=7, steps=6, guidance=2.0, output_type="np").images
    half = opened(folder, torch_dtype=torch.float16)
    turned = opened(folder)
    turned.scheduler = diffusers.EulerDiscreteScheduler()
    facts["refusals"] = [
        refusal(pipe, where={"plan": "axial"}),
        refusal(pipe, steps=2, num_inference_steps=3),
        refusal(pipe, sampler="heunn"),
        refusal(pipe, output_type="latent"),
        refusal(pipe, prompt="a head"),
        refusal(half),
        refusal(turned),
        refusal(diffusers.DiffusionPipeline.from_pretrained, folder),
    ]
    facts["loaded"] = sorted(HIDDEN & {name.partition(".")[0] for name in sys.modules})
    np.savez(f"{out}.npz", **images)
    Path(f"{out}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
