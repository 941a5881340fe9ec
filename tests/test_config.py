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
