"""A compiled model: the images of torch's up to a gray level, and torch wherever it cannot be had."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phonybrains.errors import ConfigError, ModelError
from phonybrains.files import only_writer
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.model import compiled, compiling, opening
from phonybrains.model.compiled import DECODER, FEW_STEPS, Compiled, Manifest, place_of, why_not
from phonybrains.model.drawing import image_noise
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.model.opening import open_fastest, settle_engine
from phonybrains.model.sampling import Sampling
from phonybrains.networks.autoencoder import build_autoencoder
from phonybrains.networks.shapes import AutoencoderShape
from phonybrains.networks.texture import Texture
from phonybrains.record import read_record
from tests.conftest import one_at_a_time
from tests.support.needs import STRACE


@pytest.fixture(autouse=True)
def cache(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the tests' own, which they share as compiling takes a while."""
    folder = shared_folder / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    return LatentDiffusion.load(tiny_model)


@pytest.fixture(scope="module")
def textured(model: LatentDiffusion, shared_folder: Path) -> Path:
    """The tiny model with a texture that shows, as a model folder; compiled by the command, as strace watches it."""
    with one_at_a_time(shared_folder, "compiled") as folder:
        if not folder.is_dir():
            torch.manual_seed(0)
            texture = Texture(["MR", "CT"], width=8, layers=1)
            for layer in (texture.detail, texture.sharpen):
                torch.nn.init.normal_(layer.weight, std=0.1)
            replace(model, texture=texture).save(folder)
            how = ["-f", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", f"{folder}.calls"]
            watched = [STRACE, *how] if STRACE else []
            command = [*watched, sys.executable, "-m", "phonybrains", "model", "compile", str(folder)]
            environment = os.environ | {"XDG_CACHE_HOME": str(shared_folder / "cache")}
            subprocess.run(command, check=True, capture_output=True, env=environment)
    return folder


class ByTorch(Compiled):
    """The walk of a compiled model with the networks of torch: what differs is the mathematics alone."""

    model: LatentDiffusion

    @torch.inference_mode()
    def _compute(self, name: str, **arrays: NDArray[Any]) -> NDArray[np.float32]:
        x, t, told = (torch.tensor(arrays[key], dtype=torch.float32) for key in ("x", "t", "told"))
        denoiser = self.model.few_step if name == FEW_STEPS else self.model.denoiser
        assert denoiser
        condition, extra = told.split([denoiser.condition_width, denoiser.extra_width], dim=1)
        return denoiser(x, t, condition, extra).numpy()


@pytest.fixture(scope="module")
def by_torch(model: LatentDiffusion, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> ByTorch:
    denoisers = {"denoiser.mnn": model.denoiser, FEW_STEPS: model.few_step}
    told = {name: denoiser.extra_width for name, denoiser in denoisers.items() if denoiser}
    manifest = a_manifest() | {"latent_channels": model.latent_shape[0], "shift": model.chain.shift, "told": told}
    own = ByTorch.at(tmp_path_factory.mktemp("nothing"), manifest, tiny_model)  # type: ignore[arg-type]
    own.model = model
    return own


def a_manifest(torch_seconds: float = 2.0) -> Manifest:
    return {
        "format_version": compiled.FORMAT_VERSION,
        "mnn": compiled.installed(),
        "latent_channels": 8,
        "shift": 1.0,
        "told": {},
        "texture": None,
        "seconds": {"torch": torch_seconds, "compiled": 1.0},
        "sha256": {},
    }


@pytest.fixture
def pretended(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that says the tiny model is compiled by MNN 9; returns the manifest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for module in (compiled, compiling):  # both, as the second takes the name of the first
        monkeypatch.setattr(module, "installed", lambda: "9")
    place = place_of(tiny_model)
    place.mkdir(parents=True)
    (place / compiled.MANIFEST).write_text(json.dumps(a_manifest()))
    return place / compiled.MANIFEST


@pytest.mark.parametrize(("seed", "index"), [(0, 0), (3, 4), (2**40, 7), (2**63 - 1, 2**31)])
def test_noise_is_that_of_torch(seed: int, index: int) -> None:
    """Box and Muller's transform of the same twister: nothing but the last bits of a logarithm or cosine differs.

    So it goes on: what is drawn next, and again by a clone, is what torch draws next.
    """
    theirs, ours = image_rng(seed, index), image_noise(seed, index)
    for shape in ((8, 32, 32), (1, 4112)):
        clone = ours.clone_state()
        drawn = torch.randn(shape, generator=theirs).numpy()
        assert np.abs(ours.normal(*shape) - drawn).max() < 2e-6
        assert np.abs(clone.normal(*shape) - drawn).max() < 2e-6


@pytest.mark.parametrize(
    "how",
    [
        {"steps": 1},
        {"steps": 4},
        {"steps": 3, "sampler": "euler", "guidance": 2.5},
        {"steps": 7},
        {"steps": 5, "guidance": 0.5},
        {"steps": 6, "sampler": "ddim"},
    ],
)
def test_each_step_is_that_of_the_samplers(by_torch: ByTorch, model: LatentDiffusion, how: dict[str, Any]) -> None:
    """Euler's and Adams-Bashforth's steps, guided or not, by few-step weights or by the denoiser, for one network."""
    sampling = Sampling(seed=5, **how)
    wanted = model.ask([3], {"modality": "CT"}, 5)
    theirs = list(model.walk([3], wanted, sampling))
    ours = list(by_torch.walk(image_noise(5, 3), wanted[0], by_torch.settle(sampling)))
    assert len(ours) == len(theirs) == how["steps"] + 1
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine - other.numpy()).max() < 1e-4 * float(other.abs().max())


def test_settings_are_settled_alike(by_torch: ByTorch, model: LatentDiffusion) -> None:
    """The same steps and sampler as torch takes, whatever is left open."""
    for sampling in (Sampling(), Sampling(steps=2), Sampling(steps=4), Sampling(steps=5)):
        assert by_torch.settle(sampling) == model.settle(sampling)
    with pytest.raises(ConfigError, match=r"no sampler heun. Take --engine torch"):
        by_torch.settle(Sampling(sampler="heun"))
    assert (by_torch.size, by_torch.units, by_torch.steps) == (model.size, model.units, model.steps)


def test_torch_does_it_where_nothing_is_compiled(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MNN, or before `model compile`, auto is torch, and asking for compiled says what to install."""
    assert settle_engine(tiny_model, "auto", Sampling()) == "torch" or place_of(tiny_model).is_dir()
    monkeypatch.setattr(compiled, "installed", lambda: "")
    assert settle_engine(tiny_model, "auto", Sampling()) == "torch"
    assert isinstance(open_fastest(tiny_model, "auto", Sampling()), LatentDiffusion)
    with pytest.raises(ConfigError, match=r"MNN is not installed.*phonybrains\[compile\]"):
        settle_engine(tiny_model, "compiled", Sampling())


def test_auto_takes_what_was_measured_as_faster(tiny_model: Path, pretended: Path) -> None:
    """The times measured when it was compiled decide; torch can always be asked for."""
    assert settle_engine(tiny_model, "auto", Sampling()) == "compiled"
    assert settle_engine(tiny_model, "torch", Sampling()) == "torch"
    pretended.write_text(json.dumps(a_manifest(torch_seconds=0.5)))
    assert settle_engine(tiny_model, "auto", Sampling()) == "torch"
    assert settle_engine(tiny_model, "compiled", Sampling()) == "compiled"


@pytest.mark.parametrize("how", [{"sampler": "heun"}, {"sampler": "ddpm"}, {"precision": "bf16"}])
def test_what_a_compiled_model_cannot_is_left_to_torch(tiny_model: Path, pretended: Path, how: dict[str, Any]) -> None:
    """Samplers that draw noise or evaluate twice, and bf16: auto is torch, and compiled an error that says why."""
    assert settle_engine(tiny_model, "auto", Sampling(**how)) == "torch"
    assert why_not(tiny_model, Sampling(**how))
    with pytest.raises(ConfigError, match="--engine compiled: a compiled model"):
        settle_engine(tiny_model, "compiled", Sampling(**how))


def test_a_damaged_cache_that_cannot_be_made_anew_is_left_for_torch(
    tiny_model: Path, pretended: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Generating does not fail for the sake of a cache: it says what is wrong, and torch does it."""
    pretended.write_text("{")
    monkeypatch.setitem(sys.modules, "_tools", None)
    assert isinstance(open_fastest(tiny_model, "auto", Sampling()), LatentDiffusion)
    assert "Until then torch does it" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="_tools is not installed"):
        open_fastest(tiny_model, "compiled", Sampling())


def test_shards_that_begin_together_compile_once(
    tiny_model: Path, pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them compiles, the others wait for it; none is refused, and what one reads no other replaces."""
    pretended.unlink()
    compilations = []

    def compile_slowly(folder: Path) -> None:
        with only_writer(place_of(folder)):  # as compile_model refuses a second
            compilations.append(folder)
            time.sleep(0.3)
            pretended.write_text(json.dumps(a_manifest()))

    monkeypatch.setattr(compiling, "compile_model", compile_slowly)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: open_fastest(tiny_model, "compiled", Sampling()), range(4)))
    assert all(isinstance(model, Compiled) for model in models)
    assert len(compilations) == 1


def test_a_damaged_model_is_no_damaged_cache(tiny_model: Path, tmp_path: Path, pretended: Path) -> None:
    """A model folder that is not whole is refused for any engine, as before."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "conditions.json").write_text("{}")
    with pytest.raises(ModelError, match=r"conditions.json is damaged"):
        open_fastest(folder, "auto", Sampling())


def test_records_of_torch_are_as_before(tiny_model: Path, tmp_path: Path) -> None:
    """torch goes without saying, so that a set that was made before there were engines is taken for the same."""
    out = generate(tiny_model, tmp_path / "set", 1, steps=1, engine="torch", show=False)
    assert "engine" not in read_record(out)["config"]
    assert "engine" not in read_record(out)["results"]


@torch.no_grad()
def test_a_shortcut_is_a_tap_of_its_convolution() -> None:
    """The decoder that is converted has no shortcuts and shuffles whole channels; it draws the same up to rounding.

    The model's own stays.
    """
    torch.manual_seed(0)
    autoencoder, z = build_autoencoder(AutoencoderShape(widths=(8, 8, 16, 64), layers=1)), torch.randn(1, 8, 4, 4)
    wanted, converted = autoencoder.decoder(z), compiling.Decoding(autoencoder)
    assert not any(getattr(block, "shortcut", False) for block in converted.modules())
    assert sum(isinstance(block, compiling.Shuffle) for block in converted.modules()) == 3
    assert torch.allclose(converted(z), wanted, atol=1e-5)
    assert torch.equal(autoencoder.decoder(z), wanted)


@pytest.mark.needs("MNN")
def test_compiled_images_are_those_of_torch(textured: Path, tmp_path: Path) -> None:
    """Up to a gray level, whatever the sampler, and the record names what made them."""
    hows: list[dict[str, Any]] = [{"steps": 2}, {"steps": 6, "guidance": 2.0}]
    for how in hows:
        sets = {
            engine: ImageSet.open(
                generate(textured, tmp_path / f"{engine}{how['steps']}", 6, engine=engine, show=False, **how)
            )
            for engine in ("torch", "compiled")
        }
        ours, theirs = (np.stack([s.pixels(i) for i in range(6)]).astype(int) for s in sets.values())
        assert np.abs(ours - theirs).max() <= 1
        assert [r.attributes for r in sets["torch"].rows] == [r.attributes for r in sets["compiled"].rows]
        record = read_record(tmp_path / f"compiled{how['steps']}")
        assert record["config"]["engine"] == "compiled"
        assert record["results"]["engine"] == f"MNN {compiled.installed()}"
        assert generate(textured, tmp_path / f"torch{how['steps']}", 6, show=False, **how)  # is that of before


@pytest.mark.needs("MNN", "strace")
def test_compiling_opens_no_connection(textured: Path) -> None:
    """The converter's own command reports to its makers; as a library it is silent, as the kernel sees it."""
    calls = textured.with_name(f"{textured.name}.calls").read_text()
    assert "exited with 0" in calls
    assert "AF_INET" not in calls


@pytest.mark.needs("MNN")
def test_an_image_depends_on_seed_and_index_to_the_bit(textured: Path) -> None:
    """Each is computed by itself: neighbours, order and number of threads change nothing."""
    model = open_fastest(textured, "compiled", Sampling())
    wanted = model.ask(range(6), {}, 2)
    together = list(model.paint(range(6), wanted, Sampling(seed=2, steps=2)))
    (alone,) = model.paint([4], wanted[4:5], Sampling(seed=2, steps=2))
    assert np.array_equal(alone, together[4])


@pytest.mark.needs("MNN")
def test_a_damaged_cache_is_made_anew(
    textured: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network whose bytes are not those of the manifest is never computed with."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shutil.copytree(cache, tmp_path / "cache")))
    damaged = place_of(textured) / DECODER
    damaged.write_bytes(damaged.read_bytes()[:-1])
    model = open_fastest(textured, "compiled", Sampling())
    assert isinstance(model, Compiled)
    assert "missing or damaged" in capsys.readouterr().err
    assert opening.Compiled.load(textured).manifest["sha256"] == model.manifest["sha256"]


@pytest.mark.needs("MNN")
def test_the_command_starts_without_torch(textured: Path, tmp_path: Path) -> None:
    """What makes the start short: a compiled model imports neither torch nor diffusers."""
    code = "import sys; from phonybrains.cli.app import main\ntry: main()\nfinally: print(*sorted(sys.modules))"
    words = ["generate", str(textured), "-n", "2", "--steps", "2", "--engine", "compiled", "--out", str(tmp_path / "o")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "phonybrains.model.compiled" in modules
    assert not {"torch", "diffusers"} & {*modules}
    assert len(ImageSet.open(tmp_path / "o")) == 2
