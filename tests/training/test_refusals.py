"""What cannot be trained on is refused before the first step, with the row, the name or the setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phonybrains.errors import ConfigError, ImageSetError, ModelError, PhonyBrainsError, TrainingError
from phonybrains.imageset import FIXED_COLUMNS, MADE_COLUMNS, Attribute, ImageSet, write_metadata, write_png
from phonybrains.model.fitting import check_numbers
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.networks.conditions import Conditions, Number
from phonybrains.optimising import compiling
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.perceptual import SMALLEST, PerceptualDistance
from phonybrains.training.stage import train
from phonybrains.training.start import start
from tests.support import tiny_training
from tests.support.tiny_training import OFF, image_set, noise_images, save_squeezenet

AGES: list[Attribute] = [20.0, 30.0, 40.0, 50.0, 60.0, 25.0, 35.0, 45.0]
"""Of five training and three validation images."""


def micro(**values: Any) -> TrainConfig:
    """Two steps each, without few-step weights; all values are kept."""
    return tiny_training.micro(**{"min_patients": 0, "few_step": OFF} | values)


def corpus(folder: Path, column: str, values: Sequence[Attribute], splits: str = "tttttvvv") -> Path:
    """Phantoms with a column of these values; splits: a letter an image."""
    make_phantoms(len(values), folder, size=32)
    names = {"t": "train", "v": "validation", "x": "test"}
    described = zip(ImageSet.open(folder).rows, values, splits, strict=True)
    rows = [replace(r, split=names[s], attributes={column: value, "plane": "axial"}) for r, value, s in described]
    write_metadata(folder, rows)
    return folder


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """A corpus without a fault."""
    return corpus(tmp_path / "set", "kind", ["a", "b", "a", "b"], "tttv")


def conditions_of(folder: Path, **values: Any) -> Conditions:
    return start(ImageSet.open(folder), (), micro(**values)).conditions


def refused(folder: Path, config: TrainConfig, words: str, kind: type[PhonyBrainsError] = PhonyBrainsError) -> None:
    """In one line, and nothing appears beside the corpus."""
    before = set(folder.parent.iterdir())
    with pytest.raises(kind, match=words) as caught:
        train(folder, folder.parent / "model", config, show=False)
    assert "\n" not in str(caught.value)
    assert set(folder.parent.iterdir()) == before


# Corpora


@pytest.mark.parametrize("shape", [(48, 48), (32, 64), (100, 100)])
def test_a_corpus_of_a_wrong_size(tmp_path: Path, shape: tuple[int, int]):
    """Sides that cannot be halved often enough, or differ, are refused with the size."""
    folder = image_set(tmp_path / "set", [np.zeros(shape, np.uint8)])
    words = rf"images are {shape[1]}×{shape[0]}; .* multiple of 32\. Import .*--size"
    refused(folder, micro(), words, TrainingError)


DEEP = {"shape": {"widths": [16, 16, 16, 16]}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"autoencoder": {"crop": 128}}, r"autoencoder\.crop is 128, but .* only 32×32\. Set it to 32"),
        ({"denoiser": DEEP}, r"denoiser\.shape: 4 widths halve the latents 3 times"),
        ({"conditions": ("plan",)}, r"has the attribute 'plan'\. Known: plane\. Did you mean plane\?"),
    ],
)
def test_settings_that_do_not_fit_the_corpus(tmp_path: Path, values: dict[str, Any], words: str):
    """A crop larger than the images, more halvings than the latents allow, a column that the corpus lacks."""
    folder = image_set(tmp_path / "set", noise_images(1), plane="axial")
    refused(folder, micro(**values), words, ConfigError)


def test_a_corpus_without_training_images(tmp_path: Path):
    """No image in the split `train` is an error that says to import with a split."""
    folder = image_set(tmp_path / "set", noise_images(2), split="test")
    words = r"set: no image is in the split 'train'\. Import it again with a split"
    refused(folder, micro(), words, TrainingError)


def test_a_damaged_corpus(tmp_path: Path):
    """A changed image is found before the first step, and named with its row."""
    folder = image_set(tmp_path / "set", noise_images(3))
    write_png(folder / "images/1.png", np.zeros((32, 32), np.uint8))
    refused(folder, micro(), r"metadata\.csv, row 3: images/1\.png has another SHA-256", ImageSetError)
    (folder / "images/1.png").unlink()
    refused(folder, micro(), r"row 3: images/1\.png is missing", ImageSetError)


# Settings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"seed": 2**32}, "seed: Input should be less than"),
        ({"denoiser": {"loop": {"averages": []}}}, r"denoiser\.loop\.averages: .*at least 1"),
        ({"autoencoder": {"crop": 40}}, r"autoencoder\.crop: Input should be a multiple of 16"),
        ({"denoiser": {"loop": {"batch_size": 0}}}, r"denoiser\.loop\.batch_size: Input should be greater"),
        ({"diffusion": "warp"}, "diffusion: Input should be 'flow', 'ddpm' or 'gan'"),
        ({"few_step": {"path_steps": 6}}, r"few_step: .*path_steps 6 is not a multiple of each of counts \(1, 2, 4\)"),
        ({"few_step": {"counts": [1, 3]}}, r"few_step: .*path_steps 4 is not a multiple of each of counts \(1, 3\)"),
        ({"few_step": {"counts": []}}, r"few_step\.counts: .*at least 1"),
        ({"few_step": {"guidance": -1}}, r"few_step\.guidance: Input should be greater"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"step": 3}, r"step: Extra inputs are not permitted.* Known: .*diffusion"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], words: str):
    """A setting out of range is an error that names its key."""
    with pytest.raises(ConfigError, match=words):
        load_train_config("tiny", **values)
    with pytest.raises(ConfigError, match=r"preset 'huge' is not known\. Known: cpu, ddpm, gan, gpu, laptop, tiny"):
        load_train_config("huge")


# Numbers and names


@pytest.mark.parametrize("value", [-3.4e38, 3.4e38, 1e308, -1e31])
@pytest.mark.parametrize("place", [0, 6])
def test_a_number_that_is_no_measurement_is_named(tmp_path: Path, value: float, place: int):
    """What some format writes for a missing value, in a training or in a validation row: the error says which row."""
    folder = corpus(tmp_path / "set", "age", [*AGES[:place], value, *AGES[place + 1 :]])
    refused(folder, micro(conditions=("age",)), rf"metadata\.csv, row {place + 2}: age is .*Correct the cell")


def test_a_number_that_drowns_the_others_is_named(tmp_path: Path):
    """Beside 1e15, ages are all alike; 1000 is only an outlier, and zeros and ones are numbers like others."""
    drowning = corpus(tmp_path / "set", "age", [*AGES[:3], 1e15, *AGES[4:]])
    refused(drowning, micro(conditions=("age",)), r"row 5: age is 1e\+15")
    for name, values in (("outlier", [20.0, 30.0, 40.0, 1000.0]), ("binary", [0.0, 0.0, 0.0, 1.0])):
        assert conditions_of(corpus(tmp_path / name, "age", values, "tttv"), conditions=("age",)).attributes


def test_a_number_of_the_test_split_is_nobodys_business(tmp_path: Path):
    """Rows that training does not read are not judged."""
    folder = corpus(tmp_path / "set", "age", [20.0, 30.0, 40.0, -3.4e38], "tttx")
    check_numbers(ImageSet.open(folder), ("age",))
    assert conditions_of(folder, conditions=("age",)).attributes[1] == Number("age", 20.0, 40.0)


def test_a_constant_number_is_dropped_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """It tells a network nothing, and of any other value in validation it would make a number of billions."""
    folder = corpus(tmp_path / "set", "field", [1.5, 1.5, None, 1.5, 1.5, 3.0, 3.0, 3.0])
    out = train(folder, tmp_path / "model", micro(conditions=("field", "plane")))
    assert "field is 1.5 wherever it is given: it is no condition." in capsys.readouterr().out
    model = LatentDiffusion.load(out)
    assert [a.name for a in model.conditions.attributes] == ["modality", "plane"]
    with pytest.raises(ConfigError, match="no attribute 'field'"):
        model.conditions.check({"field": 3.0})


def test_a_number_outside_the_training_range_is_missing(tmp_path: Path):
    """What no training image has, validation images are not told as a number of another size."""
    folder = corpus(tmp_path / "set", "age", [*AGES[:5], 99.0, 1.0, 45.0])
    encoded = conditions_of(folder, conditions=("age",)).encode(ImageSet.open(folder).rows)[:, -2:]
    assert encoded[5:7].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert encoded.abs().max() <= 1


def test_a_start_that_cannot_read_the_numbers_is_refused(tmp_path: Path):
    """Numbers far off the range on whose scale the network reads them would be huge ones to it."""
    near = corpus(tmp_path / "near", "age", AGES)
    model = train(near, tmp_path / "model", micro(conditions=("age",)), show=False)
    far = corpus(tmp_path / "far", "age", [200.0, 300.0, 400.0, 5e9, 6e9, 25.0, 35.0, 45.0])
    with pytest.raises(ConfigError, match=r"start: age is 200 to 6e\+09 in this corpus, far off the 20 to 60"):
        conditions_of(far, conditions=("age",), start=str(model))
    one = corpus(tmp_path / "one", "age", [40.0] * 8)
    found = conditions_of(one, conditions=("age",), start=str(model)).encode([{"age": 40.0}])
    assert found[0, -2:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", sorted({*FIXED_COLUMNS, *MADE_COLUMNS} - {"modality"}))
def test_provenance_is_no_condition(tmp_path: Path, name: str):
    """A column that every set has, or gets when it is made, would be written over by what was asked."""
    values: list[Attribute] = ["a", "b", "a", "b"]
    folder = corpus(tmp_path / "set", "kind" if name in FIXED_COLUMNS else name, values, "tttv")
    refused(folder, micro(conditions=(name,)), f"no condition can be called '{name}'")


@pytest.mark.parametrize("written", [" kind", "kind ", "ki\u200bnd", "\ufeffkind", "kind\u00a0"])
def test_a_name_is_what_it_looks_like(tmp_path: Path, written: str):
    """Blanks and characters that do not show, in the table or in the request, make no other attribute."""
    folder = corpus(tmp_path / "set", written, ["a", "b", "a", "b"], "tttv")
    conditions = conditions_of(folder, conditions=("kind",))
    assert conditions.check({written: " a\u200b"}) == {"kind": "a"}
    assert conditions_of(folder, conditions=(written,)) == conditions


def test_letters_in_two_encodings_are_one_name(tmp_path: Path):
    """macOS writes é as e and an accent: name and label are the same."""
    folder = corpus(tmp_path / "set", "co\u0302te\u0301", ["e\u0301tat", "b", "b", "b"], "tttv")
    conditions = conditions_of(folder, conditions=("c\u00f4t\u00e9",))
    assert conditions.check({"cote\u0301".replace("o", "o\u0302"): "\u00e9tat"}) == {"c\u00f4t\u00e9": "\u00e9tat"}


@pytest.mark.parametrize(("crop", "equivariance", "fits"), [(32, 0.25, False), (16, 0.0, False), (32, 0.0, True)])
def test_a_crop_too_small_for_the_features(kinds: Path, tmp_path: Path, crop: int, equivariance: float, fits: bool):
    """The smallest images that the loss is taken of, shrunken ones too, must leave something for the last layer."""
    features = save_squeezenet(tmp_path / "features.safetensors", seed=0)
    config = micro(features=features, autoencoder={"crop": crop, "equivariance": equivariance})
    if fits:
        assert start(ImageSet.open(kinds), (), config).perceptual
    else:
        least = 48 if equivariance else 32
        refused(kinds, config, rf"autoencoder\.crop is {crop}, too small for .*Set it to {least} or more")


def test_the_smallest_image_of_the_features_is_measured(tmp_path: Path):
    """One pixel less leaves nothing."""
    distance = PerceptualDistance(save_squeezenet(tmp_path / "features.safetensors", seed=0))
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 1, SMALLEST, SMALLEST)).astype(np.float32))
    assert distance(x[:1], x[1:]).item() > 0
    with pytest.raises(RuntimeError, match="too small"):
        distance(x[:1, :, 1:, 1:], x[1:, :, 1:, 1:])


def test_features_that_are_none(kinds: Path, tmp_path: Path):
    """A missing file and one of other weights are named at once."""
    nowhere = micro(features=tmp_path / "none.safetensors")
    refused(kinds, nowhere, r"features: .*none\.safetensors cannot be read", ConfigError)
    refused(kinds, micro(features=kinds / "metadata.csv"), r"not SqueezeNet 1\.1 features", ModelError)


def test_a_machine_without_a_compiler(kinds: Path, monkeypatch: pytest.MonkeyPatch):
    """`compile` is tried before the autoencoder is trained."""

    def broken(function: Any, **_: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(compiling.torch, "compile", broken)
    refused(kinds, micro(compile=True), r"compile: this machine has no compiler that works .*leave `compile` out")
