"""The one folder that tools read from and write to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcp.server.mcpserver.exceptions import ToolError

from ..model.finding import shipped_models


@dataclass(frozen=True)
class Root:
    """A folder, links followed, that nothing given to a tool may lead out of."""

    folder: Path

    def inside(self, given: str) -> str:
        """A path as the commands take it, from the root. Raises ToolError for one that leads out of it, or cannot be.

        It begins with ./ and so is never an option, nor an address.
        """
        try:
            path = (self.folder / given).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ToolError(f"{given!r} cannot be a path: {error}.") from None
        if not given.strip() or not path.is_relative_to(self.folder):
            raise ToolError(f"{given!r} is not inside of the root {self.folder}: give a path in it, or from it.")
        return f"./{path.relative_to(self.folder)}"

    def model(self, given: str) -> str:
        """A model folder inside of the root, or the name of a model that comes with the package."""
        return given if given in shipped_models() else self.inside(given)
