"""The command that shows an image set: `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import ConfigError
from .options import Flag, Words
from .pairs import pairs
from .working import working


@working("overwrite")
def show(
    source: Annotated[Path, Parameter(name="SET")],
    /,
    *,
    where: Words = None,
    grid: str = "10x6",
    image: str | None = None,
    out: Path | None = None,
    browser: Flag = False,
) -> None:
    """Look at an image set, or at one image and its record: in the terminal or a browser.

    A terminal that takes pictures (kitty's protocol or sixels) shows them; elsewhere a file is written, and named.

    Args:
        source: An image set, of real or synthetic images.
        where: Only images that show this, e.g. modality=CT hemorrhage=epidural: columns of metadata.csv.
        grid: Columns and rows of the sheet; images are taken evenly from all.
        image: One image alone, by its file name or number, with its row and where it comes from.
        out: File to write: a picture (.png, .jpg, .webp, .tif), or with --browser a page (.html).
        browser: Open a page with all images; a click shows one large, with its record.
    """
    from ..reporting.sheets import SHEET_SUFFIXES
    from ..workflows.show import show_set

    columns, _, rows = grid.partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and 1 <= int(columns) <= 50 and 1 <= int(rows) <= 1000):
        raise ConfigError(f"--grid {grid}: it takes columns and rows, up to 50x1000, for instance 4x6.")
    kinds = (".html",) if browser else SHEET_SUFFIXES
    if out and out.suffix.lower() not in kinds:
        raise ConfigError(
            f"--out {out}: the file is one of {', '.join(kinds)}{'' if browser else '; --browser: .html'}."
        )
    asked, size = pairs(where or [], "--where"), (int(columns), int(rows))
    lines = show_set(source, where=asked, grid=size, image=image, out=out, browser=browser)
    print("\n".join(lines))
    if browser:
        import webbrowser

        webbrowser.open(Path(lines[-1]).resolve().as_uri())
