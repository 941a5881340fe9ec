"""Edits of image sets: what they keep to the bit, what they record, that they go on, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import phonybrains as pb
from phonybrains.editing import stage
from phonybrains.editing.config import AddNoise, Denoise, Edit, Explain, Inpaint, Translate, Upscale, Vary
from phonybrains.editing.holes import BOX
from phonybrains.editing.jobs import EditJob
from phonybrains.editing.stage import EditedSet, edit
from phonybrains.editing.upscale import block_means, fitted
from phonybrains.errors import ConfigError, ImageSetError
from phonybrains.imageset import ImageSet, read_png
from phonybrains.marks import unmarked
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import read_record
from phonybrains.workflows.picture import gray_picture
from tests.support.exported_sets import make_set, noise
from tests.support.in_turn import called

SETTINGS = [
    Upscale(n=2, steps=2, simulate=True),
    Denoise(n=2, steps=2, sigma=20, simulate=True),
    Inpaint(n=2, steps=2, area="hole", hole=(8, 9, 10, 6)),
    Translate(steps=2, to={"modality": "CT"}),
    Vary(n=2, steps=2),
    Explain(n=2, steps=2, change={"modality": "CT"}),
]
Each = pytest.mark.parametrize("how", SETTINGS, ids=lambda how: how.name)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three MR phantoms of the tiny model's size, with masks."""
    out = tmp_path_factory.mktemp("heads") / "set"
    return make_phantoms(3, out, seed=5, size=64, modalities=("MR",), slices_per_patient=1, masks="head")


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a set but its record, which has the time in it."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "record.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@Each
def test_an_edit_is_an_image_set(how: Edit, heads: Path, tiny_model: Path, tmp_path: Path):
    """Each edit makes a whole set whose rows are marked, with a record of both inputs, and a grid to look at."""
    out = edit(heads, tmp_path / "out", how, model=tiny_model, grid=tmp_path / "grid.png", show=False)
    images, source = ImageSet.open(out), ImageSet.open(heads)
    assert len(images) == len(source) * (1 if how.mean else how.n)
    assert all(row.synthetic and row["edit"] == how.name and how.name in row.file_name for row in images.rows)
    assert {row["edit_of_sha256"] for row in images.rows} == {row.sha256 for row in source.rows}
    assert [one["name"] for one in images.record["inputs"]] == ["set", tiny_model.name]
    assert "not measured" in images.record["results"]["note"]
    assert (tmp_path / "grid.png").is_file()
    assert len(list((out / "spread").glob("*.png"))) == (len(source) if how.n > 1 else 0)


@Each
def test_equal_seeds_equal_bits(how: Edit, heads: Path, tiny_model: Path, tmp_path: Path):
    """The same call gives the same bytes in another folder; another seed other pixels, where anything is drawn."""
    first, again = (edit(heads, tmp_path / name, how, model=tiny_model, show=False) for name in ("one", "two"))
    assert files(first) == files(again)
    other = edit(heads, tmp_path / "three", how.model_copy(update={"seed": 1}), model=tiny_model, show=False)
    pixels = {name: unmarked(content) for name, content in files(first).items() if name != "metadata.csv"}
    alike = {name: unmarked(files(other)[name]) == content for name, content in pixels.items()}
    assert all(alike.values()) is (how.name == "translate")  # a translation draws nothing but texture


@pytest.mark.parametrize("how", [SETTINGS[0], SETTINGS[5]], ids=lambda how: how.name)
def test_a_stopped_edit_goes_on(how: Edit, heads: Path, tiny_model: Path, tmp_path: Path, monkeypatch):
    """Stopped after some images, the same call makes what is missing and ends in the bytes of a calm run."""
    calm = files(edit(heads, tmp_path / "calm", how, model=tiny_model, batch_size=2, show=False))
    written: list[Path] = []

    def stopping(path: Path, *how: Any, write: Callable[..., str] = stage.write_png) -> str:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, *how)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_png", stopping)
        with pytest.raises(KeyboardInterrupt):
            edit(heads, tmp_path / "out", how, model=tiny_model, batch_size=2, show=False)
    assert not (tmp_path / "out").exists()
    assert files(edit(heads, tmp_path / "out", how, model=tiny_model, batch_size=2, show=False)) == calm


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("area", "hole"), [("hole", (8, 9, 10, 6)), ("mask", None)])
def test_outside_a_hole_nothing_changes(
    area: Any, hole: Any, mean: bool, heads: Path, tiny_model: Path, tmp_path: Path
):
    """Every pixel outside the area is the input's, to the bit, in answers and in their mean; inside, some are not."""
    how = Inpaint(n=2, steps=2, area=area, hole=hole, mean=mean)
    made, source = ImageSet.open(edit(heads, tmp_path / "out", how, model=tiny_model, show=False)), ImageSet.open(heads)
    for number, row in enumerate(made.rows):
        index = int(str(row.file_name)[7:13])
        inside = source.mask(index) if area == "mask" else np.zeros((64, 64), bool)
        assert inside is not None
        if area == "hole":
            inside[9:15, 8:18] = True
        same = made.pixels(number) == source.pixels(index)
        assert same[~inside].all()
        assert not same[inside].all()


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("mean", [False, True])
def test_upscaled_images_fit_what_was_measured(factor: Any, mean: bool, heads: Path, tiny_model: Path, tmp_path: Path):
    """The mean of each block of pixels is the pixel that was given, in answers and in their mean."""
    how = Upscale(n=2, steps=2, factor=factor, simulate=True, mean=mean)
    made, source = ImageSet.open(edit(heads, tmp_path / "out", how, model=tiny_model, show=False)), ImageSet.open(heads)
    for number, row in enumerate(made.rows):
        given = block_means(np.asarray(source.pixels(int(row.file_name[7:13]))), factor)
        assert np.array_equal(block_means(np.asarray(made.pixels(number)), factor), given)


