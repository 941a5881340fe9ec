"""Bases of fine-tuning: from the Hub, pinned to a commit, and what is said where one cannot be had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phonybrains.errors import ConfigError
from phonybrains.finetuning.stage import finetune
from phonybrains.model import stable_diffusion
from phonybrains.model.fine_tuned import FineTuned
from phonybrains.model.stable_diffusion import Base
from tests.support.hub_server import Repository, asked_here, constants, serving
from tests.support.stable_diffusion_files import make_base

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("someone/gated", {}, "someone/gated: its licence must be accepted"),
    ("someone/nobody", {}, "someone/nobody: there is no"),
    ("someone/tiny", {"revision": "v9"}, "someone/tiny: the Hub has no revision 'v9'"),
    ("not a name", {}, "not a name: this is neither"),
    ("someone/other", {}, "someone/other"),
]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_through_the_hub(tmp_path: Path, phantom_corpus: Path, monkeypatch: pytest.MonkeyPatch):
    """With the Hub's own client and a server on this machine: the commit is pinned; offline the cache serves."""
    tiny, home = files(make_base(tmp_path / "base")), tmp_path / "home"
    with serving() as hub:
        asked_here(monkeypatch, hub, home)
        hub.add("someone/tiny", tiny)
        hub.add("someone/other", {"model_index.json": b'{"_class_name": "FluxPipeline"}'})
        hub.repositories["someone/gated"] = Repository(gated=True, branches={"main": tiny})
        settings: dict[str, Any] = {"precision": "fp32", "rank": 2, "loop": {"steps": 2, "batch_size": 2}}
        out = finetune("someone/tiny", phantom_corpus, tmp_path / "model", show=False, **settings)
        model, before = FineTuned.load(out), Base.find("someone/tiny").fingerprint()
        for link in home.rglob("snapshots/*/unet/*.safetensors"):
            content = link.read_bytes()
            link.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        for link in home.rglob("snapshots/*/model_index.json"):
            link.resolve().write_bytes(b"")
        assert Base.find("someone/tiny").fingerprint() == before == model.facts.sha256
        for name, how, words in REFUSALS:
            with pytest.raises(ConfigError) as caught:
                Base.find(name, **how)
            assert str(caught.value).startswith(words)
            assert "\n" not in str(caught.value)
        found = model.base.revision
        pulled = [line for line in hub.requests if "someone/tiny/resolve" in line]
    commit = model.facts.revision
    assert len(commit) == 40
    inputs = json.loads((out / "record.json").read_text(encoding="utf-8"))["inputs"]
    assert (model.facts.base, found, inputs[1]["revision"]) == ("someone/tiny", commit, commit)
    assert "base_model: someone/tiny" in (out / "README.md").read_text(encoding="utf-8")
    assert all(commit in line or "/main/" in line for line in pulled)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Base.find("someone/tiny").revision == commit
    with pytest.raises(ConfigError, match="the Hub cannot be reached"):
        Base.find("someone/nobody")


def test_what_is_no_checkpoint_says_so(tmp_path: Path):
    """An empty folder, a single file, and a pipeline of another kind."""
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "single.safetensors").write_bytes(b"x")
    (tmp_path / "other" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")
    format, single, kind = "diffusers' format", "from_single_file", "FluxPipeline"
    for place, message in (("empty", format), ("single.safetensors", single), ("other", kind), ("nothing", format)):
        with pytest.raises(ConfigError, match=message):
            Base.find(str(tmp_path / place))


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In one line, with the command."""
    monkeypatch.setattr(stable_diffusion.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'phonybrains\[finetune\]'"):
        Base.find(str(tmp_path))


def test_the_fingerprint_is_of_what_is_used(tmp_path: Path):
    """Another variant's weights beside them change nothing; one changed weight does."""
    base = Base.find(str(make_base(tmp_path / "base")))
    before = base.fingerprint()
    weights = base.folder / "unet" / "diffusion_pytorch_model.safetensors"
    (base.folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another")
    (base.folder / "README.md").write_text("a card", encoding="utf-8")
    assert base.fingerprint() == before
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert base.fingerprint() != before
