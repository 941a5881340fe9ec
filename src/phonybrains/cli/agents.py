"""The command `phonybrains mcp`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError


def mcp(*, root: Path) -> None:
    """Offer import, generate, evaluate and verify to agents, over the Model Context Protocol on standard input.

    Args:
        root: The folder that they read from and write to, and nothing outside of it.
    """
    if find_spec("mcp") is None:
        raise ConfigError("The mcp package is not installed. python -m pip install 'phonybrains[mcp]' does that.")
    from ..agents.server import make_server

    make_server(root).run()
