"""What cannot be trained on is refused before the first step, with the row, the name or the setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phonybrains.errors import ConfigError, PhonyBrainsError
from phonybrains.imageset import FIXED_COLUMNS, MADE_COLUMNS, Attribute, ImageSet, write_metadata
from phonybrains.model.fitting import check_numbers
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.networks.conditions import Number
from phonybrains.optimising import compiling
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.perceptual import SMALLEST, PerceptualDistance
from phonybrains.training.stage import train
from phonybrains.training.start import start
from tests.training.test_identity import save_squeezenet

LOOP = {"steps": 2, "batch_size": 2, "warmup": 1, "validate_every": 2, "checkpoint_every": 2}


def micro(**values: Any) -> TrainConfig:
    """The tiny preset with two steps each and without few-step weights, which keeps all values."""
    parts: dict[str, Any] = {part: {"loop": LOOP} | values.pop(part, {}) for part in ("autoencoder", "denoiser")}
    none: dict[str, Any] = {"few_step": {"loop": LOOP | {"steps": 0}}}
    return load_train_config("tiny", **{"precision": "fp32", "min_patients": 0} | none | parts | values)


def corpus(folder: Path, column: str, values: Sequence[Attribute], splits: str = "tttttvvv") -> Path:
    """Phantoms with a column of these values; splits: a letter an image."""
    make_phantoms(len(values), folder, size=32)
    names = {"t": "train", "v": "validation", "x": "test"}
    rows = ImageSet.open(folder).rows
    write_metadata(
        folder,
        [
            replace(row, split=names[split], attributes={column: value, "plane": "axial"})
            for row, value, split in zip(rows, values, splits, strict=True)
        ],
    )
    return folder


def refused(folder: Path, config: TrainConfig, words: str) -> None:
    """In one line, and nothing appears beside the corpus."""
    before = set(folder.parent.iterdir())
    with pytest.raises(PhonyBrainsError, match=words) as caught:
        train(folder, folder.parent / "model", config, show=False)
    assert "\n" not in str(caught.value)
    assert set(folder.parent.iterdir()) == before


@pytest.mark.parametrize("value", [-3.4e38, 3.4e38, 1e308, -1e31])
@pytest.mark.parametrize("place", [0, 6])
def test_a_number_that_is_no_measurement_is_named(tmp_path: Path, value: float, place: int):
    """What some format writes for a missing value, in a training or in a validation row: the error says which row."""
    ages: list[Attribute] = [20.0, 30.0, 40.0, 50.0, 60.0, 25.0, 35.0, 45.0]
    ages[place] = value
    folder = corpus(tmp_path / "set", "age", ages)
    refused(folder, micro(conditions=("age",)), rf"metadata\.csv, row {place + 2}: age is .*Correct the cell")


def test_a_number_that_drowns_the_others_is_named(tmp_path: Path):
    """Beside 1e15, ages are all alike; 1000 is only an outlier, and zeros and ones are numbers like others."""
    ages: list[Attribute] = [20.0, 30.0, 40.0, 1e15, 60.0, 25.0, 35.0, 45.0]
    refused(corpus(tmp_path / "set", "age", ages), micro(conditions=("age",)), r"row 5: age is 1e\+15")
    for name, values in (("outlier", [20.0, 30.0, 40.0, 1000.0]), ("binary", [0.0, 0.0, 0.0, 1.0])):
        images = ImageSet.open(corpus(tmp_path / name, "age", values, "tttv"))
        assert start(images, (), micro(conditions=("age",))).conditions.attributes


def test_a_number_of_the_test_split_is_nobodys_business(tmp_path: Path):
    """Rows that training does not read are not judged."""
    folder = corpus(tmp_path / "set", "age", [20.0, 30.0, 40.0, -3.4e38], "tttx")
    config = micro(conditions=("age",))
    images = ImageSet.open(folder)
    check_numbers(images, config.conditions.attributes)
    assert start(images, (), config).conditions.attributes[1] == Number("age", 20.0, 40.0)


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
    folder = corpus(tmp_path / "set", "age", [20.0, 30.0, 40.0, 50.0, 60.0, 99.0, 1.0, 45.0])
    images = ImageSet.open(folder)
    conditions = start(images, (), micro(conditions=("age",))).conditions
    encoded = conditions.encode(images.rows)[:, -2:]
    assert encoded[5:7].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert encoded.abs().max() <= 1


def test_a_start_that_cannot_read_the_numbers_is_refused(tmp_path: Path):
    """Numbers far off the range on whose scale the network reads them would be huge ones to it."""
    near = corpus(tmp_path / "near", "age", [20.0, 30.0, 40.0, 50.0, 60.0, 25.0, 35.0, 45.0])
    model = train(near, tmp_path / "model", micro(conditions=("age",)), show=False)
    far = corpus(tmp_path / "far", "age", [200.0, 300.0, 400.0, 5e9, 6e9, 25.0, 35.0, 45.0])
    with pytest.raises(ConfigError, match=r"start: age is 200 to 6e\+09 in this corpus, far off the 20 to 60"):
        start(ImageSet.open(far), (), micro(conditions=("age",), start=str(model)))
    one = corpus(tmp_path / "one", "age", [40.0] * 8)
    same = start(ImageSet.open(one), (), micro(conditions=("age",), start=str(model)))
    assert same.conditions.encode([{"age": 40.0}])[0, -2:].tolist() == [0.0, 0.0]


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
    conditions = start(ImageSet.open(folder), (), micro(conditions=("kind",))).conditions
    assert conditions.check({written: " a\u200b"}) == {"kind": "a"}
    assert start(ImageSet.open(folder), (), micro(conditions=(written,))).conditions == conditions


def test_letters_in_two_encodings_are_one_name(tmp_path: Path):
    """macOS writes é as e and an accent: name and label are the same."""
    folder = corpus(tmp_path / "set", "co\u0302te\u0301", ["e\u0301tat", "b", "b", "b"], "tttv")
    conditions = start(ImageSet.open(folder), (), micro(conditions=("c\u00f4t\u00e9",))).conditions
    assert conditions.check({"cote\u0301".replace("o", "o\u0302"): "\u00e9tat"}) == {"c\u00f4t\u00e9": "\u00e9tat"}


@pytest.mark.parametrize(("crop", "equivariance", "fits"), [(32, 0.25, False), (16, 0.0, False), (32, 0.0, True)])
def test_a_crop_too_small_for_the_features(tmp_path: Path, crop: int, equivariance: float, fits: bool):
    """The smallest images that the loss is taken of, shrunken ones too, must leave something for the last layer."""
    folder = corpus(tmp_path / "set", "kind", ["a", "b", "a", "b"], "tttv")
    features = save_squeezenet(tmp_path / "features.safetensors", seed=0)
    config = micro(features=features, autoencoder={"crop": crop, "equivariance": equivariance})
    if fits:
        assert start(ImageSet.open(folder), (), config).perceptual
    else:
        least = 48 if equivariance else 32
        refused(folder, config, rf"autoencoder\.crop is {crop}, too small for .*Set it to {least} or more")


def test_the_smallest_image_of_the_features_is_measured(tmp_path: Path):
    """One pixel less leaves nothing."""
    distance = PerceptualDistance(save_squeezenet(tmp_path / "features.safetensors", seed=0))
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 1, SMALLEST, SMALLEST)).astype(np.float32))
    assert distance(x[:1], x[1:]).item() > 0
    with pytest.raises(RuntimeError, match="too small"):
        distance(x[:1, :, 1:, 1:], x[1:, :, 1:, 1:])


def test_features_that_are_not_there(tmp_path: Path):
    """A missing file is named at once."""
    folder = corpus(tmp_path / "set", "kind", ["a", "b", "a", "b"], "tttv")
    refused(folder, micro(features=tmp_path / "none.safetensors"), r"features: .*none\.safetensors cannot be read")


def test_a_start_of_another_diffusion_stays_what_it_is(tiny_model: Path, phantom_corpus: Path):
    """A denoiser that makes no steps cannot become one of another process."""
    names, none = ("plane", "hemorrhage", "age_years"), {"loop": LOOP | {"steps": 0}}
    config = micro(start=str(tiny_model), conditions=names, denoiser=none, diffusion="ddpm")
    with pytest.raises(ConfigError, match="is trained for flow, not ddpm"):
        start(ImageSet.open(phantom_corpus), (), config)


def test_a_machine_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`compile` is tried before the autoencoder is trained."""

    def broken(function: Any, **_: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(compiling.torch, "compile", broken)
    folder = corpus(tmp_path / "set", "kind", ["a", "b", "a", "b"], "tttv")
    refused(folder, micro(compile=True), r"compile: this machine has no compiler that works .*leave `compile` out")


def test_without_a_validation_split_the_card_has_no_validation_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Figures of training images say that they are, and the command says that nothing was held out."""
    folder = corpus(tmp_path / "set", "kind", ["a", "b", "a", "b"], "tttt")
    card = LatentDiffusion.load(train(folder, tmp_path / "model", micro())).card
    assert "No image is in the split 'validation'" in capsys.readouterr().out
    assert "validation loss" not in card
    assert {"training loss on as many images", "autoencoder PSNR MR on training images, dB"} <= card.keys()
    assert "validation" not in (tmp_path / "model" / "README.md").read_text().partition("## Figures")[2]
