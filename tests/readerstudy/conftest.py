"""One small study for all tests, and its pages as a browser sees them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.readerstudy.design import leakage
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.store import open_store
from phonybrains.readerstudy.study import Study
from tests.conftest import one_at_a_time
from tests.support.study_files import make_sets, small_config
from tests.support.study_web import Script, Served, served


@pytest.fixture(scope="module")
def remembered_features() -> Iterator[None]:
    """What the leakage gate measures of an image is measured once a module: most gates see the same images again."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("encoding_features", "image_statistics", "missing_levels", "rim_crops", "window_features"):
            patch.setattr(leakage, name, _remembering(getattr(leakage, name)))
        yield


def _remembering(measure: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    known: dict[tuple[tuple[int, ...], bytes], Any] = {}

    def remembered(image: np.ndarray) -> Any:
        key = (image.shape, image.tobytes())
        if key not in known:
            known[key] = measure(image)
        return known[key]

    return remembered


@pytest.fixture(scope="session")
def sets(shared_folder: Path) -> tuple[Path, Path]:
    """Synthetic and real image sets of 80 phantoms. Made once a run; do not change them, copy them."""
    with one_at_a_time(shared_folder, "small-sets") as folder:
        return make_sets(folder)


@pytest.fixture(scope="session")
def small_study(shared_folder: Path, sets: tuple[Path, Path]) -> Path:
    """The folder of a study of 34 presentations, without answers. Made once a run; do not change it, copy it."""
    with one_at_a_time(shared_folder, "small-study") as folder:
        return design_study([sets[0]], sets[1], folder, small_config(), show=False)


@pytest.fixture
def study_folder(small_study: Path, tmp_path: Path) -> Path:
    """A copy of the small study for one test, that may be served, changed and broken."""
    return shutil.copytree(small_study, tmp_path / "study")


@pytest.fixture(scope="session")
def study(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study, whose answers lie in databases elsewhere."""
    return Study.open(shutil.copytree(small_study, tmp_path_factory.mktemp("study") / "study"))


@pytest.fixture(scope="session")
def begun_study(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study with a database of its own, in which nobody reads. Do not change it, copy it."""
    folder = tmp_path_factory.mktemp("begun") / "study"
    shutil.copytree(study.folder, folder, ignore=shutil.ignore_patterns("*.db*", "log*"))
    begun = replace(study, folder=folder)
    open_store(begun).close()
    return begun


@pytest.fixture
def site(begun_study: Study, tmp_path: Path) -> Iterator[Served]:
    """The small study being served, without answers."""
    folder = shutil.copytree(begun_study.folder, tmp_path / "study")
    with served(replace(begun_study, folder=folder)) as running:
        yield running


@pytest.fixture(scope="module")
def refusing(begun_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    """A reader who has answered nothing, for what is refused and changes nothing."""
    folder = shutil.copytree(begun_study.folder, tmp_path_factory.mktemp("refusing") / "study")
    with served(replace(begun_study, folder=folder)) as running:
        yield running.reader()
        assert running.store.answers() == []
        running.store.verify_audit()
