"""Generating: an image set from a model, the same however it is computed."""

from __future__ import annotations

import errno
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phonybrains.errors import ConfigError, ModelError, OutputError
from phonybrains.generating import stage
from phonybrains.generating.config import GenerateConfig, Request, generate_config
from phonybrains.generating.stage import generate, generate_requests
from phonybrains.imageset import ImageSet
from phonybrains.model import painting
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.networks.conditions import Category, Conditions
from phonybrains.record import fingerprint, read_record
from phonybrains.reporting.sheets import LABEL_HEIGHT
from tests.support.forked import be_rank, command, ended, free_port, started

QUICK: dict[str, Any] = {"steps": 4, "show": False}


def pixels(folder: Path) -> NDArray[np.int16]:
    """All images of a set, (N, H, W)."""
    images = ImageSet.open(folder)
    return np.stack([images.pixels(i) for i in range(len(images))]).astype(np.int16)


def assert_same_images(one: Path, other: Path) -> None:
    """Equal within one gray level, in what they were asked to show exactly."""
    assert np.abs(pixels(one) - pixels(other)).max() <= 1
    assert [row.attributes for row in ImageSet.open(one).rows] == [row.attributes for row in ImageSet.open(other).rows]


def words(model: Path, out: Path, *options: object) -> list[str]:
    return ["generate", *map(str, (model, "--out", out, *options))]


