"""The key of a service: read from the environment or a file, sent to the service, and shown to nobody."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from .config import ImagineConfig

VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"
SHORTEST_ECHO = 8
"""So many characters of a key in a row are taken out of any text."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that does not show itself; "" is none."""

    secret: str = field(default="", repr=False)

    def hide(self, text: str) -> str:
        """The text without the key, nor any part of it of 8 characters or more."""
        if not self.secret:
            return text
        kept, i = "", 0
        while i < len(text):
            length = 0
            while text[i : i + length + 1] in self.secret and i + length < len(text):
                length += 1
            echoed = length >= SHORTEST_ECHO
            kept += "[key]" if echoed else text[i]
            i += length if echoed else 1
        return kept

    def cut_out(self, content: bytes) -> bytes:
        """Bytes without the key, nor any part of it of 8 characters or more."""
        secret = self.secret.encode()
        parts = (secret[i : i + SHORTEST_ECHO] for i in range(len(secret) - SHORTEST_ECHO + 1))
        return self.hide(content.decode("latin-1")).encode("latin-1") if any(p in content for p in parts) else content

    def is_in(self, content: bytes) -> bool:
        """Whether bytes hold the key."""
        return bool(self.secret) and self.secret.encode() in content


def find_key(config: ImagineConfig) -> Key:
    """The key from `key_file`, else from OPENAI_API_KEY; none is needed for a service on this machine.

    Raises ConfigError, without showing the key, if there is none, if it is not one, or if it would travel unencrypted.
    """
    if config.key_file is not None:
        secret, where = _read(config.key_file), str(config.key_file)
    else:
        secret, where = os.environ.get(VARIABLE, "").strip(), VARIABLE
    if not secret and not config.is_local:
        raise ConfigError(
            f"no key for {config.base_url}: put it into the environment variable {VARIABLE}, or into a "
            "file that --key-file names."
        )
    if secret and not re.fullmatch(r"[!-~]{8,}", secret):
        raise ConfigError(f"{where} holds no key: one of 8 or more printable characters without blanks is expected.")
    if secret and not config.is_local and not config.is_encrypted:
        raise ConfigError(f"{config.base_url} is not encrypted: the key could be read on its way. Use https.")
    return Key(secret)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise ConfigError(f"{path}: the key cannot be read ({reason}).") from None
