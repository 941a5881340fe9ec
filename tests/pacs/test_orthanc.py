"""Images sent to a real Orthanc and fetched from it, whole, refused, and broken off in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from phonybrains.errors import OutputError, PeerError, SourceError
from phonybrains.exporting.send import send
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, ImportReport, import_images
from phonybrains.importing.pseudonym import load_key, pseudonym
from phonybrains.importing.retrieve import retrieve
from phonybrains.pacs.address import parse_address
from phonybrains.record import read_record
from tests.support.imports import table
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
    once, with the pixels that it had.
    """
    folder, ledger, out = write_heads(tmp_path / "heads", 1000), tmp_path / "heads.sent.csv", tmp_path / "corpus"
    with orthanc(tmp_path / "orthanc") as server:
        killing = kill_when(server, lambda: ledger.exists() and ledger.read_bytes().count(b"\n") > 300)
        with pytest.raises(PeerError, match=r"of 1000 images\. Give the same command again to go on\.$"):
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
        address, place = parse_address(server.pacs("?modality=CT")), tmp_path / "corpus.originals"
        with pytest.raises(PeerError, match=r"of 1000 images: give the same command again"):
            retrieve(address, place, b"key", show=False)
        killing.join()
        kept = {path.name for path in come(out)}
        assert 300 < len(kept) < 1000
        server.start()
        retrieve(address, place, b"key", show=False)
    assert kept <= {path.name for path in come(out)}
    assert pixels_of(place) == pixels_of(folder)


def test_by_dicomweb_too(tmp_path: Path):
    """By STOW-RS and WADO-RS, the PACS killed in the middle of both: the same call goes on, nothing double or lost."""
    folder, ledger, out = (
        write_heads(tmp_path / "heads", 120, per_series=40),
        tmp_path / "heads.sent.csv",
        tmp_path / "c",
    )
    with orthanc(tmp_path / "orthanc") as server:
        killing = kill_when(server, ledger.exists)
        with pytest.raises(PeerError, match=r"of 120 images\. Give the same command again to go on\.$"):
            send(folder, server.web(), show=False)
        killing.join()
        before = len(server.start())
        assert 20 <= before < 120
        assert send(folder, server.web(), show=False).sent == 120 - before
        assert len(server) == 120
        killing = kill_when(server, lambda: len(come(out)) > 10)
        with pytest.raises(PeerError, match=r"of 120 images: give the same command again"):
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
        ("?patient=M*ller-9", 1),
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


