"""A quick start of the command line: diffusers spends most of its import on what generating never uses."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

WATCH = "end with parent"
HIDDEN = ("scipy", "torch._dynamo", "peft", "transformers", "accelerate")
EAGER = ("diffusers.models.autoencoders", "diffusers.models.transformers", "diffusers.models.unets")
"""Packages that import every network they have, a hundred, for the sake of one."""


class OnDemand(ModuleType):
    """A package whose modules are imported one by one; its own code runs when a name is asked of the package itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue]
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


@contextmanager
def lean_diffusers() -> Iterator[None]:
    """Import diffusers meanwhile without SciPy, the compiler of torch, PEFT, Transformers and Accelerate.

    diffusers does without where they are not installed, but for one decorator that only the compiler heeds; PEFT and
    Transformers, where they are, do not load without the compiler. Nor does it read what every installed distribution
    holds, for the sake of the few whose packages have other names.
    """
    import importlib.metadata

    import torch

    def unchanged(function: Callable[..., Any] | None = None, **_: Any) -> Callable[..., Any]:
        return function or unchanged

    hidden = [name for name in HIDDEN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    disable, torch.compiler.disable = torch.compiler.disable, unchanged  # type: ignore[assignment]
    names, importlib.metadata.packages_distributions = importlib.metadata.packages_distributions, dict
    try:
        for name in EAGER:
            if name not in sys.modules and (spec := find_spec(name)):
                sys.modules[name] = package = OnDemand(name)
                package.__spec__, package.__path__ = spec, spec.submodule_search_locations or []
        yield
    finally:
        torch.compiler.disable = disable
        importlib.metadata.packages_distributions = names
        for name in hidden:
            del sys.modules[name]


def diffusers_for(folder: Path) -> AbstractContextManager[None]:
    """The quick start, but for a fine-tuned checkpoint, which needs the whole of diffusers."""
    return nullcontext() if (folder / "finetune.json").is_file() else lean_diffusers()


def end_with_parent() -> None:
    """Where torchrun started this process: end when torchrun does, however that was, as nobody would wait for it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)  # it may be waiting for another process, and hear nothing else

    if "TORCHELASTIC_RUN_ID" in os.environ and all(thread.name != WATCH for thread in threading.enumerate()):
        threading.Thread(target=watch, name=WATCH, daemon=True).start()


def say(text: str) -> None:
    """Print a line, once where several processes work together."""
    if os.environ.get("RANK", "0") == "0":
        print(text)
