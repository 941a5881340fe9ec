"""docs/architecture.md draws the house as it is: every room named there exists, and the other way round."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.support.places import ROOT

PACKAGE = ROOT / "src" / "phonybrains"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def first_column(header: str) -> list[list[str]]:
    """The names in backticks in the first cell of each row of the table under this header."""
    table = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert cells
    return [re.findall(r"`([\w.]+)`", cell) for cell in cells]


def rooms() -> set[str]:
    """Every package of the source, a folder of numbered migrations apart."""
    folders = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")}
    return {".".join(folder.parts) for folder in folders} - {"", "readerstudy.store.migrations.versions"}


def test_every_room_is_drawn_and_every_room_drawn_exists():
    """A newcomer finds on the page what lies in the tree, and in the tree what stands on the page."""
    drawn = [name for row in first_column("room") for name in row]
    assert sorted(drawn) == sorted(rooms())


def test_the_layers_drawn_are_those_that_are_checked():
    """Row by row, from the top: the page shows what import-linter holds."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    checked = [[name for name in re.split(r" [|:] ", layer) if "(" not in name] for layer in layers]
    assert [sorted(row) for row in first_column("layer")] == [sorted(row) for row in checked if row]


def test_tests_lie_as_the_source_does():
    """Every folder of tests is named after a package, or is that of the measurements."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")} - {Path()}
    assert folders
    assert {".".join(folder.parts) for folder in folders} <= {*rooms(), "bench"}
