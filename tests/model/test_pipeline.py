"""A model folder opens in diffusers, without phonybrains installed, and gives the images that phonybrains gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.utils.dynamic_modules_utils import get_relative_imports

from phonybrains.model.chains import CHAINS
from phonybrains.model.description import CODE
from phonybrains.model.finding import shipped_models
from phonybrains.model.folder import refresh_pipeline
from phonybrains.model.for_diffusers import pipeline_text
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.parts import LatentScale
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.networks.patches import Patches
from phonybrains.networks.shapes import DenoiserShape
from tests.support.places import ROOT

CALLS: dict[str, list[dict[str, Any]]] = {
    "flow": [
        {"n": 3},
        {"n": 3, "where": {"modality": "CT", "plane": "axial"}, "seed": 0, "steps": 2, "guidance": 1.0, "sampler": ""},
        {"n": 2, "steps": 1, "seed": 5},
        {"n": 2, "steps": 4, "sampler": "shortcut"},
        {"n": 3, "steps": 5, "sampler": "heun", "guidance": 2.5, "seed": 3},
        {"n": 3, "steps": 6, "sampler": "adams", "where": {"modality": "MR", "age_years": 50}},
        {"n": 2, "steps": 8, "sampler": "ddim", "guidance": 0.0},
        {"n": 5, "steps": 5, "sampler": "ddpm", "seed": 2**40, "batch_size": 2},
    ],
    "ddpm": [
        {"n": 2},
        {"n": 2, "steps": 7, "sampler": "ddpm", "guidance": 3.0},
        {"n": 2, "steps": 3, "sampler": "heun"},
    ],
    "gan": [{"n": 2}, {"n": 3, "seed": 5, "steps": 1, "where": {"modality": "CT"}}],
    "pixels": [{"n": 2}, {"n": 2, "steps": 100, "where": {"modality": "CT"}}],
}


@dataclass
class Opened:
    """Models as diffusers opened them: their folders, the images by name, and the facts."""

    folders: dict[str, Path]
    images: Any
    facts: dict[str, Any]


def on_pixels(model: LatentDiffusion) -> LatentDiffusion:
    """The paper's chain on patches of 4×4 pixels, by a denoiser of noise that tells the same conditions."""
    torch.manual_seed(0)
    unet = build_unet(DenoiserShape(widths=(16, 32), layers=1), 16, 16)
    denoiser = Denoiser(unet, build_embedding(unet, model.conditions.width, 6)).eval()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.03)
    scale = LatentScale({m: ([-0.5] * 16, [0.5] * 16) for m in model.scale.statistics})
    parts: dict[str, Any] = {"autoencoder": Patches(4, 16), "denoiser": denoiser, "scale": scale}
    return replace(model, chain=CHAINS["ddpm"], few_step=None, **parts)


@pytest.fixture(scope="module")
def opened(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The tiny model as a flow and as the paper's DDPM, stirred so that it listens, opened in diffusers alone."""
    place = tmp_path_factory.mktemp("opened")
    model = replace(LatentDiffusion.load(tiny_model), steps=7)
    assert model.few_step
    with torch.no_grad():
        for parameter in (*model.denoiser.parameters(), *model.few_step.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.03)
    model.save(place / "flow")
    replace(model, chain=CHAINS["ddpm"], few_step=None).save(place / "ddpm")
    replace(model, chain=CHAINS["gan"], few_step=None, steps=1).save(place / "gan")
    on_pixels(model).save(place / "pixels")
    program = ROOT / "tests" / "support" / "diffusers_only.py"
    jobs = [f"{name}={json.dumps(calls)}" for name, calls in CALLS.items()]
    environment = os.environ | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, program, "out", *jobs], cwd=place, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    facts = json.loads((place / "out.json").read_text())
    return Opened({name: place / name for name in CALLS}, np.load(place / "out.npz"), facts)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference in gray levels."""
    return float(np.abs(a.squeeze(-1) * 255 - b).max())


@pytest.mark.parametrize(("name", "number"), [(name, i) for name, calls in CALLS.items() for i in range(len(calls))])
def test_diffusers_gives_the_same_images(opened: Opened, name: str, number: int):
    """Whatever sampler, steps, guidance and conditions: within one gray level of 255, asked to show the same."""
    expected = LatentDiffusion.load(opened.folders[name]).generate(**CALLS[name][number])
    found = opened.images[f"{name}.{number}"]
    assert found.shape == (*expected.images.shape, 1)
    assert found.dtype == np.float32
    assert difference(found, expected.images) <= 1.001
    assert opened.facts["conditions"][f"{name}.{number}"] == expected.conditions
    assert expected.images.std() > 5


def test_nothing_but_torch_and_diffusers_was_there(opened: Opened):
    """Neither phonybrains nor anything that diffusers does not itself bring was loaded."""
    assert opened.facts["loaded"] == []
    hidden = subprocess.run(
        [sys.executable, "-c", "from tests.support import diffusers_only; print(*diffusers_only.HIDDEN)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"phonybrains", "pydantic", "cyclopts", "rich", "accelerate", "nibabel"} <= set(hidden)
    assert not {"torch", "diffusers", "numpy", "PIL", "huggingface_hub", "safetensors"} & set(hidden)


def test_weights_are_single_precision(opened: Opened):
    """Stored in half, computed in single precision, as phonybrains does."""
    assert opened.facts["dtypes"] == {name: ["torch.float32"] for name in CALLS}


def test_the_habits_of_diffusers_are_understood(opened: Opened):
    """num_inference_steps, guidance_scale and a generator are steps, guidance and a seed; pictures are PIL's."""
    assert (opened.images["habits"] == opened.images["plain"]).all()
    assert difference(opened.images["plain"], opened.images["pictures"]) < 0.001
    assert opened.facts["picture"] == ["L", [64, 64], "CT"]


