"""What tests of the evaluation share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from phonybrains.evaluation.quality import c2st


@pytest.fixture(scope="module")
def few_trees() -> Iterator[None]:
    """A forest of 10 trees, not 50, in the two-sample test: five times as fast, and no claim rests on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c2st, "forest", partial(c2st.forest, 10))
        yield
