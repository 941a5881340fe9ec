"""Content credentials: PNG files that a certificate vouches for, as C2PA defines them.  [C2PA specification 2.2]

Needs the extra `c2pa`. No time-stamping service is asked, and nothing is fetched when a signature is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .marks import MADE, SOURCE_TYPES, mark_in
from .record import versions

MISSING = "c2pa-python is not installed. python -m pip install 'phonybrains[c2pa]' does that."
SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Credentials:
    """What a signature says: whether the file is as it was signed, by whom, and what the signer calls the picture.

    trusted: whether the certificate is on a list of C2PA's; one's own is not, and the signature is good all the same.
    """

    whole: bool
    trusted: bool
    signer: str
    source_type: str
    faults: tuple[str, ...] = ()


def can_sign() -> bool:
    """Whether the package for it is there."""
    return find_spec("c2pa") is not None


def is_signed(png: bytes) -> bool:
    """Whether a PNG has a manifest store, whoever wrote it.  [C2PA specification 2.2, A.3.5]"""
    return b"caBX" in png


def sign(picture: bytes | Path, certificate: Path, key: Path, source_type: str = "") -> bytes:
    """A PNG, or the content of a file, with a C2PA manifest that says how it was made.

    certificate: PEM, the signer's first, then those that vouch for it; key: PEM, without a password; source_type: the
    term of IPTC's, by default that of the picture's mark.
    Raises ConfigError, saying which file: without the package, for a certificate that is none, is not yet or no longer
    valid or does not fit the key, for a key that cannot be read, and for what C2PA refuses.
    """
    chain, secret, algorithm = _credentials(certificate, key)
    import c2pa

    png = picture if isinstance(picture, bytes) else picture.read_bytes()
    mark = mark_in(png)
    kind = source_type or (mark.source_type if mark else MADE)
    info = c2pa.C2paSignerInfo(algorithm.encode(), chain, secret, None)
    signed = io.BytesIO()
    try:
        with (
            c2pa.Context.from_dict(SETTINGS) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(_manifest(kind), context) as builder,
        ):
            builder.sign(signer, "image/png", io.BytesIO(png), signed)
    except c2pa.C2paError as error:
        raise ConfigError(f"{certificate}: C2PA refuses to sign with it ({error}).") from None
    return signed.getvalue()


def check_credentials(certificate: Path, key: Path) -> None:
    """Raise ConfigError for a certificate and a key that `sign` refuses."""
    _credentials(certificate, key)


def credentials_of(png: bytes) -> Credentials | None:
    """What a PNG's signature says; None where it has none. Raises ConfigError without the package."""
    if not is_signed(png):
        return None
    if not can_sign():
        raise ConfigError(MISSING)
    import c2pa

    try:
        source = io.BytesIO(png)
        with c2pa.Context.from_dict(SETTINGS) as context, c2pa.Reader("image/png", source, context=context) as reader:
            store: dict[str, Any] = json.loads(reader.json())
    except (c2pa.C2paError, ValueError) as error:
        return Credentials(False, False, "", "", (str(error),))
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signer = manifest.get("signature_info", {})
    faults = [str(one.get("code")) for one in store.get("validation_status", [])]
    state = store.get("validation_state")
    name = str(signer.get("common_name") or signer.get("issuer") or "")
    return Credentials(state in ("Valid", "Trusted"), state == "Trusted", name, _source_type(manifest), tuple(faults))


def _manifest(source_type: str) -> dict[str, Any]:
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + source_type}
    return {
        "claim_generator_info": [{"name": "phonybrains", "version": versions()["phonybrains"]}],
        "format": "image/png",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _source_type(manifest: Mapping[str, Any]) -> str:
    actions = (a for one in manifest.get("assertions", []) for a in one.get("data", {}).get("actions", []))
    return next((str(a["digitalSourceType"]).rpartition("/")[2] for a in actions if "digitalSourceType" in a), "")


def _credentials(certificate: Path, key: Path) -> tuple[bytes, bytes, str]:
    """Certificates and key as PEM, and the algorithm of the key."""
    if not can_sign():
        raise ConfigError(MISSING)
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    chain, secret = _text(certificate, "certificate"), _text(key, "key")
    try:
        own = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise ConfigError(f"{certificate}: holds no certificate in PEM.") from None
    try:
        private = pem.load_pem_private_key(secret, None)
    except (ValueError, TypeError) as error:
        locked = "it has a password, take it off" if isinstance(error, TypeError) else "it is no private key in PEM"
        raise ConfigError(f"{key}: cannot be read: {locked}.") from None
    if not own.not_valid_before_utc <= datetime.now(UTC) <= own.not_valid_after_utc:
        span = f"{own.not_valid_before_utc:%Y-%m-%d} to {own.not_valid_after_utc:%Y-%m-%d}"
        raise ConfigError(f"{certificate}: the certificate is valid from {span} alone. Take one that is valid now.")
    if private.public_key() != own.public_key():
        raise ConfigError(f"{key} is not the key of {certificate}. Take the two that were made together.")
    algorithm = "ps256" if isinstance(private, rsa.RSAPrivateKey) else ""
    algorithm = "ed25519" if isinstance(private, ed25519.Ed25519PrivateKey) else algorithm
    algorithm = ALGORITHMS.get(private.curve.name, "") if isinstance(private, ec.EllipticCurvePrivateKey) else algorithm
    if not algorithm:
        raise ConfigError(f"{key}: C2PA signs with keys of P-256, P-384, P-521, Ed25519 or RSA, and this is none.")
    plain = private.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    return chain, plain, algorithm


def _text(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror}).") from None