def test_a_saved_pipeline_opens_again(opened: Opened):
    """`save_pretrained` takes the code along, names no path of the machine, and what it wrote gives the same images."""
    assert (opened.images["saved"] == opened.images["plain"]).all()
    assert (opened.images["last saved"] == opened.images["last"]).all()  # of pixels
    saved = opened.folders["flow"].with_name("out-saved")
    assert "_name_or_path" not in json.loads((saved / "model_index.json").read_text())


def test_what_cannot_be_is_refused_in_one_line(opened: Opened):
    """Unknown conditions, names and options, another precision or scheduler, and no trust: each says what is wrong."""
    expected = [
        "ConfigError: the model has no attribute 'plan'. Known: modality, plane",
        "ConfigError: steps: given twice, under two names.",
        "ConfigError: sampler 'heunn' is not known. Known: heun, adams",
        "ConfigError: output_type 'latent' is not known. Known: pil, np.",
        "TypeError: Sampling.__init__() got an unexpected keyword argument 'prompt'",
        "ConfigError: this pipeline computes in float32: load it without a dtype.",
        "ConfigError: this pipeline has samplers of its own: leave its scheduler, and give sampler=.",
        "ValueError: The directory",
    ]
    for found, words in zip(opened.facts["refusals"], expected, strict=True):
        assert found.startswith(words)


def test_the_code_stands_alone():
    """`pipeline.py` imports nothing of the package, and says where it comes from; without training, saving or files."""
    text = pipeline_text()
    scope: dict[str, Any] = {"__name__": "alone"}
    sys.modules["alone"] = type(sys)("alone")
    try:
        exec(compile(text, "pipeline.py", "exec"), scope)
    finally:
        del sys.modules["alone"]
    assert scope["PhonyBrainsPipeline"].__module__ == "alone"
    assert "Generated by phonybrains" in scope["__doc__"]
    assert not {"draw_times", "save_model", "DenoiserShape", "ImageSet"} & scope.keys()
    assert "from ." not in text


def test_diffusers_finds_no_file_to_fetch(opened: Opened):
    """What diffusers reads as imports of neighbouring files is none, in docstrings either."""
    for part in CODE:
        if part.endswith(".py"):
            assert get_relative_imports(opened.folders["flow"] / part) == []


@pytest.mark.parametrize("name", list(shipped_models()))
def test_shipped_models_have_the_code_of_this_version(name: str, tmp_path: Path):
    """Each shipped model is what `make models` would make of it now; after a change of the sampling code, run it."""
    folder = shipped_models()[name]
    is_current = (folder / "pipeline.py").read_text(encoding="utf-8") == pipeline_text()
    assert is_current, "the code that samples has changed: make models"
    assert {*CODE} <= json.loads((folder / "model.json").read_text())["sha256"].keys()
    LatentDiffusion.load(name)


def test_refreshing_changes_nothing_but_the_code(tiny_model: Path, tmp_path: Path):
    """`refresh_pipeline` replaces whatever stood in the generated files, even none; the rest stays to the byte."""
    copy = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (copy / "pipeline.py").write_text("print('another')\n")
    (copy / "model_index.json").unlink()
    refresh_pipeline(copy)
    files = {path.relative_to(tiny_model) for path in tiny_model.rglob("*") if path.is_file()}
    assert {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()} == files
    assert [path for path in sorted(files) if (copy / path).read_bytes() != (tiny_model / path).read_bytes()] == []
