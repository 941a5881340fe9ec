"""What is asked for: understood as a person means it, or refused before any work with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.cli import parser as cli
from phonybrains.config import load_config
from phonybrains.errors import ConfigError, ModelError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.stage import evaluate
from phonybrains.finetuning.config import FinetuneConfig
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig
from phonybrains.model.captions import Captions, Described
from phonybrains.model.drawing import drawn
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.networks.conditions import Category, Conditions
from phonybrains.readerstudy.config import load_study_config
from phonybrains.record import read_record
from phonybrains.remote.config import load_imagine_config
from phonybrains.remote.dialects import parameters
from phonybrains.remote.prompts import Wanted, wanted_images
from phonybrains.serving.context import named_once
from tests.support.places import ROOT


def ask(*words: object) -> int:
    """What the command line ends with."""
    return cli.app([str(word) for word in words], print_error=False, exit_on_error=False)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    return LatentDiffusion.load(tiny_model)


# --- Attributes ------------------------------------------------------------------------------------------------------


def test_upper_and_lower_case_are_the_same(model: LatentDiffusion) -> None:
    """modality=ct is CT, and Plane=AXIAL is plane=axial; the rows have the spelling of the model."""
    assert model.conditions.check({"Modality": "ct", "PLANE": "Axial"}) == {"modality": "CT", "plane": "axial"}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"plane": "axial", "Plane": "coronal"}, "plane is asked for twice"),
        ({"modality": "MR;CT"}, "an image has one"),
        ({"plane": "axial;sagittal"}, "NO TRAINING IMAGE is plane axial;sagittal"),
        ({"hemorrhage": "intraventricular;subdural"}, "add modality="),
        ({"age_years": float("nan")}, "outside what the model has seen"),
        ("modality=CT", "maps names to values"),
    ],
)
def test_what_nobody_has_is_refused(model: LatentDiffusion, where: Any, words: str) -> None:
    """Without a training image that shows it all, and without a modality, no row could say what it is."""
    with pytest.raises(ConfigError, match=words):
        model.ask(range(3), where, 0)


def test_with_a_modality_it_is_drawn_and_doubted(model: LatentDiffusion) -> None:
    """What no training image shows can be asked for with its modality: every row has one, and the doubt is said."""
    where = {"modality": "CT", "hemorrhage": "intraventricular;subdural"}
    assert {row["modality"] for row in model.ask(range(5), where, 0)} == {"CT"}
    assert "NO TRAINING IMAGE" in model.doubts(where)[0]


def test_a_prompt_without_a_modality_is_refused_where_there_are_two(model: LatentDiffusion) -> None:
    """Its rows would have none, and no evaluation would take them; a model of one modality needs no word."""
    described = Described(**vars(model.conditions), captions=Captions("{plane} {modality}"))
    with pytest.raises(ConfigError, match="names no modality"):
        drawn(described, [0], {"prompt": "a brain"}, 0)
    assert drawn(described, [0], {"prompt": "a brain, CT"}, 0)[0]["modality"] == "CT"
    alone = Conditions((Category("modality", ("MR",)),), ())
    assert drawn(alone, [0], {}, 0) == [{"modality": "MR"}]


def test_a_name_given_twice_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Before, the last one won without a word; the prompt is such a name as well."""
    for words in (["plane=axial", "plane=sagittal"], ["prompt=a", "--prompt", "b"]):
        with pytest.raises(ConfigError, match="asked for twice"):
            ask("generate", tiny_model, "-n", 1, "--out", tmp_path / "out", "--where", *words)


def test_a_name_given_twice_to_a_server_is_refused() -> None:
    """JSON lets the last of two values win, so that half of what was asked would be lost in silence."""
    assert json.loads('{"where": {"plane": "axial"}, "n": 2}', object_pairs_hook=named_once)["n"] == 2
    with pytest.raises(ValueError, match="plane is given twice"):
        json.loads('{"where": {"plane": "axial", "plane": "coronal"}}', object_pairs_hook=named_once)


