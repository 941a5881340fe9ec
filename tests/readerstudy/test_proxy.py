"""A study behind a real nginx with the configuration of docs/nginx.conf: HTTPS, a path of its own, floods."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from phonybrains.readerstudy.store import open_store
from phonybrains.readerstudy.study import Study
from tests.support.needs import NGINX
from tests.support.places import ROOT
from tests.support.study_browser import chromium, wait_until
from tests.support.study_server import free_port, serving
from tests.support.study_web import csrf_in
from tests.support.web_server import PATIENCE, begin, until

pytestmark = pytest.mark.needs("nginx", "openssl")
EXAMPLE = ROOT / "docs" / "nginx.conf"
HOST = "study.example.org"


@dataclass
class Proxied:
    """A study behind nginx."""

    study: Path
    port: int
    root: str
    certificate: Path
    links: dict[str, str]

    @property
    def base(self) -> str:
        return f"https://{HOST}:{self.port}{self.root}"

    def browser(self) -> httpx2.Client:
        """A client that finds the host here, and trusts the certificate and no other."""
        context = ssl.create_default_context(cafile=self.certificate)
        return httpx2.Client(transport=Here(verify=context), base_url=f"https://{HOST}:{self.port}")


class Here(httpx2.HTTPTransport):
    """Leads the study's name to this machine, as DNS would; name and certificate are checked as ever."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        asked = request.url
        request.extensions["sni_hostname"] = HOST
        request.url = asked.copy_with(host="127.0.0.1")
        try:
            return super().handle_request(request)
        finally:
            request.url = asked


def make_certificate(folder: Path) -> Path:
    """A certificate signed by itself, with its key beside it."""
    names = "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"
    kind = "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"
    files = "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")
    subprocess.run(["openssl", "req", *kind, *names, *files], check=True, capture_output=True)
    return folder / "fullchain.pem"


@contextmanager
def nginx(folder: Path, configuration: str, port: int) -> Iterator[None]:
    """Run nginx on a configuration until the end of the block."""
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    whole = (
        f"{user} daemon off; pid {folder}/pid; error_log stderr crit; worker_rlimit_nofile 8192;"
        f"events {{ worker_connections 4096; }} http {{ client_body_temp_path {folder}/body; {temporary}\n"
        f"{configuration}\n}}"
    )
    (folder / "nginx.conf").write_text(whole)
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def answers() -> bool:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def example(folder: Path, root: str, ports: dict[str, int]) -> str:
    """The configuration of the documentation, with the values of this machine in place of its own."""
    text = EXAMPLE.read_text()
    values = {
        "listen 80;": f"listen 127.0.0.1:{ports['http']};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['https']} ssl;",
        f"/etc/ssl/{HOST}/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "127.0.0.1:8000": f"127.0.0.1:{ports['study']}",
    }
    if not root:
        values |= {"location /reading/ {": "location / {", "location = /reading { return 301 /reading/; }": ""}
    for old, new in values.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module", params=["/reading", ""], ids=["path", "root"])
def site(request: pytest.FixtureRequest, small_study: Path, tmp_path_factory: pytest.TempPathFactory):
    """The small study behind nginx, below a path of its own and at the root of a host."""
    root, folder = request.param, tmp_path_factory.mktemp("nginx")
    study, certificate = Path(shutil.copytree(small_study, folder / "study")), make_certificate(folder)
    ports = {name: free_port() for name in ("http", "https")}
    with serving(study, public_url=f"https://{HOST}:{ports['https']}{root}/") as server:
        configuration = example(folder, root, ports | {"study": server.port})
        with nginx(folder, configuration, ports["https"]):
            yield Proxied(study, ports["https"], root, certificate, server.links)


