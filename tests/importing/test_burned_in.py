"""Text burned into pixels: found on heads of any kind, told from what is none, left out of a set unless it is kept."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from phonybrains.cli.parser import app
from phonybrains.importing import ImportConfig, import_images
from phonybrains.importing.burned_in import find_text
from phonybrains.record import read_record
from tests.support.burned_text import (
    CONTRASTS,
    FONTS,
    Picture,
    as_jpeg,
    burned,
    dots,
    pillows_bitmap,
    trimmed,
    turned,
    words,
)
from tests.support.dicom_files import read, write
from tests.support.pictures import head, save
from tests.support.places import SHARED
from tests.support.volume_files import volume

MR = ImportConfig(modality="MR")
ALL_FONTS = {**FONTS["chosen"], **FONTS["other"]}
SIZES = (7, 9, 12, 18, 28)
AT = (20, 24)
"""Row and column at which the name is written where it matters."""


def found(image: Picture) -> bool:
    return find_text(image.astype(np.float32), 0.0, 255.0) is not None


def with_name(image: Picture, grey: int = 255, text: str = "DOE^JANE 1967") -> Picture:
    """A name in dots of 7 pixels."""
    stamp, named = dots(text, 7) > 0, image.copy()
    (top, left), (height, width) = AT, stamp.shape
    named[top : top + height, left : left + width][stamp] = grey
    return named


def has(fonts: Sequence[str]) -> list[Any]:
    """Each font, to be skipped where it is not installed."""

    def missing(name: str) -> bool:
        path = Path(getattr(ALL_FONTS[name], "args", [""])[0] or "/")
        return not path.exists()

    return [pytest.param(name, marks=pytest.mark.skipif(missing(name), reason=f"no font {name}")) for name in fonts]


@pytest.mark.parametrize("font", has(list(ALL_FONTS)))
def test_names_and_dates_are_found_in_every_font(font: str) -> None:
    """Of 25 lines of all sizes and contrasts on a head, level, aslant or upright, at most two are missed."""
    rng, missed, drawn = np.random.default_rng(len(font)), [], 0
    for number in range(25):
        contrast, capital, turn = CONTRASTS[number % 5], SIZES[number // 5 % 5], (0, 3, 90, -3)[number % 4]
        text = words(rng)
        stamp = trimmed(turned(trimmed(ALL_FONTS[font](text, capital)), turn))
        image = burned(head(number, 300), stamp, contrast, "anywhere", rng)
        if image is None:
            continue
        drawn += 1
        if not found(as_jpeg(image) if number % 3 == 0 else image):
            missed.append((text, contrast, capital, turn))
    assert drawn >= 15
    assert len(missed) <= 2, missed


def test_the_line_is_where_the_text_was_drawn() -> None:
    """Also after the image was turned or mirrored, as import turns what it reads."""
    ground = np.zeros((256, 256), np.uint8)
    for turn in range(4):
        for image in (np.rot90(with_name(ground), turn), np.rot90(with_name(ground), turn)[:, ::-1]):
            line = find_text(np.ascontiguousarray(image, np.float32), 0.0, 255.0)
            assert line is not None
            rows, columns = np.nonzero(image)
            assert (line.top, line.bottom) == pytest.approx((rows.min(), rows.max() + 1), abs=1)
            assert (line.left, line.right) == pytest.approx((columns.min(), columns.max() + 1), abs=1)


def test_letters_with_broad_strokes_are_found() -> None:
    """Strokes of 8 pixels, which no letter has that is looked for at the size of the source."""
    image = burned(
        head(1, 384), trimmed(pillows_bitmap("J. DOE 1967", 28)), "black in a box", "anywhere", np.random.default_rng(0)
    )
    assert image is not None
    assert found(image)


def ring(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((40, 30, 344, 354), outline=255, width=6)
    draw.ellipse((52, 42, 332, 342), outline=90, width=3)


def wedge(draw: ImageDraw.ImageDraw) -> None:
    for step in range(12):
        draw.rectangle((350, 60 + 20 * step, 370, 79 + 20 * step), fill=21 * step + 20)


def table(draw: ImageDraw.ImageDraw) -> None:
    draw.arc((20, 150, 364, 380), 10, 170, fill=220, width=4)
    draw.line((0, 370, 383, 366), fill=140, width=2)


def markers(draw: ImageDraw.ImageDraw) -> None:
    for column in range(40, 340, 72):
        draw.ellipse((column, 180, column + 24, 204), outline=255, width=2)


def electrodes(draw: ImageDraw.ImageDraw) -> None:
    for column in range(60, 320, 16):
        draw.ellipse((column, 100, column + 6, 106), fill=255)


def sides(draw: ImageDraw.ImageDraw) -> None:
    for letter, column in (("R", 8), ("L", 366)):
        draw.text((column, 180), letter, fill=255, font_size=16)


def bar(draw: ImageDraw.ImageDraw) -> None:
    draw.line((372, 80, 372, 280), fill=255)
    for row in range(80, 281, 20):
        draw.line((366, row, 372, row), fill=255)


@pytest.mark.parametrize("shape", [ring, wedge, table, markers, electrodes, sides, bar])
def test_what_is_not_text_is_not_taken_for_it(shape: Callable[[ImageDraw.ImageDraw], None]) -> None:
    """Skull, calibration wedge, table, round markers, electrodes, one letter for a side, a scale; on a head and off."""
    for ground in (head(5, 384), np.zeros((384, 384), np.uint8)):
        image = Image.fromarray(ground)
        shape(ImageDraw.Draw(image))
        assert not found(np.asarray(image))
        assert not found(255 - np.asarray(image))


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 3), (8, 8)])
@pytest.mark.parametrize("low", [0.0, -1e30, 1e30])
def test_no_image_is_too_small_or_too_strange(shape: tuple[int, int], low: float) -> None:
    """One pixel, a sliver, or a window in which nothing lies: no text, and no warning of NumPy."""
    values = np.random.default_rng(0).random(shape, np.float32) * 1e30
    assert find_text(values, low, 1e30) is None
    assert find_text(np.zeros(shape, np.float32), 0.0, 0.0) is None


def test_noise_is_no_text() -> None:
    """Neither white noise nor grain as wide as a stroke."""
    rng = np.random.default_rng(0)
    for size in (384, 192, 96):
        noise = Image.fromarray(rng.integers(0, 256, (size, size), np.uint8))
        assert not found(np.asarray(noise.resize((384, 384), Image.Resampling.BICUBIC)))


def run(folder: Path, **settings: Any) -> Any:
    return import_images([folder / "in"], folder / "out", MR.model_copy(update=settings), progress=False)


def test_an_image_with_text_is_left_out_and_counted(tmp_path: Path) -> None:
    """The report has its name and the reason, the record a number, the table of sources one for each of them."""
    save(tmp_path / "in/plain.png", head(1, 256))
    save(tmp_path / "in/named.png", with_name(head(2, 256)))
    report = run(tmp_path)
    assert (report.results["total"], report.results["burned_in"], report.results["skipped"]) == (1, 1, 1)
    (skipped,) = [notice for notice in report.notices if notice.kind == "skipped"]
    assert skipped.file == "in/named.png"
    assert skipped.reason.startswith("text is burned into its pixels (a line of it at rows 20 to 27, columns 24 to ")
    assert "text burned into the pixels of 1 image; 0 of them kept. Look" in report.notices[-1].reason
    with (tmp_path / "out.sources.csv").open() as file:
        assert [row["burned_in"] for row in csv.DictReader(file)] == ["1"]
    assert "keep_text" not in read_record(tmp_path / "out")["config"]


def test_keep_text_overrules_and_the_record_says_so(tmp_path: Path) -> None:
    """The image is in the set, and the report still names it; with --strict it is no failure."""
    save(tmp_path / "in/named.png", with_name(head(2, 256)))
    words = ["import", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--modality", "MR", "--keep-text"]
    assert app([*words, "--strict"], print_error=False, exit_on_error=False) == 0
    record = read_record(tmp_path / "out")
    assert record["config"]["keep_text"] is True
    assert (record["results"]["total"], record["results"]["burned_in"]) == (1, 1)
    assert 'in/named.png,warning,"text is burned into its pixels' in (tmp_path / "out.import.csv").read_text()


def test_a_generated_image_with_text_stays_with_a_warning(tmp_path: Path) -> None:
    """It is nobody's name, and a fact about its generator."""
    save(tmp_path / "in/made.png", with_name(head(2, 256)))
    report = run(tmp_path, synthetic=True, generator="G")
    assert (report.results["total"], report.results["burned_in"]) == (1, 1)
    assert [notice.kind for notice in report.notices if notice.file == "in/made.png"] == ["warning"]


