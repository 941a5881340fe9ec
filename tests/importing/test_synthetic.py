"""Import of images that another generator made: marked, gray, without split and patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from phonybrains.config import load_config
from phonybrains.errors import ConfigError
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig
from phonybrains.pictures.picture import DecodedPicture
from phonybrains.pictures.pixels import how_coloured
from phonybrains.record import read_record
from tests.support.imports import run
from tests.support.pictures import head, save, write_table

MIDJOURNEY = ImportConfig(modality="MR", size=64, synthetic=True, generator="Midjourney 8")


def made(folder: Path, config: ImportConfig = MIDJOURNEY) -> ImageSet:
    run(folder, folder.with_name("out"), config)
    return ImageSet.open(folder.with_name("out"))


def test_rows_say_that_and_by_what_images_were_generated(tmp_path):
    """Each row is synthetic, names its generator, and has neither split nor patient, whatever the table says."""
    for i in range(12):
        save(tmp_path / f"in/{i}.png", head(i))
    write_table(tmp_path / "in", [{"file_name": f"{i}.png", "patient_id": i, "split": "train"} for i in range(12)])
    rows = made(tmp_path / "in").rows
    assert {(r.synthetic, r["generator"], r.patient_id, r.split) for r in rows} == {(True, "Midjourney 8", "", "")}
    assert not (tmp_path / "config").exists(), "no key of pseudonyms is needed"


def test_colour_becomes_luminance_and_is_noted(tmp_path):
    """A blue half counts by its luminance (BT.601: 0.114), and the row says that half of the pixels were coloured."""
    channels = np.full((64, 64, 3), 100, np.uint8)
    channels[:, :32] = (0, 0, 200)
    save(tmp_path / "in/a.png", channels)
    images = made(tmp_path / "in")
    assert_allclose(images.pixels(0)[:, :32], round(0.114 * 200), atol=1)
    assert_array_equal(images.pixels(0)[:, 32:], 100)
    assert (images.rows[0]["coloured"], images.rows[0]["chroma"]) == (0.5, 100)


def test_a_gray_image_is_noted_as_gray(tmp_path):
    """What comes as RGB with equal channels, or as gray, has no colour, and keeps every pixel."""
    save(tmp_path / "in/a.png", Image.fromarray(head(1)).convert("RGB"))
    save(tmp_path / "in/b.png", head(2))
    images = made(tmp_path / "in")
    assert [(row["coloured"], row["chroma"]) for row in images.rows] == [(0, 0), (0, 0)]
    assert_array_equal(images.pixels(0), head(1))
    assert how_coloured(DecodedPicture(np.full((4, 4), 7, np.uint8), 255)) == {"coloured": 0.0, "chroma": 0.0}


def test_scans_may_still_not_be_coloured(tmp_path):
    """Without --synthetic a coloured picture stays out, beside a gray one that comes in."""
    save(tmp_path / "in/a.png", Image.new("RGB", (64, 64), (0, 0, 200)))
    save(tmp_path / "in/b.png", head(2))
    assert len(made(tmp_path / "in", ImportConfig(modality="MR", size=64))) == 1


def test_one_needs_the_other():
    """Synthetic images need a generator's name, and a generator makes synthetic images."""
    for given, missing in (({"synthetic": True}, "--generator NAME"), ({"generator": "Midjourney 8"}, "--synthetic")):
        with pytest.raises(ConfigError, match=missing):
            load_config(ImportConfig, None, **given)


def test_the_record_of_scans_has_no_new_settings(tmp_path):
    """An import that an earlier version finished is still known as finished: its settings are the same."""
    save(tmp_path / "in/a.png", head(1))
    assert "generator" in made(tmp_path / "in").record["config"]
    assert not {"synthetic", "generator"} & ImportConfig(modality="MR").settings().keys()
    assert read_record(tmp_path / "out")["results"]["split"] == {"MR": "none, synthetic"}
