"""A text-to-image service on this machine, and its key in the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phonybrains.remote import reading
from tests.support import fault_server
from tests.support.fault_server import FaultServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("OPENAI_API_KEY", fault_server.KEY)
    monkeypatch.setattr(reading, "PAUSE_S", 0.01)
    with fault_server.serving() as state:
        yield state