def wait_for_images(folder: Path, count: int, process: BaseProcess) -> None:
    """Wait until the hidden draft of a set in `folder` holds so many images."""
    while len(list(folder.glob(".*.partial/images/*.png"))) < count:
        assert process.is_alive(), "the command has ended before it could be stopped"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def twenty(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images with the seed 7, in one batch."""
    return generate(tiny_model, tmp_path_factory.mktemp("twenty") / "set", 20, seed=7, batch_size=20, **QUICK)


# Image i depends on (seed, i) alone


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_images_do_not_depend_on_the_batch_size(tiny_model: Path, twenty: Path, tmp_path: Path, batch_size: int):
    """Batches of 1, 3, 16 and 20 give the same images within one gray level."""
    out = generate(tiny_model, tmp_path / "set", 20, seed=7, batch_size=batch_size, **QUICK)
    assert_same_images(out, twenty)


def test_guided_images_do_not_depend_on_the_batch_size(tiny_model: Path, tmp_path: Path):
    """Guidance runs the network on twice the batch, and changes nothing about that."""
    guided: dict[str, Any] = {"guidance": 2.0, "sampler": "heun"} | QUICK
    one, five = (generate(tiny_model, tmp_path / str(size), 5, batch_size=size, **guided) for size in (1, 5))
    assert_same_images(one, five)


def test_a_short_run_is_the_beginning_of_a_long_one(tiny_model: Path, twenty: Path, tmp_path: Path):
    """The first ten of twenty images are the ten images of a run of ten."""
    out = generate(tiny_model, tmp_path / "set", 10, seed=7, **QUICK)
    assert np.abs(pixels(out) - pixels(twenty)[:10]).max() <= 1


def test_images_and_seeds_differ(tiny_model: Path, twenty: Path, tmp_path: Path):
    """No two images of a run are the same, and none returns with another seed."""
    other = generate(tiny_model, tmp_path / "set", 20, seed=8, **QUICK)
    flat = np.concatenate([pixels(twenty), pixels(other)]).reshape(40, -1)
    assert len(np.unique(flat, axis=0)) == 40


def rank(number: int, port: int, line: list[str], said: Path) -> None:
    be_rank(number, port)
    command(line, said)


def test_two_processes_make_the_same_images_as_one(tiny_model: Path, twenty: Path, tmp_path: Path):
    """As torchrun starts them, each makes every other image; the set appears once, with nothing left beside it."""
    out, port, grid = tmp_path / "made" / "set", free_port(), tmp_path / "made" / "grid.png"
    line = words(tiny_model, out, "-n", 20, "--seed", 7, "--steps", 4, "--grid", grid)
    both = [started(rank, number, port, line, tmp_path / f"rank{number}") for number in (0, 1)]
    assert ended(*both) == [0, 0]
    assert_same_images(out, twenty)
    assert sorted(path.name for path in out.parent.iterdir()) == ["grid.png", "set"]
    assert "".join((tmp_path / f"rank{n}.out").read_text() for n in (0, 1)).count("20 synthetic images") == 1


def test_requests_follow_one_another_in_one_set(tiny_model: Path, tmp_path: Path):
    """Several requests share the numbering; image i is the one that a single request would have made."""
    requests = (Request(n=2, where={"modality": "MR"}), Request(n=3, where={"modality": "CT"}))
    out = generate_requests(tiny_model, tmp_path / "both", GenerateConfig(requests=requests, steps=4), show=False)
    ct = generate(tiny_model, tmp_path / "ct", 5, where={"modality": "CT"}, **QUICK)
    assert [row.modality for row in ImageSet.open(out).rows] == ["MR"] * 2 + ["CT"] * 3
    assert np.abs(pixels(out)[2:] - pixels(ct)[2:]).max() <= 1


# Stopped and given again


def test_a_killed_run_makes_only_what_is_missing(tiny_model: Path, tmp_path: Path):
    """kill -9 at any moment, then the same command: the images that were done stay, and all are as if undisturbed."""
    out = tmp_path / "set"
    line = words(tiny_model, out, "-n", 24, "--steps", 40, "--batch-size", 1)
    process = started(command, line, tmp_path / "said")
    wait_for_images(tmp_path, 3, process)
    process.kill()
    assert ended(process) == [-signal.SIGKILL]
    (draft,) = tmp_path.glob(".set.generate-*.partial")
    done = {path.name: path.stat().st_mtime_ns for path in (draft / "images").glob("*.png")}
    assert 3 <= len(done) < 24
    assert not out.exists()

    generate(tiny_model, out, 24, steps=40, show=False)
    assert {name: (out / "images" / name).stat().st_mtime_ns for name in done} == done
    assert len(list((out / "images").iterdir())) == 24
    assert_same_images(out, generate(tiny_model, tmp_path / "undisturbed", 24, steps=40, show=False))


def test_a_terminated_run_says_how_to_go_on(tiny_model: Path, tmp_path: Path):
    """SIGTERM ends it with 130 and one line; the same command finishes the set."""
    line, said = words(tiny_model, tmp_path / "set", "-n", 12, "--steps", 40, "--batch-size", 1), tmp_path / "said"
    process = started(command, line, said)
    wait_for_images(tmp_path, 1, process)
    process.terminate()
    assert ended(process) == [130]
    assert said.with_suffix(".err").read_text() == "phonybrains: stopped. Give the same command again to go on.\n"
    assert ended(started(command, line, said)) == [0]
    assert len(ImageSet.open(tmp_path / "set")) == 12


def test_a_damaged_image_of_a_stopped_run_is_made_again(
    tiny_model: Path, twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What a power cut left half written does not enter the set."""
    fail_after(monkeypatch, 10, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        generate(tiny_model, tmp_path / "set", 20, seed=7, **QUICK)
    monkeypatch.undo()
    first, second, *_ = sorted(tmp_path.glob(".*.partial/images/*.png"))
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    assert_same_images(generate(tiny_model, tmp_path / "set", 20, seed=7, **QUICK), twenty)


def test_a_full_disk_keeps_what_is_done(
    tiny_model: Path, twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """ENOSPC is an error of one line; with space again, the same command makes only what is missing."""
    fail_after(monkeypatch, 6, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OutputError, match=r"set: the disk is full\. What is done is kept"):
        generate(tiny_model, tmp_path / "set", 20, seed=7, batch_size=4, **QUICK)
    assert len(list(tmp_path.glob(".*.partial/images/*.png"))) == 6
    counted = fail_after(monkeypatch, 20, AssertionError())
    assert_same_images(generate(tiny_model, tmp_path / "set", 20, seed=7, batch_size=4, **QUICK), twenty)
    assert len(counted) == 14


def fail_after(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException) -> list[str]:
    """Let so many images be written and fail at the next; returns the names of those that were."""
    from phonybrains.imageset import write_png

    written: list[str] = []

    def write(path: Path, image: Any, mark: Any) -> str:
        if len(written) == count:
            raise error
        written.append(path.name)
        return write_png(path, image, mark)

    monkeypatch.setattr(painting, "write_png", write)
    return written


def test_a_finished_run_is_left_alone(tiny_model: Path, tmp_path: Path):
    """The same call again does nothing, and one with other settings is refused."""
    out = generate(tiny_model, tmp_path / "set", 2, **QUICK)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    generate(tiny_model, out, 2, batch_size=1, **QUICK)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(OutputError, match="not made by this command with these settings"):
        generate(tiny_model, out, 2, seed=1, **QUICK)


# What is asked for


def test_images_show_what_was_asked_for(tiny_model: Path, tmp_path: Path):
    """Each row has the values given, other categories drawn to fit them, and no number that was not given."""
    conditions = Conditions.from_json((tiny_model / "conditions.json").read_text())
    label = next(a for a in conditions.attributes if a.name == "hemorrhage")
    assert isinstance(label, Category)
    wanted = label.labels[0]
    out = generate(tiny_model, tmp_path / "asked", 3, where={"hemorrhage": wanted, "age_years": 60}, **QUICK)
    for row in ImageSet.open(out).rows:
        assert (row.modality, row["hemorrhage"], row["age_years"], row["plane"]) == ("CT", wanted, 60.0, "axial")
    out = generate(tiny_model, tmp_path / "MR", 3, where={"modality": "MR"}, **QUICK)
    for row in ImageSet.open(out).rows:
        assert (row.modality, row["hemorrhage"], row["age_years"]) == ("MR", None, None)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"modalitty": "CT"}, "'modalitty'. Known: modality, plane, hemorrhage, age_years. Did you mean modality?"),
        ({"modality": "PET"}, "modality 'PET' is not known to the model. Known: CT, MR."),
        ({"plane": "axal"}, "'axal' is not known to the model. Known: axial, coronal, sagittal. Did you mean axial?"),
        ({"age_years": "old"}, "age_years 'old' is not a number"),
        ({"age_years": 900}, "age_years 900 is outside what the model has seen"),
    ],
)
def test_what_the_model_does_not_know_is_an_error(
    tiny_model: Path, tmp_path: Path, where: dict[str, Any], message: str
):
    """An unknown attribute or value names those that are known, and nothing is written."""
    with pytest.raises(ConfigError) as caught:
        generate(tiny_model, tmp_path / "set", 2, where=where, **QUICK)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nowhere"}, "nowhere is not a model folder"),
        ({"n": 0}, "greater than or equal to 1"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"seed": -1}, "seed"),
        ({"guidance": float("nan")}, "guidance"),
        ({"batch_size": 0}, "batch_size 0: it is a whole number from 1"),
        ({"sampler": "magic"}, "sampler 'magic' is not known. Known: heun"),
        ({"guidance": 2.0}, "guidance 2: few-step weights have theirs built in. Give more than 4 steps"),
        ({"grid": "sheet.txt"}, "a contact sheet is a picture"),
        ({"grid": "set/sheet.png"}, "Put the sheet beside it"),
    ],
)
def test_settings_that_cannot_be_are_errors(tiny_model: Path, tmp_path: Path, options: dict[str, Any], message: str):
    """Each, and a folder that is no model, is named before anything is written."""
    options = {name: tmp_path / value if name in ("grid", "model") else value for name, value in options.items()}
    with pytest.raises((ConfigError, ModelError), match=message):
        generate(**{"model": tiny_model, "out": tmp_path / "set", "n": 2, **QUICK, **options})
    assert list(tmp_path.iterdir()) == []


