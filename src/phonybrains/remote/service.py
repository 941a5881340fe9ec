"""The small protocol that a text-to-image service is asked by, and the one that speaks it: OpenAI's, through its SDK.

The SDK's own retries are off: every request goes through the ledger, so that none can pass the budget.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, Protocol

from PIL import Image

from ..errors import ConfigError
from .config import ImagineConfig
from .key import NO_KEY, Key
from .limited import limited

REFUSALS = ("moderation_blocked", "content_policy_violation")
AGAIN = (408, 409, 429)
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
LONGEST_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service sent: an image as it came, or why it refuses to make one (code, message)."""

    image: bytes = b""
    suffix: str = ""
    code: str = ""
    message: str = ""
    revised_prompt: str = ""
    request_id: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


class Trouble(Exception):
    """A request that brought nothing.

    again: whether it may be sent again, wait_s seconds later if the service says so; paid: whether it may have been
    paid for; hopeless: whether every other request will end alike.
    """

    def __init__(self, text: str, *, again: bool = True, paid: bool = False, hopeless: bool = False, wait_s: float = 0):
        super().__init__(text)
        self.again, self.paid, self.hopeless, self.wait_s = again, paid, hopeless, wait_s


class Service(Protocol):
    """Asks for one image."""

    def ask(self, parameters: Mapping[str, Any]) -> Reply:
        """Send a request, once. Raises Trouble; its text never holds a key."""
        ...


class OpenAIService:
    """Any server that answers POST /images/generations as OpenAI's does. Used by many threads at once."""

    def __init__(self, config: ImagineConfig, key: Key):
        openai, httpx = _sdk()
        self._openai, self._key, self._config = openai, key, config
        self._http = httpx.Client(timeout=httpx.Timeout(config.timeout_s, connect=20.0),
                                  event_hooks={"response": [self._limit]})  # fmt: skip
        self._client = openai.OpenAI(api_key=key.secret or NO_KEY, base_url=config.base_url, max_retries=0,
                                     http_client=self._http)  # fmt: skip

    def ask(self, parameters: Mapping[str, Any]) -> Reply:
        more = {name: value for name, value in parameters.items() if name not in ("model", "prompt", "n")}
        with self._translated():
            try:
                response = self._client.images.with_raw_response.generate(
                    model=parameters["model"], prompt=parameters["prompt"], n=1, extra_body=more,
                    extra_headers={"Accept-Encoding": "identity"},
                )  # fmt: skip
            except self._openai.BadRequestError as error:
                if error.code not in REFUSALS:
                    raise
                return Reply(code=error.code, message=self._text(_message(error.body)),
                             request_id=self._text(error.request_id))  # fmt: skip
            return self._reply(response.http_response.content, response.headers.get("x-request-id", ""))

    def _reply(self, content: bytes, request_id: str) -> Reply:
        try:
            answer = json.loads(content)
            item = answer["data"][0]
            image = base64.b64decode(item["b64_json"]) if item.get("b64_json") else self._download(item["url"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Trouble("an answer that holds no image", paid=True) from None
        usage = answer.get("usage")
        return Reply(image, self._suffix(image), revised_prompt=self._text(item.get("revised_prompt")),
                     request_id=self._text(request_id), usage=usage if isinstance(usage, dict) else {})  # fmt: skip

    def _download(self, url: str) -> bytes:
        """Fetch an image by its address, without the key. It is paid for already, so that it is tried three times."""
        for _ in range(3):
            with self._translated(paid=True):
                response = self._http.get(url, headers={"Accept-Encoding": "identity"}, follow_redirects=True)
                if response.status_code == 200:
                    return response.content
        raise Trouble("an address at which no image is to be had", paid=True)

    def _suffix(self, image: bytes) -> str:
        try:
            with Image.open(io.BytesIO(image), formats=list(SUFFIXES)) as opened:
                opened.load()
                suffix = SUFFIXES[str(opened.format)]
        except Exception:  # Pillow fails in many ways on damaged files
            raise Trouble("an image that is damaged, or neither PNG, JPEG nor WebP", paid=True) from None
        if self._key.is_in(image):
            raise Trouble("an image that holds the key", paid=True, again=False, hopeless=True)
        return suffix

    def _text(self, value: Any) -> str:
        """A text of the service's without the key, on one line."""
        return self._key.hide(" ".join(str(value or "").split())[:LONGEST_MESSAGE])

    def _limit(self, response: Any) -> None:
        """Stop reading an answer that is too large."""
        response.stream = limited(response.stream, self._config.max_megabytes, self._config.timeout_s)

    @contextmanager
    def _translated(self, paid: bool = False) -> Iterator[None]:
        """Turn what the SDK and its transport raise into Trouble, without the key and without their tracebacks."""
        try:
            yield
            return
        except Trouble:
            raise
        except self._openai.APIStatusError as error:
            self._status(error)
        except self._openai.APITimeoutError:
            trouble = Trouble(f"no answer within {self._config.timeout_s:g} s", paid=True)
        except (self._openai.APIConnectionError, OSError) as error:
            trouble = self._cut(error, paid)
        except Exception as error:  # whatever else; its text could hold the request's headers
            trouble = Trouble(f"an answer that cannot be read ({type(error).__name__})", paid=True)
        raise trouble from None

    def _cut(self, error: BaseException, paid: bool) -> Trouble:
        """A connection that failed: one that was never made has cost nothing."""
        cause = type(error.__cause__ or error).__name__
        if cause in ("ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError"):
            return Trouble(f"{self._config.base_url} cannot be reached ({cause})", paid=paid)
        return Trouble(f"the connection was cut ({cause})", paid=True)

    def _status(self, error: Any) -> NoReturn:
        status, headers = int(error.status_code), error.response.headers
        code, message = self._text(error.code), self._text(_message(error.body))
        if status in (401, 403):  # what such an answer says may echo the key, masked or not
            raise Trouble(f"the key is not accepted (HTTP {status}). Check OPENAI_API_KEY or --key-file",
                          again=False, hopeless=True) from None  # fmt: skip
        text = f"HTTP {status}" + (f" {code}" if code else "") + (f": {message}" if message else "")
        if status in AGAIN or status >= 500:
            hopeless = code in ("insufficient_quota", "billing_hard_limit_reached")
            raise Trouble(text, again=not hopeless, hopeless=hopeless, wait_s=_seconds(headers)) from None
        raise Trouble(text, again=False, hopeless=True) from None


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


def _message(body: object) -> str:
    """What an error's body says to a person."""
    found = body.get("message") or body.get("detail") if isinstance(body, dict) else body
    return str(found or "")


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
