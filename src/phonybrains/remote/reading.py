"""From the body of an answer to the image in it: as base64, as a data: address, or at an address to be fetched from."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from PIL import Image

from .answers import RawAnswer, Suffix
from .key import Key
from .refusals import message_of, refusal_of
from .reply import Reply, Trouble, one_line

SUFFIXES: dict[str, Suffix] = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
DOWNLOADS, PAUSE_S = 3, 0.25
NO_IMAGE = "no_image"
"""Code of a refusal that gives no reason: an answer of success, in whose place for an image there is nothing."""


def reply_of(body: RawAnswer, key: Key, base_url: str, download: Callable[[str], bytes]) -> Reply:
    """The image of an answer of success, or a refusal that comes as one.

    download fetches an image by its address; that is repeated. Raises Trouble where there is neither: it is paid for.
    """
    try:
        answer = json.loads(body.content.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        raise Trouble("an answer that cannot be read", paid=True) from None
    item = _item(answer)
    if item is None:
        return _refusal(answer, body, key)
    image, suffix = _image(item, base_url, download)
    if key.is_in(image):
        raise Trouble("an image that holds the key", paid=True, hopeless=True)
    usage, revised = answer.get("usage"), one_line(item.get("revised_prompt"), key)
    used = usage if isinstance(usage, dict) else {}
    return Reply(image, suffix, revised_prompt=revised, request_id=body.request_id, usage=used)


def _item(answer: Any) -> dict[str, Any] | None:
    """The first place of an answer that holds an image."""
    data = answer.get("data") if isinstance(answer, dict) else None
    items = data if isinstance(data, list) else []
    return next((item for item in items if isinstance(item, dict) and _source(item)), None)


def _source(item: dict[str, Any]) -> str:
    found = item.get("b64_json") or item.get("url")
    return found.strip() if isinstance(found, str) else ""


def _refusal(answer: Any, body: RawAnswer, key: Key) -> Reply:
    code, message = refusal_of(answer), one_line(message_of(answer), key)
    if code is None and isinstance(answer, dict) and answer.get("error"):
        raise Trouble(f"an answer without an image: {message}", paid=True)
    if code is None and not _is_empty(answer):
        raise Trouble("an answer that holds no image", paid=True)
    reason = message or "an answer without an image"
    return Reply(code=one_line(code or NO_IMAGE, key), message=reason, paid=True, request_id=body.request_id)


def _is_empty(answer: Any) -> bool:
    """Whether there is nothing where an image would be."""
    if not isinstance(answer, dict):
        return answer is None
    data = answer.get("data", "missing")
    items = data if isinstance(data, list) else [data]
    places = [item if isinstance(item, dict) else {"url": item} for item in items]
    return not any(place.get("b64_json") or place.get("url") for place in places)


def _image(item: dict[str, Any], base_url: str, download: Callable[[str], bytes]) -> tuple[bytes, Suffix]:
    source = _source(item)
    if source.startswith("data:"):
        return _checked(_from_data_address(source))
    if item.get("b64_json") and not source.startswith(("http://", "https://")):
        return _checked(_from_base64(source))
    for attempt in range(DOWNLOADS):
        try:
            return _checked(download(urljoin(base_url + "/", source)))
        except Trouble:
            if attempt + 1 == DOWNLOADS:
                raise
            time.sleep(PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")


def _from_data_address(address: str) -> bytes:
    head, _, content = address.partition(",")
    return _from_base64(content) if head.endswith(";base64") else unquote_to_bytes(content)


def _from_base64(text: str) -> bytes:
    """Bytes of base64 in either alphabet, with or without its padding."""
    try:
        return base64.b64decode(unquote_to_bytes(text.replace("-", "+").replace("_", "/")) + b"===")
    except ValueError:
        raise Trouble("an answer whose base64 is damaged", paid=True) from None


def _checked(image: bytes) -> tuple[bytes, Suffix]:
    try:
        with Image.open(io.BytesIO(image), formats=list(SUFFIXES)) as opened:
            opened.load()
            return image, SUFFIXES[str(opened.format)]
    except Exception:  # Pillow fails in many ways on damaged files
        raise Trouble("an image that is damaged, or neither PNG, JPEG nor WebP", paid=True) from None
