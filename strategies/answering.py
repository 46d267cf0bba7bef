"""A network by itself that can be asked about any experience's outputs: a copy that adversaries and defences differentiate through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.experience import Examples, Scenario
from strategies.base import Strategy
from strategies.networks.network import Network
from strategies.networks.stacked import StackedNetwork


class Answering(nn.Module):
    """A network that can be asked about any experience's outputs.

    Args:
        network: a network or a stacked one.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

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

    def loss(self, examples: Examples, scenario: Scenario, learning: int) -> Tensor:
        """Mean cross-entropy on examples of any experiences, each over the outputs that decide about it.

        Args:
            examples: of experiences up to the present one.
            scenario: the stream.
            learning: the present experience.

        Returns:
            A scalar with its graph.
        """
        total, device = None, examples.rows.device
        for task in examples.tasks.unique().tolist():
            own = examples.select(torch.nonzero(examples.tasks == task).flatten().to(device))
            batch = own.batch(slice(None))
            outputs = scenario.experiences[task].outputs if scenario.setting == "task" else scenario.in_play(learning)
            loss = functional.cross_entropy(self(batch.x, task, outputs), batch.y - outputs.start, reduction="sum")
            total = loss if total is None else total + loss
        assert total is not None
        return total / len(examples)

    def loss_gradients(self, examples: Examples, scenario: Scenario, learning: int, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The gradient of that loss.

        Args:
            examples: of experiences up to the present one.
            scenario: the stream.
            learning: the present experience.
            parameters: by which.

        Returns:
            One gradient for each, without graph; 0 for what the loss does not reach.
        """
        found = torch.autograd.grad(self.loss(examples, scenario, learning), list(parameters), allow_unused=True)
        return [torch.zeros_like(parameter) if each is None else each for parameter, each in zip(parameters, found)]

    @torch.no_grad()
    def follow(self, network: nn.Module) -> bool:
        """Take over another network's present numbers.

        Args:
            network: the one that this was copied from.

        Returns:
            Whether that could be done; not where the network has been rebuilt since.
        """
        mine, others = ([*each.parameters(), *each.buffers()] for each in (self.network, network))
        if [each.shape for each in mine] != [each.shape for each in others]:
            return False
        for own, other in zip(mine, others):
            own.copy_(other)
        return True


def copy_of(strategy: Strategy) -> Answering:
    """Copy a strategy's network as it stands; the strategy is only read.

    Args:
        strategy: the learner, prepared.

    Returns:
        The copy, in evaluation mode; what the strategy does not train takes no gradient there either.
    """
    network: nn.Module = strategy.network
    # Whoever listens at the network's layers does not listen at the copy's.
    hooks = [part for module in network.modules() for part in (module._forward_hooks, module._forward_pre_hooks)]
    return Answering(copy.deepcopy(network, {id(part): type(part)() for part in hooks})).eval()


def fresh_one(build: Callable[[], nn.Module], key: int) -> Answering:
    """A network of the same architecture with other initial weights.

    Args:
        build: makes a network; draws nothing from global generators.
        key: seed of the weights.

    Returns:
        The network, in evaluation mode; layers that can initialise themselves have done so.
    """
    network = build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key)
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return Answering(network).eval()


def importance_of(strategy: Strategy) -> list[Tensor] | None:
    """What a strategy thinks its parameters worth, where it says so by one number each (diagonal penalties).

    Args:
        strategy: the learner, prepared.

    Returns:
        The numbers themselves, in the order of the network's parameters; None where there are none.
    """
    found = getattr(getattr(strategy, "penalty", None), "importance", None)
    return getattr(found, "views", None)
