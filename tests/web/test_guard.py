"""Hosts, origins, lengths and paths as attackers write them: refused by name, and never a fault of the server."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from phonybrains.web.guard import Guard, is_own, parse_host, parse_origin

BROKEN_HOSTS = [
    *("[::1", "[::1]]", "[", "]", "[zz]", "[1.2.3.4]", "[::1%25lo]", "[:::]", "h:port", "h:65536", "h:99999", "h:-1"),
    *("h:", "", "h/path", "a b", "a@b", "\u00e9", "h, https://h", "h?", "h#", "<script>", "a" * 300),
]
BROKEN_ORIGINS = [*(f"https://{host}" for host in BROKEN_HOSTS), "://h", "h", " ", "[", "null null"]
BROKEN_LENGTHS = ["-1", "+5", "1.0", "0x10", "\u00b2", "5, 5", " ", "1e3", "9" * 5000, "nan"]


class OpenGuard(Guard):
    """Lets in all that can be at all."""

    def prepare(self, scope: Scope) -> Mapping[str, str]:
        return {"X-Own": "yes"}

    def admit(self, headers: Headers, scope: Scope) -> None:
        pass

    def refuse(self, error: HTTPException) -> Response:
        return PlainTextResponse(str(error.detail), error.status_code, error.headers)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await PlainTextResponse(message["body"])(scope, receive, send)


@pytest.fixture
def client() -> TestClient:
    return TestClient(OpenGuard(echo), base_url="http://testserver")


@pytest.mark.parametrize("origin", BROKEN_ORIGINS)
def test_an_origin_that_cannot_be_is_refused(client: TestClient, origin: str):
    """A broken Origin gets 400 and a sentence, on any method, and the headers of all pages."""
    for method in ("GET", "POST", "PUT"):
        refused = client.request(method, "/", headers={"Origin": origin.encode("utf-8")})
        assert refused.status_code == 400
        assert "cannot be" in refused.text
        assert refused.headers["x-own"] == "yes"
        assert refused.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", BROKEN_HOSTS)
def test_a_host_that_cannot_be_is_refused(client: TestClient, host: str):
    """A broken Host gets 400, before anything is made of it."""
    assert client.get("/", headers={"Host": host.encode("utf-8")}).status_code == 400


@pytest.mark.parametrize("length", BROKEN_LENGTHS)
def test_a_length_that_cannot_be_is_refused(client: TestClient, length: str):
    """A Content-Length that is no number, or none a body can have, gets 400 or 413."""
    refused = client.post("/", headers={"Content-Length": length.encode("utf-8")}, content=b"x")
    assert refused.status_code in (400, 413)


@given(st.text(max_size=60))
def test_parsers_raise_nothing_but_valueerror(text: str):
    """Whatever stands in Host or Origin is parsed, or refused with ValueError: nothing else comes out."""
    for candidate in (text, f"https://{text}", f"[{text}]", f"h:{text}"):
        for parse in (parse_host, parse_origin):
            try:
                found = parse(candidate)
            except ValueError:
                continue
            assert 0 <= (found[-1] or 0) <= 65535


@pytest.mark.parametrize(
    ("given_headers", "public", "own"),
    [
        ({}, None, True),
        ({"origin": "http://h:8000"}, None, True),
        ({"origin": "HTTP://H:8000"}, None, True),
        ({"origin": "http://h"}, None, False),
        ({"origin": "http://h:8001"}, None, False),
        ({"origin": "null"}, None, False),
        ({"sec-fetch-site": "cross-site"}, None, False),
        ({"sec-fetch-site": "same-site", "origin": "http://h:8000"}, None, False),
        ({"origin": "https://study.example"}, "https://study.example", True),
        ({"origin": "https://study.example:443"}, "https://study.example", True),
        ({"origin": "http://study.example"}, "https://study.example", False),
        ({"origin": "https://study.example:8443"}, "https://study.example", False),
        ({"origin": "http://h:8000"}, "https://study.example", False),
        ({"origin": "https://[2001:db8:0::1]"}, "https://[2001:db8::1]:443", True),
    ],
)
def test_own_pages_are_told_from_others(given_headers: dict[str, str], public: str | None, own: bool):
    """A request is ours if its Origin is the one browsers see, and no other, port and scheme included."""
    assert is_own(Headers({"host": "h:8000", **given_headers}), public) is own
