"""The demo: one image set and the paper's first three figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phonybrains.errors import ModelError
from phonybrains.imageset import ImageSet
from phonybrains.readerstudy.study import Study
from phonybrains.reporting.sheets import GAP, LABEL_HEIGHT, film_strip
from phonybrains.workflows import demo as module
from phonybrains.workflows.demo import demo, demo_study

SHEETS = ("ct.png", "mri.png", "process.png")


@pytest.fixture
def shipped(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny model play the one that comes with the package."""
    monkeypatch.setattr(module, "shipped_models", lambda: {"tiny": tiny_model})


@pytest.fixture(scope="module")
def made(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's output, made with the tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "shipped_models", lambda: {"tiny": tiny_model})
        return demo(tmp_path_factory.mktemp("demo") / "out", show=False)


def test_the_demo_makes_one_set_of_both_modalities(made: Path):
    """95 images, 48 MR and 47 CT, in one image set; the sheets lie beside it."""
    images = ImageSet.open(made / "samples")
    assert [row.modality for row in images.rows] == ["MR"] * 48 + ["CT"] * 47
    assert sorted(path.name for path in made.iterdir()) == [*SHEETS, "samples"]


def test_the_sheets_show_every_image_of_their_modality(made: Path):
    """Ten to a row: five rows for 48 MR and for 47 CT images."""
    for name in ("mri.png", "ct.png"):
        with Image.open(made / name) as sheet:
            assert sheet.width == 10 * 132 + 4
            assert sheet.height in {5 * (132 + lines * LABEL_HEIGHT) + 4 for lines in (1, 2, 3)}


def test_the_film_strip_joins_the_forward_and_the_reverse_process(made: Path):
    """Forward begins with the image in which reverse ends; both have eight frames, and do not share their noise."""
    with Image.open(made / "process.png") as strip:
        pixels = np.asarray(strip).astype(int)
    side, step, row = 160, 160 + GAP, 160 + 2 * LABEL_HEIGHT + 3 * GAP
    assert pixels.shape == (2 * row + GAP, 8 * step + GAP)

    def frame(number: int, i: int) -> np.ndarray:
        top, left = 2 * GAP + LABEL_HEIGHT + number * row, GAP + i * step
        return pixels[top : top + side, left : left + side]

    assert np.abs(frame(0, 0) - frame(1, 7)).max() <= 1
    assert np.abs(frame(0, 7) - frame(1, 0)).mean() > 5
    assert all((frame(0, i) != frame(0, i + 1)).any() and (frame(1, i) != frame(1, i + 1)).any() for i in range(7))


@pytest.mark.usefixtures("shipped")
def test_the_demo_given_again_makes_only_what_is_missing(made: Path, capsys: pytest.CaptureFixture[str]):
    """A sheet that was removed is drawn again, and nothing else is touched; the text says where all is."""
    (made / "ct.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    demo(made)
    after = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {made / "ct.png"}
    assert before.items() <= after.items()
    printed = capsys.readouterr().out
    for name in ("samples", *SHEETS):
        assert str(made / name) in printed
    assert "phonybrains generate tiny -n 20" in printed


def test_without_a_shipped_model_the_demo_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One line that says what to do; nothing is written."""
    monkeypatch.setattr(module, "shipped_models", dict)
    with pytest.raises(ModelError, match="no model comes with this copy"):
        demo(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_film_strip_has_a_row_for_each_process(tmp_path: Path):
    """Rows may have different lengths; the strip is as wide as the longest."""
    frame = np.full((8, 8), 128, np.uint8)
    film_strip({"one": [("t = 0", frame)], "two": [("t = 0", frame), ("t = T", frame)]}, tmp_path / "s.png", side=20)
    with Image.open(tmp_path / "s.png") as strip:
        pixels = np.asarray(strip)
    assert pixels.shape == (2 * (20 + 2 * LABEL_HEIGHT + 3 * GAP) + GAP, 2 * (20 + GAP) + GAP)
    assert (pixels == 128).sum() >= 3 * 20 * 20


def test_the_study_of_the_demo_is_the_papers(made: Path, tmp_path: Path):
    """20 MR and 20 CT of the demo's images, all synthetic, for readers A and B; asked for again, it is the same one."""
    (tmp_path / "samples").symlink_to(made / "samples")
    study = Study.open(demo_study(tmp_path))
    cases = list(study.cases.values())
    assert sorted(case.modality for case in cases) == ["CT"] * 20 + ["MR"] * 20
    assert {(case.truth, case.role) for case in cases} == {("phony", "test")}
    assert study.config.readers == ("A", "B")
    assert {case.source for case in cases} <= {row.file_name for row in ImageSet.open(made / "samples").rows}
    assert Study.open(demo_study(tmp_path)).hash == study.hash
