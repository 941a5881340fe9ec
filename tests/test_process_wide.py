"""What is changed for the whole process is as before when the last thread is done with it."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

import pytest
from PIL import Image, ImageFile

from phonybrains.importing.dicom.header import LOGGERS, quiet
from phonybrains.pictures.codecs import strict_pillow
from phonybrains.process_wide import ERRORS, OUTPUT, process_wide, silenced, whole_steps, without_warnings


def overlapping(change: Callable[[], AbstractContextManager[object]], meanwhile: Callable[[], object]) -> None:
    """Four threads inside at once; the first to come is not the last to leave."""

    def inside(seconds: float) -> None:
        with change():
            meanwhile()
            time.sleep(seconds)

    with ThreadPoolExecutor() as pool:
        list(pool.map(inside, [0.02, 0.05, 0.01, 0.03]))


@pytest.mark.parametrize("descriptor", [OUTPUT, ERRORS])
def test_silence_ends_for_all_threads(capfd: pytest.CaptureFixture[str], descriptor: int) -> None:
    """However threads that load networks or decode files overlap, what is printed afterwards is seen."""
    overlapping(partial(silenced, descriptor), lambda: os.write(descriptor, b"what a library says"))
    os.write(descriptor, b"done")
    assert capfd.readouterr()[descriptor - 1] == "done"


def settings() -> list[object]:
    logs = [(logging.getLogger(name).level, logging.getLogger(name).disabled) for name in (*LOGGERS, "tifffile")]
    return [logs, list(warnings.filters), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES]


@pytest.mark.parametrize("change", [quiet, strict_pillow, without_warnings])
def test_settings_of_libraries_come_back(change: Callable[[], AbstractContextManager[object]]) -> None:
    """Whoever uses pydicom, Pillow or warnings after an import finds them as they were."""
    before = settings()
    meanwhile: list[list[object]] = []
    overlapping(change, lambda: meanwhile.append(settings()))
    assert settings() == before
    assert before not in meanwhile


def test_a_change_that_fails_leaves_nobody_inside() -> None:
    """An error while it is made, or while it lasts, is the caller's, and the next one makes it anew."""
    made: list[str] = []

    @process_wide
    def change(name: str) -> AbstractContextManager[object]:
        made.append(name)
        if len(made) == 1:
            raise OSError(name)
        return silenced(OUTPUT)

    with pytest.raises(OSError, match="a"), change("a"):
        pass
    with pytest.raises(ValueError, match="b"), change("a"):
        raise ValueError("b")
    with change("a"), change("a"):
        pass
    assert made == ["a", "a", "a"]


def test_a_signal_waits_for_the_end_of_a_step_and_a_second_one_does_not():
    """The step is told of the first; the second interrupts it; afterwards signals are as before."""
    before = signal.getsignal(signal.SIGINT)
    with whole_steps() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_so():
    """As under nohup, where a step is told of none."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with whole_steps() as interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGTERM, before)
