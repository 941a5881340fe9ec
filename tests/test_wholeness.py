"""Finished folders are looked at, not believed: what lost something is made anew where it can be, else named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phonybrains.errors import OutputError
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, import_images
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import Record, check_files, hashes_of, is_published, publish
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train
from phonybrains.workflows.cascade import _check_whole

IMAGE = "images/000001.png"
QUICK: dict[str, Any] = {"steps": 2, "seed": 5, "batch_size": 4, "show": False}


def keep_lines(folder: Path, kept: slice) -> None:
    table = folder / "metadata.csv"
    table.write_text("".join(table.read_text(encoding="utf-8").splitlines(keepends=True)[kept]), encoding="utf-8")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "an image lost": lambda folder: (folder / IMAGE).unlink(),
    "an image changed": lambda folder: shutil.copyfile(folder / "images" / "000002.png", folder / IMAGE),
    "an image emptied": lambda folder: (folder / IMAGE).write_bytes(b""),
    "the table lost": lambda folder: (folder / "metadata.csv").unlink(),
    "the table emptied": lambda folder: keep_lines(folder, slice(1)),
    "a row lost": lambda folder: keep_lines(folder, slice(-1)),
}
damages = pytest.mark.parametrize("damage", DAMAGES)


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of a set, its record apart, which has the time."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "record.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def ten(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tiny_model, tmp_path_factory.mktemp("ten") / "set", 10, **QUICK)


@damages
def test_a_generated_set_is_made_whole_again(
    tiny_model: Path, ten: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    """The same command brings back every byte, and says that something was lost; what is whole is left alone."""
    out = Path(shutil.copytree(ten, tmp_path / "set"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    generate(tiny_model, out, 10, **QUICK)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before
    DAMAGES[damage](out)
    generate(tiny_model, out, 10, **QUICK)
    assert files(out) == files(ten)
    assert len(ImageSet.open(out)) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert damage == "a row lost" or "no longer whole" in capfd.readouterr().err


def test_a_stopped_set_has_the_bits_of_an_undisturbed_one(tiny_model: Path, ten: Path, tmp_path: Path) -> None:
    """A batch of which one image is missing is computed whole again: what is beside an image changes its rounding."""
    draft = generate(tiny_model, tmp_path / "set", 10, **QUICK)
    for name in ("000000.png", "000003.png", "000009.png"):
        (draft / "images" / name).unlink()
    generate(tiny_model, draft, 10, **QUICK)
    assert files(draft) == files(ten)


@damages
def test_phantoms_that_lost_something_are_named(tmp_path: Path, damage: str) -> None:
    """A set that is less than it was is not «finished»."""
    out = make_phantoms(4, tmp_path / "set", size=32)
    make_phantoms(4, out, size=32)
    DAMAGES[damage](out)
    with pytest.raises(OutputError, match=r"no longer whole.*Remove it"):
        make_phantoms(4, out, size=32)


def test_an_imported_set_that_lost_an_image_is_named(tmp_path: Path) -> None:
    """The same import says which image is missing instead of counting it."""
    make_phantoms(4, tmp_path / "source", size=32)
    config = ImportConfig(size=32, key_file=tmp_path / "key")
    out = import_images([tmp_path / "source"], tmp_path / "set", config, progress=False).out
    (out / "images" / "000002.png").unlink()
    with pytest.raises(OutputError, match=r"000002\.png is missing"):
        import_images([tmp_path / "source"], tmp_path / "set", config, progress=False)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "conditions.json", "pipeline.py"])
def test_a_model_that_lost_a_part_is_not_trained(
    phantom_corpus: Path, tiny_model: Path, tmp_path: Path, part: str
) -> None:
    """The same training names the part; it says nothing of a whole model, and computes nothing."""
    config = load_train_config(
        "tiny", conditions=("plane", "hemorrhage", "age_years"), min_patients=0, precision="fp32"
    )
    out = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    train(phantom_corpus, out, config, show=False)
    (out / part).write_bytes(b"")
    with pytest.raises(OutputError, match=f"{part} is damaged"):
        train(phantom_corpus, out, config, show=False)


def test_a_folder_of_tables_is_known_by_its_hashes(tmp_path: Path) -> None:
    """As of an evaluation or a cascade: a lost table, a changed one and a lost image of a set inside are named."""
    record, out = Record("cascade"), tmp_path / "out"
    with publish(out, record) as draft:
        make_phantoms(3, draft / "generation-1" / "samples", size=32)
        (draft / "drift.csv").write_text("1\n")
        record.results.update(files=hashes_of(draft))
    (out / "notes.txt").write_text("mine")
    assert is_published(out, record, _check_whole)
    (out / "drift.csv").write_text("2\n")
    with pytest.raises(OutputError, match=r"drift\.csv is missing, or not as it was made"):
        is_published(out, record, check_files)
    (out / "drift.csv").write_text("1\n")
    (out / "generation-1" / "samples" / "images" / "000001.png").unlink()
    with pytest.raises(OutputError, match=r"000001\.png is missing"):
        is_published(out, record, _check_whole)
