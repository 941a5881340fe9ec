"""Weights by address: downloaded once, known by their hash, and a clear word where they cannot be had."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save

from phonybrains.config import load_config
from phonybrains.errors import ModelError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.features.extractors import extractors_of
from phonybrains.evaluation.weights import weights_file
from tests.support.feature_weights import dinov2_weights
from tests.support.file_server import FileServer, own_cache, serving_files
from tests.support.hub_server import serving

CONTENT = save(dinov2_weights(depth=1))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    """It gives CONTENT as /tiny.safetensors."""
    with serving_files() as found:
        found.files["tiny.safetensors"] = CONTENT
        yield found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


def settings(weights: str) -> EvaluateConfig:
    return load_config(EvaluateConfig, quality={"dinov2": weights})


def test_weights_come_from_an_address_once_and_are_used(server: FileServer, cache: Path):
    """DINOv2's features of a downloaded file, its hash in their name; the second time nobody is asked."""
    config = settings(server.weights(SHA256, "tiny.safetensors"))
    (_, network) = extractors_of(config).found
    assert network.identity == f"dinov2 sha256:{SHA256[:12]}"
    assert np.isfinite(network(np.full((2, 32, 32), 90, np.uint8))).all()
    assert [extractor.name for extractor in extractors_of(config).found] == ["handcrafted", "dinov2"]
    assert server.asked == ["/tiny.safetensors"]
    assert [path.read_bytes() for path in cache.rglob("*tiny.safetensors")] == [CONTENT]


def test_weights_that_are_not_the_ones_meant_are_refused(server: FileServer, cache: Path):
    """Another hash, no hash, half a hash, a file that is not there: why, and what to do; nothing stays in the cache."""
    address = server.address
    for weights, reason in {
        f"{address}/tiny.safetensors#sha256={'0' * 64}": "another SHA-256",
        f"{address}/tiny.safetensors": "needs the SHA-256",
        f"{address}/tiny.safetensors#sha256=0123": "is not a SHA-256",
        f"{address}/gone.safetensors#sha256={SHA256}": "404",
    }.items():
        assert reason in extractors_of(settings(weights)).missing["dinov2"]
    assert not list(cache.rglob("*.safetensors"))


def test_without_a_connection_it_is_said():
    """Nobody answers: the address, that it could not be downloaded, and that a file will do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    missing = extractors_of(settings(f"http://127.0.0.1:{port}/x.pth#sha256={SHA256}")).missing["dinov2"]
    assert "could not be downloaded" in missing
    assert "copy the file here and name its path" in missing


def test_weights_come_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A file of a repository, downloaded into the Hub's cache; one that is not there is said; a path stays a path."""
    with serving() as hub:
        hub.add("someone/tiny", {"weights/tiny.safetensors": CONTENT})
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        found = weights_file("hf://someone/tiny/weights/tiny.safetensors")
        assert found.read_bytes() == CONTENT
        with pytest.raises(ModelError, match="another SHA-256"):
            weights_file(f"hf://someone/tiny/weights/tiny.safetensors#sha256={'0' * 64}")
        with pytest.raises(ModelError, match="could not be downloaded"):
            weights_file("hf://someone/tiny/none.safetensors")
    with pytest.raises(ModelError, match="not an address of the Hub"):
        weights_file("hf://someone")
    assert settings("folder/x.pth").quality.dinov2 == Path("folder/x.pth")