def test_words_for_a_model_that_reads_none(tiny_model: Path, tmp_path: Path) -> None:
    """--prompt says which models read words, and what to give this one instead."""
    with pytest.raises(ConfigError, match=r"reads no words.*--where modality=CT"):
        ask("generate", tiny_model, "-n", 1, "--out", tmp_path / "out", "--prompt", "axial CT")
    assert not (tmp_path / "out").exists()


def test_what_is_not_asked_for_is_named(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command and the record say which attributes were drawn as in training, and from which seed images start."""
    words = ("generate", tiny_model, "--steps", 1, "--seed", 3)
    ask(*words, "-n", 12, "--out", tmp_path / "out", "--where", "plane=axial")
    printed = capsys.readouterr().out
    assert "drawn as often as in training: modality, hemorrhage. Each image starts from noise" in printed
    assert "of seed 3" in printed
    assert read_record(tmp_path / "out")["results"]["drawn"] == ["modality", "hemorrhage"]
    ask(*words, "-n", 2, "--out", tmp_path / "mr", "--where", "modality=MR")
    assert "hemorrhage" not in read_record(tmp_path / "mr")["results"]["drawn"]  # which no MR has


# --- Settings of sampling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("guidance", value) for value in (float("nan"), float("inf"), -1)),
        *(("steps", value) for value in (2.5, 0, -3)),
        *(("seed", value) for value in (-1, 2**63, 1.5)),
        *(("batch_size", value) for value in (0, 2.5)),
    ],
)
def test_settings_that_cannot_be_are_refused_everywhere(
    model: LatentDiffusion, tiny_model: Path, tmp_path: Path, name: str, value: float
) -> None:
    """One check, before any work: by hand, by a model in memory, and by the stage that writes a set."""
    settings: Any = {name: value}
    for use in (
        lambda: Sampling(**settings),
        lambda: model.generate(1, **settings),
        lambda: generate(tiny_model, tmp_path / "out", 1, **settings),
    ):
        with pytest.raises(ConfigError, match=name):
            use()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n", [-1, 2.5, "3", True + 0.5])
def test_a_number_of_images_that_cannot_be(model: LatentDiffusion, n: Any) -> None:
    """A model in memory refuses what the command line would; none at all is a number."""
    with pytest.raises(ConfigError, match="n "):
        model.generate(n)
    assert len(model.generate(0).images) == 0
    one: Any = np.int64(1)
    assert len(model.generate(one, {"modality": "MR"}, steps=1).images) == 1


# --- Before the first step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "most"), [(".webp", 1120), (".jpg", 4480), (".png", 34240)])
def test_a_sheet_that_cannot_hold_the_images(tmp_path: Path, suffix: str, most: int) -> None:
    """As many as the format holds go on to the model, which is missing here; one more is refused before."""
    for n, error, words in ((most, ModelError, "nowhere"), (most + 1, ConfigError, f"up to {most} images")):
        with pytest.raises(error, match=words):
            generate(tmp_path / "nowhere", tmp_path / "out", n, grid=tmp_path / f"sheet{suffix}", show=False)


@pytest.mark.parametrize("place", ["a file/sheet.png", "folder.png", "/proc/sheet.png"])
def test_a_sheet_where_none_can_be_written(tmp_path: Path, place: str) -> None:
    """Below a file, in the place of a folder, or where nobody can write."""
    (tmp_path / "a file").write_text("")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError, match="sheet cannot be written there"):
        generate(tmp_path / "nowhere", tmp_path / "out", 1, grid=tmp_path / place, show=False)


def test_weights_of_another_kind_are_refused_before_an_evaluation(
    phantom_corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Not as a note in the report, after an hour; nor is a folder that is no model."""
    weights = tiny_model / "unet" / "diffusion_pytorch_model.safetensors"
    for config in (EvaluateConfig(features=weights), EvaluateConfig(model=phantom_corpus)):
        with pytest.raises(ModelError):
            evaluate(phantom_corpus, phantom_corpus, tmp_path / "out", config, show=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_shares_of_an_evaluation(share: float) -> None:
    """A classifier learns from a share of the real images between none and all."""
    with pytest.raises(ConfigError, match="real_shares"):
        load_config(EvaluateConfig, None, utility={"real_shares": [share]})


# --- What people meet first ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0, -5])
def test_a_window_without_width(tmp_path: Path, width: float) -> None:
    """Everything in it would be black or white."""
    with pytest.raises(ConfigError, match="the width is more than 0"):
        load_config(ImportConfig, None, window=(40, width))


def test_phantoms_that_no_model_could_learn_from(tmp_path: Path) -> None:
    """A size that training refuses is refused with the next ones that it takes."""
    with pytest.raises(ConfigError, match="Give 64 or 96"):
        ask("phantom", "-n", 2, "--size", 65, "--out", tmp_path / "out")
    ask("phantom", "-n", 2, "--size", 32, "--out", tmp_path / "out")
    assert ImageSet.open(tmp_path / "out").width == 32


@pytest.mark.parametrize(
    ("load", "text", "words"),
    [
        (partial(load_imagine_config, None), "[extra]\nbudget = 5\n", "budget stands in the table"),
        (
            partial(load_imagine_config, None),
            '[[prompts]]\ntext = "brain MRI"\n[prompts.attributes]\nn = 8\n',
            "n stands among the attributes",
        ),
        (partial(load_study_config, "paper"), "[synthetic]\nMR = 20\nseed = 3\n", "seed stands in the table"),
        (
            partial(load_config, FinetuneConfig),
            '[words.modality]\nMR = "MRI"\nrevision = "main"\n',
            "revision stands in the table",
        ),
    ],
)
def test_a_setting_at_the_wrong_level(tmp_path: Path, load: Any, text: str, words: str) -> None:
    """TOML puts what follows a table's name into it; where the keys are the user's own, it would be lost in silence."""
    (tmp_path / "settings.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load(tmp_path / "settings.toml")


@pytest.mark.parametrize(
    ("more", "size", "taken"),
    [
        ({}, "1024x1024", True),
        ({}, "auto", True),
        ({}, "", True),
        ({}, "256x256", False),
        ({}, "1792x1024", False),
        ({"model": "dall-e-3"}, "1792x1024", True),
        ({"model": "dall-e-3"}, "1536x1024", False),
        ({"base_url": "http://127.0.0.1:9/v1"}, "64*64", True),
        ({"sizes": ("2048x2048",)}, "2048x2048", True),
        ({"base_url": "http://127.0.0.1:9/v1", "sizes": ("64x64",)}, "65x65", False),
    ],
)
def test_sizes_that_a_service_takes(more: dict[str, Any], size: str, taken: bool) -> None:
    """A size that the service is known to refuse is refused before it is asked; another service's are its own."""
    config = load_imagine_config(None, prompts=[{"text": "brain MRI"}], size=size, **more)
    wanted = Wanted(0, "brain MRI", "MR", {})
    if taken:
        assert parameters(wanted, config).get("size", "") == size
    else:
        with pytest.raises(ConfigError, match=f"size '{size}': the service takes"):
            parameters(wanted, config)


def test_recipes_find_the_command(tmp_path: Path) -> None:
    """Where it is not on the PATH, a recipe takes that of the environment beside it, or of Python."""
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (tmp_path / "python3").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", ROOT / "recipes" / "bin" / "phonybrains", "--version"], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "phonybrains")
    for recipe in (ROOT / "recipes").glob("*.sh"):
        assert "/bin  # where the command is not on it" in recipe.read_text(encoding="utf-8")


def test_a_placeholder_that_is_not_known_is_named() -> None:
    """With the attributes that there are, and the one that may be meant."""
    file = {"text": "axial MRI, {findng}", "attributes": {"finding": "glioma"}}
    with pytest.raises(ConfigError, match=r"'\{findng\}' has no attribute.*Known: finding. Did you mean finding\?"):
        wanted_images(load_imagine_config(None, prompts=[file]))
