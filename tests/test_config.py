"""Settings in layers: files, later ones over earlier ones, and what is given on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import field_validator

from phonybrains.config import Config, load_config
from phonybrains.errors import ConfigError


class Part(Config):
    size: int = 1
    depth: int = 1


class Whole(Config):
    name: str = "a"
    part: Part = Part()

    @field_validator("name")
    @classmethod
    def _ends_in_no_dot(cls, name: str) -> str:
        if name == "b":
            raise ValueError("b is taken.")
        return name


@pytest.mark.parametrize(
    ("own", "given", "says"),
    [
        ("", {"nosuch": 1}, "configuration: nosuch: Extra inputs are not permitted. Known: name, part."),
        ("", {"name": "b"}, "configuration: name: b is taken."),
        ("name = 'b'", {}, "own.toml: name: b is taken."),
        ("part.size = 'x'", {"part": {"depth": 2}}, "own.toml: part.size: Input should be a valid integer"),
        ("part.size = 2", {"part": {"size": "x"}}, "configuration: part.size: Input should be a valid integer"),
        ("part.depth = 2", {"name": "c"}, "preset.toml: part.size: Input should be a valid integer"),
    ],
)
def test_an_error_names_the_layer_that_says_what_is_wrong(tmp_path: Path, own: str, given: dict[str, Any], says: str):
    """Not the preset for what the command line says, nor all files for what one of them does; one full stop ends it."""
    paths = tmp_path / "preset.toml", tmp_path / "own.toml"
    paths[0].write_text("part.size = 'small'" if says.startswith("preset") else "part.size = 1")
    paths[1].write_text(own)
    with pytest.raises(ConfigError) as caught:
        load_config(Whole, *paths, **given)
    said = str(caught.value)
    assert said.removeprefix(f"{tmp_path}/").startswith(says)
    assert ".." not in said


class Kinds(Config):
    n: int = 1
    share: float = 1.0
    on: bool = False
    start: str | None = None
    folder: Path | None = None
    sizes: tuple[int, ...] = ()
    where: dict[str, str | float] = {}
    parts: tuple[Part, ...] = ()


@pytest.mark.parametrize("text", ["\ufeffn = 2\n", "\ufeffn = 2\r\nshare = 1\r\n", "n = 2\r\n"])
def test_a_file_may_begin_and_end_its_lines_as_windows_has_them(tmp_path: Path, text: str):
    """Editors there write a byte order mark, which is no part of the first key."""
    (tmp_path / "own.toml").write_bytes(text.encode())
    assert load_config(Kinds, tmp_path / "own.toml").n == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n = true", "n: should be something else than true."),
        ("share = false", "share: should be something else than false."),
        ("where = 'CT'", "where: should be a table."),
        ("where = {modality = ['CT']}", "where.modality: Input should be a valid string."),
        ("parts = [3]", "parts.0: should be a table."),
        ("parts = [{size = 'x'}]", "parts.0.size: Input should be a valid integer"),
        ("sizes = 3", "sizes: should be a list."),
        ("folder = 3", "folder: should be a path, in quotes."),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_the_words_of_the_file(tmp_path: Path, text: str, says: str):
    """A switch is no number, though Python takes it for one; tables and lists are called what TOML calls them."""
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(Kinds, tmp_path / "own.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'own.toml'}: {says}")


def test_a_path_in_a_file_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on the command line; without, a folder of the name ~ was made where one stood."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.toml").write_text("folder = '~/corpus'\nstart = '~/model'\nwhere = {a = 'b~/c'}\non = true")
    found = load_config(Kinds, tmp_path / "own.toml")
    assert (found.folder, found.start) == (tmp_path / "corpus", str(tmp_path / "model"))
    assert (found.where, found.on) == ({"a": "b~/c"}, True)