@pytest.mark.parametrize("window", [(40.0, 80.0), None])
def test_text_in_deep_pixels_is_found(tmp_path: Path, window: tuple[float, float] | None) -> None:
    """A DICOM CT with a name at the scanner's highest value: in the brain window, and with all HU."""
    pixels = head(3, 256).astype(np.uint16) // 3 + 1024
    write(tmp_path / "in/plain", pixels, RescaleIntercept=-1024)
    pixels = np.where(with_name(np.zeros((256, 256), np.uint8)) > 0, 4095, pixels).astype(np.uint16)
    write(tmp_path / "in/named", pixels, RescaleIntercept=-1024, ImagePositionPatient=[0, 0, 5])
    report = run(tmp_path, window=window, bits=8 if window else 16)
    assert (report.results["total"], report.results["burned_in"]) == (1, 1)


def test_a_dicom_header_that_says_so_is_believed_unless_text_is_kept(tmp_path: Path) -> None:
    """BurnedInAnnotation YES leaves a file out without a look at its pixels; kept, it is named in a warning."""
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    write(tmp_path / "a", pixels, BurnedInAnnotation="YES")
    slices, (notice,) = read(tmp_path)
    assert (slices, notice.kind) == ([], "skipped")
    slices, (notice,) = read(tmp_path, keep_text=True)
    assert (len(slices), notice.kind) == (1, "warning")
    assert notice.reason.startswith("text is burned into its pixels (BurnedInAnnotation is YES)")


