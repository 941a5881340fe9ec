"""How requests travel: directly on this machine, else by the environment's proxies; answers within a size and time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from .config import ImagineConfig, is_loopback
from .reply import Trouble

CONNECT_S = 20.0


class Transport:
    """HTTP clients of one configuration. A connection is used once, so that none can have gone stale under an order."""

    def __init__(self, config: ImagineConfig):
        self._config = config
        self._client = cache(self._make)

    def client(self, url: str) -> Any:
        """The client for an address: no proxy stands between this machine and itself.

        Raises ConfigError for a proxy in the environment that cannot be used.
        """
        return self._client(not is_loopback(urlsplit(url).hostname))

    def download(self, url: str) -> bytes:
        """Fetch an image by its address, without the key. Raises Trouble."""
        import httpx2

        try:
            response = self.client(url).get(url, headers={"Accept-Encoding": "identity"}, follow_redirects=True)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
            reason = type(error).__name__
        else:
            if response.status_code == 200:
                return response.content
            reason = f"HTTP {response.status_code}"
        raise Trouble(f"an address at which no image is to be had ({reason})", paid=True)

    def _make(self, by_environment: bool) -> Any:
        import httpx2

        try:
            return httpx2.Client(
                timeout=httpx2.Timeout(self._config.timeout_s, connect=CONNECT_S),
                limits=httpx2.Limits(max_keepalive_connections=0),
                trust_env=by_environment,
                event_hooks={"response": [self._limit]},
            )
        except (ValueError, ImportError, httpx2.InvalidURL) as error:
            raise ConfigError(f"a proxy of the environment cannot be used: {error}") from None

    def _limit(self, response: Any) -> None:
        """Stop reading an answer that is too large."""
        response.stream = limited(response.stream, self._config.max_megabytes, self._config.timeout_s)


def limited(stream: Any, megabytes: int, seconds: float) -> Any:
    """A stream of httpx2 that raises Trouble when it is longer than `megabytes`, or takes longer than `seconds`."""
    import httpx2

    class Limited(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size, end = 0, time.monotonic() + seconds
            for chunk in stream:
                size += len(chunk)
                if size > megabytes * 1_000_000:
                    raise Trouble(f"an answer of more than {megabytes} MB", paid=True, again=False)
                if time.monotonic() > end:
                    raise Trouble(f"an answer that took more than {seconds:g} s", paid=True)
                yield chunk

        def close(self) -> None:
            stream.close()

    return Limited()
