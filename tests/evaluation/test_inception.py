"""Inception's weights by address: a small file on a server of this machine, and all that can go wrong on its way."""

from __future__ import annotations

import hashlib
import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from phonybrains.config import load_config
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.features.extractors import extractors_of
from phonybrains.evaluation.quality.audit import quality_audit
from phonybrains.imageset import ImageSet
from tests.support.evaluation_files import make_sides
from tests.support.feature_weights import INCEPTION, inception_weights
from tests.support.file_server import FileServer, own_cache, serving_files

PUBLISHED = "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving_files() as found:
        yield found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def content() -> bytes:
    """Every tensor of torch-fidelity's Inception by name and shape, each of one number, so that the file is small.

    A filter of them averages, and a normalisation changes nothing.
    """

    def of_one_number(value: Tensor) -> Tensor:
        number = 1 / value[0].numel() if value.ndim == 4 else 1
        return torch.tensor(number, dtype=value.dtype).expand(value.shape)

    buffer = io.BytesIO()
    torch.save({name: of_one_number(value) for name, value in inception_weights().items()}, buffer)
    return buffer.getvalue()


def settings(weights: str) -> EvaluateConfig:
    return load_config(EvaluateConfig, quality={"inception": weights, "permutations": 9, "null_draws": 2})


def test_inception_comes_from_an_address_once(content: bytes, server: FileServer, cache: Path):
    """A file of its publisher's form under its name: its features are there, its hash in their name; the second time
    nobody is asked, and a damaged copy is fetched again."""
    sha256 = hashlib.sha256(content).hexdigest()
    server.files[PUBLISHED] = content
    config = settings(server.weights(sha256, PUBLISHED))
    _, network = extractors_of(config).found
    assert network.identity == f"{INCEPTION} sha256:{sha256[:12]}"
    dark, bright = network(np.stack([np.full((32, 32), 30, np.uint8), np.full((32, 32), 220, np.uint8)]))
    assert dark.shape == (2048,)
    assert (dark < bright).all()
    extractors_of(config)
    assert server.asked == [f"/{PUBLISHED}"]
    (kept,) = cache.rglob(f"*{PUBLISHED}")
    kept.write_bytes(content[:-1])
    assert [extractor.name for extractor in extractors_of(config).found] == ["handcrafted", INCEPTION]
    assert len(server.asked) == 2
    assert kept.read_bytes() == content


def nobody(server: FileServer) -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{PUBLISHED}#sha256={'0' * 64}"


def address_of(server: FileServer) -> str:
    """The file's address with its own hash."""
    return server.weights(hashlib.sha256(server.files[PUBLISHED]).hexdigest(), PUBLISHED)


def broken_off(server: FileServer) -> str:
    server.breaks_after = 1000
    return address_of(server)


def cut_short(server: FileServer) -> str:
    """A file that lacks its end, though the server says that this is all."""
    address = address_of(server)
    server.files[PUBLISHED] = server.files[PUBLISHED][:1000]
    return address


def a_page(server: FileServer) -> str:
    """A page in the place of the file, whose own hash was given."""
    server.files[PUBLISHED] = b"<html>Sign in to continue</html>"
    return address_of(server)


@pytest.mark.parametrize(
    ("weights_of", "reasons"),
    [
        (lambda server: server.weights("1" * 64, PUBLISHED), ["another SHA-256 than 111111111111"]),
        (lambda server: f"{server.address}/{PUBLISHED}", ["needs the SHA-256"]),
        (lambda server: server.weights("2" * 64, "gone.pth"), ["could not be downloaded", "404"]),
        (broken_off, ["could not be downloaded (the transfer broke off)", "copy the file here and name its path"]),
        (cut_short, ["another SHA-256"]),
        (a_page, ["not torch-fidelity's Inception"]),
        (nobody, ["(there is no connection to its server)", "copy the file here and name its path"]),
    ],
    ids=["another hash", "no hash", "not there", "broken off", "cut short", "a page", "nobody answers"],
)
def test_what_goes_wrong_is_said_in_a_line(
    content: bytes, server: FileServer, cache: Path, weights_of: Callable[[FileServer], str], reasons: list[str]
):
    """Why, with the address, on one line; a file that is not the one meant does not stay in the cache."""
    server.files[PUBLISHED] = content
    weights = weights_of(server)
    missing = extractors_of(settings(weights)).missing[INCEPTION]
    for reason in reasons:
        assert reason in missing
    assert PUBLISHED in missing or "gone.pth" in missing
    assert "\n" not in missing
    assert [path for path in cache.rglob("*.pth") if hashlib.sha256(path.read_bytes()).hexdigest() not in weights] == []


def test_the_rest_goes_on_without_inception(content: bytes, server: FileServer, tmp_path: Path):
    """A download that breaks off: FID and its KID have no value and say why, all that needs no weights has one."""
    server.files[PUBLISHED] = content
    made, real = make_sides(tmp_path, corpus=240)
    found = quality_audit(ImageSet.open(made).where(modality="MR"), ImageSet.open(real), settings(broken_off(server)))
    of_inception = [score for score in found.scores if score.extractor == INCEPTION]
    assert [score.name for score in of_inception] == ["fid", "kid"]
    assert all(score.value is None and "could not be downloaded" in score.note for score in of_inception)
    measured = {score.name for score in found.scores if score.value is not None and score.modality == "MR"}
    assert {"kid", "fd_handcrafted", "precision", "c2st_auc", "ms_ssim_diversity"} <= measured
