"""`gradient-shaping`: the gradient of each example is clipped, and noise is added to their mean.

S. Hong et al., *On the Effectiveness of Mitigating Data Poisoning Attacks with Gradient Shaping* (arXiv 2002.11497), with the step of DP-
SGD:

    g <- mean_i g_i min(1, clip / |g_i|) + N(0, (sigma clip / B)^2)

The learner's own loss is corrected by the difference, so that what it has beside the cross-entropy stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _BatchNorm

from scenarios.errors import UserError
from scenarios.experience import Batch
from scenarios.options import option
from strategies.answering import Answering
from strategies.base import Strategy
from strategies.defences.defence import Defence
from strategies.defences.per_example import gradients
from strategies.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class GradientShapingConfig:
    """Options of `gradient-shaping`.

    Attributes:
        clip: greatest length of an example's gradient.
        sigma: noise, in multiples of what one example can add.
    """

    clip: float = option(1.0, low=1e-6)
    sigma: float = option(0.1, low=0)


class GradientShaping(Defence):
    """Clips each example's gradient and adds noise."""

    Config = GradientShapingConfig

    def prepare(self, strategy: Strategy) -> None:
        """Take its place beside a learner.

        Args:
            strategy: the learner.

        Raises:
            UserError: the network mixes the examples of a batch, so that no example has a gradient of its own.
        """
        super().prepare(strategy)
        network: nn.Module = strategy.network
        if not isinstance(network, Network) or any(isinstance(module, _BatchNorm) for module in network.modules()):
            raise UserError("gradient-shaping needs one gradient for each example, which batch norm mixes; choose a network without it")

    def constrain(self, batch: Batch, parameters: Sequence[Parameter], generator: torch.Generator) -> None:
        """Put the clipped, noisy mean in the place of the plain one.

        Args:
            batch: what the gradient is of; mixed batches are left as they are.
            parameters: what the step moves.
            generator: of this step.
        """
        if batch.task is None:
            return
        outputs = self.setup.scenario.in_play(batch.task)
        model = Answering(self.strategy.network)
        moved = {id(parameter) for parameter in parameters if parameter.grad is not None}
        own = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in moved}
        each = gradients(model, batch.x, batch.y, batch.task, outputs, list(own))
        lengths = torch.cat([part.reshape(len(part), -1) for part in each.values()], 1).norm(dim=1)
        excess = (self.config.clip / lengths.clamp_min(1e-12)).clamp_max(1) - 1
        scale = self.config.sigma * self.config.clip / len(excess)
        for name, part in each.items():
            noise = torch.randn(part.shape[1:], generator=generator).to(part)
            gradient = own[name].grad
            assert gradient is not None
            own[name].grad = gradient + torch.tensordot(excess, part, 1) / len(excess) + scale * noise
