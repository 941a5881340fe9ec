"""Images that follow masks: an image set of both, the same however it is computed, and what is refused at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phonybrains.cli import parser as cli
from phonybrains.errors import ConfigError
from phonybrains.generating.masks import MaskFolder
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet, write_mask, write_metadata
from phonybrains.model.masks import MaskFacts
from phonybrains.record import fingerprint, read_record
from tests.generating.test_generating import QUICK, assert_same_images, fail_after, pixels, rank, words
from tests.support.forked import ended, free_port, started

FEW: dict[str, Any] = {"seed": 7, "batch_size": 4} | QUICK


def save(path: Path, mask: np.ndarray, mode: str = "L") -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert(mode).save(path)


def disc(x: int, y: int = 30, radius: int = 6, side: int = 64) -> np.ndarray:
    along = np.arange(side)
    return (along - x) ** 2 + (along[:, None] - y) ** 2 < radius**2


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A folder of three pictures, black and white in three ways."""
    for name, x, mode in (("a.png", 20, "L"), ("b.png", 30, "1"), ("c.png", 40, "RGB")):
        save(tmp_path / "drawn" / name, disc(x), mode)
    (tmp_path / "drawn" / "notes.txt").write_text("no mask")
    return tmp_path / "drawn"


@pytest.fixture(scope="module")
def followed(masked_model: Path, masked_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images as the corpus has masks, undisturbed, with their sheet."""
    folder = tmp_path_factory.mktemp("followed")
    return generate(masked_model, folder / "set", mask=masked_corpus, grid=folder / "grid.png", **FEW)


def test_images_and_masks_are_kept_together(followed: Path, masked_corpus: Path, masked_model: Path):
    """One image for each mask, beside it that mask to the byte, and whose it was; the record says both."""
    made, source = ImageSet.open(followed), ImageSet.open(masked_corpus)
    assert len(made) == len(source) == 48
    for i, (row, of) in enumerate(zip(made.rows, source.rows, strict=True)):
        assert (row.mask_file_name, row.mask_sha256) == (f"masks/{i:06d}.png", of.mask_sha256)
        assert row["mask_source"] == of.mask_file_name
        assert (made.mask(i) == source.mask(i)).all()
    record = read_record(followed)
    assert [item["sha256"] for item in record["inputs"]] == [fingerprint(masked_model), fingerprint(masked_corpus)]
    assert record["results"]["masks"] == {"outline": "lesion"}
    assert made.outline == "lesion"


def test_images_show_what_the_rows_of_their_masks_say(followed: Path, masked_corpus: Path):
    """Modality and what else the model knows; the rest is drawn or stays open."""
    for row, of in zip(ImageSet.open(followed).rows, ImageSet.open(masked_corpus).rows, strict=True):
        assert (row.modality, row["plane"], row["hemorrhage"]) == (of.modality, of["plane"], of["hemorrhage"])
        assert row["age_years"] in (of["age_years"], None)
    assert read_record(followed)["results"]["drawn"] == []


def test_where_says_otherwise(masked_model: Path, masked_corpus: Path, tmp_path: Path):
    """What is asked for wins over the rows, for every image."""
    out = generate(masked_model, tmp_path / "set", 6, mask=masked_corpus, where={"plane": "axial"}, **FEW)
    assert {row["plane"] for row in ImageSet.open(masked_corpus).rows[:6]} > {"axial"}
    assert {row["plane"] for row in ImageSet.open(out).rows} == {"axial"}


def test_masks_of_one_split_and_a_warning_of_the_others(
    masked_model: Path, masked_corpus: Path, followed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """`mask_split` takes the masks of training images alone; without, it is said how many are of held-out ones."""
    warnings = read_record(followed)["results"]["warnings"]
    assert any("are of images kept apart for validation or test" in line for line in warnings)
    out = generate(masked_model, tmp_path / "set", mask=masked_corpus, mask_split="train", **FEW)
    train = [row for row in ImageSet.open(masked_corpus).rows if row.split == "train"]
    assert [row["mask_source"] for row in ImageSet.open(out).rows] == [row.mask_file_name for row in train]
    assert "kept apart" not in capsys.readouterr().err
    assert read_record(out)["config"]["mask_split"] == "train"


def test_image_i_follows_mask_i_counted_around(masked_model: Path, drawn: Path, tmp_path: Path):
    """Five images of three pictures; what is not a picture is passed over."""
    out = generate(masked_model, tmp_path / "set", 5, mask=drawn, **FEW)
    made = ImageSet.open(out)
    assert [row["mask_source"] for row in made.rows] == ["a.png", "b.png", "c.png", "a.png", "b.png"]
    for i, x in enumerate((20, 30, 40, 20, 30)):
        assert (made.mask(i) == disc(x)).all()
    assert made.outline == "lesion"  # as in training, as pictures do not say


def test_a_mask_changes_its_image(masked_model: Path, drawn: Path, tmp_path: Path):
    """The same seed and conditions under other masks, or none, are other images."""
    where = {"modality": "MR", "plane": "axial"}
    plain = pixels(generate(masked_model, tmp_path / "plain", 3, where=where, **FEW))
    made = pixels(generate(masked_model, tmp_path / "set", mask=drawn, where=where, **FEW))
    assert (np.abs(made - plain).max(axis=(1, 2)) > 1).all()


def test_a_stopped_run_goes_on(
    masked_model: Path, masked_corpus: Path, followed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped after ten images, the same call makes the rest; images and masks are those of an undisturbed run."""
    fail_after(monkeypatch, 10, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        generate(masked_model, tmp_path / "set", mask=masked_corpus, **FEW)
    monkeypatch.undo()
    out = generate(masked_model, tmp_path / "set", mask=masked_corpus, **FEW)
    assert (pixels(out) == pixels(followed)).all()
    assert (out / "metadata.csv").read_bytes() == (followed / "metadata.csv").read_bytes()


def test_a_lost_mask_is_written_again(masked_model: Path, drawn: Path, tmp_path: Path):
    """A finished set of which a mask is damaged is made whole by the same call."""
    out = generate(masked_model, tmp_path / "set", mask=drawn, **FEW)
    table = (out / "metadata.csv").read_bytes()
    (out / "masks" / "000001.png").write_bytes(b"")
    generate(masked_model, out, mask=drawn, **FEW)
    assert len(ImageSet.open(out)) == 3
    assert (out / "metadata.csv").read_bytes() == table


def test_two_processes_make_the_same_set(masked_model: Path, masked_corpus: Path, followed: Path, tmp_path: Path):
    """As torchrun starts them."""
    out, port = tmp_path / "set", free_port()
    line = words(masked_model, out, "--mask", masked_corpus, "--seed", 7, "--steps", 4, "--batch-size", 4)
    both = [started(rank, number, port, line, tmp_path / f"rank{number}") for number in (0, 1)]
    assert ended(*both) == [0, 0]
    assert_same_images(out, followed)
    assert [row.mask_sha256 for row in ImageSet.open(out).rows] == [
        row.mask_sha256 for row in ImageSet.open(followed).rows
    ]


def test_the_sheet_shows_the_outlines(followed: Path):
    """In colour, over every image whose mask is not empty."""
    with Image.open(followed.with_name("grid.png")) as sheet:
        orange, height = (np.asarray(sheet.convert("RGB")) == (255, 176, 0)).all(-1), sheet.height - 4
    images = ImageSet.open(followed)
    for i in range(len(images)):
        y, x = 4 + i // 10 * (height // -(-len(images) // 10)), 4 + i % 10 * 132
        assert orange[y : y + 128, x : x + 128].any() == images.mask(i).any()  # type: ignore[union-attr]


# What is refused


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.ones((64, 64), bool), r"c\.png covers the whole image"),
        (disc(8, 8, 4, side=32), r"c\.png is 32×32, and a\.png 64×64"),
        (None, r"c\.png: its content is not that of an image"),
        (np.arange(4096).reshape(64, 64) % 256, r"c\.png: has 256 gray levels"),
    ],
)
def test_a_picture_that_is_no_mask_is_named(
    masked_model: Path, drawn: Path, tmp_path: Path, picture: np.ndarray | None, words: str
):
    """Blank, of another size, damaged or gray: before anything is written."""
    if picture is None:
        (drawn / "c.png").write_bytes(b"no picture")
    elif picture.dtype == bool:
        save(drawn / "c.png", picture)
    else:
        Image.fromarray(picture.astype(np.uint8)).save(drawn / "c.png")
    with pytest.raises(Exception, match=words):
        generate(masked_model, tmp_path / "set", mask=drawn, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["drawn"]


@pytest.mark.parametrize("name", ["d.jpg", "d.jpeg", "d.webp", "d.JPG"])
def test_a_lossy_copy_of_a_mask_is_named(drawn: Path, name: str):
    """It was passed over without a word; with two values, as import takes it, it is one of the masks."""
    soft = Image.fromarray(np.where(disc(20), 255, 0).astype(np.uint8))
    soft.save(drawn / name, quality=60)
    with pytest.raises(ConfigError, match=rf"{name}: has \d+ gray levels, and a mask has few"):
        MaskFolder.open(drawn)
    blocks = Image.fromarray(np.kron(np.eye(8), np.full((8, 8), 255)).astype(np.uint8))
    blocks.save(drawn / name, quality=100)
    masks = MaskFolder.open(drawn)
    assert masks.names[-1] == name
    assert (masks[3] == np.asarray(blocks).astype(bool)).all()


@pytest.mark.parametrize("kind", ["png", "tif", "jpg"])
def test_a_mask_lies_as_it_is_looked_at(tmp_path: Path, kind: str):
    """Its file may say that it is to be turned, as `import` does."""
    (tmp_path / "drawn").mkdir()
    stored = Image.fromarray(np.kron(np.triu(np.ones((8, 8))), np.full((8, 8), 255)).astype(np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    stored.save(tmp_path / "drawn" / f"a.{kind}", exif=turned, quality=100)
    mask = MaskFolder.open(tmp_path / "drawn")[0]
    assert (mask == np.rot90(np.asarray(stored), -1).astype(bool)).all()


def test_a_stack_of_masks_is_refused(drawn: Path):
    """Its first page alone would be followed, and the others be lost without a word."""
    pages = [Image.fromarray(np.where(disc(x), 255, 0).astype(np.uint8)) for x in (20, 40)]
    pages[0].save(drawn / "d.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ConfigError, match=r"d\.tif: holds 2 pictures: a mask is a file of its own"):
        MaskFolder.open(drawn)


def test_masks_of_another_size_than_the_model_are_refused(masked_model: Path, tmp_path: Path):
    """With both sizes; nothing is resized behind one's back."""
    save(tmp_path / "drawn" / "a.png", disc(8, 8, 4, side=32))
    with pytest.raises(ConfigError, match=r"a\.png is 32×32, and the model draws 64×64. Resize it"):
        generate(masked_model, tmp_path / "set", mask=tmp_path / "drawn", **FEW)


def test_folders_without_masks_are_refused(masked_model: Path, phantom_corpus: Path, tmp_path: Path):
    """An image set whose images have none, an empty folder, none at all, and splits of pictures."""
    (tmp_path / "empty").mkdir()
    save(tmp_path / "drawn" / "a.png", disc(20))
    for mask, split, said in (
        (phantom_corpus, None, "there is no mask in"),
        (tmp_path / "empty", None, "there is no mask in"),
        (tmp_path / "nowhere", None, "cannot be read as a folder"),
        (tmp_path / "drawn", "train", "have no splits"),
        (None, "train", "Give both"),
    ):
        with pytest.raises(ConfigError, match=said):
            generate(masked_model, tmp_path / "set", 2, mask=mask, mask_split=split, **FEW)


def test_a_model_that_takes_no_masks_says_so(tiny_model: Path, drawn: Path, tmp_path: Path):
    """And how to make one that does; without masks or a number it is not known how many images are wanted."""
    with pytest.raises(ConfigError, match=r"takes no masks. Train a model that does: phonybrains train --masks"):
        generate(tiny_model, tmp_path / "set", mask=drawn, **FEW)
    with pytest.raises(ConfigError, match="how many images"):
        generate(tiny_model, tmp_path / "set", **FEW)


def test_empty_masks_need_a_model_that_has_seen_some(masked_model: Path, tmp_path: Path):
    """Where training had none, nobody knows what the model makes of one."""
    save(tmp_path / "drawn" / "a.png", disc(20) & False)
    masks = MaskFolder.open(tmp_path / "drawn")
    masks.check("m", 64, MaskFacts("lesion", {"MR": 3}, empty=1))
    with pytest.raises(ConfigError, match="1 mask of 1 show nothing, which m has never seen"):
        masks.check("m", 64, MaskFacts("lesion", {"MR": 3}))
    out = generate(masked_model, tmp_path / "set", mask=tmp_path / "drawn", **FEW)
    assert not ImageSet.open(out).mask(0).any()  # type: ignore[union-attr]


def test_images_without_a_mask_are_passed_over(masked_model: Path, masked_corpus: Path, tmp_path: Path):
    """Of a set in which some images have one, those are taken."""
    images = ImageSet.open(masked_corpus)
    folder = tmp_path / "some"
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in (0, 1, 2):
        row = images.rows[i]
        (folder / row.file_name).write_bytes((masked_corpus / row.file_name).read_bytes())
        row = replace(row, mask_file_name="", mask_sha256="")
        rows.append(write_mask(folder, row, disc(30)) if i == 1 else row)
    write_metadata(folder, rows)
    made = ImageSet.open(generate(masked_model, tmp_path / "set", mask=folder, **FEW))
    assert [row["mask_source"] for row in made.rows] == ["masks/000001.png"]


def test_the_command_makes_as_many_images_as_there_are_masks(
    masked_model: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """`generate MODEL --mask DIR` without -n, and what it prints."""
    cli.app(words(masked_model, tmp_path / "set", "--mask", drawn, "--steps", 2), exit_on_error=False)
    assert "3 synthetic images" in capsys.readouterr().out
    assert len(ImageSet.open(tmp_path / "set")) == 3
