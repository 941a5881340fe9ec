"""Where browsers find a study: the origin and the path that a proxy in front shows, and what hangs on them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import StudyError
from ...web.guard import DEFAULT_PORTS, parse_origin

PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")
OWN_PATHS = ("api", "finished", "instructions", "investigator", "join", "leave", "read", "static")


@dataclass(frozen=True)
class Address:
    """What `--public-url` says: `https://host[:port]` and a path without a slash at its end, empty for none."""

    origin: str
    root: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises StudyError if browsers could not find a study there."""
        scheme, _, rest = url.strip().partition("://")
        authority, slash, path = rest.partition("/")
        try:
            if not authority.isascii():
                authority = authority.encode("idna").decode()
            kind, host, port = parse_origin(f"{scheme}://{authority}")
            if kind not in DEFAULT_PORTS or not PATH.fullmatch(slash + path) or ".." in path.split("/"):
                raise ValueError
        except ValueError:
            raise StudyError(
                f"public URL '{url[:100]}': cannot be one. Give https://HOST or https://HOST/PATH, with "
                "neither user, '?' nor '#'."
            ) from None
        if path.split("/")[0] in OWN_PATHS:
            raise StudyError(
                f"public URL '{url[:100]}': /{path.split('/')[0]} is a page of the study itself. Give another path."
            )
        shown = "" if port == DEFAULT_PORTS[kind] else f":{port}"
        return cls(f"{kind}://{host}{shown}", f"/{path}".rstrip("/"))

    @property
    def https(self) -> bool:
        return self.origin.startswith("https:")

    def __str__(self) -> str:
        return self.origin + self.root