# What is written


def test_the_set_says_how_each_image_was_made(tiny_model: Path, twenty: Path):
    """Every row is synthetic, of no patient and no split, and names generator, seed, index and settings."""
    images = ImageSet.open(twenty)
    assert (len(images), images.height, images.width, images.bits) == (20, 64, 64, 8)
    for index, row in enumerate(images.rows):
        assert row.file_name == f"images/{index:06d}.png"
        assert (row.synthetic, row.source, row.patient_id, row.split) == (True, tiny_model.name, "", "")
        how = [row[name] for name in ("generator", "seed", "index", "steps", "guidance")]
        assert how == [tiny_model.name, 7, index, 4, 1]
        assert row["plane"] in ("axial", "coronal", "sagittal")


def test_pixels_mean_what_they_mean_in_the_corpus(phantom_corpus: Path, twenty: Path):
    """A model of CT in HU makes CT in HU; slope, intercept and unit are those of the training images."""
    real, made = (
        {(row.modality, row.slope, row.intercept, row.unit) for row in ImageSet.open(folder).rows}
        for folder in (phantom_corpus, twenty)
    )
    assert made == real
    assert {unit for _, _, _, unit in made} == {"HU", "a.u."}


def test_the_record_leads_back_to_the_corpus(tiny_model: Path, phantom_corpus: Path, twenty: Path):
    """The record holds the model's hash and record, that holds the corpus's, and the sources come along."""
    record = read_record(twenty)
    (model,) = record["inputs"]
    assert model["sha256"] == fingerprint(tiny_model)
    (corpus,) = model["record"]["inputs"]
    assert corpus["sha256"] == fingerprint(phantom_corpus)
    assert corpus["record"]["stage"] == "phantom"
    assert record["sources"] == read_record(phantom_corpus)["sources"]
    assert str(tiny_model.parent) not in (twenty / "record.json").read_text()