def both(address: str, folder: Path, out: Path, timeout: float = 10) -> list[str]:
    """What is said when an address is fetched from and sent to, in vain."""
    said = []
    for way in (
        lambda: fetched(out, f"{address}?timeout={timeout:g}&modality=CT"),
        lambda: send(folder, f"{address}?timeout={timeout:g}", show=False),
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
        patience = 2 if why in ("answers no association", "the connection was lost") else 10
        for said in both(address, head, tmp_path / "out", patience):
            assert why in said
            assert "\n" not in said


def test_what_orthanc_allows_to_strangers(head: Path, tmp_path: Path):
    """As it is installed, Orthanc takes what anybody sends, and answers no query of an AE title that it does not know.

    So it can be sent to; what was sent stands in the ledger, and is not sent again though it cannot be asked for.
    """
    known = {"us": ["FRIEND", "127.0.0.1", 104]}
    closed = dict.fromkeys(OPEN, False) | {"DicomModalities": known}
    with orthanc(tmp_path / "orthanc", **closed) as server:
        assert send(head, server.pacs(), show=False).sent == 1
        again = send(head, server.pacs(), show=False)
        assert again.sent == 0
        assert "counted by the ledger, as the PACS does not say what it has (" in str(again)
        with pytest.raises(PeerError, match=r"It may not allow this to 'PHONYBRAINS' \(\?aet=…\)"):
            fetched(tmp_path / "out", server.pacs("?modality=CT"))
        assert fetched(tmp_path / "out", server.pacs("?modality=CT&aet=FRIEND")).results["total"] == 1


@pytest.mark.parametrize("way", ["pacs", "web"])
def test_a_line_that_stalls(filled: Orthanc, tmp_path: Path, way: str):
    """A PACS that falls silent in the middle is given up after the time-out; what came stays, the call goes on.

    Sent images count once they are answered for, and the same call sends the rest.
    """
    line = SlowLine(filled.dicom_port if way == "pacs" else filled.web_port)
    scheme, path = ("pacs", "ORTHANC") if way == "pacs" else ("dicomweb", "dicom-web")
    address = f"{scheme}://127.0.0.1:{line.port}/{path}"
    line.allowed = 18_000
    kept = r"no answer within 1 s \(\?timeout=…\)\. What came is kept, [1-9]\d* of 15 images"
    with pytest.raises(PeerError, match=kept):
        fetched(tmp_path / "out", f"{address}?timeout=1&description=Head*&patient=Müller-?&study_date=2020-2022")
    some = len(come(tmp_path / "out"))
    line.allowed = 1 << 60
    again = f"{address}?timeout=60&description=Head*&patient=Müller-?&study_date=2020-2022"
    assert fetched(tmp_path / "out", again).results["total"] == 15
    assert 0 < some < 15
    folder = write_heads(tmp_path / "heads", 40, f"1.2.826.0.1.3680043.8.498.{13 + len(way)}", whose="Meier")
    line.allowed = 3_000 if way == "pacs" else 500
    with pytest.raises(PeerError, match=r"no answer within 1 s \(\?timeout=…\)\. Sent: \d+ of 40 images\. Give"):
        send(folder, f"{address}?timeout=1", show=False)
    line.allowed = 1 << 60
    assert 0 < send(folder, address, show=False).sent <= 40
    listed = [row["instance"] for row in table(tmp_path / "heads.sent.csv") if row["outcome"] != "sent"]
    line.close()
    assert len(set(listed)) == len(listed)


@pytest.mark.needs("root")
def test_a_pacs_without_room(tmp_path: Path):
    """A PACS whose disk is full refuses: what it has confirmed counts, and when it has room, the rest goes."""
    folder = write_heads(tmp_path / "heads", 60)
    with small_disk(tmp_path / "orthanc", "600k") as disk, orthanc(disk) as server:
        for address in (server.pacs(), server.web()):
            with pytest.raises(PeerError) as error:
                send(folder, address, show=False)
            print(error.value)
        subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
        assert send(folder, server.pacs(), show=False).sent > 0
        assert len(server) == 60


@pytest.mark.needs("root")
def test_no_room_at_home(filled: Orthanc, tmp_path: Path):
    """Where the disk fills up, what has come is kept, and with more room the same call goes on."""
    with small_disk(tmp_path / "disk", "44k") as disk:
        query = filled.pacs("?patient=Müller-?&description=*axial*")
        with pytest.raises(OutputError, match=r"the disk is full. What is done is kept: free some space, give the"):
            fetched(disk / "out", query)
        assert 0 < len(come(disk / "out")) < 21
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert fetched(disk / "out", query).results["total"] == 21


# --- TLS and logins --------------------------------------------------------------------------------------------------


@pytest.mark.needs("openssl")
def test_tls_and_logins(head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Over TLS both ways, with a certificate that is trusted, of the host, and of today; and with the right password.

    By DIMSE, the PACS wants our certificate too. All else is refused in a line; no password is in one, nor in a file.
    """
    tls = tmp_path / "tls"
    good, foreign = certificate(tls, "good"), certificate(tls, "foreign", host="elsewhere.example")
    expired = certificate(tls, "expired", days=-1)
    logins = {"AuthenticationEnabled": True, "RegisteredUsers": {"alice": "wonder11"}}
    for name, value in {"USER": "alice", "PASSWORD": "wonder11", "CERT": good[0], "KEY": good[1]}.items():
        monkeypatch.setenv(f"PACS_{name}", str(value))
    for why, (cert, key) in {"": good, "certificate has expired": expired, "Hostname mismatch": foreign}.items():
        dimse = {"DicomTlsEnabled": True, "DicomTlsCertificate": str(cert), "DicomTlsPrivateKey": str(key)}
        place = tmp_path / cert.stem
        with orthanc(place, **dimse, **logins, DicomTlsTrustedCertificates=str(good[0])) as server:
            line = SlowLine(server.web_port, (cert, key))
            web = f"dicomwebs://localhost:{line.port}/dicom-web"
            for number, address in enumerate((server.pacs(scheme="pacss", host="localhost"), web)):
                monkeypatch.delenv("PACS_CA", raising=False)
                for said in both(address, head, place / f"{number}"):
                    assert "its certificate is not accepted: self-signed certificate" in said
                monkeypatch.setenv("PACS_CA", str(cert))
                for said in both(address, head, place / f"{number}") if why else ():
                    assert f"its certificate is not accepted: {why}" in said
                if not why:
                    assert send(head, address, show=False).images == 1
                    assert fetched(place / f"{number}", f"{address}?modality=CT").results["total"] == 1
            if not why:
                refused_logins(server, web, head, tmp_path, monkeypatch)
            line.close()
    own = {place / "orthanc.json" for place in tmp_path.iterdir()}
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and path not in own and b"wonder11" in path.read_bytes()
    ]


def refused_logins(server: Orthanc, web: str, head: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, none, TLS where there is none, and none where it is asked for."""
    head = write_heads(place / "other", 1, "1.2.826.0.1.3680043.8.498.19")
    for said in both(server.pacs(host="localhost"), head, place / "out"):
        assert "answers no association" in said or "the connection was lost" in said
    for said in both(server.web(scheme="dicomwebs", host="localhost"), head, place / "out"):
        assert "it does not take part in TLS" in said
    monkeypatch.setenv("PACS_PASSWORD", "wrong-pass")
    for said in both(web, head, place / "out"):
        assert "it does not accept the login, or asks for one (HTTP 401): give them as PACS_USER" in said
        assert "wrong-pass" not in said
    for name in ("USER", "PASSWORD", "CERT", "KEY"):
        monkeypatch.delenv(f"PACS_{name}")
    for said in both(web, head, place / "out"):
        assert "it does not accept the login, or asks for one (HTTP 401)" in said
    for said in both(server.pacs(scheme="pacss", host="localhost"), head, place / "out"):
        assert "does it ask for a certificate (PACS_CERT, PACS_KEY)?" in said, said
    for name, value in {
        "USER": "alice",
        "PASSWORD": "wonder11",
        "CERT": place / "tls/good.crt",
        "KEY": place / "tls/good.key",
    }.items():
        monkeypatch.setenv(f"PACS_{name}", str(value))


# --- Stopped ---------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_came(filled: Orthanc, tmp_path: Path):
    """Ctrl-C ends an import from a PACS with 130 and one line, which says that the same command goes on; so it does."""
    line = SlowLine(filled.dicom_port)
    line.pause = 0.05
    address = f"pacs://127.0.0.1:{line.port}/ORTHANC?modality=CT&description=Head*"
    command = [sys.executable, "-m", "phonybrains", "import", address, "--size", "16", "--no-window", "--out", "out"]
    started = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until(lambda: bool(come(tmp_path / "out")))
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (130, "phonybrains: stopped. Give the same command again to go on.\n")
    some = len(come(tmp_path / "out"))
    line.pause = 0
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    line.close()
    assert done.returncode == 0, done.stderr
    assert some < len(come(tmp_path / "out"))
