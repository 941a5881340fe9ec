"""The service that speaks OpenAI's protocol, through its SDK.

The SDK's own retries are off: every request goes through the ledger, so that none can pass the budget.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ..errors import ConfigError, PhonyBrainsError
from .answers import RawAnswer
from .config import ImagineConfig
from .key import NO_KEY, Key
from .reading import reply_of
from .refusals import may_cost, message_of, refusal_of
from .reply import Reply, Trouble, one_line
from .transport import Transport

NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
REFUSING = (400, 403, 422, 451)
NOT_PAID = 429
IN_DOUBT = (408, 409, 499)
"""Like 3xx and 5xx: the image may have been made, and lost on the way."""


class OpenAIService:
    """Any server that answers POST /images/generations as OpenAI's does. Used by many threads at once."""

    def __init__(self, config: ImagineConfig, key: Key):
        openai, self._httpx = _sdk()
        self._openai, self._key, self._config = openai, key, config
        self._transport = Transport(config)
        self._client = openai.OpenAI(
            api_key=key.secret or NO_KEY,
            base_url=config.base_url,
            max_retries=0,
            http_client=self._transport.client(config.base_url),
        )

    def order(self, parameters: Mapping[str, Any]) -> RawAnswer | Reply:
        """Send a request for one image, once: what was sent, not read yet, or a refusal. Raises Trouble."""
        more = {name: value for name, value in parameters.items() if name not in ("model", "prompt", "n")}
        with self._translated():
            try:
                with self._client.images.with_streaming_response.generate(
                    model=parameters["model"],
                    prompt=parameters["prompt"],
                    n=1,
                    extra_body=more,
                    extra_headers={"Accept-Encoding": "identity"},
                ) as response:
                    content = self._key.cut_out(self._received(response))
                    return RawAnswer(content, self._text(response.headers.get("x-request-id")))
            except self._openai.APIStatusError as error:
                if refusal := self._refusal(error):
                    return refusal
                raise

    def read(self, body: RawAnswer) -> Reply:
        """The image in what was sent, or a refusal; costs nothing, as often as it is done. Raises Trouble."""
        return reply_of(body, self._key, self._config.base_url, self._transport.download)

    def _received(self, response: Any) -> bytes:
        """All that is sent; a connection that is cut after the last byte that matters has brought it all."""
        content = bytearray()
        try:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > self._config.max_megabytes * 1_000_000:  # it came packed
                    raise Trouble(f"an answer of more than {self._config.max_megabytes} MB", paid=True, again=False)
        except self._httpx.TransportError:
            if not _is_json(content):
                raise
        return bytes(content)

    def _refusal(self, error: Any) -> Reply | None:
        status, answer = int(error.status_code), _body(error)
        code = refusal_of(answer, words=status != 403) if status in REFUSING else None
        if code is None:
            return None
        code, message, request_id = map(self._text, (code, message_of(answer), error.request_id))
        return Reply(paid=may_cost(answer, code), code=code, message=message, request_id=request_id)

    def _text(self, value: Any) -> str:
        return one_line(value, self._key)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the SDK and its transport raise into Trouble, without the key and without their tracebacks."""
        try:
            yield
            return
        except (Trouble, PhonyBrainsError):
            raise
        except self._openai.APIStatusError as error:
            self._status(error)
        except (self._openai.APIConnectionError, self._httpx.TransportError, OSError) as error:
            trouble = self._cut(error)
        except Exception as error:  # whatever else; its text could hold the request's headers
            trouble = Trouble(f"an answer that cannot be read ({type(error).__name__})", paid=True)
        raise trouble from None

    def _cut(self, error: BaseException) -> Trouble:
        """A connection that failed: one that was never made has cost nothing."""
        cause = type(error.__cause__ or error).__name__
        if cause in NEVER_SENT:
            return Trouble(f"{self._config.base_url} cannot be reached ({cause})")
        if "Timeout" in cause:
            return Trouble(f"no answer within {self._config.timeout_s:g} s", paid=True)
        return Trouble(f"the connection was cut ({cause})", paid=True)

    def _status(self, error: Any) -> NoReturn:
        status, headers = int(error.status_code), error.response.headers
        code, message = self._text(error.code), self._text(message_of(_body(error)))
        if status in (401, 403):  # what such an answer says may echo the key, masked or not
            raise Trouble(
                f"the key is not accepted (HTTP {status}). Check OPENAI_API_KEY or --key-file", hopeless=True
            ) from None
        if status < 400:
            host = urlsplit(headers.get("location", "")).hostname or "another address"
            raise Trouble(
                f"HTTP {status}: the service sends on to {self._text(host)}, where the key does not go. Give "
                "the service's own address as --base-url",
                paid=True,
                hopeless=True,
            ) from None
        text = f"HTTP {status}" + (f" {code}" if code else "") + (f": {message}" if message else "")
        in_doubt = status in IN_DOUBT or status >= 500
        hopeless = code in ("insufficient_quota", "billing_hard_limit_reached")
        hopeless |= not in_doubt and status != NOT_PAID
        raise Trouble(text, paid=in_doubt, hopeless=hopeless, wait_s=_seconds(headers)) from None


def _sdk() -> tuple[Any, Any]:
    """The openai package and the HTTP client it stands on."""
    try:
        import httpx2
        import openai
    except ImportError:
        raise ConfigError("phonybrains imagine needs the openai package: pip install 'phonybrains[remote]'.") from None
    for name in ("openai", "httpx2", "httpcore2"):  # their debug logs show headers, which may echo the key
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return openai, httpx2


def _body(error: Any) -> Any:
    """The body of an error: as JSON where it is, else as the SDK has it."""
    try:
        return json.loads(error.response.content)
    except (ValueError, RecursionError):
        return error.body


def _is_json(content: bytearray) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _seconds(headers: Mapping[str, str]) -> float:
    """How long a service asks to wait (Retry-After: seconds or a date; retry-after-ms); 0 where it does not say."""
    given = headers.get("retry-after", "")
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        if given.replace(".", "", 1).isdecimal():
            return float(given)
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time()) if given else 0.0
    except (ValueError, TypeError, OverflowError):
        return 0.0