def test_a_study_behind_nginx(site: Proxied):
    """Links, redirects, static files, cookies and the Origin check all follow the public URL; a reader can answer."""
    root = site.root
    with site.browser() as browser:
        link = site.links["reader 1"]
        assert link.startswith(f"{root}/join/")
        page = browser.get(link)
        assert page.status_code == 200
        assert page.headers["strict-transport-security"]
        form, origin = {"csrf": csrf_in(page.text)}, {"Origin": f"https://{HOST}:{site.port}"}
        assert browser.post(link, data=form, headers={"Origin": f"https://{HOST}"}).status_code == 403
        joined = browser.post(link, data=form, headers=origin)
        assert (joined.status_code, joined.headers["location"]) == (303, f"{root}/read")
        cookie = joined.headers["set-cookie"]
        assert cookie.startswith("__Secure-reader-" if root else "__Host-reader-")
        for part in ("; secure", "; httponly", "; samesite=lax", f"; path={root or '/'}"):
            assert f"{part};" in f"{cookie.lower()};"
        reading = browser.get(f"{root}/read").text
        for file in ("static/shared/palette.css", "static/style.css", "static/reading.js"):
            assert f'"{root}/{file}"' in reading
            assert browser.get(f"{root}/{file}").status_code == 200
        shown = browser.get(f"{root}/api/state").json()["current"]["id"]
        answer = f"{root}/api/presentations/{shown}/answer"
        headers = {"X-CSRF-Token": csrf_in(reading)}
        for other in ("https://evil.example", f"http://{HOST}:{site.port}", "https://[::1"):
            refused = browser.post(answer, json={"call": "real"}, headers=headers | {"Origin": other})
            assert refused.status_code == (400 if "[" in other else 403)
        assert browser.post(answer, json={"call": "real"}, headers=headers | origin).status_code == 200
        assert browser.post(answer, content=b"x" * 70_000, headers=headers | origin).status_code == 413


def test_the_investigator_behind_nginx_makes_links_that_work(site: Proxied):
    """A link made on the page begins as browsers reach the study, and opens there."""
    page_path = f"{site.root}/investigator"
    with site.browser() as browser:
        link, origin = site.links["investigator"], {"Origin": f"https://{HOST}:{site.port}"}
        browser.post(link, data={"csrf": csrf_in(browser.get(link).text)}, headers=origin)
        form = {"csrf": csrf_in(browser.get(page_path).text), "name": "O’Neill, Zoë"}
        added = browser.post(f"{page_path}/readers", data=form, headers=origin).text
        made = added.split('class="link-once">')[1].split("<")[0]
        assert made.startswith(f"{site.base}/join/")
        assert browser.get(made.removeprefix(f"https://{HOST}:{site.port}")).status_code == 200


def test_half_open_connections_at_nginx_shut_no_reader_out(site: Proxied):
    """1200 unfinished connections at the proxy, of headers or of bodies: a reader behind the same address gets in."""
    with site.browser() as browser:
        flood = [begin(site.port, b"") for _ in range(1200)]
        assert browser.get(site.links["reader 2"]).status_code == 200
        for connection in flood:
            connection.close()


@pytest.mark.needs("chromium")
def test_a_browser_reads_under_a_path(site: Proxied):
    """In a real browser the page under a path loads its scripts and images, takes answers and logs out."""
    pytest.importorskip("playwright.sync_api")
    with chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"https://{HOST}:{site.port}{site.links['reader 2']}")
        page.get_by_role("button", name="Start").click()
        for number in (1, 2):
            page.locator("#count", has_text=f"Image {number} of").wait_for()
            wait_until(page, "document.querySelector('#answer:not([hidden])')?.inert === false")
            page.keyboard.press("d")
            page.keyboard.press("Enter")
            page.locator("#go-on").click()
        page.locator("#count", has_text="Image 3 of").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="You are logged out").wait_for()
        page.goto(f"{site.base}/read")
        page.get_by_role("heading", name="Please open your link").wait_for()
    with open_store(Study.open(site.study), read_only=True) as store:
        given = [(answer.position, answer.call) for answer in store.answers() if answer.reader == "reader 2"]
    assert given == [(1, "phony"), (2, "phony")]


def test_clients_behind_nginx_are_told_apart_by_their_addresses(site: Proxied):
    """Wrong links are slowed by the address nginx sees, not by the one a client claims to be forwarded for."""
    with site.browser() as browser:
        claims = [
            browser.get(f"{site.root}/join/{'A' * 42}{n}", headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code
            for n in range(30)
        ]
        assert claims[:20] == [404] * 20
        assert 429 in claims[20:]
        assert browser.get(site.links["reader 2"]).status_code == 200
