"""Training a GAN on cached latents: a generator of one evaluation against a critic, with the conditions of the flow.

The generator is the denoiser's network asked at t = 1 alone: it is told pure noise, and answers with clean latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from ..model.chains import Chain
from ..networks.critic import Critic
from .denoiser import DenoiserTask


class Adversaries(nn.Module):
    """A generator and its critic as one network, whose loss is the sum of what each has to lose.

    Neither learns from the other's share, so one step down its gradient is a step of both at once, with one optimiser,
    one checkpoint and one average.  [Mescheder 2018, sec. 2 and theorem 4.1: simultaneous gradient descent]
    """

    def __init__(self, generator: nn.Module, critic: Critic, chain: Chain, penalty: float) -> None:
        super().__init__()
        self.generator, self.critic, self.chain, self.penalty = generator, critic, chain, penalty

    def generate(self, noise: Tensor, condition: Tensor, *beside: Tensor) -> Tensor:
        """Latents (B, C, h, w) of standard normal noise of the same shape; beside: augmentation and mask, if any."""
        process, t = self.chain.process, noise.new_ones(len(noise))
        output = self.generator(noise, process.fraction(t), condition, *beside)
        return self.chain.objective.to_x0(output, noise, t, process).to(noise)

    def forward(self, x_0: Tensor, noise: Tensor, condition: Tensor, augmentation: Tensor, *mask: Tensor) -> Tensor:
        """The losses of each pair of a real and a generated image, (B,)."""
        made, told = self.generate(noise, condition, augmentation, *mask), torch.cat([condition, augmentation], dim=1)
        with torch.autocast(x_0.device.type, enabled=False):
            both = torch.cat([x_0, made.detach()]).requires_grad_()
            scores = self.critic(torch.cat([both, *(torch.cat([m, m]) for m in mask)], dim=1), torch.cat([told, told]))
            real, fake = scores.chunk(2)
            slopes = sum(squared_slopes(scores, both).chunk(2))
            frozen = {name: weight.detach() for name, weight in self.critic.named_parameters()}
            score = functional_call(self.critic, frozen, (torch.cat([made, *mask], dim=1), told))
            lost = softplus(fake - real) + self.penalty / 2 * slopes
            return lost + softplus(real.detach() - score)


def squared_slopes(scores: Tensor, x: Tensor) -> Tensor:
    """‖∇D(x)‖² of each image, (B,): R1 where x is real, R2 where it is generated.  [Mescheder 2018, eq. 9-10]

    scores: (B,), each D of its own x (B, C, h, w) alone. A gradient can be taken of it again.
    """
    (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3))


def energy_distance(made: Tensor, real: Tensor) -> float:
    """2 E‖x - y‖ - E‖x - x'‖ - E‖y - y'‖ of two samples: 0 for equal ones.  [Székely 2013, eq. 2.5]"""
    x, y = made.flatten(1).float(), real.flatten(1).float()
    within = sum(torch.pdist(one).mean() if len(one) > 1 else one.new_zeros(()) for one in (x, y))
    return (2 * torch.cdist(x, y).mean() - within).item()


@dataclass
class GanTask(DenoiserTask):
    """The pairing relativistic loss with both zero-centred gradient penalties, R3GAN.  [Huang 2024, eq. 2-5]

    network: Adversaries. Each image of a batch is paired with one that is generated under the same conditions.
    """

    name: str = "gan"
    betas = (0.0, 0.99)
    """Of Adam: momentum turns two players round each other."""

    def errors(
        self,
        network: nn.Module,
        x_0: Tensor,
        t: Tensor,
        condition: Tensor,
        augmentation: Tensor,
        rng: Generator,
        *mask: Tensor,
    ) -> Tensor:
        """What both have to lose, (B,); t is not asked, as it is always 1."""
        return network(x_0, self._noise(x_0, rng), condition, augmentation, *mask)

    def mean_error(self, network: nn.Module, rows: Tensor, most: int = 512) -> float:
        """The energy distance of generated latents from those of up to `most` images, evenly picked.

        Neither loss says how good the images are.
        """
        assert isinstance(network, Adversaries)
        rows = rows[:: max(1, len(rows) // most)][:most].to(self.device)
        rng, made = Generator(self.device).manual_seed(0), list[Tensor]()
        for part in rows.split(64):
            nothing = self.parameters.new_zeros(len(part), self.parameters.shape[2])
            noise = self._noise(self.values[0, part], rng)
            made.append(network.generate(noise, self.encoded[part], nothing, *self.mask(0, part)))
        return energy_distance(torch.cat(made), self.values[0, rows])

    def _noise(self, like: Tensor, rng: Generator) -> Tensor:
        noise = torch.randn(like.shape, generator=rng, device=like.device)
        return noise.contiguous(memory_format=torch.channels_last)
