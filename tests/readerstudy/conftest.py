"""One small study for all tests, and its pages as a browser sees them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from phonybrains.readerstudy.study import Study
from tests.conftest import one_at_a_time
from tests.support.study_files import make_study
from tests.support.study_web import Served, served


@pytest.fixture(scope="session")
def small_study(shared_folder: Path) -> Path:
    """The folder of a study of 34 presentations, without answers. Made once a run; do not change it, copy it."""
    with one_at_a_time(shared_folder, "small-study") as folder:
        return folder / "study" if (folder / "study").exists() else make_study(folder)


@pytest.fixture
def study_folder(small_study: Path, tmp_path: Path) -> Path:
    """A copy of the small study for one test, that may be served, changed and broken."""
    return shutil.copytree(small_study, tmp_path / "study")


@pytest.fixture(scope="session")
def study(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study, whose answers lie in databases elsewhere."""
    return Study.open(shutil.copytree(small_study, tmp_path_factory.mktemp("study") / "study"))


@pytest.fixture
def site(study: Study, tmp_path: Path) -> Iterator[Served]:
    """The small study being served, without answers."""
    with served(study, f"sqlite:///{tmp_path / 'answers.db'}") as running:
        yield running
