"""A model on disk: what is saved is what is loaded, and damage is found before anything is computed."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from phonybrains.diffusion.process import Schedule
from phonybrains.diffusion.times import flow_times
from phonybrains.errors import ModelError
from phonybrains.model import finding, for_diffusers
from phonybrains.model import folder as model_folder
from phonybrains.model.chains import CHAINS
from phonybrains.model.description import CODE, DESCRIPTION, FEW_STEP_CODE, FEW_STEP_PARTS, PARTS, identity_of
from phonybrains.model.folder import read_model, refresh_pipeline
from phonybrains.model.for_diffusers import scheduler_of
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.parts import LatentScale
from phonybrains.model.seal import sealed
from phonybrains.networks.conditions import Conditions
from phonybrains.record import as_input, fingerprint, sha256_file

UNET = "unet/diffusion_pytorch_model.safetensors"
ALL_PARTS = (*PARTS, *CODE, *FEW_STEP_PARTS, *FEW_STEP_CODE)
WEIGHTS = [part for part in ALL_PARTS if part.endswith(".safetensors")]


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="module")
def other_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same shapes with other weights, which is told the modality alone."""
    model = LatentDiffusion.load(tiny_model)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter.mul_(0.5)
    conditions = Conditions(model.conditions.attributes[:1], ((("CT",), 1),))
    folder = tmp_path_factory.mktemp("other") / "model"
    replace(model, conditions=conditions).save(folder)
    return folder


def refuse(folder: Path, words: str) -> None:
    """See that a model folder is refused, with these words."""
    with pytest.raises(ModelError, match=words):
        LatentDiffusion.load(folder)


def relist(folder: Path, part: str) -> None:
    """Let model.json list a part as it is now."""
    change_json(folder / "model.json", lambda content: content["sha256"].update({part: sha256_file(folder / part)}))


def change_json(path: Path, change: Callable[[dict], object]) -> None:
    """Change a file as somebody would who knows how it is guarded."""
    content = json.loads(path.read_text())
    change(content)
    if path.name == DESCRIPTION and isinstance(content.get("sha256"), dict):
        content = sealed(content | {"identity": identity_of(content)}, DESCRIPTION)
    path.write_text(json.dumps(content))


def test_a_digit_of_the_description_is_guarded(copy: Path):
    """Any number or word of model.json that is another is found, also a digit of the latent scale, which fits."""
    path = copy / "model.json"
    text = path.read_text()
    whole, changed = json.loads(text), json.loads(text)
    changed["latent_scale"]["MR"][0][0] += 1e-6
    others = {"size": 96, "steps": 15, "card": {}, "units": {}, "extra": 1, "format_version": 0, "diffusion": "ddpm"}
    others["sha256"] = whole["sha256"] | {"more": ""}
    for content in (changed, *(whole | {name: value} for name, value in others.items())):
        path.write_text(json.dumps(content))
        refuse(copy, r"model\.json is damaged: it is not what its own SHA-256 says")
    path.write_text(json.dumps(whole, indent=None))  # written in another way, it says the same
    LatentDiffusion.load(copy)


def test_what_is_saved_is_what_is_loaded(tiny_model: Path, tmp_path: Path):
    """Weights, conditions, scale, chain and facts come back; saved again, every file is the same byte for byte.

    And so are the images: generation does not depend on which copy of the weights it runs.
    """
    first = LatentDiffusion.load(tiny_model)
    first.save(tmp_path / "again")
    second = LatentDiffusion.load(tmp_path / "again")
    for a, b in ((first.autoencoder, second.autoencoder), (first.denoiser, second.denoiser)):
        assert a.state_dict().keys() == b.state_dict().keys()
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name
    for name in ("conditions", "chain", "scale", "units", "size", "card", "steps"):
        assert getattr(second, name) == getattr(first, name)
    assert first.card["parameters"] > 0
    assert first.units == {"MR": (1.0, 0.0, "a.u."), "CT": (80 / 255, 0.0, "HU")}
    for part in ALL_PARTS:
        assert (tmp_path / "again" / part).read_bytes() == (tiny_model / part).read_bytes(), part
    one, other = (model.generate(3, {"modality": "MR"}, seed=4, steps=2) for model in (first, second))
    assert (one.images == other.images).all()
    assert one.conditions == other.conditions


