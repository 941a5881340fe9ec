"""Pictures signed as C2PA has it, by certificates that the test makes: whole, changed, expired, of another key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains import signing
from phonybrains.errors import ConfigError
from phonybrains.exporting.stage import export
from phonybrains.imageset import ImageSet, read_png
from phonybrains.marks import DRAWN, EDITED, MADE, SyntheticMark, is_sound, mark_in, marked, plain_png, unmarked
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.signing import credentials_of, sign
from phonybrains.workflows.verify import verify

pytest.importorskip("c2pa", reason="needs the extra c2pa")
x509: Any = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives import serialization as pem  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

PNG = marked(
    plain_png(np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)), SyntheticMark(EDITED, {"seed": 1})
)


@dataclass(frozen=True)
class Signer:
    """Certificate and key, as files."""

    certificate: Path
    key: Path


def _certified(name: str, key: Any, issuer: str, by: Any, *, ca: bool, days: int) -> Any:
    def named(text: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    start, public = datetime.now(UTC) - timedelta(days=90), key.public_key()
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "key_cert_sign": ca, "crl_sign": ca}
    builder = x509.CertificateBuilder().issuer_name(named(issuer)).subject_name(named(name)).public_key(public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
    builder = builder.not_valid_after(datetime.now(UTC) + timedelta(days=days))
    extensions = [
        (x509.BasicConstraints(ca, None), True),
        (x509.KeyUsage(digital_signature=not ca, **usage), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False),
        *([] if ca else [(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)]),
    ]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(by, hashes.SHA256())


def signer(folder: Path, key: Any = None, days: int = 30) -> Signer:
    """A certificate of a signer called Ada, and of the authority that it is from, and Ada's key."""
    own, root = key or ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [
        _certified("Ada", own, "Root", root, ca=False, days=days),
        _certified("Root", root, "Root", root, ca=True, days=days + 1),
    ]
    folder.mkdir(exist_ok=True)
    files = Signer(folder / "chain.pem", folder / "key.pem")
    files.certificate.write_bytes(b"".join(one.public_bytes(pem.Encoding.PEM) for one in chain))
    files.key.write_bytes(own.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()))
    return files


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return signer(tmp_path_factory.mktemp("ada"))


@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519", "RSA"])
def test_a_signature_says_who_and_what(tmp_path: Path, kind: str):
    """It is whole, names its signer and the source type of the picture's mark; the picture is what it was."""
    keys: dict[str, Any] = {
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }
    by = signer(tmp_path, keys[kind]())
    signed = sign(PNG, by.certificate, by.key)
    found = credentials_of(signed)
    assert found is not None
    assert (found.whole, found.trusted, found.signer, found.source_type) == (True, False, "Ada", EDITED)
    assert is_sound(signed)
    assert unmarked(signed) == unmarked(PNG)
    assert credentials_of(PNG) is None


def test_a_signed_picture_that_changed_is_found(ada: Signer, tmp_path: Path):
    """A pixel drawn anew, checksums and all: the signature no longer holds, and verify says so."""
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG)
    picture.write_bytes(signed := sign(picture, ada.certificate, ada.key, MADE))
    link = verify(picture, show=False).links[0]
    assert (link.what, link.word) == ("signature", "intact")
    assert "by Ada, on no trust list; trainedAlgorithmicMedia" in link.why
    other = plain_png(np.zeros((64, 64), np.uint8))
    picture.write_bytes(signed[: signed.index(b"IDAT") - 4] + other[other.index(b"IDAT") - 4 :])
    assert is_sound(picture.read_bytes())
    link = verify(picture, show=False).links[0]
    assert (link.what, link.word) == ("signature", "changed")
    assert "dataHash.mismatch" in link.why


def test_what_cannot_sign_is_refused_by_name(ada: Signer, tmp_path: Path):
    """A certificate that expired, one of another key, one that is none; a key that is none, has a password, is lost."""
    old, other = signer(tmp_path / "old", days=-10), signer(tmp_path / "other")
    text = tmp_path / "text.pem"
    text.write_text("no PEM")
    locked = tmp_path / "locked.pem"
    private: Any = pem.load_pem_private_key(ada.key.read_bytes(), None)
    how = (pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"secret"))
    locked.write_bytes(private.private_bytes(*how))
    for certificate, key, said in (
        (old.certificate, old.key, "chain.pem: the certificate is valid from .* alone"),
        (other.certificate, ada.key, "key.pem is not the key of .*chain.pem"),
        (text, ada.key, "text.pem: holds no certificate in PEM"),
        (ada.certificate, text, "text.pem: cannot be read: it is no private key in PEM"),
        (ada.certificate, locked, "locked.pem: cannot be read: it has a password"),
        (ada.certificate, tmp_path / "none", "none: the key cannot be read"),
    ):
        with pytest.raises(ConfigError, match=said):
            sign(PNG, certificate, key)


def test_without_the_package_it_says_how_to_get_it(ada: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Signing is refused, and verify calls a signature that it cannot read unknown."""
    (tmp_path / "a.png").write_bytes(sign(PNG, ada.certificate, ada.key))
    monkeypatch.setattr(signing, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'phonybrains\[c2pa\]'"):
        sign(PNG, ada.certificate, ada.key)
    link = verify(tmp_path / "a.png", show=False).links[0]
    assert (link.what, link.word) == ("signature", "unknown")


def test_an_export_is_signed(tmp_path: Path):
    """Every synthetic picture by the certificate, its mark and pixels kept; a wrong pair is refused before a byte."""
    made, mine = ImageSet.open(make_phantoms(2, tmp_path / "set", size=32)), signer(tmp_path)
    other = signer(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"is not the key of"):
        export(made.folder, tmp_path / "out", to="png", c2pa=(mine.certificate, other.key), show=False)
    with pytest.raises(ConfigError, match=r"C2PA signs PNG files: export to png, not nifti"):
        export(made.folder, tmp_path / "out", to="nifti", c2pa=(mine.certificate, mine.key), show=False)
    assert not (tmp_path / "out").exists()
    out = export(made.folder, tmp_path / "out", to="png", c2pa=(mine.certificate, mine.key), show=False)
    for number, row in enumerate(made.rows):
        png = (out / row.file_name).read_bytes()
        found = credentials_of(png)
        assert found
        assert (found.whole, found.source_type) == (True, DRAWN)
        assert mark_in(png) == mark_in((made.folder / row.file_name).read_bytes())
        assert np.array_equal(read_png(out / row.file_name), made.pixels(number))
    assert export(made.folder, out, to="png", c2pa=(mine.certificate, mine.key), show=False) == out
