"""What the tests of a PACS share: an Orthanc for all of a module, and nobody's login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.orthanc import Orthanc, orthanc


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login, no certificate, and a key of pseudonyms of this test's own."""
    for name in ("PACS_USER", "PACS_PASSWORD", "PACS_CA", "PACS_CERT", "PACS_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that lets everybody in, but answers to its own AE title alone."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running
