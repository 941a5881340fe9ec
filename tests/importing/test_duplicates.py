"""Near duplicates, and the pseudonyms of patients."""

from __future__ import annotations

import hashlib
import hmac
import tracemalloc

import numpy as np
import pytest

from phonybrains.errors import ConfigError
from phonybrains.importing import duplicates
from phonybrains.importing.duplicates import find_near_duplicates
from phonybrains.importing.pseudonym import load_key, pseudonym
from phonybrains.importing.resize import thumbnail
from tests.support.pictures import head


def thumbnails(*images) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


def noisy(image: np.ndarray, sd: float) -> np.ndarray:
    return np.clip(image + np.random.default_rng(0).normal(0, sd, image.shape), 0, 255).astype(np.uint8)


def find(images, splits, patients=None):
    return find_near_duplicates(thumbnails(*images), splits, patients or [""] * len(images), ["CT"] * len(images))


def test_a_brighter_shifted_noisy_copy_is_found_and_another_head_is_not():
    """Copies that differ by gain, a pixel's shift or noise are near duplicates of the original, and of nothing else."""
    one, other = head(1, 256), head(2, 256)
    found = find([one, one // 2 + 20, np.roll(one, 1, axis=1), noisy(one, 10), other], ["train"] * 5)
    assert found.pairs == 6


def test_pairs_that_join_splits_or_patients_are_counted_and_shown():
    """Only a pair in two splits crosses; "" is no split and no patient; the worst comes first."""
    one = head(1, 256)
    found = find([one, one, noisy(one, 20), one], ["train", "test", "test", ""], ["a", "a", "", "b"])
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


def test_the_worst_are_the_first_of_the_most_alike(monkeypatch):
    """Of many equal pairs the first by place are shown, after those that are more alike, in blocks as in one piece."""
    base = thumbnail(head(1, 256)).astype(int)
    rng = np.random.default_rng(0)
    images = np.stack([base] * 30 + [np.clip(base + rng.normal(0, 9, base.shape), 0, 255) for _ in range(30)])
    images = images.astype(np.uint8)[rng.permutation(60)]
    splits = ["train" if n % 2 else "test" for n in range(60)]
    correlation = np.asarray(np.corrcoef(images.reshape(60, -1)), np.float32).round(4)
    pairs = [(i, j) for i in range(60) for j in range(i + 1, 60) if correlation[i, j] > 0.97 and i % 2 != j % 2]
    expected = sorted(pairs, key=lambda pair: (-correlation[pair], pair))[: duplicates.WORST]
    for chunk in (2048, 7):
        monkeypatch.setattr(duplicates, "CHUNK", chunk)
        found = find_near_duplicates(images, splits, [""] * 60, ["MR"] * 60)
        assert found.across_splits == len(pairs) > 3 * duplicates.WORST
        assert [(pair.first, pair.second) for pair in found.worst] == expected


def test_memory_does_not_grow_with_the_number_of_pairs():
    """3,000 equal slices are 4.5 million pairs, nearly all across patients: no list of them is made."""
    images = np.repeat(thumbnails(head(1)), 3000, axis=0)
    splits, patients = ["train", "test"] * 1500, [str(n) for n in range(3000)]
    tracemalloc.start()
    found = find_near_duplicates(images, splits, patients, ["CT"] * 3000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.pairs, found.across_splits, found.across_patients) == (4_498_500, 2_250_000, 4_498_500)
    assert [(pair.first, pair.second) for pair in found.worst] == [(0, n) for n in range(1, 21)]
    assert peak < 300e6


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
