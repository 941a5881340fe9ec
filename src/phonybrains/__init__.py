"""Synthetic brain MRI and CT with latent diffusion models, put to the test.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that `import phonybrains` costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = import_module("importlib.metadata").version(__name__)
    elif name == "__all__":
        value = sorted(_homes())
    elif not name.startswith("_") and (home := _homes().get(name)):
        value = getattr(import_module(home, __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_homes()])


def _homes() -> dict[str, str]:
    """The public names and their modules, from lines such as `from .errors import ConfigError as ConfigError`."""
    lines = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line.startswith("from ")]
    return {name: home for _, home, _, name, *_ in words}
