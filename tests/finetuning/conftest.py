"""Fine-tuned models of every family, each made once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phonybrains.finetuning.stage import finetune
from tests.conftest import one_at_a_time
from tests.support.stable_diffusion_files import make_base

LOOP: dict[str, Any] = {"steps": 6, "batch_size": 4, "learning_rate": 3e-3, "warmup": 1, "validate_every": 6}
QUICK: dict[str, Any] = {"show": False, "precision": "fp32", "rank": 4, "steps": 3, "min_patients": 0, "loop": LOOP}
Made = Callable[[str], Path]


@pytest.fixture(scope="session")
def made(shared_folder: Path, phantom_corpus: Path) -> Made:
    """The model of a family; its base lies in `bases` beside it. Do not change either, copy it."""

    def of_family(kind: str) -> Path:
        with one_at_a_time(shared_folder, f"model-{kind}") as place:
            base = place / "bases" / kind
            if not base.exists():
                make_base(base, kind)
            return finetune(str(base), phantom_corpus, place / f"model-{kind}", **QUICK)

    return of_family
