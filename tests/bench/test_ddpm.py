"""The measurement of the paper's DDPM trains what it says, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import ddpm
from phonybrains.diffusion.objective import PredictNoise, PredictV
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from tests.support.tiny_training import save_squeezenet


def test_each_arm_predicts_what_it_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Models of flow, v and noise on pixels, a row for each arm, and the chains of the package as they were."""
    before = dict(CHAINS)
    weights = save_squeezenet(tmp_path / "squeezenet.safetensors", seed=0)
    ddpm.main(out=tmp_path, squeezenet=weights, n=15, train_steps=2, judged=8, steps=3, spaces=("pixels",))
    assert before == CHAINS
    chains = {kind: LatentDiffusion.load(tmp_path / f"pixels-{kind}").chain for kind in ("flow", "v", "noise")}
    assert (chains["flow"].name, chains["v"].objective, chains["noise"].objective) == (
        "flow",
        PredictV(),
        PredictNoise(),
    )
    rows = json.loads((tmp_path / "ddpm.json").read_text())
    assert [row[1:4] for row in rows] == [
        ["flow", "adams", 16],
        ["v", "ddpm", 3],
        ["noise", "ddpm", 3],
        ["noise, unclipped", "ddpm", 3],
        ["noise", "ddim", 16],
        ["noise, unclipped", "ddim", 16],
    ]
    text = capsys.readouterr().out
    assert text.count("errors of the clean image predicted") == 3
    assert "157" in text  # s/a at t = T
