"""Names of readers: what people are called is taken, what is no name is refused, and no two look alike."""

from __future__ import annotations

import html

import pytest

from phonybrains.errors import ConfigError, StudyError
from phonybrains.readerstudy.config import load_study_config
from tests.support.study_web import BASE, Served, cells_of, csrf_in

NAMES = (
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
)


def test_people_may_be_called_what_they_are_called(site: Served):
    """Names of people, in any script, and e-mail addresses can be added, shown, given links, exported and withdrawn."""
    page = site.investigator()
    csrf = {"csrf": csrf_in(page.get("/investigator").text)}
    for name in NAMES:
        added = page.post("/investigator/readers", data=csrf | {"name": f"  {name} "})
        assert added.status_code == 200, name
        assert html.escape(name, quote=True).replace("&#x27;", "&#39;") in added.text
        reader = site.join(added.text.split(f"{BASE}/join/")[1].split("<")[0])
        assert reader.answer(reader.current()).status_code == 200
        again = csrf | {"name": name, "confirm": "yes"}
        assert page.post("/investigator/readers/link", data=again).status_code == 200
        assert page.post("/investigator/readers/revoke", data=again).status_code == 303
    assert {row[0] for row in cells_of(page, "answers.csv")[1:]} == set(NAMES)
    assert set(NAMES) <= {row[3] for row in cells_of(page, "audit.csv")}
    assert {r.name: r.state for r in site.store.readers()} == dict.fromkeys(NAMES, "revoked")


NO_NAMES = (
    *("", " ", "...", "'", "🧠", "<b>", "=1+1", "+1", "-1", "@x", "../x", "x" * 81, "\U000e0041a"),
    *(f"a{mark}b" for mark in '\n\r\t\0\x1b\u202e\u2066\u200f\u2028\x85\ufeff\u200b\u00ad\ue000";/\\'),
)


def test_what_is_no_name_is_refused(site: Served):
    """Control characters, marks that turn the text around, formulas and markup are refused with what a name can be."""
    page = site.investigator()
    csrf = csrf_in(page.get("/investigator").text)
    for name in NO_NAMES:
        refused = page.post("/investigator/readers", data={"csrf": csrf, "name": name})
        assert refused.status_code == 400, ascii(name)
        assert "cannot be a reader&#39;s name" in refused.text
        with pytest.raises(StudyError, match="cannot be a reader's name"):
            site.store.add_reader(name)
        with pytest.raises(ConfigError, match="cannot be a reader's name"):
            load_study_config(readers=(name,))
    assert site.store.readers() == []


ALIKE = (
    ("Ann", "ann", "ANN ", "Ａｎｎ"),
    ("O'Brien", "O’Brien"),
    ("reader 1", "reader\u00a01", "reader  1"),
    ("Zo\u00eb", "zoe\u0308"),
    ("STRASSE", "straße"),
    ("a-b", "a‐b"),
    ("ｱ", "ア"),
    ("Ⅷ", "viii"),
    ("A\u030a", "\u212b"),
    ("رئیس\u200cجمهور", "رئیسجمهور"),
    ("ann@X.example", "Ann@x.EXAMPLE"),
)


def test_two_names_that_look_alike_are_one_too_many(site: Served):
    """A name that differs only in case, width, composition or blanks is refused, on the page and in a plan."""
    page = site.investigator()
    csrf = csrf_in(page.get("/investigator").text)
    for first, *others in ALIKE:
        site.store.add_reader(first)
        for second in others:
            form = {"csrf": csrf, "name": second}
            assert page.post("/investigator/readers", data=form).status_code == 409, (first, second)
            with pytest.raises(ConfigError, match="cannot be told apart"):
                load_study_config(readers=(first, second))
    assert len(site.store.readers()) == len(ALIKE)
