"""Addresses of a PACS and logins: what they may say, and that secrets stay where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from phonybrains.errors import ConfigError, SourceError
from phonybrains.exporting.send import send
from phonybrains.importing import ImportConfig
from phonybrains.pacs.address import parse_address
from phonybrains.pacs.asking import matches
from phonybrains.pacs.login import find_login, tls_context
from tests.support.dicom_files import with_elements
from tests.support.imports import run
from tests.support.orthanc import certificate


def test_an_address_says_where_and_what():
    """Scheme, host, port, AE title or path, query and options are told apart, and escapes are read."""
    found = parse_address("pacs://pacs.example:104/MAIN%20PACS?modality=CT&description=HEAD*&aet=ME&timeout=5")
    assert (found.host, found.port, found.called, found.aet, found.timeout) == (
        "pacs.example",
        104,
        "MAIN PACS",
        "ME",
        5,
    )
    assert dict(found.query) == {"modality": "CT", "description": "HEAD*"}
    web = parse_address("dicomwebs://[::1]/orthanc/dicom-web/")
    assert (web.name, web.is_encrypted, web.is_web) == ("dicomwebs://[::1]:443/orthanc/dicom-web", True, True)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("2024", "20240101-20241231"),
        ("20240131", "20240131"),
        ("2020-2024", "20200101-20241231"),
        ("20200131-", "20200131-"),
        ("-2024", "-20241231"),
    ],
)
def test_dates_become_those_of_dicom(given: str, asked: str):
    """A year is all of its days, and a range may be open (PS3.4 C.2.2.2.5)."""
    assert parse_address(f"pacs://host:104/AET?study_date={given}").query["study_date"] == asked


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://host/x", "only pacs://, pacss://, dicomweb://, dicomwebs:// are understood"),
        ("pacs://host/AET?modality=CT", "host, port or AE title is missing"),
        ("pacs://host:104/?modality=CT", "host, port or AE title is missing"),
        ("pacs://host:none/AET", "the host or the port is none"),
        ("pacs://host:104/AET?colour=red", "the key 'colour' is not known. Known: patient, accession, study_date, "),
        ("pacs://host:104/AET?modality=CT&modality=MR", "modality is given twice"),
        ("pacs://host:104/AET?modality=", "modality is empty"),
        ("pacs://host:104/AET?patient=a%5Cb", "letters that DICOM does not allow"),
        ("pacs://host:104/AET?study_date=yesterday", "give a year, a day"),
        ("pacs://host:104/AN-AET-OF-17-CHAR?modality=CT", "is no AE title: 1 to 16 characters of ASCII"),
        ("pacs://host:104/AET?aet=MÜLLER", "is no AE title"),
        ("pacs://host:104/AET?timeout=soon", "give seconds"),
        ("pacs://eve:hunter22@host:104/AET", "user and password do not belong into an address; give them as PACS_USER"),
        ("pacs://eve:hunter22@host:none/AET", "the host or the port is none"),
        ("ftp://eve:hunter22@host/x", "are understood"),
    ],
)
def test_an_address_that_is_none(address: str, said: str, tmp_path: Path):
    """Import says in a line what is wrong, before it asks anybody, and never shows a password."""
    with pytest.raises(ConfigError) as wrong:
        run([address], tmp_path / "out", ImportConfig())  # type: ignore[list-item]
    assert said in str(wrong.value)
    assert "hunter22" not in str(wrong.value)
    assert not (tmp_path / "out.originals").exists()


def test_a_query_and_a_folder_to_send_are_needed(tmp_path: Path):
    """An address without a query would fetch a whole archive; one with a query is none to send to."""
    with pytest.raises(SourceError, match=r"say what to fetch, as \?modality=CT"):
        run(["pacs://host:104/AET"], tmp_path / "out", ImportConfig())  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="to send takes no modality"):
        send(tmp_path, "pacs://host:104/AET?modality=CT")
    with pytest.raises(SourceError, match="no such folder"):
        send(tmp_path / "none", "pacs://host:104/AET")
    (tmp_path / "readme.txt").write_text("no image")
    with pytest.raises(SourceError, match="no DICOM file is in it"):
        send(tmp_path, "pacs://host:104/AET")


def test_what_a_pacs_ignores_of_a_query_is_sorted_out_here():
    """A PACS may answer with more than was asked for (PS3.4 C.2.2.1.3): only what matches counts, case aside."""
    series = with_elements(Modality="CT", SeriesDescription="Head [5/5] axial")
    assert matches(series, {"Modality": "CT", "SeriesDescription": "HEAD [5?5]*"})
    assert not matches(series, {"Modality": "MR"})
    assert not matches(series, {"SeriesDescription": "HEAD"})
    assert not matches(series, {"BodyPartExamined": "H*"})


# --- Logins and certificates -----------------------------------------------------------------------------------------

WEB = parse_address("dicomwebs://pacs.example/dicom-web")


def test_a_login_of_a_file_that_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The host's line of the netrc file wins over the environment; a file that others may read is refused."""
    monkeypatch.setenv("PACS_USER", "env")
    monkeypatch.setenv("PACS_PASSWORD", "hunter22")
    found = find_login(WEB)
    assert found
    assert (found.user, found.password) == ("env", "hunter22")
    assert "hunter22" not in repr(found)
    file = tmp_path / "secrets"
    monkeypatch.setenv("NETRC", str(file))
    file.write_text("machine pacs.example login alice password wonder11\n")
    file.chmod(0o600)
    found = find_login(WEB)
    assert found
    assert (found.user, found.password) == ("alice", "wonder11")
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read this secret.*chmod 600"):
        find_login(WEB)
    file.write_text("the password is wonder11")
    with pytest.raises(ConfigError, match=r"not a \.netrc file"):
        find_login(WEB)


def test_a_login_goes_nowhere_in_clear(monkeypatch: pytest.MonkeyPatch):
    """Half a login is an error; a whole one is not sent without TLS, but to this machine."""
    monkeypatch.setenv("PACS_USER", "alice")
    with pytest.raises(ConfigError, match="user or password is missing"):
        find_login(WEB)
    monkeypatch.setenv("PACS_PASSWORD", "wonder11")
    with pytest.raises(ConfigError, match=r"only sent over TLS. Write pacss://"):
        find_login(parse_address("pacs://pacs.example:104/AET"))
    assert find_login(parse_address("dicomweb://localhost:8042/dicom-web"))


@pytest.mark.needs("openssl")
def test_certificates_of_ours_that_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A key of another certificate, one that others may read, half of the two, and no PEM: each has its line."""
    cert, key = certificate(tmp_path / "one", "client")
    _, other = certificate(tmp_path / "two", "client")
    for settings, said in [
        ({"PACS_CERT": cert, "PACS_KEY": other}, "the key does not fit the certificate"),
        ({"PACS_CERT": cert}, "go together"),
        ({"PACS_CERT": key, "PACS_KEY": key}, "no PEM, or one with a passphrase"),
        ({"PACS_CERT": tmp_path / "none", "PACS_KEY": key}, "cannot be read"),
        ({"PACS_CA": key}, "no file of certificates"),
        ({"PACS_CA": tmp_path / "none"}, "no file of certificates"),
    ]:
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, str(value))
            with pytest.raises(ConfigError, match=said):
                tls_context()
    key.chmod(0o644)
    monkeypatch.setenv("PACS_CERT", str(cert))
    monkeypatch.setenv("PACS_KEY", str(key))
    with pytest.raises(ConfigError, match="others may read this secret"):
        tls_context()
