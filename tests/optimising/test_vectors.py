"""The diffusion over vectors: it recovers known laws given a class, and its folder brings it back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from phonybrains.errors import ModelError
from phonybrains.model.vectors import VectorDiffusion
from phonybrains.optimising.config import LoopConfig
from phonybrains.optimising.loop import fit
from phonybrains.optimising.vectors import VectorTask

MEANS = torch.tensor([[10.0, 2.0, 0.0], [16.0, 2.0, -3.0]])
ROOTS = torch.tensor([[[2.0, 0, 0], [1.5, 1.0, 0], [0, 0, 0.5]], [[1.0, 0, 0], [-0.8, 0.6, 0], [0.3, 0, 1.2]]])


def gaussians(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of two classes in turn, each with its own mean and covariance, and the class as one-hot."""
    which = torch.arange(n) % 2
    noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    values = MEANS[which] + torch.einsum("nij,nj->ni", ROOTS[which], noise)
    return values, torch.nn.functional.one_hot(which).float()


def learnt(chain: str, folder: Path, steps: int) -> VectorDiffusion:
    model = VectorDiffusion.new(3, 2, width=64, layers=2, chain=chain)
    loop = LoopConfig(steps=steps, batch_size=256, learning_rate=3e-3, averages=(0.99,), keep="last")
    task = VectorTask(model, gaussians(8000, 0), gaussians(1000, 1), loop.batch_size)
    for _ in fit(task, loop, 0, folder, Accelerator(cpu=True)):
        pass
    return model


@pytest.mark.parametrize(("chain", "ways"), [("ddpm", {"ddpm": 200, "ddim": 100, "heun": 20}), ("flow", {"adams": 50})])
def test_gaussians_by_class_are_recovered(chain: str, ways: dict[str, int], tmp_path: Path):
    """Mean and covariance of each class come back, in the data's units.

    Errors are in units of each class's deviations. 2000 draws leave 0.022 in a mean and 0.032 in a variance; these
    steps with the exact denoiser of the two Gaussians leave 0.06 in a variance; 0.15 is twice the sum, and allows for
    what is learnt.
    """
    model = learnt(chain, tmp_path, steps=1500)
    for which in range(2):
        told = torch.nn.functional.one_hot(torch.full((2000,), which), 2)
        for sampler, steps in ways.items():
            drawn = model.draw(told, torch.Generator().manual_seed(5), steps, sampler)
            white = torch.linalg.solve(ROOTS[which], (drawn - MEANS[which]).T)
            torch.testing.assert_close(white.mean(dim=1), torch.zeros(3), atol=0.15, rtol=0)
            torch.testing.assert_close(white.cov(), torch.eye(3), atol=0.15, rtol=0)


def test_a_row_owns_its_generator(tmp_path: Path):
    """A row drawn alone is the row drawn among others, but for the rounding of a matrix product."""
    model = learnt("ddpm", tmp_path, steps=20)
    told = torch.eye(2).repeat(3, 1)

    def draw(rows: list[int]) -> torch.Tensor:
        return model.draw(told[rows], [torch.Generator().manual_seed(100 + i) for i in rows], steps=5, sampler="ddpm")

    torch.testing.assert_close(draw([4]), draw(list(range(6)))[4:5], atol=1e-4, rtol=1e-5)


def test_a_folder_brings_the_model_back(tmp_path: Path):
    """What is saved and loaded draws the same bits; a damaged or missing part is refused by its name."""
    model = learnt("flow", tmp_path, steps=20)
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    again = VectorDiffusion.load(folder)
    told = torch.eye(2)
    assert torch.equal(*(m.draw(told, torch.Generator().manual_seed(0), steps=4) for m in (model, again)))
    (folder / "vectors.json").write_text((folder / "vectors.json").read_text().replace('"flow"', '"ddpm"'))
    with pytest.raises(ModelError, match=r"vectors\.json is damaged"):
        VectorDiffusion.load(folder)
    model.save(folder)
    weights = (folder / "vectors.safetensors").read_bytes()
    (folder / "vectors.safetensors").write_bytes(weights[:-1] + b"\x00")
    with pytest.raises(ModelError, match=r"vectors\.safetensors is damaged"):
        VectorDiffusion.load(folder)
