"""Training that begins with the weights of a model: what stays, what is learnt, and what of its figures still holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from phonybrains.errors import ConfigError, ModelError
from phonybrains.imageset import ImageSet
from phonybrains.model.finding import model_folder
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.seal import sealed
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train
from phonybrains.training.start import start
from tests.support.tiny_training import FEW_STEP_PARTS, LOOP, NAMES, OFF, ON, log_of, micro, weights
from tests.training.conftest import beginning


def test_without_steps_all_stays_as_it_was(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """With no steps to make, weights and scale are those of the start, few-step ones too; the record names it."""
    idle = train(phantom_corpus, tmp_path / "idle", beginning(tiny_model), show=False)
    assert weights(idle) == weights(tiny_model)
    assert weights(idle, FEW_STEP_PARTS) == weights(tiny_model, FEW_STEP_PARTS)
    assert LatentDiffusion.load(idle).scale == LatentDiffusion.load(tiny_model).scale
    inputs = json.loads((idle / "record.json").read_text())["inputs"]
    assert [i["name"] for i in inputs] == [phantom_corpus.name, tiny_model.name]


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"conditions": (), "denoiser": OFF}, ConfigError, "knows other conditions"),
        ({"denoiser": {"shape": {"widths": [16, 48]}}}, ConfigError, "networks of other shapes"),
        ({"start": "/nowhere"}, ModelError, "nowhere is not a model folder"),
        ({"denoiser": OFF, "diffusion": "ddpm"}, ConfigError, "is trained for flow, not ddpm"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    tiny_model: Path, phantom_corpus: Path, given: dict[str, Any], kind: type[Exception], words: str
):
    """Other conditions, shapes or diffusion, or no model at all: said before anything is written."""
    config = micro(**{"conditions": NAMES, "min_patients": 0, "start": str(tiny_model)} | given)
    with pytest.raises(kind, match=words):
        start(ImageSet.open(phantom_corpus), (), config)


def test_conditions_stay_where_nothing_learns_them(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """A corpus with a plane that the start has never seen: few-step weights keep its conditions, a denoiser learns.

    What it does not know counts as missing, and that is said.
    """
    other, own = tmp_path / "other", LatentDiffusion.load(tiny_model).conditions
    shutil.copytree(phantom_corpus, other)
    table = other / "metadata.csv"
    table.write_text(table.read_text().replace("coronal", "oblique"))
    assert "oblique" in table.read_text()
    images = ImageSet.open(other)
    kept = start(images, (), micro(conditions=NAMES, min_patients=0, start=str(tiny_model), denoiser=OFF))
    assert kept.conditions == own
    assert any("the conditions of" in line and "count as missing" in line for line in kept.said)
    unknown = next(row for row in images.rows if row["plane"] == "oblique")
    assert torch.equal(kept.conditions.encode([unknown]), own.encode([own.of(unknown) | {"plane": None}]))
    learnt = start(images, (), micro(conditions=NAMES, min_patients=0, start=str(tiny_model)))
    assert "oblique" in learnt.conditions.attributes[NAMES.index("plane") + 1].offered


def test_a_decoder_learns_alone(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """The encoder and the latents' scale stay, and so does everything that was learnt on those latents."""
    alone = ON | {"decoder_only": True}
    sharper = train(phantom_corpus, tmp_path / "sharper", beginning(tiny_model, autoencoder=alone), show=False)
    found, before = LatentDiffusion.load(sharper), LatentDiffusion.load(tiny_model)
    kept = ("unet", "condition_embedding", *FEW_STEP_PARTS)
    assert weights(sharper, kept) == weights(tiny_model, kept)
    assert found.scale == before.scale
    old = before.autoencoder.state_dict()
    same = {name: torch.equal(tensor, old[name]) for name, tensor in found.autoencoder.state_dict().items()}
    assert all(equal for name, equal in same.items() if name.startswith("encoder."))
    assert not any(equal for name, equal in same.items() if name.startswith("decoder.") and name.endswith(".weight"))
    with pytest.raises(ConfigError, match="needs `start`"):
        micro(autoencoder=alone)


