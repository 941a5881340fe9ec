"""Patient ids become keyed pseudonyms: the same patient gets the same one, and nobody without the key gets back."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError
from ..files import whole

KEY_BYTES = 32
PSEUDONYM = re.compile(r"P-[0-9a-f]{12}")


def default_key_file() -> Path:
    """`pseudonym.key` in the user's configuration folder ($XDG_CONFIG_HOME/phonybrains or ~/.config/phonybrains)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "phonybrains" / "pseudonym.key"


def load_key(path: Path | None = None) -> bytes:
    """The key in a file of 64 hexadecimal digits; made at random, readable by its owner only, when missing.

    Raises ConfigError if the file cannot be read or made, or holds something else.
    """
    path = path or default_key_file()
    try:
        if not path.exists():
            _make_key(path)
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(
            f"{path}: the key of the pseudonyms cannot be read or made ({error.strerror}). Choose another key_file."
        ) from None
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigError(
            f"{path}: not a key ({2 * KEY_BYTES} hexadecimal digits). "
            "Restore it, or choose another key_file; a missing one is made."
        )
    return key


def _make_key(path: Path) -> None:
    """Write a new key whole or not at all; if another process was quicker, its key stands."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError), whole(path, mode=0o600, new=True) as partial:
        partial.write_text(secrets.token_hex(KEY_BYTES) + "\n", encoding="ascii")


def pseudonym(patient: str, key: bytes) -> str:
    """`P-` and 12 hexadecimal digits: HMAC-SHA256 of the id (RFC 2104), cut to 48 bits; "" stays "".

    An id that already is such a pseudonym, as in an image set made here, is kept, so that sets can be joined.
    """
    patient = patient.strip()
    if not patient or PSEUDONYM.fullmatch(patient):
        return patient
    return f"P-{keyed(patient, key)}"


def keyed(text: str, key: bytes) -> str:
    """12 hexadecimal digits that stand for a text: HMAC-SHA256 (RFC 2104), cut to 48 bits."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:12]
