"""Images sent to a real Orthanc and fetched from it, whole, refused, and broken off in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from phonybrains.errors import OutputError, PeerError, SourceError
from phonybrains.exporting.send import send
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, ImportReport, import_images
from phonybrains.importing.pseudonym import load_key, pseudonym
from phonybrains.record import read_record
from tests.support.imports import reasons, table
from tests.support.orthanc import (
    OPEN,
    Orthanc,
    SlowLine,
    certificate,
    kill_when,
    orthanc,
    pixels_of,
    small_disk,
    write_heads,
)
from tests.support.study_server import free_port
from tests.support.web_server import until

pytestmark = pytest.mark.needs("Orthanc")
CONFIG = ImportConfig(size=16, bits=16, window=None)


def fetched(out: Path, *sources: str | Path) -> ImportReport:
    return import_images(sources, out, CONFIG, progress=False)


def come(out: Path) -> list[Path]:
    """The files that have been fetched for an import so far."""
    return [path for path in out.with_name(f"{out.name}.originals").rglob("*.dcm") if ".dcm." not in path.name]


def test_a_thousand_images_there_and_back(tmp_path: Path):
    """Sent by C-STORE and fetched by C-GET, the PACS killed in the middle of both: the same call goes on each time.

    In the end the PACS has each of the 1000 once, none of which was sent again that it had, and each has come back
    once, with the pixels that it had; an import has them all, none like another.
    """
    folder, ledger, out = write_heads(tmp_path / "heads", 1000), tmp_path / "heads.sent.csv", tmp_path / "corpus"
    with orthanc(tmp_path / "orthanc") as server:
        killing = kill_when(server, lambda: ledger.exists() and ledger.read_bytes().count(b"\n") > 300)
        with pytest.raises(PeerError, match=r"of 1000 images are there: give the same command again to go on\.$"):
            send(folder, server.pacs(), show=False)
        killing.join()
        before = len(server.start())
        assert 0 < before < 1000
        delivery = send(folder, server.pacs(), show=False)
        assert (delivery.images, delivery.sent, len(server)) == (1000, 1000 - before, 1000)
        rows = Counter(row["instance"] for row in table(ledger) if row["outcome"] in ("sent", "was there"))
        assert len(rows) == 1000
        assert ledger.stat().st_mode & 0o777 == 0o600
        assert send(folder, server.pacs(), show=False).sent == 0

        killing = kill_when(server, lambda: len(come(out)) > 300)
        with pytest.raises(PeerError, match=r"of 1000 images have come and are kept: give the same command again"):
            fetched(out, server.pacs("?modality=CT"))
        killing.join()
        kept = {path.name for path in come(out)}
        assert 300 < len(kept) < 1000
        server.start()
        report = fetched(out, server.pacs("?modality=CT"))
    assert report.results["total"] == 1000
    assert kept <= {path.name for path in come(out)}
    assert pixels_of(out.with_name("corpus.originals")) == pixels_of(folder)


def test_by_dicomweb_too(tmp_path: Path):
    """By STOW-RS and WADO-RS, the PACS killed in the middle of both: the same call goes on, nothing double or lost."""
    folder, ledger, out = (
        write_heads(tmp_path / "heads", 120, per_series=40),
        tmp_path / "heads.sent.csv",
        tmp_path / "c",
    )
    with orthanc(tmp_path / "orthanc") as server:
        killing = kill_when(server, ledger.exists)
        with pytest.raises(PeerError, match=r"of 120 images are there: give the same command again to go on\.$"):
            send(folder, server.web(), show=False)
        killing.join()
        before = len(server.start())
        assert 20 <= before < 120
        assert send(folder, server.web(), show=False).sent == 120 - before
        assert len(server) == 120
        killing = kill_when(server, lambda: len(come(out)) > 10)
        with pytest.raises(PeerError, match=r"of 120 images have come and are kept: give the same command again"):
            fetched(out, server.web("?modality=CT"))
        killing.join()
        server.start()
        assert fetched(out, server.web("?modality=CT")).results["total"] == 120
    assert pixels_of(out.with_name("c.originals")) == pixels_of(folder)


@pytest.fixture(scope="module")
def filled(server: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """The module's Orthanc with 3 series of 4 heads, and 10 of 1 with a neck in the tenth."""
    folder = tmp_path_factory.mktemp("heads")
    write_heads(folder / "a", 12, "1.2.826.0.1.3680043.8.498.8", per_series=4)
    write_heads(folder / "b", 10, "1.2.826.0.1.3680043.8.498.9", per_series=1)
    send(folder, server.pacs(), show=False)
    return server


