"""What libraries print is kept off the terminal, and nothing else is."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from phonybrains.silence import ERRORS, OUTPUT, silenced


@pytest.mark.parametrize("descriptor", [OUTPUT, ERRORS])
def test_silence_ends_for_all_threads(capfd: pytest.CaptureFixture[str], descriptor: int) -> None:
    """However threads that load networks or decode files overlap, what is printed afterwards is seen."""

    def load(seconds: float) -> None:
        with silenced(descriptor):
            os.write(descriptor, b"what a library says")
            time.sleep(seconds)

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, [0.02, 0.05, 0.01, 0.03]))
    os.write(descriptor, b"done")
    assert capfd.readouterr()[descriptor - 1] == "done"
