"""Models passed on: what arrives is whole and the same, and what should not be passed on is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from phonybrains.cli.parser import app
from phonybrains.errors import ConfigError, ModelError, OutputError
from phonybrains.model import share
from phonybrains.model.description import ALL_FILES, FEW_STEP, OPTIONAL, model_files
from phonybrains.model.finding import model_card, shipped_models
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.share import pull_model, push_model
from phonybrains.model.training_data import NO_SOURCES
from tests.support.hub_server import TOKEN, serving

UNET = "unet/diffusion_pytorch_model.safetensors"

MORE = tuple(name for name in OPTIONAL if name != FEW_STEP)
OWN_FILES = [name for name in ALL_FILES if not name.startswith(MORE)]
"""Those of a model that has few-step weights, and nothing else that a model may have."""


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(path: Path, edit: Callable[[str], str]) -> None:
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_pushed_and_pulled_is_the_same_model(copy: Path, tmp_path: Path, address: str):
    """To the byte, by path and by URL; the log of training and what else lies in the folder stays behind."""
    (copy / "work").mkdir()
    (copy / "work" / "state.safetensors").write_bytes(b"secret")
    (copy / ".env").write_text("secret")
    push_model(copy, address.format(tmp_path / "passed on"))
    pulled = pull_model(address.format(tmp_path / "passed on"), tmp_path / "far" / "pulled")
    assert pulled == tmp_path / "far" / "pulled"
    assert files(pulled) == {name: content for name, content in files(copy).items() if name in ALL_FILES}
    assert sorted(files(pulled)) == sorted(model_files(copy)) == sorted(OWN_FILES)
    assert [path.name for path in pulled.parent.iterdir()] == ["pulled"]


def test_a_url_with_escapes(copy: Path, tmp_path: Path):
    """`file:///a%20b` is the folder «a b»."""
    push_model(copy, (tmp_path / "a b").as_uri())
    assert (tmp_path / "a b" / "model.json").is_file()


def test_a_relative_folder_that_exists_is_not_a_repository(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What looks like user/name but is a folder here never leaves the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(share, "HfApi", lambda: pytest.fail("the Hub was asked"))
    (tmp_path / "user" / "name").mkdir(parents=True)
    push_model(copy, "user/name")
    assert pull_model("user/name", "pulled") == Path("pulled")
    LatentDiffusion.load("pulled")


@pytest.mark.parametrize("damage", ["flip", "missing", "code", "newer"])
def test_a_damaged_model_is_neither_pushed_nor_pulled(copy: Path, tmp_path: Path, damage: str):
    """The error names the part, and nothing appears."""
    if damage == "newer":
        change(copy / "model.json", lambda text: text.replace('"format_version": 1', '"format_version": 3'))
        words = "format version 3 is newer"
    elif damage == "missing":
        (copy / UNET).unlink()
        words = f"{UNET} is missing"
    else:
        part = copy / ("pipeline.py" if damage == "code" else UNET)
        part.write_bytes(part.read_bytes() + b"\n")
        words = f"{part.name} is damaged"
    for act in (lambda: push_model(copy, str(tmp_path / "out")), lambda: pull_model(str(copy), tmp_path / "out")):
        with pytest.raises(ModelError, match=words):
            act()
    assert list(tmp_path.iterdir()) == [copy]


def test_an_output_that_exists_is_left_alone(copy: Path, tmp_path: Path):
    """Neither direction overwrites anything; an empty folder is taken."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for act in (lambda: push_model(copy, str(tmp_path / "mine")), lambda: pull_model(str(copy), tmp_path / "mine")):
        with pytest.raises(OutputError, match="mine already exists"):
            act()
    assert files(tmp_path / "mine") == {"thesis.txt": b"x"}
    (tmp_path / "empty").mkdir()
    pull_model(str(copy), tmp_path / "empty")


