"""The site of docs/: it builds, leads nowhere that is not there, asks no other machine, and is complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from phonybrains.cli.reference import reference
from tests.support.places import ROOT


class Page(HTMLParser):
    """What can be led to in a page, what it leads to, and what it fetches by itself."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.add(found.get("id", ""))
        if "src" in found or tag == "link":
            self.fetched.append(found.get("src") or found.get("href", ""))
        elif "href" in found:
            self.links.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; a link to a page or a heading that is not there ends the build."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.glob("**/*.html") if path.name != "404.html"}


def nav(entries: list[dict[str, str | list]]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else nav(target)


def test_every_link_leads_to_a_page_and_a_heading(pages: dict[Path, Page]):
    """Within the site an address is a file, and what follows # an id in it; so it is with those of README.md."""
    broken = []
    for path, page in pages.items():
        for link in page.links + page.fetched:
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if "://" not in link and not (target.is_file() and (not anchor or anchor in pages[target].ids)):
                broken.append(f"{path.name}: {link}")
    site = next(iter(pages)).parent
    for outside in ROOT.glob("*.md"):
        for name, anchor in re.findall(r"\]\(docs/([\w-]+)\.md#([\w-]+)\)", outside.read_text(encoding="utf-8")):
            if anchor not in pages[site / f"{name}.html"].ids:
                broken.append(f"{outside.name}: {name}.md#{anchor}")
    assert broken == []


def test_reading_it_asks_no_other_machine(pages: dict[Path, Page]):
    """Scripts, styles, fonts and pictures lie in the site itself: it reads without a network, and no one counts."""
    assert {address for page in pages.values() for address in page.fetched if "//" in address} == set()


def test_every_page_is_in_the_contents():
    """Each page of docs/ stands in the site's contents, once."""
    listed = sorted(nav(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    assert listed == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_command_reference_is_what_the_parser_says():
    """docs/commands.md is what `python -m phonybrains.cli.reference` prints; otherwise `make docs` writes it anew."""
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == reference()
