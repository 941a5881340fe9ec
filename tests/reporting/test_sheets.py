"""Contact sheets: each label stays below its own image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from phonybrains.errors import OutputError
from phonybrains.reporting import sheets
from phonybrains.reporting.sheets import GAP, LABEL_HEIGHT, LINES, SIDE, _fitted, contact_sheet, most_images

LONG = "12 MR coronal meningioma intraparenchymal;intraventricular;subarachnoid unclear-finding with more words"
FONT = ImageFont.load_default(size=10)


def test_a_long_label_is_wrapped_and_ends_in_an_ellipsis() -> None:
    """No line is wider than its image; words stay whole where they fit; what has no room is not lost in silence."""
    lines = _fitted(LONG, SIDE, LINES, FONT)
    assert len(lines) == LINES
    assert all(FONT.getlength(line) <= SIDE for line in lines)
    assert lines[0].split() == ["12", "MR", "coronal"] or "meningioma" in lines[0]
    assert lines[-1].endswith("…")
    assert _fitted("3 CT axial", SIDE, LINES, FONT) == ["3  CT  axial"]


def test_no_ink_of_a_label_reaches_the_next_image(tmp_path: Path) -> None:
    """Between two columns, and below the last line, the paper is white; the letters of each are there."""
    path = contact_sheet([np.zeros((64, 64), np.uint8)] * 4, tmp_path / "sheet.png", columns=2, labels=[LONG] * 4)
    pixels = np.asarray(Image.open(path).convert("L"))
    band = pixels[GAP + SIDE : GAP + SIDE + LINES * LABEL_HEIGHT]
    assert (band[:, GAP + SIDE : 2 * GAP + SIDE] == 255).all()
    for left in (GAP, 2 * GAP + SIDE):
        assert (band[:, left : left + SIDE] < 128).any()


def test_a_sheet_of_as_many_as_it_holds_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lines would make a picture higher than its kind can be, labels have one line."""
    monkeypatch.setitem(sheets.HIGHEST, ".webp", 600)
    n = most_images(tmp_path / "a.webp")
    path = contact_sheet([np.zeros((8, 8), np.uint8)] * n, tmp_path / "a.webp", labels=[LONG] * n)
    assert n == 40
    assert 500 < Image.open(path).height <= 600


def test_a_named_sheet_stays(tmp_path: Path) -> None:
    """Drawn again it is the same to the byte, which is no matter; another one is refused."""
    images, path = [np.zeros((8, 8), np.uint8)], tmp_path / "sheet.jpg"
    for _ in range(2):
        contact_sheet(images, path, named=True)
    with pytest.raises(OutputError, match="exists already"):
        contact_sheet(images * 2, path, named=True)