def test_a_volume_loses_the_slice_alone(tmp_path: Path) -> None:
    """The other slices of a NIfTI volume stay."""
    slices = [head(number, 128) for number in range(4)]
    slices[2] = with_name(slices[2])
    volume(tmp_path / "in/sub-1_T1w.nii.gz", np.stack(slices, axis=2).astype(np.int16))
    report = run(tmp_path)
    assert (report.results["total"], report.results["burned_in"]) == (3, 1)


@pytest.mark.parametrize("name", ["brain-mri", "head-ct", "head-ct-more"])
def test_real_scans_are_silent_until_a_name_is_drawn(name: str) -> None:
    """Of 24 real scans at most one is taken for text, and of those with a name or date at most two are missed."""
    files = sorted((SHARED / "data" / name / "images").glob("*.jpg"))
    if not files:
        pytest.skip("no ../shared/data")
    rng, alarms, hits = np.random.default_rng(0), 0, []
    for number, path in enumerate(files[7 :: len(files) // 24][:24]):
        image = np.asarray(Image.open(path).convert("L"))
        stamp = trimmed(dots(words(rng), (7, 14)[number % 2]))
        named = burned(image, stamp, CONTRASTS[number % 3], "anywhere", rng)
        alarms += found(image)
        hits += [found(named)] if named is not None else []
    assert alarms <= 1
    assert hits.count(False) <= 2
