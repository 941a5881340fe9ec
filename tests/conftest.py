"""Settings of all tests: the same examples in every run, and no fight of torch's threads over the cores."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: more threads slow small tensors down

settings.register_profile("phonybrains", derandomize=True, deadline=None, database=None)
settings.load_profile("phonybrains")
