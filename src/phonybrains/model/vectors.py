"""A diffusion over vectors given a condition: what the images' diffusion is, for a handful of numbers.

optimising/vectors.py trains it; labels given an image (CARD) and embeddings given attributes (unCLIP's prior) use it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from safetensors.torch import load_file
from torch import Tensor
from typing_extensions import TypedDict

from ..diffusion.process import Rng, normal_like
from ..diffusion.sampler import SAMPLERS
from ..errors import ModelError
from ..files import write_whole
from ..networks.vectors import VectorDenoiser
from ..record import sha256_file
from ..tensors import write_tensors
from .chains import CHAINS, Chain
from .seal import check_part, read_sealed, sealed

DESCRIPTION, WEIGHTS, FORMAT_VERSION = "vectors.json", "vectors.safetensors", 1
AGAIN = "Copy the folder again from where it was made."
SHAPE = ("dim", "condition_dim", "width", "layers")


class VectorFacts(TypedDict):
    """What vectors.json holds."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    dim: int
    condition_dim: int
    width: int
    layers: int
    chain: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class VectorDiffusion:
    """Draws vectors (N, D) given conditions (N, K): a denoiser of vectors, and the chain that it is trained for."""

    network: VectorDenoiser
    chain: Chain

    @classmethod
    def new(
        cls, dim: int, condition_dim: int, width: int = 128, layers: int = 3, chain: str = "ddpm", seed: int = 0
    ) -> VectorDiffusion:
        """One that has learnt nothing yet; chain: a name of CHAINS."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(VectorDenoiser(dim, condition_dim, width, layers), CHAINS[chain])

    @torch.inference_mode()
    def draw(self, conditions: Tensor, rng: Rng, steps: int = 50, sampler: str = "") -> Tensor:
        """Draw a vector for each condition: (N, K) to (N, D), from one generator or from one for each row.

        sampler: a name of SAMPLERS, the chain's own if empty. Raises ConfigError for more steps than the chain has.
        """
        network, process, objective = self.network.eval(), self.chain.process, self.chain.objective
        told = conditions.to(network.spread)

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            return objective.to_x0(network(x_t, process.fraction(t), told), x_t, t, process)

        x = normal_like(told.new_empty(len(told), network.dim, 1, 1), rng)
        sampler = sampler or self.chain.sampler
        *_, x = SAMPLERS[sampler](predict, x, self.chain.times(steps, sampler), process, rng)
        return x.flatten(1) * network.spread[: network.dim] + network.centre[: network.dim]

    def save(self, folder: Path) -> None:
        """Write vectors.safetensors and vectors.json, with the hash of both, into a folder that is there."""
        write_tensors(folder / WEIGHTS, self.network.state_dict())
        facts: dict[str, Any] = {"format_version": FORMAT_VERSION, **{key: getattr(self.network, key) for key in SHAPE}}
        facts |= {"chain": self.chain.name, "sha256": {WEIGHTS: sha256_file(folder / WEIGHTS)}}
        write_whole(folder / DESCRIPTION, json.dumps(sealed(facts, DESCRIPTION), indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> VectorDiffusion:
        """Read what `save` wrote. Raises ModelError for a part that is missing, damaged or of a newer format."""
        facts = read_sealed(folder / DESCRIPTION, VectorFacts, FORMAT_VERSION, AGAIN)
        if facts["chain"] not in CHAINS:
            raise ModelError(f"{folder / DESCRIPTION}: chain '{facts['chain']}' is not known. {AGAIN}")
        check_part(folder / WEIGHTS, facts["sha256"].get(WEIGHTS), DESCRIPTION, AGAIN)
        model = cls.new(**{key: facts[key] for key in (*SHAPE, "chain")})
        model.network.load_state_dict(load_file(folder / WEIGHTS))
        return model
