"""Who asks: user and password, and what TLS needs, from the environment or files that nobody else may read.

None of it is shown, written down or put into an address.
"""

from __future__ import annotations

import netrc
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from .address import HOW_TO_LOG_IN, PeerAddress


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password that do not show themselves."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def find_login(address: PeerAddress) -> Login | None:
    """The line of the host in ~/.netrc, or in the file that NETRC names; else PACS_USER and PACS_PASSWORD.

    Raises ConfigError if the file may be read by others, if half is missing, or if it would travel unencrypted.
    """
    found = _of_netrc(address.host)
    if found is None:
        user, password = os.environ.get("PACS_USER", ""), os.environ.get("PACS_PASSWORD", "")
        if bool(user) != bool(password):
            raise ConfigError(f"user or password is missing: {HOW_TO_LOG_IN}.")
        found = Login(user, password) if user else None
    if found and not address.is_encrypted and not address.is_local:
        raise ConfigError(f"{address.name}: a password is only sent over TLS. Write {address.scheme}s://…")
    return found


def _of_netrc(host: str) -> Login | None:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        line = netrc.netrc(path).authenticators(host)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (netrc.NetrcParseError, UnicodeDecodeError):
        raise ConfigError(
            f"{path}: not a .netrc file: 'machine HOST login USER password PASSWORD' is expected."
        ) from None
    if line is None:
        return None
    _check_private(path)
    return Login(line[0], line[2])


def client_files() -> tuple[str | None, str | None, str | None]:
    """Files of PEM: whom to trust (PACS_CA), and who we are (PACS_CERT, PACS_KEY), where these are set."""
    ca, cert, key = (os.environ.get(name) or None for name in ("PACS_CA", "PACS_CERT", "PACS_KEY"))
    if bool(cert) != bool(key):
        raise ConfigError("PACS_CERT and PACS_KEY go together: the certificate that we show, and its private key.")
    if key:
        _check_private(Path(key))
    return ca, cert, key


def tls_context() -> ssl.SSLContext:
    """TLS that checks the certificate and its host. Raises ConfigError where our own files will not do."""
    ca, cert, key = client_files()
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigError(f"PACS_CA: {ca} is no file of certificates in PEM ({error.strerror or 'damaged'}).") from None
    try:
        if cert:
            context.load_cert_chain(cert, key, password=lambda: b"")
    except ssl.SSLError as error:
        wrong = (
            "the key does not fit the certificate"
            if "MISMATCH" in str(error.reason)
            else "no PEM, or one with a passphrase"
        )
        raise ConfigError(f"PACS_CERT and PACS_KEY: {cert} and {key} cannot be used: {wrong}.") from None
    except OSError as error:
        raise ConfigError(f"PACS_CERT and PACS_KEY: {cert} and {key} cannot be read ({error.strerror}).") from None
    return context


def _check_private(path: Path) -> None:
    """Raises ConfigError for a file with a secret that others may read."""
    try:
        open_to_others = path.stat().st_mode & 0o077
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    if open_to_others:
        raise ConfigError(f"{path}: others may read this secret. Make it yours alone first: chmod 600 {path}")