@pytest.fixture(scope="module")
def started(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a card that tells more of it."""
    folder = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("started") / "started"))
    description = json.loads((folder / "model.json").read_text())
    description["card"] |= {"images seen by the denoiser": 1000, "a figure of the start": 0.5, "parameters": 1}
    (folder / "model.json").write_text(json.dumps(sealed(description, "model.json")))
    return folder


def test_few_step_weights_for_a_model_that_is_there(
    started: Path, tiny_model: Path, phantom_corpus: Path, tmp_path: Path
):
    """Other parts make no steps and stay as they are; what was measured of the start's images is not said of others."""
    tuned = train(phantom_corpus, tmp_path / "tuned", beginning(started, few_step=ON, seed=5), show=False)
    assert weights(tuned) == weights(tiny_model)
    assert all(weights(tuned, (part,)) != weights(tiny_model, (part,)) for part in FEW_STEP_PARTS)
    assert {*weights(tuned, ("few_step_unet",)).values()}.isdisjoint(weights(tuned, ("unet",)).values())
    card = LatentDiffusion.load(tuned).card
    distances = [entry["few_step/validation"] for entry in log_of(tuned) if "few_step/validation" in entry]
    assert card["few steps end off the full path by"] == pytest.approx(min(distances), abs=1e-4)
    assert card["images seen by the denoiser"] == 1000
    assert "a figure of the start" not in card  # few-step weights make other images
    assert card["parameters"] > 1000
    assert card["paths walked for few-step weights"] == LOOP["steps"] * LOOP["batch_size"]
    assert "a figure of the start" not in (tuned / "README.md").read_text()
    assert {key.partition("/")[0] for entry in log_of(tuned) for key in entry} == {"step", "few_step"}


def test_a_denoiser_that_learns_on_has_seen_more(started: Path, tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """It counts what its start had seen; few-step weights and figures of the start are not its own."""
    longer = train(phantom_corpus, tmp_path / "longer", beginning(started, denoiser=ON, seed=5), show=False)
    model = LatentDiffusion.load(longer)
    assert model.card["images seen by the denoiser"] == 1000 + LOOP["steps"] * LOOP["batch_size"]
    assert "a figure of the start" not in model.card  # it was measured on other weights
    assert model.few_step is None
    assert not [key for key in model.card if "few" in key]
    assert weights(longer, ("autoencoder",)) == weights(tiny_model, ("autoencoder",))
    assert weights(longer, ("unet",)) != weights(tiny_model, ("unet",))


def test_a_share_of_the_start_stays(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """All of it is the start itself, half is halfway between it and what is learnt without; there must be a start."""
    found: dict[float, dict[str, torch.Tensor]] = {}
    for share in (0.0, 0.5, 1.0):
        learning = {"loop": LOOP | {"learning_rate": 0.02}, "start_share": share}
        config = beginning(tiny_model, denoiser=learning, seed=5)
        model = LatentDiffusion.load(train(phantom_corpus, tmp_path / str(share), config, show=False))
        found[share] = dict(model.denoiser.state_dict())
    start = LatentDiffusion.load(tiny_model).denoiser.state_dict()
    assert max(float((weight - start[name]).abs().max()) for name, weight in found[0.0].items()) > 0.01
    for name, weight in start.items():
        assert torch.equal(found[1.0][name], weight)
        halfway = (found[0.0][name] + weight) / 2  # kept in half precision
        torch.testing.assert_close(found[0.5][name], halfway, atol=2e-4, rtol=1e-3)
    with pytest.raises(ConfigError, match="start_share is a share of the weights of `start`"):
        micro(denoiser={"start_share": 0.5})


def test_a_start_learns_other_conditions(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """Those that both know go on, others are left or begun; few-step weights go on from those of the start."""
    still = LOOP | {"learning_rate": 1e-12, "weight_decay": 0.0}
    parts: Any = {"denoiser": {"loop": still}, "few_step": {"loop": still, "from_start": True}}
    config = beginning(tiny_model, conditions=("sex", "age_years"), **parts)
    model = LatentDiffusion.load(train(phantom_corpus, tmp_path / "other", config, show=False))
    old = LatentDiffusion.load(tiny_model)
    assert [a.name for a in model.conditions.attributes] == ["modality", "sex", "age_years"]
    assert old.few_step
    assert model.few_step
    row = {"modality": "CT", "age_years": 50.0}
    noise, t, extra = torch.randn(1, *old.latent_shape), torch.tensor([0.5]), torch.ones(1, 1)
    for new, known, told in ((model.denoiser, old.denoiser, None), (model.few_step, old.few_step, extra)):
        found = new(noise, t, model.conditions.encode([row]), told)
        torch.testing.assert_close(found, known(noise, t, old.conditions.encode([row]), told), atol=1e-4, rtol=0)


def test_a_laptop_goes_on_with_the_shipped_model(phantom_corpus: Path, tmp_path: Path):
    """The preset fits it as it is, whatever the corpus tells of its images; decoder and texture stay, and are named."""
    short: dict[str, Any] = {part: {"loop": {"steps": 1, "batch_size": 2}} for part in ("denoiser", "few_step")}
    config = load_train_config("laptop", conditions=("age_years",), **short)
    folder = train(phantom_corpus, tmp_path / "mine", config, show=False)
    model, shipped = LatentDiffusion.load(folder), LatentDiffusion.load("heads")
    stay = ("autoencoder", "texture")
    assert weights(folder, stay) == weights(model_folder("heads"), stay)
    assert [a.name for a in model.conditions.attributes] == ["modality", "age_years"]
    walked = "paths walked for few-step weights"
    assert model.card[walked] == shipped.card[walked] + 2
    assert "brain-mri" in (folder / "record.json").read_text()
