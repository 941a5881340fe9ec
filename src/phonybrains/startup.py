"""A quick start of the command line: diffusers spends most of its import on what generating never uses."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

WATCH = "end with parent"
HIDDEN = ("scipy", "torch._dynamo", "peft", "transformers")


@contextmanager
def lean_diffusers() -> Iterator[None]:
    """Import diffusers meanwhile without SciPy, torch's compiler, PEFT and Transformers, for a process without them.

    diffusers does without where they are not installed, but for one decorator that only the compiler heeds; PEFT and
    Transformers, where they are, do not load without the compiler.
    """
    import torch

    def unchanged(function: Callable[..., Any] | None = None, **_: Any) -> Callable[..., Any]:
        return function or unchanged

    hidden = [name for name in HIDDEN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    disable, torch.compiler.disable = torch.compiler.disable, unchanged  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable
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
