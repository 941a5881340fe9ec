"""A fine-tuned checkpoint passed on, as any model: checked, without its log, and it paints what it painted before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.cli.parser import app
from phonybrains.errors import ModelError
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.model.lora_description import ALL_FILES, FREE
from phonybrains.model.seal import sealed
from phonybrains.model.share import NO_SOURCES, pull_model, push_model
from tests.finetuning.conftest import Made
from tests.support.hub_server import TOKEN, serving


@pytest.fixture(scope="module")
def lora(made: Made) -> Path:
    """A LoRA; its base lies in `bases` beside it."""
    return made("sd")


@pytest.fixture
def copy(lora: Path, tmp_path: Path) -> Path:
    """A copy of the LoRA, to be changed, and of its base."""
    shutil.copytree(lora.parent / "bases", tmp_path / "bases")
    return Path(shutil.copytree(lora, tmp_path / "lora"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(path: Path, **facts: Any) -> None:
    """Change what finetune.json says, as somebody would who knows how it is guarded."""
    content = sealed(json.loads(path.read_text(encoding="utf-8")) | facts, path.name, "parts", FREE)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_pushed_and_pulled_it_paints_the_same(lora: Path, tmp_path: Path, address: str):
    """By path and by URL; the log of training stays behind; its base is looked for beside it."""
    app(["model", "push", str(lora), address.format(tmp_path / "pushed")], result_action="return_value")
    pulled = pull_model(address.format(tmp_path / "pushed"), tmp_path / "far" / "pulled")
    kept, had = files(pulled), files(lora)
    assert sorted(kept) == sorted(ALL_FILES)
    assert {name for name in ALL_FILES if kept[name] != had[name]} == {"finetune.json"}
    assert json.loads(kept["finetune.json"]) == json.loads(had["finetune.json"]) | {"base": "../sd"}
    with pytest.raises(ModelError, match="its base is to be in"):
        generate(pulled, tmp_path / "none", 1, show=False)
    shutil.copytree(lora.parent / "bases" / "sd", tmp_path / "far" / "sd")
    images = [
        ImageSet.open(generate(model, tmp_path / name, 2, seed=3, show=False))
        for model, name in ((lora, "before"), (pulled, "after"))
    ]
    assert all(np.array_equal(images[0].pixels(i), images[1].pixels(i)) for i in range(2))


def test_of_a_base_on_the_hub_every_file_is_the_same(copy: Path, tmp_path: Path):
    """To the byte, where the description names no folder."""
    change(copy / "finetune.json", local=False, base="someone/tiny", revision="abc")
    push_model(copy, str(tmp_path / "out"))
    assert files(tmp_path / "out") == {name: content for name, content in files(copy).items() if name in ALL_FILES}


def _tweak(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _append(folder: Path) -> None:
    with (folder / "pytorch_lora_weights.safetensors").open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_append, r"pytorch_lora_weights\.safetensors is damaged"),
        (lambda folder: (folder / "conditions.json").unlink(), r"conditions\.json is missing"),
        (lambda folder: change(folder / "finetune.json", parts={}), "is damaged"),
        (lambda folder: _tweak(folder / "finetune.json", '"guidance": ', '"guidance": 1'), "not what its own SHA-256"),
        (lambda folder: _tweak(folder / "finetune.json", '"rank": 4', '"rank": 5'), "not what its own SHA-256 says"),
        (lambda folder: change(folder / "finetune.json", format_version=2), "format version 2 is newer"),
    ],
)
def test_what_is_damaged_is_not_passed_on(copy: Path, tmp_path: Path, damage: Callable[[Path], None], words: str):
    """In neither direction; nothing appears."""
    damage(copy)
    for act in (lambda: push_model(copy, str(tmp_path / "out")), lambda: pull_model(str(copy), tmp_path / "out")):
        with pytest.raises(ModelError, match=words):
            act()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bases", "lora"]


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [("license: cc0-1.0\n", "", "names no licence"), ("- phantom: none CC0-1.0", NO_SOURCES, "names no sources")],
)
def test_its_card_must_name_licence_and_sources(copy: Path, tmp_path: Path, wanted: str, given: str, words: str):
    """As that of any model."""
    _tweak(copy / "README.md", wanted, given)
    with pytest.raises(ModelError, match=words):
        push_model(copy, str(tmp_path / "out"))


PROGRAM = """
import sys
from phonybrains.model.share import pull_model, push_model

print(push_model(sys.argv[1], "someone/lora"))
pull_model("someone/lora", "pulled")
"""


def test_through_the_hub(lora: Path, tmp_path: Path):
    """With the Hub's own client and a server on this machine: what is pushed there says nothing of a folder here."""
    with serving() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, lora], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
    assert run.returncode == 0, run.stderr
    held = hub.repositories["someone/lora"].branches["main"]
    assert sorted(held) == sorted([".gitattributes", *ALL_FILES])
    assert json.loads(held["finetune.json"])["base"] == "../sd"
    assert files(tmp_path / "pulled") == {name: content for name, content in held.items() if name in ALL_FILES}
