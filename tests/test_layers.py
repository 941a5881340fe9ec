"""The layers of CONTRIBUTING.md hold: who may import whom, and who does without torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import metadata
from pathlib import Path

from tests.support.places import ROOT

PACKAGE = ROOT / "src" / "phonybrains"
LIGHT = (
    "",
    "cli.app",
    "cli.model",
    "cli.study",
    "imageset",
    "record",
    "config",
    "release_gate",
    "importing.stage",
    "phantom.corpus",
    "statistics",
    "readerstudy.analyse",
    "readerstudy.design.stage",
    "readerstudy.web.serve",
)
"""Modules that start without torch."""


def top_level_imports(path: Path) -> set[str]:
    """The first part of every absolute import in a file; a relative import that leaves its package is '..'."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(".." if node.level > 1 else "." if node.level else (node.module or "").partition(".")[0])
    return found


def test_import_contracts_are_kept():
    """Imports go downward only, stages do not know each other, and every module has its place in pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([program, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_diffusion_imports_only_torch_and_the_standard_library():
    """The mathematics is torch in, torch out; no numpy, no files, no networks of its own."""
    files = sorted((PACKAGE / "diffusion").glob("*.py"))
    assert files
    no_input_or_output = {"io", "os", "pathlib", "shutil", "json", "csv", "tempfile", "subprocess", "socket"}
    for path in files:
        others = top_level_imports(path) - {"torch", "."} - (set(sys.stdlib_module_names) - no_input_or_output)
        assert not others, f"{path.name} imports {', '.join(sorted(others))}"


def test_every_imported_package_is_declared():
    """What the package imports is a dependency in pyproject.toml, not a guest of another dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = ("c2pa", "compile", "finetune", "mcp", "pacs", "remote")
    extras = [line for name in named for line in project["optional-dependencies"][name]]
    declared = {re.split(r"[<>=\[ ]", line)[0].lower() for line in [*project["dependencies"], *extras]}
    imported = set().union(*(top_level_imports(path) for path in PACKAGE.rglob("*.py")))
    providers = metadata.packages_distributions()
    missing = {
        name
        for name in imported - set(sys.stdlib_module_names) - {".", "..", "phonybrains"}
        if not declared & {provider.lower() for provider in providers.get(name, [name])}
    }
    assert missing == set()


def test_every_folder_of_modules_is_a_package():
    """A folder without __init__.py is left out by the import contracts; code in a shipped model is no module."""
    folders = {path.parent for path in PACKAGE.rglob("*.py") if PACKAGE / "shipped" not in path.parents}
    assert [str(f.relative_to(ROOT)) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []


def test_light_modules_start_without_torch():
    """`phonybrains --help`, imports and a study server do not wait for torch."""
    program = (
        "import sys\nfrom importlib import import_module\n"
        f"for name in {LIGHT}:\n    import_module(f'phonybrains.{{name}}'.rstrip('.'))\n"
        "    assert not {'torch', 'diffusers', 'accelerate'} & {*sys.modules}, name"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_class_name_means_one_thing():
    """Whoever reads a name of a class knows which one it is."""
    files = [path for path in PACKAGE.rglob("*.py") if PACKAGE / "shipped" not in path.parents]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []
