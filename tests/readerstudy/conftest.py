"""One small study for all tests, and its pages as a browser sees them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.readerstudy.design import leakage
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.study import Study
from tests.conftest import one_at_a_time
from tests.support.study_files import make_sets, small_config
from tests.support.study_web import Served, served


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


@pytest.fixture
def site(study: Study, tmp_path: Path) -> Iterator[Served]:
    """The small study being served, without answers."""
    with served(study, f"sqlite:///{tmp_path / 'answers.db'}") as running:
        yield running