SAMPLED = [({}, 16, "adams"), ({"steps": 2}, 2, "shortcut"), ({"steps": 2, "sampler": "heun"}, 2, "heun")]


@pytest.mark.parametrize(("options", "steps", "sampler"), [*SAMPLED, ({"steps": 5}, 5, "adams")])
def test_the_record_says_how_images_were_sampled(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], steps: int, sampler: str
):
    """Also where steps and sampler were left to the model; and the same set can be asked for by their names."""
    out = generate(tiny_model, tmp_path / "set", 1, show=False, **options)
    config = read_record(out)["config"]
    assert (config["steps"], config["sampler"]) == (steps, sampler)
    assert [row["steps"] for row in ImageSet.open(out).rows] == [steps]
    before = (out / "record.json").stat().st_mtime_ns
    generate(tiny_model, out, 1, steps=steps, sampler=sampler, show=False)
    assert (out / "record.json").stat().st_mtime_ns == before


def test_a_condition_named_like_a_fixed_column_keeps_its_own(tmp_path: Path, tiny_model: Path):
    """A model that was told of the source says so beside the set's own column of that name."""
    model, asked = LatentDiffusion.load(tiny_model), GenerateConfig(requests=(Request(n=1),))
    work = stage.Work(model, "m", [{"modality": "CT", "source": "site A"}], asked, Sampling())
    (tmp_path / "images").mkdir()
    (tmp_path / stage.file_name(0)).write_bytes(b"")
    row = work.row(0, tmp_path)
    assert (row.source, row["condition_source"]) == ("m", "site A")


def test_a_contact_sheet_of_the_finished_set(tiny_model: Path, tmp_path: Path):
    """`grid` draws every image, also of a set that was finished before."""
    generate(tiny_model, tmp_path / "set", 12, **QUICK)
    generate(tiny_model, tmp_path / "set", 12, grid=tmp_path / "sheets" / "grid.png", **QUICK)
    with Image.open(tmp_path / "sheets" / "grid.png") as sheet:
        assert sheet.width == 10 * 132 + 4
        assert sheet.height in {2 * (132 + lines * LABEL_HEIGHT) + 4 for lines in (1, 2, 3)}


@pytest.mark.needs("no root")
def test_a_set_that_cannot_be_written_is_an_error(tiny_model: Path, tmp_path: Path):
    """A folder without permission to write is named."""
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        generate(tiny_model, tmp_path / "set", 1, **QUICK)


@pytest.mark.parametrize("n", [10_000_001, 10**20])
def test_more_images_than_can_be_settled_are_refused(n: int):
    """At once, as what each of them is to show would fill the memory before the first is drawn."""
    with pytest.raises(ConfigError, match="n: Input should be less than or equal to 10000000"):
        generate_config(n)
