"""What the package is passed on as: a wheel, a container, a citation, a card for a model hub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from phonybrains import __version__
from phonybrains.imageset import ImageSet
from phonybrains.model.finding import shipped_models
from phonybrains.model.training_data import HUB_LICENCE, licence
from tests.support.places import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DEFINITION = (ROOT / "phonybrains.def").read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of this name in the Dockerfile, continued lines joined."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def section(name: str) -> str:
    """A section of the definition for Apptainer."""
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", DEFINITION, re.MULTILINE | re.DOTALL)
    assert found, f"no %{name}"
    return found[1]


def words(shell: str) -> list[str]:
    """What a script says, however its commands are joined."""
    return re.sub(r"&&|;|\n", " ", shell).split()


def test_the_dockerfile_has_nothing_that_a_linter_objects_to():
    """hadolint, with all its rules."""
    linter = Path(sysconfig.get_path("scripts")) / "hadolint"
    run = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert run.stdout + run.stderr == ""


def test_a_container_runs_as_nobody_in_particular():
    """The last user of the Dockerfile is a number and not root, and the entry is the command."""
    assert int(instructions("USER")[-1]) > 0
    assert instructions("ENTRYPOINT") == ['["phonybrains"]']


def test_both_containers_are_built_by_the_same_commands():
    """The definition for Apptainer starts from the Dockerfile's image, copies its files and runs its commands."""
    assert re.findall(r"^From: (\S+)", DEFINITION, re.MULTILINE) == [instructions("FROM")[-1]]
    copied = [name for line in instructions("COPY")[:3] for name in line.split()[:-1]]
    assert [line.split()[0] for line in section("files").splitlines() if line] == copied
    setup = ['set -e TORCH_INDEX="{{ TORCH_INDEX }}"', f"export {instructions('ENV')[0]}", "cd /src"]
    assert words(section("post")) == words(" ".join([*setup, *instructions("RUN")[:2], "rm -r /src"]))
    assert section("arguments").strip() == instructions("ARG")[0]


def test_the_context_of_a_container_holds_what_is_copied_and_no_more():
    """.dockerignore lets through the files that the Dockerfile copies, and nothing else of a checkout."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {name for line in instructions("COPY")[:3] for name in line.split()[:-1]}
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored


def test_a_wheel_holds_what_the_package_reads_and_starts_the_command(tmp_path: Path):
    """Every file of the package that git tracks is in the wheel, and its console script runs from nothing else."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(wheel) as archive:
        assert {f"src/{name}" for name in archive.namelist()} >= set(tracked.stdout.split())
        archive.extractall(tmp_path / "site")
    [entry] = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    assert "phonybrains = phonybrains.cli.app:main" in entry.read_text(encoding="utf-8")
    command = "import sys; sys.argv[1:] = ['model', 'card', 'heads']; from phonybrains.cli.app import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run(
        [sys.executable, "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "head images" in run.stdout


def test_the_citation_says_what_the_format_asks_for():
    """CITATION.cff has the keys that CFF 1.2.0 requires, of the package's version, and leads to the paper."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["cff-version"], str(citation["version"])) == ("1.2.0", __version__)
    assert citation["type"] in ("software", "dataset")
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        for one in reference["authors"]:
            assert one.keys() <= {"name", "family-names", "given-names"}
    known = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8").replace("\n", " ")
    assert citation["references"][0]["title"] in known


def test_a_card_is_one_that_the_hub_takes():
    """The Hub's library reads a card's metadata and writes it back unchanged; the licence is one that the Hub knows."""
    cards = [(folder / "README.md").read_text(encoding="utf-8") for folder in shipped_models().values()]
    for text in cards:
        data = ModelCard(text, ignore_metadata_errors=False).data
        assert isinstance(data, ModelCardData)
        written = data.to_dict()
        assert ModelCardData(**written).to_dict() == written
        assert HUB_LICENCE.fullmatch(written["license"])
        assert (data.library_name, data.pipeline_tag) == ("diffusers", "unconditional-image-generation")
        assert data.tags is not None
        assert all(re.fullmatch("[a-z-]+", tag) for tag in data.tags)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("CC0-1.0", {"license": "cc0-1.0"}),
        ("Data use agreement: no. 7", {"license": "other", "license_name": "data-use-agreement-no.-7"}),
        ("", {}),
    ],
)
def test_a_licence_is_spelt_as_the_hub_does(given: str, said: dict[str, str], tmp_path: Path):
    """The Hub refuses a card whose licence it does not know: such a one is `other`, with its name beside it."""
    images = ImageSet(tmp_path, (), 0, 0, 8, {"sources": [{"name": "scans", "licence": given}]})
    assert (yaml.safe_load(licence(images)) or {}) == said