def test_fitting_undoes_clipping():
    """Whatever is drawn, and however far beyond black and white, the block means come out as they were given."""
    rng = np.random.default_rng(0)
    means = rng.integers(0, 256, (4, 8, 8)).astype(np.uint8)
    means[0], means[1] = 0, 255
    made = fitted(rng.normal(128, 300, (4, 32, 32)).astype(np.float32), means, 4)
    assert np.array_equal(made.reshape(4, 8, 4, 8, 4).mean((2, 4)), means)


def test_an_edited_set_knows_what_its_masks_outline(heads: Path, tmp_path: Path):
    """Masks that stay with their images say in the record what they are of, which an export asks for."""
    out = edit(heads, tmp_path / "out", AddNoise(), like=heads, show=False)
    assert ImageSet.open(out).mask(0) is not None
    assert ImageSet.open(out).outline == "head"


def lesion_set(folder: Path) -> Path:
    """Three MR images of 64×64: a lesion with its box, none of it, and one of which nobody knows."""
    box = {"lesion_x": 0.5, "lesion_y": 0.5, "lesion_width": 0.25, "lesion_height": 0.25}
    inside = np.zeros((64, 64), bool)
    inside[24:40, 24:40] = True
    told: list[dict[str, Any]] = [box, {}, {}]
    return make_set(folder, noise(3, side=64), masks=[inside, inside & False, None], attributes=told, outline="lesion")


