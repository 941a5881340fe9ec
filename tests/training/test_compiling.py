"""The compiled training step computes what the network computes: values, gradients, and the network stays itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from phonybrains.networks.denoiser import build_unet
from phonybrains.networks.shapes import DenoiserShape
from phonybrains.optimising import compiling
from phonybrains.optimising.compiling import SummedGroupNorm


def summed(network: nn.Module) -> nn.Module:
    """A copy with group norms as a GPU's compiler gets them."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = SummedGroupNorm
    return network


def traced(network: nn.Module) -> Any:
    """As a compiler sees it, but computed operation by operation."""
    return torch.compile(network, backend="eager", dynamic=False)


@pytest.mark.parametrize("shape", [(3, 12, 8, 6), (2, 12, 10)])
def test_group_norm_by_sums_is_group_norm(shape: tuple[int, ...]):
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 12, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, weight = (torch.randn(shape, dtype=torch.float64) * 3 + 5 for _ in range(2))
    found = {}
    for name, module in (("own", norm), ("summed", traced(summed(norm)))):
        given = x.clone().requires_grad_()
        y = module(given)
        norm_weight = next(p for n, p in module.named_parameters() if n.endswith("weight"))
        found[name] = y, *torch.autograd.grad((y * weight).sum(), [given, norm_weight])
    for own, other in zip(*found.values(), strict=True):
        assert torch.allclose(own.float(), other.float(), rtol=1e-4, atol=1e-4)  # sums over float32


def test_not_compiled_it_is_pytorchs_own_to_the_bit():
    norm, x = nn.GroupNorm(4, 12), torch.randn(3, 12, 8, 6)
    assert torch.equal(norm(x), summed(norm)(x))


def test_a_compiled_denoiser_gives_the_values_and_gradients_of_the_network():
    torch.manual_seed(0)
    unet = build_unet(DenoiserShape(widths=(8, 16), layers=1, dropout=0.0), 4, 8)
    for parameter in unet.parameters():
        nn.init.normal_(parameter, std=0.1)
    x, told = torch.randn(2, 4, 8, 8), torch.randn(2, 32)
    outputs, gradients = [], []
    for network in (unet, traced(summed(unet))):
        network.zero_grad()
        y = network(x, 0.5, told, return_dict=False)[0]
        y.square().mean().backward()
        outputs.append(y.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert (outputs[0] - outputs[1]).norm() / outputs[0].norm() < 1e-5
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() < 1e-4


def test_compiling_shares_the_parameters_and_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch):
    """On a CPU the group norms stay; the names of the weights do not change, so checkpoints do not either."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
    names, asked = list(network.state_dict()), {}
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda n, **options: asked.update(options) or real(n, backend="eager"))
    other = compiling.compiled(network)
    assert asked == {"dynamic": False}
    assert list(network.state_dict()) == names
    assert type(network[1]) is nn.GroupNorm
    assert {id(p) for p in other.parameters()} == {id(p) for p in network.parameters()}
