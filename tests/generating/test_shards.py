"""Shards of a run, and their joining: the bytes of one run, however it is cut."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains import files
from phonybrains.cli import parser
from phonybrains.errors import ConfigError, ImageSetError, OutputError
from phonybrains.generating import join as joining
from phonybrains.generating.join import join
from phonybrains.generating.processes import Share
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.record import read_record
from tests.support.forked import be_rank, command, ended, free_port, started
from tests.support.places import ROOT

N = 20
HOW: dict[str, Any] = {"seed": 7, "steps": 4, "batch_size": 3, "show": False}
RECIPE = ROOT / "recipes/slurm.sh"


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a set but its record, by name."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "record.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def shards(model: Path, folder: Path, count: int, n: int = N, **how: Any) -> list[Path]:
    """All shards of a run."""
    return [generate(model, folder / f"{k}", n, shard=f"{k}/{count}", **HOW | how) for k in range(1, count + 1)]


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images in batches of three, by one run."""
    return generate(tiny_model, tmp_path_factory.mktemp("whole") / "set", N, **HOW)


@pytest.fixture(scope="module")
def three(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same twenty in three shards; do not change them, copy them."""
    return shards(tiny_model, tmp_path_factory.mktemp("three"), 3)


# Any sharding gives the same bytes


@given(n=st.integers(1, 10**6), world=st.integers(1, 99), first=st.integers(0, 9))
def test_shares_part_the_images(n: int, world: int, first: int):
    """Every index is in exactly one share, the shares are in order, and no two differ by more than one image."""
    parts = [Share(rank, world).of(range(first, first + n)) for rank in range(world)]
    edges = [first, *(part.stop for part in parts)]
    assert [part.start for part in parts] == edges[:-1]
    assert edges[-1] == first + n
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [1, 3, 8, N])
def test_joined_shards_are_the_set_of_one_run(tiny_model: Path, whole: Path, tmp_path: Path, count: int):
    """1, 3, 8 and 20 shards of twenty images, cut within batches: images and table byte for byte, and the same record.

    The identity is that of one run, so that the command of that run finds its set finished.
    """
    parts = shards(tiny_model, tmp_path / "parts", count)
    out = join(parts[::-1], tmp_path / "set", show=False)
    assert content(out) == content(whole)
    one, joined = read_record(whole), read_record(out)
    assert [part["shard"] for part in joined["results"].pop("shards")] == [f"{k}/{count}" for k in range(1, count + 1)]
    own = {"created": "", "sha256": ""}
    assert joined | own == one | own
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert generate(tiny_model, out, N, **HOW) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_batch_is_computed_as_in_the_whole_run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second of two shards of ten images computes 3 to 9, the whole run's batches of four, and keeps 5 to 9."""
    from phonybrains.model.latent_diffusion import LatentDiffusion

    computed: list[list[int]] = []
    walk = LatentDiffusion.walk_with

    def watched(self: LatentDiffusion, rngs: Any, wanted: Any, *rest: Any) -> Any:
        computed.append([rng.initial_seed() for rng in rngs])
        return walk(self, rngs, wanted, *rest)

    monkeypatch.setattr(LatentDiffusion, "walk_with", watched)
    generate(tiny_model, tmp_path / "whole", 10, **HOW | {"batch_size": 4})
    batches = computed.copy()
    computed.clear()
    out = generate(tiny_model, tmp_path / "set", 10, shard="2/2", **HOW | {"batch_size": 4})
    assert list(map(len, batches)) == [3, 3, 4]
    assert computed == batches[1:]
    assert [row["index"] for row in ImageSet.open(out).rows] == [5, 6, 7, 8, 9]


def test_shards_of_masks_are_joined_with_them(masked_model: Path, masked_corpus: Path, tmp_path: Path):
    """Image i follows mask i in any sharding, and the masks are joined too."""
    how: dict[str, Any] = {"mask": masked_corpus, "seed": 1, "steps": 1, "show": False}
    whole = generate(masked_model, tmp_path / "whole", 7, **how)
    parts = [generate(masked_model, tmp_path / f"{k}", 7, shard=f"{k}/2", **how) for k in (1, 2)]
    out = join(parts, tmp_path / "set", show=False)
    assert content(out) == content(whole)
    assert len(list((out / "masks").iterdir())) == 7


def rank(number: int, port: int, line: list[str], said: Path) -> None:
    be_rank(number, port)
    command(line, said)


def test_processes_share_a_shard(tiny_model: Path, three: list[Path], tmp_path: Path):
    """The second of three shards by two processes of torchrun: the bytes that one process makes."""
    line = ["generate", str(tiny_model), "--out", str(tmp_path / "set"), "-n", str(N), "--shard", "2/3"]
    line += ["--seed", "7", "--steps", "4", "--batch-size", "3"]
    port = free_port()
    both = [started(rank, number, port, line, tmp_path / f"{number}") for number in (0, 1)]
    assert ended(*both) == [0, 0]
    assert "set: 7 synthetic images, the shard 2/3 of 20\n" in (tmp_path / "0.out").read_text()
    assert content(tmp_path / "set") == content(three[1])


def test_a_shard_is_a_set_of_its_own(three: list[Path], whole: Path):
    """It opens, its record names the shard, how many images the run makes and the seed, and its rows are the run's."""
    images = ImageSet.open(three[1])
    assert images.rows == ImageSet.open(whole).rows[6:13]
    assert images.record["config"]["shard"] == "2/3"
    assert images.record["config"]["requests"] == [{"n": N, "where": {}}]
    assert (images.record["seed"], images.record["results"]["images"]) == (7, 7)
    assert images.record["identity"] != read_record(whole)["identity"]


# Links, stops and other disks


def test_a_join_links_files(three: list[Path], whole: Path, tmp_path: Path):
    """No image is copied where the disk can link, and the set stays when the shards go."""
    parts = [Path(shutil.copytree(part, tmp_path / part.name)) for part in three]
    out = join(parts, tmp_path / "set", show=False)
    name = "images/000010.png"
    assert (out / name).stat().st_ino == (parts[1] / name).stat().st_ino
    for part in parts:
        shutil.rmtree(part)
    assert content(out) == content(whole)


@pytest.mark.parametrize("links", [True, False])
def test_a_stopped_join_goes_on(
    three: list[Path], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    """Stopped after nine files, nothing is at --out; the same call takes the other eleven, by links or by copies.

    A copy that a power cut left empty is made again.
    """
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    taken = _stop_after(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        join(three, tmp_path / "set", show=False)
    (draft,) = tmp_path.iterdir()
    assert sorted(p.relative_to(draft).as_posix() for p in draft.rglob("*.*")) == taken
    if not links:
        (draft / taken[0]).write_bytes(b"")
    _stop_after(monkeypatch, 1000)
    assert content(join(three, tmp_path / "set", show=False)) == content(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def _no_links(*_: Any) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def _stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> list[str]:
    """Let so many files be taken and stop at the next; returns the names of those that were."""
    taken: list[str] = []

    def take(source: Path, path: Path) -> None:
        if len(taken) == count:
            raise KeyboardInterrupt
        files.link_or_copy(source, path)
        taken.append(f"images/{path.name}")

    monkeypatch.setattr(joining, "link_or_copy", take)
    return taken


def test_a_killed_shard_makes_only_what_is_missing(tiny_model: Path, tmp_path: Path):
    """kill -9, then the same command: what was done stays, and the shard has the bytes of an undisturbed one."""
    line = ["generate", str(tiny_model), "--out", str(tmp_path / "set"), "-n", "16", "--shard", "2/2"]
    line += ["--steps", "40", "--batch-size", "1"]
    process = started(command, line, tmp_path / "said")
    while len(done := list(tmp_path.glob(".*.partial/images/*.png"))) < 3:
        assert process.is_alive(), "the command has ended before it could be stopped"
        time.sleep(0.01)
    process.kill()
    assert ended(process) == [-signal.SIGKILL]
    times = {path.name: path.stat().st_mtime_ns for path in done}
    assert ended(started(command, line, tmp_path / "again")) == [0]
    assert {name: (tmp_path / "set/images" / name).stat().st_mtime_ns for name in times} == times
    how: dict[str, Any] = {"steps": 40, "batch_size": 1, "shard": "2/2", "show": False}
    assert content(tmp_path / "set") == content(generate(tiny_model, tmp_path / "undisturbed", 16, **how))


# What is refused


@pytest.mark.parametrize("shard", ["0/8", "9/8", "a/b", "3", "3/", "-1/8", "3/8/9", "1/0", " 1/2", "１/2"])
def test_a_shard_that_cannot_be_is_refused(tmp_path: Path, shard: str):
    """Anything but a number of a shard from 1 up to how many there are, before a model is looked for."""
    with pytest.raises(ConfigError, match=f"^--shard {shard}: it takes which shard of how many"):
        generate("nowhere", tmp_path / "set", N, shard=shard)
    assert list(tmp_path.iterdir()) == []


def test_more_shards_than_images_are_refused(tmp_path: Path):
    """Each shard holds an image at least."""
    with pytest.raises(ConfigError, match=r"^--shard 3/8: 8 shards of 7 images: .* Take up to 7 shards\.$"):
        generate("nowhere", tmp_path / "set", 7, shard="3/8")


def test_a_shard_of_another_number_of_images_is_not_taken_up(tiny_model: Path, three: list[Path], tmp_path: Path):
    """The same folder with another -n, or as another shard, is refused."""
    part = Path(shutil.copytree(three[0], tmp_path / "part"))
    for n, shard in ((N + 1, "1/3"), (N, "2/3"), (N, "")):
        with pytest.raises(OutputError, match="was not made by this command with these settings"):
            generate(tiny_model, part, n, shard=shard, **HOW)


Change = Callable[[list[Path], Path], Any]


def _more(model: Path, folder: Path, **how: Any) -> Path:
    return generate(model, folder / "more", **{"n": N, "shard": "3/3"} | HOW | how)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "join takes the shards of a run: none is given"),
        ((0, 2), r"of 3 shards these are missing: 2/3\. Make and name them too"),
        ((0, 0, 1, 2), r"1 and .*1 are both the shard 1/3\. Give each once"),
        ((0, 1, {"seed": 8}), "more is of another run than .*1: seed is 8 here and 7 there"),
        ((0, 1, {"n": 21}), "more is of another run than .*1: n is 21 here and 20 there"),
        ((0, 1, {"steps": 3}), "more is of another run than .*1: steps is 3 here and 4 there"),
        ((0, 1, {"where": {"modality": "CT"}}), "more is of another run than .*1: requests is"),
        ((0, {"shard": "2/2"}), "more is of another run than .*1: number of shards is 2 here and 3 there"),
        ((0, 1, {"shard": ""}), r"more is no finished shard\. Make it with 'phonybrains generate --shard'"),
        ((0, 1, "nowhere"), "nowhere is no finished shard"),
        ((0, 1, "corpus"), "corpus is no finished shard"),
        ((0, 1, "renamed"), r"renamed is of another run than .*1: model is other \(\w+\) here and tiny \(\w+\) there"),
    ],
)
def test_what_is_no_run_is_not_joined(
    tiny_model: Path, phantom_corpus: Path, three: list[Path], tmp_path: Path, parts: tuple[Any, ...], message: str
):
    """Missing, doubled and foreign shards, and other folders, are named, and nothing is written."""
    given: list[Path] = []
    for part in parts:
        if isinstance(part, dict):
            given.append(_more(tiny_model, tmp_path, **part))
        elif part == "renamed":
            other = shutil.copytree(tiny_model, tmp_path / "other")
            given.append(generate(other, tmp_path / "renamed", N, shard="3/3", **HOW))
        elif isinstance(part, str):
            given.append(
                Path(shutil.copytree(phantom_corpus, tmp_path / part)) if part == "corpus" else tmp_path / part
            )
        else:
            given.append(three[part])
    with pytest.raises(ConfigError, match=message):
        join(given, tmp_path / "joined" / "set", show=False)
    assert not (tmp_path / "joined").exists()


def test_a_damaged_shard_is_not_joined(three: list[Path], tmp_path: Path):
    """A lost image, a changed one and a shortened table are errors that name the shard; the set does not appear."""
    part = tmp_path / "2"
    image, table = part / "images/000008.png", part / "metadata.csv"
    damages: dict[str, Callable[[], Any]] = {
        r"000008\.png is missing": image.unlink,
        r"000008\.png has another SHA-256": lambda: image.write_bytes(image.read_bytes() + b"\0"),
        "does not hold the images that were made": lambda: table.write_text(
            "\n".join(table.read_text().splitlines()[:-1])
        ),
    }
    for message, damage in damages.items():
        shutil.copytree(three[1], part)
        damage()
        with pytest.raises(ImageSetError, match=f"{part}.*{message}"):
            join([three[0], part, three[2]], tmp_path / "set", show=False)
        assert not (tmp_path / "set").exists()
        shutil.rmtree(part)


def test_a_join_does_not_write_into_something_else(three: list[Path], tmp_path: Path):
    """A folder that holds anything else, a shard itself among them, is refused."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    for out in (foreign, three[0]):
        with pytest.raises(OutputError, match="already exists and was not made by this command"):
            join(three, out, show=False)
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]


def test_shards_of_other_batches_are_joined_with_a_warning(
    tiny_model: Path, three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """They are a gray level apart at most: no reason to make them again, but the record says so."""
    other = generate(tiny_model, tmp_path / "more", N, shard="3/3", **HOW | {"batch_size": 7})
    out = join([*three[:2], other], tmp_path / "set", show=False)
    assert "WARNING: the shards were computed in different batches" in capsys.readouterr().err
    assert joining.OTHER_BATCHES in read_record(out)["results"]["warnings"]
    assert len(ImageSet.open(out)) == N


def test_a_table_that_a_spreadsheet_saved_is_joined(three: list[Path], whole: Path, tmp_path: Path):
    """Semicolons, a byte-order mark and other line ends in a shard leave no trace in the set."""
    part = Path(shutil.copytree(three[1], tmp_path / "part"))
    table = part / "metadata.csv"
    text = table.read_text().replace(",", ";").replace("\n", "\r\n")
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert content(join([three[0], part, three[2]], tmp_path / "set", show=False)) == content(whole)


# On a cluster


def slurm(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """One task of the recipe, with the variables that SLURM sets; `phonybrains` writes its words into folder/words."""
    program = folder / "bin" / "phonybrains"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$OMP_NUM_THREADS" "$@" > "{folder}/words"\n')
    program.chmod(0o755)
    here = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    here["PATH"] = f"{program.parent}{os.pathsep}{here['PATH']}"
    line = ["bash", str(RECIPE), *map(str, words)]
    return subprocess.run(line, env=here | environment, capture_output=True, text=True)


def test_the_recipe_for_slurm_makes_the_shard_of_its_task(tiny_model: Path, three: list[Path], tmp_path: Path):
    """It is sound for bash, and what task 2 of 3 runs is the second shard; a task alone is told how many there are."""
    assert subprocess.run(["bash", "-n", RECIPE]).returncode == 0
    words = [tiny_model, N, tmp_path / "samples", "--seed", 7, "--steps", 4, "--batch-size", 3]
    of_array = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_CPUS_PER_TASK": "4"}
    alone = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1", "SHARDS": "3"}
    for number, task in enumerate((of_array, alone), start=1):
        run = slurm(tmp_path, *words, **task)
        assert run.returncode == 0, run.stderr
        threads, *command = (tmp_path / "words").read_text().splitlines()
        assert threads == task.get("SLURM_CPUS_PER_TASK", "1")
        parser.app(command, print_error=False, exit_on_error=False)
        assert content(tmp_path / "samples.shards" / task["SLURM_ARRAY_TASK_ID"]) == content(three[number])


def test_the_recipe_for_slurm_says_how_it_is_used(tmp_path: Path):
    """Outside an array, and without words, it makes nothing and says how."""
    for words, task in ((("heads", 8, tmp_path / "set"), {}), ((), {"SLURM_ARRAY_TASK_ID": "1"})):
        run = slurm(tmp_path, *words, **task)
        assert run.returncode == 2
        assert "sbatch --array=1-8 recipes/slurm.sh MODEL N OUT" in run.stderr
    assert not (tmp_path / "set.shards").exists()


def test_the_command_joins(three: list[Path], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`phonybrains join` is `join`, and says what it made."""
    parser.app(["join", *map(str, three), "--out", str(tmp_path / "set")], print_error=False, exit_on_error=False)
    assert capsys.readouterr().out == f"{tmp_path / 'set'}: 3 shards joined\n"
    assert content(tmp_path / "set") == content(whole)


def test_a_record_that_somebody_changed_is_no_shard(three: list[Path], tmp_path: Path):
    """A shard whose record says what cannot be is refused by name."""
    part = Path(shutil.copytree(three[0], tmp_path / "part"))
    record = json.loads((part / "record.json").read_text())
    record["config"]["shard"] = "4/3"
    (part / "record.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="--shard 4/3"):
        join([part, *three[1:]], tmp_path / "set", show=False)