TOUCHING, APART = (20, 20, 10, 10), (0, 0, 12, 12)


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        (Inpaint(n=1, steps=1, area="hole", hole=APART), (True, True)),
        (Inpaint(n=1, steps=1, area="hole", hole=TOUCHING), (False, True)),
        (Inpaint(n=1, steps=1, area="hole", hole=APART, where={"plane": "axial"}), (False, False)),
        (Denoise(n=1, steps=1, sigma=20), (True, True)),
        (Translate(steps=1, to={"modality": "CT"}), (False, False)),
        (Vary(n=1, steps=1), (False, False)),
        (Explain(n=1, steps=1, change={"modality": "CT"}), (False, False)),
    ],
    ids=["apart", "touching", "something else asked for", "denoise", "translate", "vary", "explain"],
)
def test_a_mask_is_kept_where_nothing_of_it_is_drawn_anew(
    how: Any, kept: tuple[bool, bool], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Mask and box of a lesion, an empty mask, none: what may be painted over is not known, and that is said."""
    out = edit(lesion_set(tmp_path / "set"), tmp_path / "out", how, model=tiny_model, show=False)
    made = ImageSet.open(out)
    assert tuple(made.mask(i) is not None for i in range(3)) == (*kept, False)
    assert (made.rows[0]["lesion_x"] is not None) is kept[0]
    lost = f"Of 2 masks, {2 - sum(kept)} outlined what is drawn anew"
    assert (lost in capsys.readouterr().err) is (sum(kept) < 2)
    assert any(lost in one for one in made.record["results"]["warnings"]) is (sum(kept) < 2)


def test_a_box_that_is_asked_for_is_the_new_one(tmp_path: Path):
    """Where an edit asks for a lesion elsewhere, its row says where."""
    source = ImageSet.open(lesion_set(tmp_path / "set"))
    told, asked = ({"modality": "MR", "lesion_x": x} for x in (0.5, 0.25))
    whole: Any = np.ones((64, 64), bool)
    job = EditJob(
        lambda batch: (batch.images, None), [told], lambda row: whole, shows=[asked], redrawn=lambda row: whole
    )
    row = EditedSet(source, SETTINGS[4], job, "heads").row(source.folder, 0, 0, source.rows[0].file_name)
    assert [row[name] for name in BOX] == [0.25, 0.5, 0.25, 0.25]


def test_an_enlarged_image_keeps_its_mask(tiny_model: Path, tmp_path: Path):
    """A place that was inside is inside in all the pixels that it becomes."""
    small = make_phantoms(1, tmp_path / "set", seed=5, size=32, modalities=("MR",), slices_per_patient=1, masks="head")
    out = edit(small, tmp_path / "out", Upscale(factor=2, steps=2), model=tiny_model, show=False)
    mask, was = ImageSet.open(out).mask(0), ImageSet.open(small).mask(0)
    assert mask is not None
    assert was is not None
    np.testing.assert_array_equal(mask, np.kron(was, np.ones((2, 2), bool)))


def test_noise_of_another_set(heads: Path, tmp_path: Path):
    """`noise` needs no model; images that are given their own noise stay near what they are."""
    made = ImageSet.open(edit(heads, tmp_path / "out", AddNoise(), like=heads, show=False))
    assert [row["generator"] for row in made.rows] == ["noise"] * 3
    with pytest.raises(ConfigError, match="--like"):
        edit(heads, tmp_path / "other", AddNoise(), show=False)


def test_a_picture_in_a_picture_out(heads: Path, tiny_model: Path, tmp_path: Path):
    """One picture is edited as it is, in colour too, and its PNG says what it is; its spread lies beside it."""
    picture = tmp_path / "head.png"
    Image.fromarray(read_png(heads / "images/000000.png")).convert("RGB").save(picture)
    out = pb.vary(picture, tmp_path / "varied.png", model=tiny_model, modality="MR", n=2, steps=2, show=False)
    with Image.open(out) as opened:
        assert opened.size == (64, 64)
        assert "not measured" in opened.info["Description"]
        assert '"synthetic": true' in opened.info["phonybrains"]
    assert {path.name for path in tmp_path.glob("varied*")} == {"varied.png", "varied-1.png", "varied-spread.png"}
    with pytest.raises(ConfigError, match="--modality"):
        pb.vary(picture, tmp_path / "other.png", model=tiny_model, show=False)


def test_a_deep_picture_is_not_cut(tmp_path: Path):
    """A PNG of 16 bits becomes one of 8 over its whole range; what is no picture is named."""
    ramp = np.tile(np.linspace(0, 65535, 64), (64, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    pixels = gray_picture(tmp_path / "deep.png")
    assert np.abs(pixels - ramp / 257).max() < 1
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageSetError, match=r"text\.png"):
        pb.vary(tmp_path / "text.png", tmp_path / "out.png", modality="MR", show=False)


def test_translated_images_say_what_they_show(heads: Path, tiny_model: Path, tmp_path: Path):
    """The modality of the table is the target's, and what no training image of it shows is no longer said."""
    made = ImageSet.open(edit(heads, tmp_path / "out", SETTINGS[3], model=tiny_model, show=False))
    assert {row.modality for row in made.rows} == {"CT"}
    assert {row["plane"] for row in made.rows} <= {"axial", None}


REFUSED: list[tuple[Any, str]] = [
    (Upscale(steps=1), "128×128"),
    (Inpaint(area="hole", hole=(60, 0, 10, 5)), "does not lie in the image"),
    (Inpaint(area="hole", hole=(0, 0, 64, 64)), "whole image"),
    (Inpaint(area="hole", hole=(0, 0, 0, 5)), "does not lie in the image"),
    (Translate(to={"modality": "PET"}), "not known"),
    (Translate(to={}), "--to"),
    (Explain(change={"shoe_size": 40}), "no attribute"),
    (Denoise(simulate=True), "--sigma"),
    (Vary(simulate=True), "--simulate"),
]


@pytest.mark.parametrize(("how", "told"), REFUSED, ids=[f"{how.name}: {told}" for how, told in REFUSED])
def test_what_cannot_be_is_said_before_the_work(how: Any, told: str, heads: Path, tiny_model: Path, tmp_path: Path):
    """A clear line, and nothing left behind."""
    with pytest.raises(ConfigError, match=told):
        edit(heads, tmp_path / "out", how, model=tiny_model, show=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["upscale", "--factor", "3"], 2),
        (["vary", "--strength", "0"], 1),
        (["denoise", "--sigma", "0"], 1),
        (["inpaint"], 2),
        (["inpaint", "--mask", "--hole", "1,2,3,4"], 2),
        (["inpaint", "--hole", "1,2,3"], 1),
        (["translate", "--to", "modality"], 1),
    ],
    ids=str,
)
def test_what_the_command_line_refuses(words: list[str], code: int, heads: Path, tmp_path: Path):
    """Wrong options end with 2 or 1, and nothing is made."""
    edit_name, *options = words
    assert called("edit", edit_name, heads, *options, "--out", tmp_path / "out", folder=tmp_path) == code
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_edits(heads: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """From the command line to a set, with a report; a second call finds it finished."""
    words = ["edit", "vary", heads, "--model", tiny_model, "--out", tmp_path / "out", "-n", 2, "--steps", 1]
    assert called(*words, "--report", tmp_path / "page.html") == 0
    assert "not measured" in capsys.readouterr().out
    assert "not measured" in (tmp_path / "page.html").read_text(encoding="utf-8")
    before = (tmp_path / "out" / "record.json").read_bytes()
    assert called(*words) == 0
    assert (tmp_path / "out" / "record.json").read_bytes() == before
    assert read_record(tmp_path / "out")["config"]["edit"] == "vary"
