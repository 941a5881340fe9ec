"""The PDF of a report: tagged for those who hear it, with names of every script, dated, and without empty pages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pypdf import PdfReader

from phonybrains.reporting.blocks import Block, Bullets, Gallery, Heading, Note, Paragraph, Table
from phonybrains.reporting.drawing import draw
from phonybrains.reporting.pdf import filled, fonts, render_pdf
from phonybrains.reporting.pictures import picture

DAY = date(2026, 11, 28)
EASTERN = ("王小明", "田中さくら", "김철수", "प्रिया क्षत्रिय", "محمد بن علي الخوارزمي", "פנינה כהן", "สมชาย")
NAMES = (*EASTERN, "Ωμέγα", "José Ñandú")
RAMP = picture(np.add.outer(np.arange(60), np.arange(60)), "a ramp from black to grey")


def everything() -> list[Block]:
    """Each kind of block, with names, pictures and what might be taken for markup."""
    figure = draw("line", "A line that rises.", 2.0, lambda axes: axes.plot([0, 1]))
    return [
        Note("A BANNER", "banner"),
        Heading("Verdict"),
        Paragraph(f"Readers: {', '.join(NAMES)}."),
        Note("mind"),
        Heading("Readers", 3),
        Table(("Reader", "answers"), tuple((name, "12") for name in NAMES), "All of them."),
        Table(("picture", "what"), ((RAMP, "first"),)),
        figure,
        Gallery("g", (RAMP,) * 3, NAMES[:3], "Three ramps.", 3),
        Bullets(("one", "*two* #let x = 1 $3$ <b>")),
        Heading("End"),
    ]


@pytest.fixture(scope="module")
def pdf() -> bytes:
    return render_pdf("Report on 王小明", "of nine readers", everything(), "foot", DAY)


def structure(reader: PdfReader) -> Iterator[Any]:
    """Every element of the structure tree, in reading order."""

    def below(node: Any) -> Iterator[Any]:
        node = node.get_object()
        if isinstance(node, list):
            for child in node:
                yield from below(child)
        elif isinstance(node, dict):
            if "/S" in node:
                yield node
            if "/K" in node:
                yield from below(node["/K"])

    root: Any = reader.trailer["/Root"]["/StructTreeRoot"]  # type: ignore[index]
    return below(root)


def words_of(pdf: bytes, tmp_path: Path) -> str:
    """The text as poppler finds it, without the signs of direction that it adds."""
    (tmp_path / "one.pdf").write_bytes(pdf)
    text = subprocess.check_output(["pdftotext", "one.pdf", "-"], cwd=tmp_path, text=True)
    return re.sub("[\u200e\u202a-\u202e]", "", text)


def test_it_is_tagged_for_those_who_hear_it(pdf: bytes):
    """It claims PDF/UA-1, and has what that asks: marked content, language, title, structure."""
    reader = PdfReader(BytesIO(pdf))
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert reader.metadata is not None
    assert reader.metadata.title == "Report on 王小明"
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()
    kinds = [node["/S"] for node in structure(reader)]
    assert [kind for kind in kinds if re.fullmatch(r"/H\d", kind)] == ["/H1", "/H2", "/H3", "/H2"]
    assert {"/P", "/L", "/LI", "/Table", "/TR", "/TH", "/TD", "/Figure", "/Caption"} <= set(kinds)
    assert kinds.count("/TH") == 4


def test_every_picture_is_told_in_words(pdf: bytes):
    """Figures, pictures in cells and pictures of galleries carry what they show."""
    told = [str(node["/Alt"]) for node in structure(PdfReader(BytesIO(pdf))) if "/Alt" in node]
    assert told == ["a ramp from black to grey", "A line that rises.", *["a ramp from black to grey"] * 3]


@pytest.mark.needs("pdftotext")
def test_names_of_every_script_are_found_again(pdf: bytes, tmp_path: Path):
    """Chinese, Japanese, Korean, Hindi, Arabic, Hebrew, Thai, Greek names: searched for, copied, and in their order."""
    text = words_of(pdf, tmp_path)
    assert [name for name in NAMES if name not in text] == []
    listed = re.sub(r"\s+", " ", text.partition("Readers: ")[2].partition("mind")[0])
    assert [text.find(name) for name in NAMES] == sorted(text.find(name) for name in NAMES)
    assert "الخوارزمي" in listed


def test_letters_are_embedded_shaped_and_none_is_a_box(pdf: bytes):
    """Every font is embedded; an Arabic letter has a shape for each place in a word, Hindi letters become one sign."""
    found, letters = {}, {}
    for page in PdfReader(BytesIO(pdf)).pages:
        resources: Any = page["/Resources"]
        for font in resources["/Font"].values():
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            name = str(inner["/BaseFont"]).partition("+")[2]
            found[name] = inner["/FontDescriptor"].get_object()
            told = re.findall(r"<[0-9A-F]+> <([0-9A-F]+)>", font.get_object()["/ToUnicode"].get_data().decode())
            letters[name] = [bytes.fromhex(one).decode("utf-16-be") for one in told]
    assert {"NotoSans-Regular", "DejaVuSans", "NotoSansDevanagari-Regular"} <= set(found)
    assert any(name.startswith("NotoSansCJKsc") for name in found)
    assert all({"/FontFile2", "/FontFile3"} & set(descriptor) for descriptor in found.values())
    assert letters["DejaVuSans"].count("م") >= 2
    assert "क्ष" in "".join(letters["NotoSansDevanagari-Regular"])
    assert max(map(len, letters["NotoSansDevanagari-Regular"])) >= 3
    assert {info.family for info in fonts().fonts()} >= {"Noto Sans Devanagari", "Noto Sans CJK SC", "DejaVu Sans"}


def test_it_is_dated_and_of_one_day_always_the_same(pdf: bytes):
    """The day is on the first page, at the foot of every page and in the file; equal blocks make equal bytes."""
    reader = PdfReader(BytesIO(pdf))
    pages = [page.extract_text() for page in reader.pages]
    assert pages[0].count("2026-11-28") == 2
    assert all("2026-11-28" in page for page in pages)
    assert reader.metadata is not None
    assert str(reader.metadata.creation_date_raw).startswith("D:20261128")
    assert render_pdf("Report on 王小明", "of nine readers", everything(), "foot", DAY) == pdf


def test_what_looks_like_markup_is_shown(pdf: bytes):
    """Signs that the typesetter reads as commands are text, wherever they stand."""
    attack = '#panic("x") *a* _b_ $c$ `d` <e> @f \\g // h "i" \x00\ud800\ufffe'
    made = render_pdf(
        attack, attack, [Paragraph(attack), Table((attack,), ((attack,),), attack), Heading(attack)], attack, DAY
    )
    text = re.sub(r"\s+", " ", PdfReader(BytesIO(made)).pages[0].extract_text())
    assert text.count('#panic("x") *a* _b_ $c$ `d` <e> @f \\g // h "i"') == 8
    assert "*two* #let x = 1 $3$ <b>" in PdfReader(BytesIO(pdf)).pages[-1].extract_text()


def test_long_names_of_files_stay_on_the_page_and_whole():
    """A word wider than its column is broken, and no sign is put into it."""
    name = "images/" + "a_very_long_name_without_an_end_" * 4 + ".png"
    made = render_pdf("t", "", [Table(("file", "n", "m"), ((name, "1", "2"),))], "", DAY)
    places = []
    text = (
        PdfReader(BytesIO(made))
        .pages[0]
        .extract_text(visitor_text=lambda words, _, matrix, *__: places.append(matrix[4]) if words.strip() else None)
    )
    assert name in text.replace("\n", "")
    assert max(places) < 595 - 51


def test_what_is_missing_fills_no_page():
    """Of 207 rows, 199 without a value, eight are left; empty columns go; the caption says what was left out."""
    had = tuple((f"case {i}", "MR", "0.5", "") for i in range(199, 207))
    rows = (*((f"case {i}", "MR", "–", "– (– to –)") for i in range(199)), *had)
    table = filled(Table(("case", "modality", "value", "interval"), rows, "Values.", (1, 1, 1, 2), (0, 1)))
    assert table.rows == tuple(row[:3] for row in had)
    assert table.columns == ("case", "modality", "value")
    assert table.widths == (1, 1, 1)
    assert "left out: 199 rows" in table.caption
    assert "left out: interval" in table.caption
    empty = Table(("case", "value"), tuple((str(i), "–") for i in range(300)))
    assert len(PdfReader(BytesIO(render_pdf("t", "", [empty], "", DAY))).pages) == 1
    full = Table(("case", "value"), (("a", "0"), ("b", "no"), ("c", "–")), "Values.")
    assert filled(full) == full


def test_it_needs_no_network(monkeypatch: pytest.MonkeyPatch):
    """No socket is opened."""

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert render_pdf("t", "", [Paragraph("x")], "", DAY).startswith(b"%PDF-1.7")
