"""The command `phonybrains verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .options import Flag


def verify(
    path: Path,
    /,
    *,
    near: Annotated[list[Path] | None, Parameter(negative="")] = None,
    watermark: Path | None = None,
    within: Path | None = None,
    json_: Annotated[Flag, Parameter(name="--json")] = False,
) -> int:
    """Say where a picture, an image set or a model comes from, each link intact, changed or unknown.

    Ends with 0 where all is intact, 1 where something has changed, 2 where nothing has and something is unknown.

    Args:
        path: A picture, an image set, a model folder, or what another command wrote.
        near: Folder in which what it was made from is looked for, beside those around it; again for more of them.
        watermark: Also look for the watermark of the key in this file.
        within: Folder outside of which nothing is looked for, but for the models that come along.
        json_: Print the links as JSON.
    """
    from ..workflows.verify import verify

    found = verify(path, near=near or (), watermark=watermark, within=within)
    print(json.dumps(found.to_json(), indent=1) if json_ else found)
    return found.exit_code
