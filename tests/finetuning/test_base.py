"""Bases of fine-tuning: from the Hub, pinned to a commit, and what is said where one cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phonybrains.errors import ConfigError
from phonybrains.model import stable_diffusion
from phonybrains.model.stable_diffusion import Base
from tests.support.hub_server import Repository, serving
from tests.support.stable_diffusion_files import make_base

PROGRAM = """
import json, os, sys
from pathlib import Path
from phonybrains.errors import PhonyBrainsError
from phonybrains.finetuning.stage import finetune
from phonybrains.model.fine_tuned import FineTuned
from phonybrains.model.stable_diffusion import Base

corpus = sys.argv[1]

def refusal(*args, **settings):
    try:
        Base.find(*args, **settings)
    except PhonyBrainsError as error:
        return f"{type(error).__name__}: {error}"

loop = {"steps": 2, "batch_size": 2}
out = finetune("someone/tiny", corpus, "model", show=False, precision="fp32", rank=2, loop=loop)
model = FineTuned.load(out)
before = Base.find("someone/tiny").fingerprint()
for link in Path(os.environ["HF_HOME"]).rglob("snapshots/*/unet/*.safetensors"):
    weights = bytearray(link.read_bytes())
    weights[-1] ^= 1
    link.resolve().write_bytes(weights)
for link in Path(os.environ["HF_HOME"]).rglob("snapshots/*/model_index.json"):
    link.resolve().write_bytes(b"")
assert Base.find("someone/tiny").fingerprint() == before == model.facts.sha256
facts = {"base": model.facts.base, "revision": model.facts.revision, "found": model.base.revision,
         "card": (out / "README.md").read_text(), "inputs": json.loads((out / "record.json").read_text())["inputs"]}
facts["refusals"] = [
    refusal("someone/gated"),
    refusal("someone/nobody"),
    refusal("someone/tiny", revision="v9"),
    refusal("not a name"),
    refusal("someone/other"),
]
Path("facts.json").write_text(json.dumps(facts))
"""
OFFLINE = """
import sys
from phonybrains.model.stable_diffusion import Base
print(Base.find("someone/tiny").revision)
Base.find("someone/nobody")
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_through_the_hub(tmp_path: Path, phantom_corpus: Path):
    """With the Hub's own client and a server on this machine: the commit is pinned; offline the cache serves."""
    tiny = files(make_base(tmp_path / "base"))
    with serving() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "OMP_NUM_THREADS": "1",
        }
        hub.add("someone/tiny", tiny)
        hub.add("someone/other", {"model_index.json": b'{"_class_name": "FluxPipeline"}'})
        hub.repositories["someone/gated"] = Repository(gated=True, branches={"main": tiny})
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, phantom_corpus],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        pulled = [line for line in hub.requests if "someone/tiny/resolve" in line]
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert facts["base"] == "someone/tiny"
    assert len(facts["revision"]) == 40
    assert facts["found"] == facts["revision"] == facts["inputs"][1]["revision"]
    assert "base_model: someone/tiny" in facts["card"]
    assert all(facts["revision"] in line or "/main/" in line for line in pulled)
    words = (
        "ConfigError: someone/gated: its licence must be accepted",
        "ConfigError: someone/nobody: there is no",
        "ConfigError: someone/tiny: the Hub has no revision 'v9'",
        "ConfigError: not a name: this is neither",
        "ConfigError: someone/other",
    )
    for found, start in zip(facts["refusals"], words, strict=True):
        assert found.startswith(start)
        assert "\n" not in found
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        cwd=tmp_path,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == facts["revision"]
    assert "the Hub cannot be reached" in run.stderr


def test_what_is_no_checkpoint_says_so(tmp_path: Path):
    """An empty folder, a single file, and a pipeline of another kind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "single.safetensors").write_bytes(b"x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")
    for place, message in (
        ("empty", "diffusers' format"),
        ("single.safetensors", "from_single_file"),
        ("other", "FluxPipeline"),
        ("nothing", "diffusers' format"),
    ):
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
