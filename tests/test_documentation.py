"""The documentation is complete and true: what exists is described, and what is described exists."""

from __future__ import annotations

import inspect
import pkgutil
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import phonybrains
from phonybrains.cli import parser as cli
from phonybrains.config import Config, load_config
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.finetuning.config import FinetuneConfig
from phonybrains.generating.config import GenerateFile
from phonybrains.importing.config import ImportConfig
from phonybrains.predicting.config import PredictConfig
from phonybrains.readerstudy.config import StudyConfig, load_study_config
from phonybrains.remote.config import ImagineConfig, load_imagine_config
from phonybrains.training.config import TrainConfig, load_train_config
from tests.support.places import ROOT

SKILL = ROOT / "skills" / "phonybrains" / "SKILL.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "commands.md")  # made from the parser, so it would describe whatever is there
ALL_PAGES = [*PAGES, SKILL, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "LOG.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

Pages = pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)


def fences(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(app: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and sub-command of a cyclopts app; flags such as --help are not commands."""
    for name in app:
        if not name.startswith("-"):
            children = list(commands(app[name], (*prefix, name)))
            yield from children or [(*prefix, name)]


def shown_commands() -> list[str]:
    """Every command line in a shell block of the documentation, without prompt and comment, continued lines joined."""
    blocks = "\n".join(block for page in ALL_PAGES for block in fences(page, "(?:bash|console|sh)?"))
    lines = (line.strip().removeprefix("$ ") for line in blocks.replace("\\\n", " ").splitlines())
    return sorted({line.partition("  #")[0].strip() for line in lines if line.startswith("phonybrains ")})


def configuration_keys(kind: type[Config]) -> set[str]:
    """Every key that a TOML file for this configuration can hold, those of the tables inside it too."""
    schema = kind.model_json_schema()
    tables = [schema, *schema.get("$defs", {}).values()]
    return {key for table in tables for key in table.get("properties", {})}


def tracked_files() -> list[Path]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        pytest.skip("not a git checkout")
    return [path for name in run.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_command_is_described():
    """Each command appears on a page as it is typed."""
    missing = [" ".join(c) for c in commands(cli.app) if not re.search(rf"phonybrains {' '.join(c)}\b", TEXT)]
    assert missing == []


@pytest.mark.parametrize("line", shown_commands())
def test_a_command_in_the_documentation_parses(line: str):
    """No page shows a command or an option that does not exist."""
    tokens = shlex.split(line, comments=True)[1:]
    if tokens != ["--help"] and tokens != ["--version"]:
        cli.app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_the_skill_says_when_to_use_it():
    """Its front matter has the name of its folder and a description, as short as agents take them."""
    head = SKILL.read_text(encoding="utf-8").split("---\n")[1]
    said = dict(line.split(": ", 1) for line in head.splitlines())
    assert said.keys() == {"name", "description"}
    assert said["name"] == SKILL.parent.name
    assert 0 < len(said["description"]) <= 1024
    assert ": " not in said["description"]


def test_public_functions_take_paths_as_words():
    """Wherever a public function takes a path, a string does, as the examples of the documentation give them."""
    public = [getattr(phonybrains, name) for name in phonybrains.__all__]
    functions = [one for one in public if inspect.isfunction(one)]
    taken = [(f.__name__, p) for f in functions for p in inspect.signature(f).parameters.values()]
    paths = [(name, p) for name, p in taken if "Path" in str(p.annotation)]
    assert len(paths) > 20
    assert not [f"{name}: {p}" for name, p in paths if "str" not in str(p.annotation)]


def test_every_public_name_is_described():
    """What `import phonybrains as pb` offers has a docstring and appears on a page as `pb.name`."""
    for name in phonybrains.__all__:
        value = getattr(phonybrains, name)
        if callable(value):
            assert inspect.getdoc(value), f"{name} has no docstring"
        assert re.search(rf"\bpb\.{name}\b", TEXT), f"{name} is on no page"


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("import.md", ImportConfig),
        ("train.md", TrainConfig),
        ("evaluation.md", EvaluateConfig),
        ("finetune.md", FinetuneConfig),
        ("generate.md", GenerateFile),
        ("predict.md", PredictConfig),
        ("reader-study.md", StudyConfig),
        ("text-to-image.md", ImagineConfig),
    ],
)
def test_every_configuration_key_is_described(page: str, kind: type[Config]):
    """Each key of each TOML file appears in backticks on the page of its command."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [key for key in sorted(configuration_keys(kind)) if f"`{key}`" not in text] == []


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page, "toml")], ids=lambda page: page.name)
def test_examples_of_configuration_are_valid(page: Path, tmp_path: Path):
    """Each TOML example is accepted by the command that its page is about."""
    example = tmp_path / "example.toml"
    loaders = {
        "train.md": lambda: load_train_config("cpu", example),
        "guided.md": lambda: load_train_config("cpu", example),
        "evaluation.md": lambda: load_config(EvaluateConfig, example),
        "gan.md": lambda: load_train_config("gan", example),
        "finetune.md": lambda: load_config(FinetuneConfig, example),
        "generate.md": lambda: load_config(GenerateFile, example),
        "reader-study.md": lambda: load_study_config("controlled", example),
        "text-to-image.md": lambda: load_imagine_config("paper", example, n=1),
    }
    for block in fences(page, "toml"):
        example.write_text(block, encoding="utf-8")
        loaders.get(page.name, lambda: load_config(ImportConfig, example))()


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page, "python")], ids=lambda page: page.name)
def test_python_examples_use_names_that_exist(page: Path):
    """Each Python example compiles, and what it takes from the package is public."""
    for block in fences(page, "python"):
        compile(block, page.name, "exec")
        unknown = set(re.findall(r"\bpb\.(\w+)", block)) - set(phonybrains.__all__)
        assert not unknown, f"not public: {', '.join(sorted(unknown))}"


@Pages
def test_code_that_is_named_exists(page: Path):
    """`phonybrains.module.name`, `src/…`, `docs/…` and `tests/file.py::test` in backticks are there."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`(phonybrains(?:\.\w+)+)(?:\(\))?`", text):
        pkgutil.resolve_name(name)
    for name, test in re.findall(r"`((?:src|docs|tests|recipes|\.ci)/[\w./-]+)(?:::(\w+))?`", text):
        path = ROOT / name
        assert path.exists(), f"{name} does not exist"
        if test:
            assert re.search(rf"^(?:def|class) {test}\b", path.read_text(encoding="utf-8"), re.MULTILINE), f"no {test}"


@Pages
def test_links_lead_somewhere(page: Path):
    """Each relative link or picture points to a file in the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert broken == []


def test_no_file_names_a_machine_or_a_registry():
    """What is tracked works anywhere: no path of one machine, no address of a package registry."""
    places = (r"(?<![\w.])/" + "work/", r"/opt/" + "wheels", r"/opt/" + "pypi")
    registries = (r"pypi" + r"\.org", "pythonhosted" + r"\.org", r"registry\.npm" + r"js", r"download\.py" + r"torch")
    forbidden = re.compile("|".join((*places, *registries, r"deb\." + "debian")))
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}:{i}: {m[0]}" for i, t in enumerate(lines, 1) if (m := forbidden.search(t))]
    assert found == []
