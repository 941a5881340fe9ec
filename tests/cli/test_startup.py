"""A quick start: what a command does not need is not imported, and can be afterwards, as if it were never hidden."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phonybrains.startup import HIDDEN, lean_diffusers

GENERATE = """
import sys
import torch
from phonybrains.cli import app as cli

original = torch.compiler.disable
sys.argv = ["phonybrains", "generate", {model!r}, "-n", "1", "--steps", "1", "--out", {out!r}]
try:
    cli.main()
except SystemExit as end:
    assert end.code in (0, None), end.code
assert "diffusers" in sys.modules
loaded = [name for name in sys.modules if name.partition(".")[0] == "scipy" or name.startswith("torch._dynamo")]
assert not loaded, loaded
assert torch.compiler.disable is original

import scipy.special
import torch._dynamo

assert scipy.special.expit(0.0) == 0.5
assert torch.compiler.disable(lambda x: x + 1)(1) == 2
assert torch._dynamo.is_compiling() is False
"""
HELP = """
import sys
from phonybrains.cli import app as cli

sys.argv = ["phonybrains", "--help"]
try:
    cli.main()
except SystemExit as end:
    assert end.code in (0, None), end.code
loaded = [name for name in ("torch", "numpy", "diffusers", "scipy") if name in sys.modules]
assert not loaded, loaded
"""


def assert_runs(program: str) -> None:
    """A fresh Python gets through a program."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_generating_needs_neither_scipy_nor_the_compiler(tiny_model: Path, tmp_path: Path):
    """A whole `phonybrains generate` loads neither; afterwards both can be imported and work."""
    assert_runs(GENERATE.format(model=str(tiny_model), out=str(tmp_path / "set")))
    assert (tmp_path / "set" / "images" / "000000.png").is_file()


def test_help_needs_no_torch():
    """Through the same door as a user's command."""
    assert_runs(HELP)


def test_what_is_hidden_comes_back_after_an_error(monkeypatch: pytest.MonkeyPatch):
    """Inside the imports fail and the decorator does nothing; afterwards all is as before, however it ended."""
    for name in HIDDEN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    disable = torch.compiler.disable

    def double(x: int) -> int:
        return 2 * x

    with lean_diffusers():
        assert torch.compiler.disable(double) is double
        assert torch.compiler.disable(recursive=False)(double) is double
    with pytest.raises(ModuleNotFoundError, match="scipy"), lean_diffusers():
        importlib.import_module("scipy")
    assert torch.compiler.disable is disable
    assert not set(HIDDEN) & set(sys.modules)


def test_what_is_loaded_already_stays(monkeypatch: pytest.MonkeyPatch):
    """A program that has imported SciPy keeps it, inside and afterwards."""
    monkeypatch.setitem(sys.modules, "scipy", sys)
    with lean_diffusers():
        assert sys.modules["scipy"] is sys
    assert sys.modules["scipy"] is sys
