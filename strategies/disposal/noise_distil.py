"""Noise, then distillation: a partly renewed trunk learns the target from the transferred network; with or without colliding gradients.

`noise-distil` follows UNDO (B. W. Lee et al., *Distillation Robustifies Unlearning*, NeurIPS 2025, arXiv 2506.06278): what a student is
taught from outputs alone does not carry over what the outputs do not show, so unlearning by distillation into weights that were moved
towards new ones resists relearning. With w the transferred trunk and w' another initialisation, disposal starts at (1 - a) w + a w' and
learns the target by the retaining loss. Batch norms start from an initialisation's statistics, mixed in the same way. In the paper a
language model that has unlearned before is the teacher, and the noise shrinks the weights too; here the teacher answers the target alone.

`gc-noise-distil` is a combination of our own and nobody's published method: the same start, and `gc`'s collision of source gradients on
top while the student learns. a = 0 is `gc`, gamma = 0 is `noise-distil`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scenarios.options import option
from strategies.disposal.disposal import Disposal, DisposalConfig
from strategies.disposal.gc import Gc, GcConfig
from strategies.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class NoiseDistilConfig(DisposalConfig):
    """Options of `noise-distil`.

    Attributes:
        noise: a, the share of the new weights at the start of disposal; 1 forgets the transferred trunk altogether.
    """

    noise: float = option(0.8, low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class GcNoiseDistilConfig(GcConfig):
    """Options of `gc-noise-distil`.

    Attributes:
        noise: a, the share of the new weights at the start of disposal; 0 is `gc`.
    """

    noise: float = option(0.8, low=0, high=1)


class NoiseDistil(Disposal):
    """Learn the target from the transferred network, from a partly renewed trunk."""

    Config = NoiseDistilConfig
    weight = 0.0

    def begin(self) -> None:
        """Renew a part of the trunk."""
        super().begin()
        renew(self.network, self.setup.build_network(), self.config.noise, self.generator("new weights"))


class GcNoiseDistil(Gc):
    """The same while the source's gradients collide."""

    Config = GcNoiseDistilConfig

    def begin(self) -> None:
        """Renew a part of the trunk."""
        super().begin()
        renew(self.network, self.setup.build_network(), self.config.noise, self.generator("new weights"))


@torch.no_grad()
def renew(network: Network, initial: Network, share: float, generator: torch.Generator) -> None:
    """Mix a trunk with new weights.

    The new weights are the initial ones of each tensor in a random order: distributed as an initialisation is, and unrelated to the
    weights that training began with.

    Args:
        network: its trunk is changed.
        initial: a network as it is before training.
        share: of the new weights.
        generator: of the order.
    """
    for now, fresh in zip(network.backbone.parameters(), initial.backbone.parameters()):
        order = torch.randperm(fresh.numel(), generator=generator).to(fresh.device)
        now.lerp_(fresh.flatten()[order].view_as(fresh), share)
    for running, start in zip(network.backbone.buffers(), initial.backbone.buffers()):
        if running.is_floating_point():
            running.lerp_(start, share)
