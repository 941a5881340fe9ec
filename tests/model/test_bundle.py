"""The bundler: a class and what it needs from many modules, in one file that runs by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phonybrains.model.bundle import bundle

MODULES = {
    "__init__.py": "",
    "errors.py": '''"""Errors."""
class Fault(Exception):
    """What is wrong."""
class Other(Exception): ...
''',
    "deep/__init__.py": "",
    "deep/numbers.py": '''"""Numbers.

More about them.
"""
from __future__ import annotations
import math
from collections.abc import Callable, Iterator
import json
from json import dumps as write

Shape = Callable[[float], float]
"""From a number
to a number."""

# Twice π:
# the whole circle.
TAU = 2 * math.pi
FACTORS = {"one": 1.0}
FACTORS["two"] = FACTORS["deux"] = 2.0

def area(radius: float) -> float:
    """of a circle"""
    return half(TAU) * radius**2

def half(x):
    return x / 2

def unused() -> Iterator[str]:
    return iter(json.loads(write([])))
''',
    "model.py": '''"""The model."""
from __future__ import annotations
from dataclasses import dataclass, replace
from .deep.numbers import FACTORS, Shape, area
from .errors import Fault as Wrong, Other

@dataclass(frozen=True)
class Base:
    radius: float = 1.0

@dataclass(frozen=True)
class Circle(Base):
    """A circle."""

    @classmethod
    def load(cls) -> Circle:
        """From a file."""
        from .files import read

        return cls(read())

    def area(self, factor: str = "one", shape: Shape = area) -> float:
        if factor not in FACTORS:
            raise ValueError(factor)
        return FACTORS[factor] * shape(self.radius)

    def save(self) -> None:
        from .files import write
        write(self)
''',
    "files.py": "",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package with a class that needs three modules."""
    root = tmp_path / "circles"
    for name, text in MODULES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(text: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "bundle.py", "exec"), scope)
    return scope


def test_the_file_runs_by_itself(package: Path, tmp_path: Path):
    """Another Python, which knows nothing of the package, gets the same answer from it."""
    (tmp_path / "one.py").write_text(bundle(package, "model", "Circle", "One file."), encoding="utf-8")
    program = "from one import Circle; print(Circle(2.0).area('deux'))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.append('.'); {program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert float(done.stdout) == pytest.approx(25.1327412)


def test_only_what_is_needed_comes_along(package: Path):
    """What nothing names stays behind, and so do the imports that only that needs."""
    scope = run(bundle(package, "model", "Circle", "x"))
    assert {"Circle", "Base", "area", "half", "TAU", "FACTORS", "Shape", "math", "dataclass"} <= scope.keys()
    assert not {"unused", "json", "write", "Iterator", "Other", "Fault", "replace"} & scope.keys()
    assert scope["FACTORS"] == {"one": 1.0, "two": 2.0, "deux": 2.0}


def test_what_came_along_is_as_it_was_written(package: Path):
    """Docstrings, those of constants too, comments and decorators; headed by where they come from."""
    text = bundle(package, "model", "Circle", "One file.\n\nOf many.")
    assert text.startswith('"""One file.\n\nOf many."""\n\nfrom __future__ import annotations\n\nimport math\n')
    assert '# circles/deep/numbers.py\n# Numbers.\n\n\nShape = Callable[[float], float]\n"""From a number\n' in text
    assert "# Twice π:\n# the whole circle.\nTAU = 2 * math.pi\n" in text
    assert '    """of a circle"""\n' in text
    assert "@dataclass(frozen=True)\nclass Base:" in text
    assert text.count("import annotations") == 1
    assert text == bundle(package, "model", "Circle", "One file.\n\nOf many.")


def test_methods_that_need_the_package_are_left_out(package: Path):
    """Loading and saving import from the package when they are called, so they are not there; the rest is."""
    text = bundle(package, "model", "Circle", "x")
    assert [name for name in vars(run(text)["Circle"]) if not name.startswith("_")] == ["area"]
    assert "from ." not in text
    assert text.endswith("shape(self.radius)\n")


@pytest.mark.parametrize("second", ["def half(x): ...", "from operator import neg as half"])
def test_one_name_for_two_things_is_refused(package: Path, second: str):
    """Two modules that define the same name cannot lie in one file; nor can a definition and an import."""
    edit(package / "model.py", "@dataclass(frozen=True)\nclass Base:", f"{second}\n\nclass Base:\n    limit = half(4)")
    with pytest.raises(ValueError, match="half means two things: "):
        bundle(package, "model", "Circle", "x")


def test_a_renamed_import_from_the_package_is_refused(package: Path):
    """In one file a thing has one name, so `import … as …` within the package would be lost without a word."""
    edit(package / "model.py", "raise ValueError(factor)", "raise Wrong(factor)")
    with pytest.raises(ValueError, match="model: Wrong is Fault in errors; import it by its own name"):
        bundle(package, "model", "Circle", "x")


def test_modules_are_not_names(package: Path):
    """`from . import module` would be needed at run time, when there is no module."""
    edit(package / "model.py", "from .deep.numbers import FACTORS, Shape, area", "from .deep import numbers")
    edit(package / "model.py", "FACTORS[factor] * shape", "numbers.FACTORS[factor] * shape")
    with pytest.raises(ValueError, match="model: numbers is not defined in deep; import it from where it is"):
        bundle(package, "model", "Circle", "x")


def test_a_module_that_does_more_than_define_is_refused(package: Path):
    """What happens at import would be lost."""
    edit(package / "deep" / "numbers.py", "FACTORS = {", "print('loaded')\nFACTORS = {")
    with pytest.raises(ValueError, match=r"deep\.numbers, line 18: a bundled module can only define"):
        bundle(package, "model", "Circle", "x")
