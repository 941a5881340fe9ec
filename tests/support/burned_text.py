"""Text burned into pixels, for tests and measurements: fonts, names and dates, where and how they are drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CONTRASTS = ("white", "120 lighter", "70 lighter", "black", "black in a box")
PLACES = ("corner", "over tissue", "anywhere")
FIRST = ("ANNA", "PETER", "HANS", "MARIA", "JOHN", "OLGA", "YUSUF", "INGRID", "PABLO", "MEI", "LARS", "FATIMA")
LAST = ("MUELLER", "SMITH", "GARCIA", "KOWALSKI", "JONES", "DOE", "NGUYEN", "IVANOVA", "LI", "HANSEN", "TANAKA")
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.,/:^ "
DOTS = """
3E5149453E 00427F4000 4261514946 2141454B31 1814127F10 2745454539 3C4A494930 0171090503 3649494936 064949291E 7E1111117E
7F49494936 3E41414122 7F4141221C 7F49494941 7F09090901 3E4149497A 7F0808087F 00417F4100 2040413F01 7F08142241 7F40404040
7F020C027F 7F0408107F 3E4141413E 7F09090906 3E4151215E 7F09192946 4649494931 01017F0101 3F4040403F 1F2040201F 3F4038403F
6314081463 0708700807 6151494543 0808080808 0060600000 0050300000 2010080402 0036360000 0402010204 0000000000
"""
"""The 5×7 letters of character displays, by columns: what is nearest to the overlay of a scanner."""
Picture = NDArray[np.uint8]
Stamp = NDArray[np.float64]
Draw = Callable[[str, int], Stamp]


def dots(text: str, capital: int) -> Stamp:
    columns = dict(zip(LETTERS, map(bytes.fromhex, DOTS.split()), strict=True))
    found = [column for letter in text.upper() for column in (*columns[letter], 0)]
    return enlarged(np.array([[column >> row & 1 for column in found] for row in range(7)]), capital)


def pillows_bitmap(text: str, capital: int) -> Stamp:
    font = ImageFont.load_default_imagefont()
    _, _, right, bottom = map(int, font.getbbox(text))
    image = Image.new("1", (right, bottom))
    ImageDraw.Draw(image).text((0, 0), text, fill=1, font=font)
    return enlarged(np.asarray(image), capital)


def enlarged(letters: NDArray[Any], capital: int) -> Stamp:
    times = max(1, round(capital / 7))
    return letters.astype(float).repeat(times, 0).repeat(times, 1)


@cache
def outlines(path: str, capital: int) -> Any:
    """The smallest size of a font whose capitals are that high; "" is Pillow's own font."""
    sizes = (ImageFont.truetype(path, size) if path else ImageFont.load_default(size) for size in range(4, 200))
    return next(font for font in sizes if height(font) >= capital)


def height(font: Any) -> float:
    _, top, _, bottom = font.getbbox("H")
    return bottom - top


def drawn(path: str, mode: str, text: str, capital: int) -> Stamp:
    """mode: "L" with smooth edges, "1" without."""
    font = outlines(path, capital)
    _, _, right, bottom = map(int, font.getbbox(text))
    image = Image.new(mode, (right + 2, bottom + 2))
    ImageDraw.Draw(image).text((1, 1), text, fill=1 if mode == "1" else 255, font=font)
    return np.asarray(image.convert("L")) / 255


OURS, SYSTEM = f"{matplotlib.get_data_path()}/fonts/ttf/", "/usr/share/fonts/truetype/"
FONTS: Mapping[str, Mapping[str, Draw]] = {
    "chosen": {
        "DejaVu Sans": partial(drawn, f"{OURS}DejaVuSans.ttf", "L"),
        "DejaVu Sans Mono Bold": partial(drawn, f"{OURS}DejaVuSansMono-Bold.ttf", "L"),
        "Computer Modern Sans": partial(drawn, f"{OURS}cmss10.ttf", "L"),
        "Liberation Sans, 1 bit": partial(drawn, f"{SYSTEM}liberation/LiberationSans-Regular.ttf", "1"),
        "Courier, bitmap": pillows_bitmap,
    },
    "other": {
        "Aileron": partial(drawn, "", "L"),
        "STIX (serifs)": partial(drawn, f"{OURS}STIXGeneral.ttf", "L"),
        "DejaVu Serif": partial(drawn, f"{OURS}DejaVuSerif.ttf", "L"),
        "Noto Sans Mono, 1 bit": partial(drawn, f"{SYSTEM}noto/NotoSansMono-Regular.ttf", "1"),
        "5×7 dots, bitmap": dots,
    },
}


def words(rng: np.random.Generator) -> str:
    """A name or a date."""
    first, last = rng.choice(FIRST), rng.choice(LAST)
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1930, 2024)
    names = [f"{last}^{first}", f"{last.title()}, {first.title()}", f"{first} {last}"]
    dates = [f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{month:02}/{day:02}/{year}"]
    return str(rng.choice(names + dates))


def turned(stamp: Stamp, degrees: int) -> Stamp:
    if degrees in (0, 90):
        return np.rot90(stamp, degrees // 90)
    image = Image.fromarray((np.pad(stamp, 4) * 255).astype(np.uint8))
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)) / 255


def trimmed(stamp: Stamp) -> Stamp:
    rows, columns = (np.flatnonzero(stamp.any(axis=axis)) for axis in (1, 0))
    return stamp[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def burned(image: Picture, stamp: Stamp, contrast: str, place: str, rng: np.random.Generator) -> Picture | None:
    """The image with the stamp at a place where it can be read; None where there is none."""
    ink = np.pad(stamp, 4)
    free = np.array(image.shape) - ink.shape
    head = np.argwhere(image[::8, ::8] > 30) * 8
    if (free < 1).any() or (place == "over tissue" and not len(head)):
        return None
    for _ in range(40):
        where = rng.integers(0, free + 1)
        if place == "corner":
            inward = rng.integers(0, 13, 2)
            where = np.where(rng.random(2) < 0.5, inward, free - inward)
        elif place == "over tissue":
            where = head[rng.integers(len(head))] - np.array(ink.shape) // 2
        top, left = np.clip(where, 0, free).astype(int)
        under = image[top : top + ink.shape[0], left : left + ink.shape[1]].astype(float)
        under = np.full(ink.shape, 200.0) if contrast == "black in a box" else under
        dark, usual, light = np.percentile(under, (10, 50, 90))
        greys = {"white": 255, "120 lighter": usual + 120, "70 lighter": usual + 70, "black": 0, "black in a box": 20}
        grey = min(255.0, greys[contrast])
        if (place == "over tissue" and usual < 30) or not (grey - light >= 55 or dark - grey >= 55):
            continue
        whole = image.copy()
        whole[top : top + ink.shape[0], left : left + ink.shape[1]] = np.rint(under * (1 - ink) + grey * ink)
        return whole
    return None


def as_jpeg(image: Picture) -> Picture:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=80)
    return np.asarray(Image.open(content))
