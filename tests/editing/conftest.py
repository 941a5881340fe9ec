"""One edited set for all: variations, of little strength, of training phantoms by a model that learnt from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from phonybrains.editing.config import Vary
from phonybrains.editing.stage import edit
from phonybrains.imageset import ImageSet, write_metadata
from phonybrains.record import Record, as_input, publish
from tests.conftest import one_at_a_time
from tests.support.image_files import copied


@pytest.fixture(scope="session")
def some_training(shared_folder: Path, phantom_corpus: Path) -> Path:
    """The training phantoms of the corpus alone, as a set whose record leads to phantoms."""
    with one_at_a_time(shared_folder, "some-training") as out:
        if out.exists():
            return out
        record = Record("part", inputs=[as_input(phantom_corpus)])
        with publish(out, record) as draft:
            write_metadata(draft, copied(ImageSet.open(phantom_corpus).where(split="train"), draft))
        return out


@pytest.fixture(scope="session")
def varied(shared_folder: Path, some_training: Path, tiny_model: Path) -> Path:
    """Two variations of each at strength .1; a page of them lies beside the set, as varied.html."""
    with one_at_a_time(shared_folder, "varied") as out:
        how = Vary(strength=0.1, n=2, steps=2)
        return edit(some_training, out, how, model=tiny_model, report=shared_folder / "varied.html", show=False)
