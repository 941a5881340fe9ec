"""A larger -n keeps what is there and makes the rest; a TOML file says what options say."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from phonybrains.cli import parser as cli
from phonybrains.errors import ConfigError, OutputError
from phonybrains.generating import stage
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.record import read_record
from phonybrains.workflows.verify import verify

HOW: dict[str, Any] = {"steps": 1, "show": False, "batch_size": 4, "seed": 5}


def ask(*words: object) -> None:
    cli.app([str(word) for word in words], print_error=False, exit_on_error=False)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "images").iterdir()}


def test_a_set_grows(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old files stay to the bit, only what is new is made, and table and record are those of one run."""
    out = generate(tiny_model, tmp_path / "set", 4, **HOW)
    before, painted = digests(out), list[int]()
    paint = LatentDiffusion.paint

    def counted(self: LatentDiffusion, indices: Any, *given: Any, **how: Any) -> Any:
        painted.extend(indices)
        return paint(self, indices, *given, **how)

    monkeypatch.setattr(LatentDiffusion, "paint", counted)
    generate(tiny_model, out, 8, **HOW)
    whole = generate(tiny_model, tmp_path / "whole", 8, **HOW)
    assert painted[:4] == [4, 5, 6, 7]
    assert before.items() <= digests(out).items()
    assert digests(out) == digests(whole)
    assert (out / "metadata.csv").read_bytes() == (whole / "metadata.csv").read_bytes()
    ours, theirs = read_record(out), read_record(whole)
    assert {key: ours[key] for key in ("identity", "config", "results", "files")} == {
        key: theirs[key] for key in ("identity", "config", "results", "files")
    }
    links = [link for link in verify(out, show=False).links if link.what in ("images", "marks")]
    assert {link.word for link in links} == {"intact"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "whole"]


@pytest.mark.parametrize("other", [{"seed": 6}, {"steps": 2}, {"where": {"modality": "MR"}}, {"shard": "1/2"}])
def test_other_settings_do_not_grow(tiny_model: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    """Nor does a smaller number: the line says what is otherwise, and the set stays."""
    out = generate(tiny_model, tmp_path / "set", 2, **HOW)
    before = digests(out)
    for n, how in ((4, HOW | other), (1, HOW)):
        with pytest.raises(OutputError, match=r"with these settings \("):
            generate(tiny_model, out, n, **how)
    assert digests(out) == before


def test_a_stop_while_it_grows_leaves_the_smaller_set(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished set is there until the larger one is, and the same command goes on; a lost image is made anew."""
    out = generate(tiny_model, tmp_path / "set", 3, **HOW)
    before = digests(out)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_metadata", stop)
        with pytest.raises(KeyboardInterrupt):
            generate(tiny_model, out, 6, **HOW)
    assert digests(out) == before
    (out / "images/000001.png").write_bytes(b"damaged")
    generate(tiny_model, out, 6, **HOW)
    assert before.items() <= digests(out).items()
    assert len(ImageSet.open(out)) == 6


def test_a_sheet_is_not_overwritten(tiny_model: Path, tmp_path: Path) -> None:
    """Another picture of the name stays, and nothing is made; the sheet of the same finished run is no matter."""
    out, grid = tmp_path / "set", tmp_path / "grid.png"
    grid.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"grid\.png exists already"):
        generate(tiny_model, out, 2, grid=grid, **HOW)
    assert grid.read_bytes() == b"mine"
    assert not out.exists()
    words = ("generate", tiny_model, "-n", 2, "--steps", 1, "--grid", grid, "--out", out)
    ask(*words, "--overwrite")
    ask(*words)
    assert grid.read_bytes().startswith(b"\x89PNG")


FILE = """
n = 3
seed = 4
steps = 1
grid = "{grid}"

[where]
plane = "axial"
modality = "CT"
"""


def test_a_file_says_what_options_say(tiny_model: Path, tmp_path: Path) -> None:
    """The same images by both; an option wins, also one of several that --where names."""
    file = tmp_path / "generate.toml"
    file.write_text(FILE.format(grid=tmp_path / "sheet.png"))
    ask("generate", tiny_model, "--config", file, "--where", "modality=mri", "-n", 2, "--out", tmp_path / "a")
    where = ("--where", "plane=axial", "modality=MR")
    ask("generate", tiny_model, "-n", 2, "--seed", 4, "--steps", 1, *where, "--out", tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert read_record(tmp_path / "a")["identity"] == read_record(tmp_path / "b")["identity"]
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n = 1\nstepz = 2", "stepz.*Known: seed"),
        ("n = 0", "n: Input should be greater"),
        ("[where]\nplane = 'axial'\nn = 2", "n stands in the table"),
        ("n = 2\n[[requests]]\nn = 1", "requests say n and where themselves"),
        ("n = ", "not valid TOML"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tiny_model: Path, tmp_path: Path, text: str, words: str) -> None:
    """One line that names the file and the key; nothing is made."""
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        ask("generate", tiny_model, "--config", tmp_path / "a.toml", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