def test_a_copy_that_fails_leaves_nothing(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that changes while it is copied is found before the model appears."""
    whole = shutil.copyfile

    def cut(source: Path, target: Path) -> None:
        whole(source, target)
        if target.name == "conditions.json":
            target.write_text("{}")

    monkeypatch.setattr(share.shutil, "copyfile", cut)
    with pytest.raises(ModelError, match=r"conditions\.json is damaged"):
        pull_model(str(copy), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [copy]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("license: cc0-1.0\n", ""), "names no licence: add a line such as 'license: cc-by"),
        (lambda text: text.replace("- phantom: none CC0-1.0", NO_SOURCES), "names no sources of the training data"),
        (lambda text: text.partition("---\n# ")[2], "names no licence"),
    ],
)
def test_a_card_must_say_what_the_model_may_be_used_for(
    copy: Path, tmp_path: Path, edit: Callable[[str], str], words: str
):
    """No push without a licence and sources; the person adds them by hand, and the model stays the same."""
    text = (copy / "README.md").read_text()
    change(copy / "README.md", edit)
    assert (copy / "README.md").read_text() != text
    with pytest.raises(ModelError, match=words):
        push_model(copy, str(tmp_path / "out"))
    (copy / "README.md").write_text(text)
    push_model(copy, str(tmp_path / "out"))


def test_a_model_without_a_card(copy: Path, tmp_path: Path):
    """It can be pulled, as it always could be copied, but not pushed or shown."""
    (copy / "README.md").unlink()
    for act in (lambda: model_card(copy), lambda: push_model(copy, str(tmp_path / "out"))):
        with pytest.raises(ModelError, match=r"README\.md is missing: the model has no card"):
            act()
    assert not (pull_model(str(copy), tmp_path / "out") / "README.md").exists()


def test_a_folder_has_no_revisions(copy: Path, tmp_path: Path):
    """Options of the Hub are refused for folders, not ignored."""
    for act in (
        lambda: push_model(copy, str(tmp_path / "out"), private=True),
        lambda: push_model(copy, str(tmp_path / "out"), revision="v1"),
        lambda: pull_model(str(copy), tmp_path / "out", revision="v1"),
    ):
        with pytest.raises(ConfigError, match="is a folder: it has no revisions and is not private"):
            act()


def test_the_commands_say_what_they_did(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Card, push and pull on the command line; what comes next is named."""
    app(["model", "card", str(copy)])
    assert capsys.readouterr().out == (copy / "README.md").read_text()
    app(["model", "push", str(copy), str(tmp_path / "passed")])
    assert capsys.readouterr().out == f"{tmp_path / 'passed'} holds the model.\n"
    app(["model", "pull", str(tmp_path / "passed"), "--out", str(tmp_path / "mine")])
    next_command = f"phonybrains generate {tmp_path / 'mine'} -n 95 --out samples/"
    assert capsys.readouterr().out == f"{tmp_path / 'mine'} is complete. Next: {next_command}\n"


def test_what_is_no_model_is_not_pulled(tmp_path: Path):
    """An empty or missing folder is named."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(ModelError, match=f"{name} is not a model folder"):
            pull_model(str(tmp_path / name), tmp_path / "out")


@pytest.mark.parametrize("name", list(shipped_models()))
def test_shipped_models_may_be_shared(name: str, tmp_path: Path):
    """Their cards name a licence and sources."""
    push_model(name, str(tmp_path / name))
    assert model_card(tmp_path / name) == model_card(name)


# --- Through the Hub ------------------------------------------------------------------------------------------------

PROGRAM = """
import json, os, sys
from pathlib import Path
from diffusers import DiffusionPipeline
from phonybrains.errors import PhonyBrainsError
from phonybrains.model.share import pull_model, push_model

def refusal(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except PhonyBrainsError as error:
        return f"{type(error).__name__}: {error}"

model = sys.argv[1]
facts = {"url": push_model(model, "someone/heads", private=True)}
push_model(model, "someone/heads", revision="draft")
pull_model("someone/heads", "main")
pull_model("someone/heads", "draft", revision="draft")
for link in Path(os.environ["HF_HOME"]).rglob("snapshots/*/*_embedding/*.safetensors"):
    link.resolve().write_bytes(b"")
pull_model("someone/heads", "again")
pipe = DiffusionPipeline.from_pretrained("someone/heads", trust_remote_code=True, cache_dir="fresh")
facts["image"] = pipe(1, seed=7, steps=2, output_type="np").images.tolist()
push_model(model, "someone/open")
facts["refusals"] = [
    refusal(push_model, model, "someone/open", private=True),
    refusal(pull_model, "someone/else", "none"),
    refusal(pull_model, "someone/heads", "none", revision="v9"),
    refusal(pull_model, "not a name", "none"),
    refusal(pull_model, "someone/broken", "none"),
]
Path("facts.json").write_text(json.dumps(facts))
"""


def test_through_the_hub(tiny_model: Path, tmp_path: Path):
    """With the Hub's own client and a server on this machine: pushed, pulled, opened by name, and refused."""
    with serving() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        broken = {name: content for name, content in files(tiny_model).items() if name in ALL_FILES}
        hub.add("someone/broken", broken | {UNET: b"no weights"})
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, tiny_model], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
    assert run.returncode == 0, run.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["url"] == f"{hub.address}/someone/heads"
    assert hub.repositories["someone/heads"].private
    assert not hub.repositories["someone/open"].private
    assert "is damaged in the cache of the Hub. It is fetched again." in run.stderr
    assert files(tmp_path / "again") == files(tmp_path / "main")
    for branch in ("main", "draft"):
        assert sorted(hub.repositories["someone/heads"].branches[branch]) == sorted([".gitattributes", *OWN_FILES])
        assert files(tmp_path / branch) == {n: c for n, c in files(tiny_model).items() if n in ALL_FILES}
    expected = LatentDiffusion.load(tiny_model).generate(1, seed=7, steps=2).images
    assert np.abs(np.array(facts["image"])[..., 0] * 255 - expected).max() <= 1.001
    words = (
        "OutputError: someone/open exists and is public",
        "ModelError: someone/else: 401",
        "ModelError: someone/heads: 404",
        "ModelError: not a name: Repo id must",
        "ModelError: ",
    )
    for found, start in zip(facts["refusals"], words, strict=True):
        assert found.startswith(start)
        assert "\n" not in found
    assert "is damaged" in facts["refusals"][-1]
    assert not (tmp_path / "none").exists()
    assert TOKEN not in run.stdout + run.stderr
    assert not any(TOKEN.encode() in content for content in files(tmp_path).values())
