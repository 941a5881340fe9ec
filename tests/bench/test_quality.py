"""The bench from beginning to end, on phantoms and with random SqueezeNet weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench import quality
from phonybrains.imageset import ImageSet
from phonybrains.training.perceptual import PerceptualDistance


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the names and shapes of SqueezeNet's features, and random numbers."""
    found: dict[str, torch.Tensor] = {}
    with monkeypatch.context() as patch:
        patch.setattr(PerceptualDistance, "load_state_dict", lambda self, _: found.update(self.state_dict()))
        save_file({}, tmp_path / "none.safetensors")
        PerceptualDistance(tmp_path / "none.safetensors")
    torch.manual_seed(0)
    save_file({name: torch.randn_like(value) * 0.05 for name, value in found.items()}, tmp_path / "f.safetensors")
    return tmp_path / "f.safetensors"


def test_the_whole_bench(phantom_corpus: Path, tiny_model: Path, features: Path, tmp_path: Path):
    """All figures, a row for each number of steps; images that were kept are measured again, not made again."""
    tokens = [
        str(tiny_model),
        "--corpus",
        str(phantom_corpus),
        "--features",
        str(features),
        "--split",
        "train",
        "--cache",
        str(tmp_path / "cache"),
        "--per-image",
        "2",
    ]
    keep, out, again = tmp_path / "kept", tmp_path / "all.json", tmp_path / "again.json"
    pairs = tmp_path / "pairs.png"
    quality.app([*tokens, "--steps", "2", "--keep", str(keep), "--pairs", str(pairs), "--out", str(out)])
    assert pairs.is_file()
    train = ImageSet.open(phantom_corpus).where(split="train")
    kept = ImageSet.open(keep / "steps-2")
    assert [row["plane"] for row in kept.rows] == [row["plane"] for row in train.rows] * 2

    result = json.loads(out.read_text())
    for modality, n in (("MR", len(train.where(modality="MR"))), ("CT", len(train.where(modality="CT")))):
        reference, figures = result["reference"][modality], result["rows"][0][modality]
        assert reference["n"] == n
        assert reference["nearest_threshold"] == pytest.approx(1, abs=1e-4)  # the split is the training set itself
        assert result["of_model"][modality]["psnr_db"] > 10
        assert figures["n"] == figures["two_sample"]["n"] == 2 * n
        assert figures["nearest"]["above"] == 0

    quality.app([*tokens, "--steps", "1", "2", "--keep", str(keep), "--out", str(again), "--quick"])
    one, two = json.loads(again.read_text())["rows"]
    assert two["seconds"] is None
    assert one["seconds"] > 0
    assert two["MR"]["kid"] == result["rows"][0]["MR"]["kid"] != one["MR"]["kid"]
    assert "nearest" not in two["MR"]
    assert str(tmp_path) not in again.read_text()
