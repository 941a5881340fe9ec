"""The watermark is found again after what happens to pictures, and its false positives are what the theory says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import kstest

from phonybrains.errors import ConfigError, StudyError
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import draw_phantom
from phonybrains.readerstudy.design.stage import open_sets
from phonybrains.record import read_record
from phonybrains.watermark import THRESHOLD, Watermark, p_value
from phonybrains.workflows.verify import verify
from tests.support.places import SHARED

DATA = SHARED / "data"
KEY = Watermark(b"the key of the tests")
Grey = NDArray[np.uint8]


def head(seed: int, modality: str = "MR") -> Grey:
    return draw_phantom(np.random.default_rng(seed), modality, size=256)[0]


def stored(image: Grey) -> Grey:
    """As JPEG of quality 85."""
    Image.fromarray(image).save(buffer := io.BytesIO(), "JPEG", quality=85)
    return np.asarray(Image.open(buffer))


def sized(image: Grey, side: int) -> Grey:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_it_is_found_again(modality: str):
    """As it is, as JPEG, a tenth smaller and larger, without a tenth of each side, in another window; 35 dB."""
    plain = head(1, modality)
    image = KEY.put(plain)
    error = np.mean((image.astype(float) - plain) ** 2)
    assert 10 * np.log10(255**2 / error) > 35
    window = np.clip((image.astype(float) - 25) * 255 / 205, 0, 255).astype(np.uint8)
    changed = (image, stored(image), sized(image, 230), sized(image, 282), image[13:243, 20:250], window)
    assert min(map(KEY.find, changed)) > THRESHOLD


def test_another_key_or_none_finds_nothing():
    """The pattern of one key is noise to another, and the same key draws the same pattern."""
    image = KEY.put(head(2))
    assert Watermark(b"the key of another").find(image) < THRESHOLD
    assert KEY.find(head(2)) < THRESHOLD
    assert np.array_equal(Watermark(KEY.key).put(head(2)), image)


def test_without_it_z_is_standard_normal():
    """Over 400 keys, at one place of one image: Kolmogorov-Smirnov against the normal that the threshold rests on."""
    image = head(3).astype(np.float32)
    z = [Watermark(b"%016d" % number)._scores(image)[5, 40] for number in range(400)]
    assert kstest(z, "norm").pvalue > 0.001
    assert abs(np.std(z) - 1) < 0.12
    assert p_value(THRESHOLD) == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs real images in ../shared/data")
def test_real_images_do_not_have_it():
    """None of 25 real scans is taken for a marked one; 12,500 crops are in docs/verify.md."""
    paths = [path for name in ("brain-mri", "head-ct") for path in sorted((DATA / name / "images").iterdir())[::150]]
    assert max(KEY.find(np.asarray(Image.open(path).convert("L"))) for path in paths) < THRESHOLD


def test_a_key_is_read_or_refused(tmp_path: Path):
    """A file that is missing, and one whose key can be guessed; the name of a key does not tell it."""
    (tmp_path / "key").write_text("short\n")
    with pytest.raises(ConfigError, match="a key of 5 bytes can be guessed"):
        Watermark.read(tmp_path / "key")
    with pytest.raises(ConfigError, match="cannot be read"):
        Watermark.read(tmp_path / "none")
    assert KEY.name.encode() not in KEY.key


def test_models_of_small_images_refuse_it(tiny_model: Path, tmp_path: Path):
    """Before anything is made, where the images are too small to carry it."""
    (tmp_path / "key").write_bytes(KEY.key)
    with pytest.raises(ConfigError, match="needs images of 128 pixels or more"):
        generate(tiny_model, tmp_path / "set", 1, steps=1, watermark=tmp_path / "key", show=False)
    assert not (tmp_path / "set").exists()


def test_a_generated_set_carries_it(tmp_path: Path):
    """Each image, in shards too; the record names the key, verify finds it, and no study takes the set."""
    (tmp_path / "key").write_bytes(KEY.key + b"\n")
    how: Any = {"steps": 1, "seed": 3, "watermark": tmp_path / "key", "show": False}
    made = generate("heads", tmp_path / "set", 2, **how)
    assert read_record(made)["config"]["watermark"] == KEY.name
    part = ImageSet.open(generate("heads", tmp_path / "part", 2, shard="2/2", **how))
    assert part.rows[0].sha256 == ImageSet.open(made).rows[1].sha256
    found = verify(made, watermark=tmp_path / "key", show=False)
    assert (found.links[-1].what, found.links[-1].word) == ("watermark", "intact")
    with pytest.raises(StudyError, match=f"invisible watermark .key {KEY.name}.* --watermark"):
        open_sets([made], None)