def test_weights_are_rounded_to_half_precision(tiny_model: Path, tmp_path: Path):
    """What is not representable is rounded to the nearest float16; loaded, it is float32 again."""
    model = LatentDiffusion.load(tiny_model)
    with torch.no_grad():
        weight = next(model.denoiser.unet.parameters())
        weight.fill_(1 / 3)
    model.save(tmp_path / "rounded")
    assert {t.dtype for t in load_file(tmp_path / "rounded" / UNET).values()} == {torch.float16}
    loaded = next(LatentDiffusion.load(tmp_path / "rounded").denoiser.unet.parameters())
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, weight.half().float())


def test_a_loaded_model_is_ready_to_generate(tiny_model: Path):
    """Evaluation mode, by `read_model` itself too, no gradients, convolutions in the fast memory format."""
    for model in (read_model(tiny_model), LatentDiffusion.load(tiny_model)):
        networks = [network for network in (model.autoencoder, model.denoiser, model.few_step) if network]
        assert not any(module.training for network in networks for module in network.modules())
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    kernels = [p for p in model.denoiser.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


def test_the_folder_is_json_safetensors_and_code(tiny_model: Path):
    """No pickle; every part is listed with its hash, and readable by all whom the umask lets read."""
    parts = {str(p.relative_to(tiny_model)) for p in tiny_model.rglob("*") if p.is_file() and "training" not in p.parts}
    parts -= {"README.md", "record.json", "model.json"}
    assert parts == {*ALL_PARTS}
    assert {Path(part).suffix for part in parts} == {".json", ".safetensors", ".py"}
    description = json.loads((tiny_model / "model.json").read_text())
    hashes = dict(description["sha256"])
    assert sealed(description, "model.json")["sha256"]["model.json"] == hashes.pop("model.json")
    assert hashes == {part: sha256_file(tiny_model / part) for part in parts}
    modes = {stat.S_IMODE((tiny_model / part).stat().st_mode) for part in ALL_PARTS}
    assert modes == {stat.S_IMODE((tiny_model / "record.json").stat().st_mode)}


def test_a_part_that_is_missing_or_damaged_is_named(copy: Path):
    """Gone, one flipped bit, half a file or an empty one: the error names the file and says what to do."""
    for part in map(copy.joinpath, ALL_PARTS):
        whole = part.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for content in (flipped, whole[: len(whole) // 2], b""):
            part.write_bytes(content)
            refuse(copy, rf"{re.escape(str(part))} is damaged: its SHA-256 .* train it again")
        part.unlink()
        refuse(copy, rf"{re.escape(str(part))} is missing\. Copy the folder again")
        part.write_bytes(whole)


def test_damage_is_found_before_anything_is_computed(copy: Path, monkeypatch: pytest.MonkeyPatch):
    """No network is built where the last part is bad."""
    (copy / FEW_STEP_CODE[-1]).write_bytes(b"")
    monkeypatch.setattr(model_folder, "_load_network", lambda *_: pytest.fail("a network was built"))
    with pytest.raises(ModelError):
        LatentDiffusion.load(copy)


def test_foreign_weights_are_refused(copy: Path, other_model: Path):
    """The U-Net of another model, of the very same shape, is not this model's."""
    for part in (f"few_step_{UNET}", UNET):
        shutil.copy(other_model / UNET, copy / part)
        refuse(copy, f"{part} is damaged")


def test_weights_that_are_no_numbers_are_refused(copy: Path):
    """One NaN or infinity, with the right hash, is found at loading, and its tensor is named."""
    for number, part in enumerate(WEIGHTS):
        whole = (copy / part).read_bytes()
        weights = load_file(copy / part)
        name = max(weights)
        weights[name].view(-1)[-1] = (float("nan"), float("inf"))[number % 2]
        save_file(weights, copy / part)
        relist(copy, part)
        refuse(copy, rf"^{re.escape(str(copy / part))}: {name} holds numbers that are not finite")
        (copy / part).write_bytes(whole)
        relist(copy, part)


def test_code_that_the_description_does_not_list_is_refused(copy: Path):
    """A foreign `pipeline.py`, dropped into a model that came without one, is noticed."""
    listed = (copy / "model.json").read_bytes()
    for part in (*CODE, *FEW_STEP_CODE):
        change_json(copy / "model.json", lambda content, part=part: content["sha256"].pop(part))
        refuse(copy, f"{part} is damaged: its SHA-256")
        (copy / "model.json").write_bytes(listed)


def test_the_first_models_had_no_code(copy: Path, tiny_model: Path):
    """A folder without what diffusers needs loads, and `refresh_pipeline` adds it."""
    for part in (*CODE, *FEW_STEP_CODE):
        (copy / part).unlink()
        change_json(copy / "model.json", lambda content, part=part: content["sha256"].pop(part))
    LatentDiffusion.load(copy)
    refresh_pipeline(copy)
    assert json.loads((copy / "model.json").read_text()) == json.loads((tiny_model / "model.json").read_text())
    LatentDiffusion.load(copy)


def test_a_damaged_model_gets_no_code(copy: Path):
    """What is generated is not made for weights that are not the model's."""
    (copy / UNET).write_bytes(b"")
    with pytest.raises(ModelError, match="is damaged"):
        refresh_pipeline(copy)


@pytest.mark.parametrize("part", ["conditions.json", "unet/config.json", "autoencoder/config.json"])
def test_parts_that_do_not_fit_are_refused(copy: Path, other_model: Path, part: str):
    """With hashes made to agree, what does not fit is still an error in one line."""
    if part == "conditions.json":
        shutil.copy(other_model / part, copy / part)
    else:
        key, value = ("block_out_channels", [16, 64]) if part.startswith("unet") else ("latent_channels", 2)
        change_json(copy / part, lambda content: content.update({key: value}))
    relist(copy, part)
    refuse(copy, r"do(es)? not fit .*Copy the folder again")


@pytest.mark.parametrize("part", [UNET, "autoencoder/config.json", "conditions.json"])
def test_nonsense_with_the_right_hash_is_refused(copy: Path, part: str):
    """A file that was never what it should be, hash and all."""
    (copy / part).write_bytes(b"[1, 2]\n")
    relist(copy, part)
    refuse(copy, "Copy the folder again")


def test_a_newer_format_asks_for_an_upgrade(copy: Path):
    """A model of a later version is not guessed at."""
    change_json(copy / "model.json", lambda content: content.update(format_version=3))
    refuse(copy, r"model\.json: format version 3 is newer .* \(2\)\. Upgrade phonybrains\.")


def test_a_description_that_is_none(tmp_path: Path):
    """A `model.json` that is not JSON, or not what it should hold, is named."""
    versions = ('{"format_version": "x", "sha256": {}}', '{"format_version": null, "sha256": {}}')
    texts = ("", "not JSON", "[]", "{}", "\xa6", '{"format_version": 1}', '{"format_version": 1, "sha256": 3}')
    for text in texts + versions:
        (tmp_path / "model.json").write_text(text, encoding="latin-1")
        refuse(tmp_path, r"model\.json: .*Copy the folder again")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("diffusion", "warp"),
        ("size", "big"),
        ("augmentation_width", 7),
        ("units", {"MR": [1.0, 0.0]}),
        ("latent_scale", {}),
        ("latent_scale", 3),
        ("latent_scale", {"MR": [[0, 0], [1, 1]]}),
        ("latent_scale", {"MR": [[0, 0, 0, 0], [1, 1, 0, 1]]}),
        ("latent_scale", {"MR": [[0, 0, float("nan"), 0], [1, 1, 1, 1]]}),
    ],
)
def test_a_description_that_does_not_fit(copy: Path, key: str, value: object):
    """An unknown diffusion, or a latent scale that is not a mean and a deviation per channel, is found at loading."""
    change_json(copy / "model.json", lambda content: content.update({key: value}))
    refuse(copy, rf"(do not fit together|model\.json: {key})")


def test_a_description_without_what_every_model_has(copy: Path):
    """What even the first models had is asked for by name."""
    for key in ("latent_scale", "augmentation_width", "size", "diffusion"):
        change_json(copy / "model.json", lambda content, key=key: content.pop(key))
        refuse(copy, rf"model\.json: {key}: Field required")


# --- What a model is -------------------------------------------------------------------------------------------------


def test_another_text_of_the_code_leaves_the_identity(copy: Path, monkeypatch: pytest.MonkeyPatch):
    """A changed docstring gives another pipeline.py and model.json, but the same model; so does another card."""
    before, described = fingerprint(copy), (copy / "model.json").read_bytes()
    monkeypatch.setattr(for_diffusers, "pipeline_text", lambda: '"""Another docstring."""\n')
    refresh_pipeline(copy)
    assert (copy / "model.json").read_bytes() != described
    assert (copy / "pipeline.py").read_text() == '"""Another docstring."""\n'
    assert fingerprint(copy) == before
    change_json(copy / "model.json", lambda content: content.update(card={"told": "more"}, audit={"verdict": "passed"}))
    assert fingerprint(copy) == before
    LatentDiffusion.load(copy)
    assert as_input(copy)["sha256"] == before


def test_a_weight_a_setting_or_a_condition_changes_the_identity(tiny_model: Path, tmp_path: Path):
    """And no two of these changes give one identity; saved again unchanged, the model has the one it had."""
    model = LatentDiffusion.load(tiny_model)

    def identity(**changes: Any) -> str:
        replace(model, **changes).save(tmp_path / "model")
        return fingerprint(tmp_path / "model")

    assert identity() == fingerprint(tiny_model)
    scale = LatentScale({m: (mean, [2 * d for d in of]) for m, (mean, of) in model.scale.statistics.items()})
    found = [
        identity(steps=7),
        identity(scale=scale),
        identity(units={}),
        identity(chain=CHAINS["ddpm"]),
        identity(chain=replace(model.chain, shift=2.0)),
        identity(conditions=replace(model.conditions, min_patients=9)),
        identity(conditions=replace(model.conditions, combinations=(), patients=())),
    ]
    for network in (model.autoencoder, model.denoiser, model.few_step):
        assert network is not None
        with torch.no_grad():
            next(network.parameters()).mul_(1.5)
        found.append(identity())
    assert len({fingerprint(tiny_model), *found}) == 11


def test_a_model_of_before_keeps_its_identity_until_its_code_is_written_anew(copy: Path, tiny_model: Path):
    """It was the SHA-256 of model.json, which records speak of; the new one lists it, and is that of its parts."""
    strip = ("identity", "card")
    change = {key: value for key, value in json.loads((copy / "model.json").read_text()).items() if key not in strip}
    (copy / "model.json").write_text(json.dumps(sealed(change, "model.json")))
    old = sha256_file(copy / "model.json")
    assert fingerprint(copy) == old
    for _ in range(2):
        refresh_pipeline(copy)
        assert fingerprint(copy) == fingerprint(tiny_model)
        assert json.loads((copy / "model.json").read_text())["formerly"] == [old]
    assert LatentDiffusion.load(copy).steps == LatentDiffusion.load(tiny_model).steps


def test_an_identity_that_is_not_that_of_the_parts_is_refused(copy: Path):
    """Sealed or not: a model cannot pass for another one."""
    content = json.loads((copy / "model.json").read_text()) | {"identity": "0" * 64}
    (copy / "model.json").write_text(json.dumps(sealed(content, "model.json")))
    refuse(copy, "its identity is that of another model")


def test_a_folder_that_is_no_model(tmp_path: Path):
    """An empty folder, a file, a name that is neither: the error says so and lists the models that ship."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "nowhere"):
        refuse(path, rf"^{re.escape(str(path))} is not a model folder: it has no model\.json\. Shipped models: ")


def test_shipped_models_are_known_by_name(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder in the package's `shipped` is opened by its name alone, and is named where a name is wrong."""
    shutil.copytree(tiny_model, tmp_path / "shipped" / "small")
    monkeypatch.setattr(finding.resources, "files", lambda _: tmp_path)
    assert LatentDiffusion.load("small").size == 64
    with pytest.raises(ModelError, match="Shipped models: small"):
        LatentDiffusion.load("smal")


def test_diffusers_reads_the_schedule(tiny_model: Path) -> None:
    """The folder's scheduler is diffusers' own, with the times of our sampler."""
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(tiny_model / "scheduler")
    scheduler.set_timesteps(sigmas=flow_times(8)[:-1])
    assert scheduler.sigmas.tolist() == pytest.approx(LatentDiffusion.load(tiny_model).chain.times(8))


def test_a_model_keeps_the_shift_of_its_times(tiny_model: Path, tmp_path: Path) -> None:
    """Models of before the shift go on with equal steps, and a new one keeps its own through a folder."""
    model = LatentDiffusion.load(tiny_model)
    assert model.chain.shift == 4
    for shift in (1.0, 2.5):
        replace(model, chain=replace(model.chain, shift=shift)).save(tmp_path / f"{shift}")
        assert LatentDiffusion.load(tmp_path / f"{shift}").chain.shift == shift


@pytest.mark.parametrize("name", list(CHAINS))
def test_each_kind_of_diffusion_has_its_scheduler_in_diffusers(name: str, tiny_model: Path) -> None:
    """The schedule written for diffusers is the one that the networks are trained with."""
    model = replace(LatentDiffusion.load(tiny_model), chain=CHAINS[name])
    scheduler, process = scheduler_of(model), model.chain.process
    if isinstance(process, Schedule):
        assert isinstance(scheduler, DDPMScheduler)
        assert scheduler.alphas_cumprod.tolist() == pytest.approx(process.alpha_bar[1:].tolist(), rel=1e-4)
    else:
        assert scheduler.config["shift"] == model.chain.shift