@pytest.mark.parametrize("way", ["pacs", "web"])
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?modality=CT&description=NECK", 1),
        ("?modality=CT&description=Head%20axial*", 21),
        ("?description=*axial%201", 5),
        ("?study_date=2022", 5),
        ("?study_date=20250101-", 5),
        ("?patient=Müller-1", 5),
        ("?patient=M?ller-9", 1),
    ],
)
def test_a_query_finds_what_it_says(filled: Orthanc, tmp_path: Path, way: str, query: str, count: int):
    """By C-FIND and by QIDO-RS alike: wildcards, blanks, years, letters beyond ASCII."""
    assert fetched(tmp_path / "out", getattr(filled, way)(query)).results["total"] == count


@pytest.mark.parametrize("way", ["pacs", "web"])
def test_nothing_found_is_said(filled: Orthanc, tmp_path: Path, way: str):
    """A query that matches nothing is an error in a line, and leaves nothing behind."""
    with pytest.raises(SourceError, match="no CT or MR image matches the query"):
        fetched(tmp_path / "out", getattr(filled, way)("?modality=MR"))
    assert not any((tmp_path / "out.originals").iterdir())


def test_several_sources_and_a_record_that_tells_of_nobody(filled: Orthanc, tmp_path: Path):
    """A PACS by both ways and a folder make one set; PACS and query stand in the record, no patient, date or UID."""
    extra = write_heads(tmp_path / "extra", 3, "1.2.826.0.1.3680043.8.498.11")
    sources = (filled.pacs("?patient=Müller-1&study_date=20210131"), extra, filled.web("?description=NECK"))
    report = fetched(tmp_path / "out", *sources)
    assert report.results["total"] == 5 + 3 + 1
    record = read_record(tmp_path / "out")
    asked = [item["record"].get("config", {}) for item in record["inputs"]]
    whose = pseudonym("Müller-1", load_key())
    assert asked[0]["pacs"] == f"pacs://127.0.0.1:{filled.dicom_port}/ORTHANC"
    assert asked[0]["query"] == {"patient": whose, "study_date": "2021"}
    assert asked[2]["query"] == {"description": "NECK"}
    assert whose in {row["patient_id"] for row in ImageSet.open(tmp_path / "out").rows}
    told = [json.dumps(record, ensure_ascii=False), (tmp_path / "out/metadata.csv").read_text(encoding="utf-8")]
    told += [str(path.relative_to(tmp_path)) for path in come(tmp_path / "out")]
    for secret in ("Müller", "0131", "1.2.826"):
        assert not [text for text in told if secret in text]
    assert (tmp_path / "out.originals").stat().st_mode & 0o777 == 0o700
    filled.kill()
    try:
        assert fetched(tmp_path / "out", *sources).finished_before, "what has been fetched is not asked for again"
    finally:
        filled.start()


# --- Refused, unreachable, slow, full --------------------------------------------------------------------------------


def both(address: str, folder: Path, out: Path) -> list[str]:
    """What is said when an address is fetched from and sent to, in vain."""
    said = []
    for way in (
        lambda: fetched(out, f"{address}?timeout=2&modality=CT"),
        lambda: send(folder, f"{address}?timeout=2", show=False),
    ):
        with pytest.raises(PeerError) as error:
            way()
        said.append(str(error.value))
    return said


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("one") / "head", 1, "1.2.826.0.1.3680043.8.498.12")


def test_nobody_there(filled: Orthanc, head: Path, tmp_path: Path):
    """A port nobody listens on, a host that is none, an AE title nobody answers to, a path without a service."""
    for address, why in [
        (f"pacs://127.0.0.1:{free_port()}/ORTHANC", "nobody listens on 127.0.0.1"),
        (f"dicomweb://127.0.0.1:{free_port()}/dicom-web", "nobody listens on 127.0.0.1"),
        ("pacs://no-such-host.invalid:104/ORTHANC", "cannot be reached"),
        (filled.pacs().replace("ORTHANC", "NOBODY"), "refuses the association: called ae title not recognised"),
        (filled.pacs().replace(str(filled.dicom_port), str(filled.web_port)), "answers no association"),
        (filled.web().replace("dicom-web", "elsewhere"), "there is no DICOMweb service at this path"),
        (filled.web().replace(str(filled.web_port), str(filled.dicom_port)), "the connection was lost"),
    ]:
        for said in both(address, head, tmp_path / "out"):
            assert why in said
            assert "\n" not in said
