"""Commands that ask the server of tests/support/fault_server.py for images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from phonybrains.errors import ServiceError
from phonybrains.imageset import ImageSet
from phonybrains.remote.config import ImagineConfig, load_imagine_config
from phonybrains.workflows.imagine import imagine
from tests.support.fault_server import FaultServer


def asking(server: FaultServer, **given: Any) -> ImagineConfig:
    """The paper's prompts, of a server's model that costs nothing if nothing else is given."""
    return load_imagine_config("paper", **{"base_url": server.address, "model": "free"} | given)


def run(out: Path, settings: ImagineConfig, **more: Any) -> ImageSet:
    """The images that imagine makes of settings, in silence."""
    return ImageSet.open(imagine(out, settings, show=False, **more))


def fails(out: Path, settings: ImagineConfig, says: str, kind: type[Exception] = ServiceError, **more: Any) -> None:
    """Let imagine end with this error."""
    with pytest.raises(kind, match=says):
        imagine(out, settings, show=False, **more)


def words(server: FaultServer, out: Path, *more: object) -> list[str]:
    """The words after `phonybrains` for the same."""
    plain = ("imagine", "--preset", "paper", "--out", out, "--base-url", server.address, "--model", "free")
    return list(map(str, (*plain, *more)))


def command(server: FaultServer, out: Path, *more: object) -> list[str]:
    """The command line for the same."""
    return [sys.executable, "-m", "phonybrains", *words(server, out, *more)]


def answers_of(out: Path) -> Path:
    """The folder in which the answers for a set lie."""
    return out.parent / f"{out.name}.originals" / ".answers"
