"""Near duplicates, and the pseudonyms of patients."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest

from phonybrains.errors import ConfigError
from phonybrains.importing import duplicates
from phonybrains.importing.duplicates import find_near_duplicates
from phonybrains.importing.pseudonym import load_key, pseudonym
from phonybrains.importing.resize import thumbnail
from pictures import head


def thumbnails(*images) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


def find(images, splits, patients=None):
    return find_near_duplicates(thumbnails(*images), splits, patients or [""] * len(images), ["CT"] * len(images))


def test_a_brighter_shifted_noisy_copy_is_found_and_another_head_is_not():
    """Copies that differ by gain, a pixel's shift or noise are near duplicates of the original, and of nothing else."""
    one, other = head(1, 256), head(2, 256)
    noisy = np.clip(one + np.random.default_rng(0).normal(0, 10, one.shape), 0, 255).astype(np.uint8)
    found = find([one, one // 2 + 20, np.roll(one, 1, axis=1), noisy, other], ["train"] * 5)
    assert found.pairs == 6


def test_pairs_that_join_splits_or_patients_are_counted_and_shown():
    """Only a pair in two splits crosses; "" is no split and no patient; the worst comes first."""
    one = head(1, 256)
    noisy = np.clip(one + np.random.default_rng(0).normal(0, 20, one.shape), 0, 255).astype(np.uint8)
    found = find([one, one, noisy, one], ["train", "test", "test", ""], ["a", "a", "", "b"])
    assert (found.pairs, found.across_splits, found.across_patients) == (6, 2, 2)
    assert [pair.correlation for pair in found.worst] == sorted((p.correlation for p in found.worst), reverse=True)


def test_blocks_give_the_same_as_one_piece(monkeypatch):
    """Working in blocks of three finds exactly the pairs that all at once finds."""
    images = [head(n % 7, 64) for n in range(23)]
    splits = [("train", "test", "")[n % 3] for n in range(23)]
    whole = find(images, splits)
    monkeypatch.setattr(duplicates, "CHUNK", 3)
    assert find(images, splits) == whole
    assert whole.pairs == 2 * 6 + 5 * 3


def test_modalities_are_not_compared():
    """The same thumbnail as MR and as CT is no pair."""
    images = thumbnails(head(1), head(1))
    assert find_near_duplicates(images, ["train", "test"], ["", ""], ["MR", "CT"]).pairs == 0


def test_pseudonyms_are_keyed_and_stable():
    """A pseudonym is P- and 12 digits of HMAC-SHA256; it changes with the key and stays for one that has it already."""
    expected = hmac.new(b"key", b"1017", hashlib.sha256).hexdigest()[:12]
    assert pseudonym("1017", b"key") == f"P-{expected}"
    assert pseudonym(" 1017 ", b"key") == f"P-{expected}"
    assert pseudonym("1017", b"other") != f"P-{expected}"
    assert pseudonym(f"P-{expected}", b"other") == f"P-{expected}"
    assert pseudonym("", b"key") == ""


def test_the_key_is_made_once_for_its_owner_only(tmp_path):
    """A missing key is made at random with mode 0600 and then stays."""
    path = tmp_path / "deep/er/key"
    key = load_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == key
    assert load_key(tmp_path / "another") != key
    assert [item.name for item in path.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("content", [b"", b"abcd", b"\xff\xfe", b"zz" * 32])
def test_a_damaged_key_is_refused(tmp_path, content):
    """A key that is too short or no hexadecimal number is an error that names the file."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match="key: not a key"):
        load_key(tmp_path / "key")
