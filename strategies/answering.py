"""A network by itself that can be asked about any experience's outputs: a copy that adversaries and defences differentiate through."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from strategies.base import Strategy
from strategies.networks.network import Network
from strategies.networks.stacked import StackedNetwork


class Answering(nn.Module):
    """A network in evaluation mode whose parameters take gradients and belong to nobody else.

    Args:
        network: a network or a stacked one; it is taken over.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval().requires_grad_(True)

    def forward(self, x: Tensor, task: int, outputs: range) -> Tensor:
        """Answer.

        Args:
            x: [B, C, H, W], normalised.
            task: the experience, for networks that compute otherwise by task.
            outputs: whole adjacent blocks of the head.

        Returns:
            [B, len(outputs)].
        """
        network = self.network
        if isinstance(network, StackedNetwork):
            return network(x, task)[:, outputs.start : outputs.stop]
        assert isinstance(network, Network)
        return network.head.narrow(network.features(x), outputs)

    def features(self, x: Tensor, task: int) -> Tensor:
        """What the head sees.

        Args:
            x: [B, C, H, W], normalised.
            task: the experience, for networks that compute otherwise by task.

        Returns:
            [B, F].
        """
        network = self.network
        return network.features(x, task) if isinstance(network, StackedNetwork) else network.features(x)  # type: ignore[operator]

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take over another network's present numbers.

        Args:
            network: of the same structure.
        """
        mine, others = ([*each.parameters(), *each.buffers()] for each in (self.network, network))
        for own, other in zip(mine, others):
            own.copy_(other)


def copy_of(strategy: Strategy) -> Answering:
    """Copy a strategy's network as it stands; the strategy is only read.

    Args:
        strategy: the learner, prepared.

    Returns:
        The copy.
    """
    network: nn.Module = strategy.network
    # Whoever listens at the network's layers does not listen at the copy's.
    hooks = [part for module in network.modules() for part in (module._forward_hooks, module._forward_pre_hooks)]
    return Answering(copy.deepcopy(network, {id(part): type(part)() for part in hooks}))


def fresh_one(build: Callable[[], nn.Module], key: int) -> Answering:
    """A network of the same architecture with other initial weights.

    Args:
        build: makes a network; draws nothing from global generators.
        key: seed of the weights.

    Returns:
        The network; layers that can initialise themselves have done so.
    """
    network = build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key)
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return Answering(network)
