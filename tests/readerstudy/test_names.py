"""Names of readers: what people are called is taken, what is no name is refused, and no two look alike."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

import pytest

from phonybrains.errors import ConfigError, StudyError
from phonybrains.readerstudy.config import load_study_config
from phonybrains.readerstudy.study import Study
from tests.support.study_files import make_study
from tests.support.study_web import BASE, Served, cells_of, csrf_in, served


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.open(make_study(tmp_path_factory.mktemp("study")))


@pytest.fixture
def desk(study: Study, tmp_path: Path) -> Iterator[Served]:
    with served(study, f"sqlite:///{tmp_path / 'answers.db'}") as running:
        yield running


NAMES = [
    "O'Brien, Ann",
    "D’Angelo (resident)",
    "zoë.müller+study@klinik-nord.example",
    "李明",
    "محمد علی",
    "Ярослав",
    "José-María",
    "עמית כהן",
    "สมชาย",
    "Nguyễn Thị Ánh",
    "राहुल शर्मा",
    "رئیس\u200cجمهور",
    "Dr. Ada",
    "2",
    "Smith · 1",
    "x" * 80,
]


@pytest.mark.parametrize("name", NAMES)
def test_people_may_be_called_what_they_are_called(desk: Served, name: str):
    """Names of people, in any script, and e-mail addresses can be added, shown, given links, exported and withdrawn."""
    page = desk.investigator()
    csrf = {"csrf": csrf_in(page.get("/investigator").text)}
    added = page.post("/investigator/readers", data=csrf | {"name": f"  {name} "})
    assert added.status_code == 200
    assert html.escape(name, quote=True).replace("&#x27;", "&#39;") in added.text
    token = added.text.split(f"{BASE}/join/")[1].split("<")[0]
    reader = desk.join(token)
    assert reader.answer(reader.current()).status_code == 200
    assert cells_of(page, "answers.csv")[1][0] == name
    assert name in [row[3] for row in cells_of(page, "audit.csv")]
    again = csrf | {"name": name, "confirm": "yes"}
    assert page.post("/investigator/readers/link", data=again).status_code == 200
    assert page.post("/investigator/readers/revoke", data=again).status_code == 303
    assert [(r.name, r.state) for r in desk.store.readers()] == [(name, "revoked")]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\0b",
        "a\x1bb",
        "a\u202eb",
        "a\u2066b",
        "a\u200fb",
        "a\u2028b",
        "a\x85b",
        "<b>",
        "=1+1",
        "+1",
        "-1",
        "@x",
        'a"b',
        "a;b",
        "a/b",
        "a\\b",
        "../x",
        "a\ufeffb",
        "a\u200bb",
        "a\u00adb",
        "...",
        "'",
        "🧠",
        "x" * 81,
        "a\ue000b",
        "\U000e0041a",
    ],
)
def test_what_is_no_name_is_refused(desk: Served, name: str):
    """Control characters, marks that turn the text around, formulas and markup are refused with what a name can be."""
    page = desk.investigator()
    csrf = csrf_in(page.get("/investigator").text)
    refused = page.post("/investigator/readers", data={"csrf": csrf, "name": name})
    assert refused.status_code == 400
    assert "cannot be a reader&#39;s name" in refused.text
    with pytest.raises(StudyError, match="cannot be a reader's name"):
        desk.store.add_reader(name)
    with pytest.raises(ConfigError, match="cannot be a reader's name"):
        load_study_config(readers=(name,))
    assert desk.store.readers() == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ann", "ann"),
        ("Ann", "ANN "),
        ("O'Brien", "O’Brien"),
        ("reader 1", "reader\u00a01"),
        ("reader 1", "reader  1"),
        ("Zo\u00eb", "zoe\u0308"),
        ("STRASSE", "straße"),
        ("Ａｎｎ", "Ann"),
        ("a-b", "a‐b"),
        ("ｱ", "ア"),
        ("Ⅷ", "viii"),
        ("A\u030a", "\u212b"),
        ("رئیس\u200cجمهور", "رئیسجمهور"),
        ("ann@X.example", "Ann@x.EXAMPLE"),
    ],
)
def test_two_names_that_look_alike_are_one_too_many(desk: Served, first: str, second: str):
    """A name that differs only in case, width, composition or blanks is refused, on the page and in a plan."""
    desk.store.add_reader(first)
    page = desk.investigator()
    form = {"csrf": csrf_in(page.get("/investigator").text), "name": second}
    assert page.post("/investigator/readers", data=form).status_code == 409
    with pytest.raises(ConfigError, match="cannot be told apart"):
        load_study_config(readers=(first, second))
    assert len(desk.store.readers()) == 1
