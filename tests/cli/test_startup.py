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


def give(*words):
    sys.argv = ["phonybrains", *words]
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0


original = torch.compiler.disable
assert give("generate", {model!r}, "-n", "1", "--steps", "1", "--out", {out!r}) == 0
assert "diffusers" in sys.modules
loaded = [name for name in sys.modules if name.partition(".")[0] == "scipy" or name.startswith("torch._dynamo")]
assert not loaded, loaded
assert torch.compiler.disable is original
assert give("audit", "cascade", "nothing", "--out", "cascade") == 1

import scipy.special
import torch._dynamo

assert scipy.special.expit(0.0) == 0.5
assert torch.compiler.disable(lambda x: x + 1)(1) == 2
assert torch._dynamo.is_compiling() is False
"""


def test_generating_needs_neither_scipy_nor_the_compiler(tiny_model: Path, tmp_path: Path):
    """A whole `phonybrains generate` loads neither; afterwards both can be imported and work.

    So can a cascade begin, which needs SciPy: it says what is wrong with its corpus.
    """
    program = GENERATE.format(model=str(tiny_model), out=str(tmp_path / "set"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "nothing is not there" in done.stderr
    assert (tmp_path / "set" / "images" / "000000.png").is_file()


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
