"""What Avalanche's loop is given of ours: the network in the form that it calls, and our batches in our order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.batches import GeneratorFor
from scenarios.bridges.foreign import library
from scenarios.experience import Batch
from strategies.networks.network import OUT_OF_PLAY, Network

if TYPE_CHECKING:
    from strategies.bridges.avalanche import AvalancheStrategy
    from strategies.bridges.bridged import Bridged


class Nothing:
    """A source of no batches: Avalanche makes its own."""

    def __len__(self) -> int:
        return 0

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """No batches.

        Args:
            generator_for: is not asked.

        Returns:
            Nothing.
        """
        return iter(())


class Shared:
    """A function that copies of a network share: plug-ins copy the network, and must not copy the strategy with it.

    Args:
        call: the function.
    """

    def __init__(self, call: Callable[[], range | None]) -> None:
        self.call = call

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class Whole(nn.Module):
    """Our network as Avalanche calls it: logits of full width; in training, blocks out of play are not computed.

    Args:
        network: the network.
        in_play: the outputs to compute in training; None for all.
    """

    def __init__(self, network: Network, in_play: Callable[[], range | None]) -> None:
        super().__init__()
        self.network = network
        self._in_play = Shared(in_play)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            x: float [B, C, H, W].

        Returns:
            [B, K].
        """
        return self.network(x, self._in_play.call() if self.training else None)


class InPlayLoss(nn.Module):
    """Cross-entropy over the outputs in play; in setting `task` of each example over the outputs of its own experience.

    Args:
        owner: the strategy, which knows what is in play.

    Attributes:
        reduction: as of `torch.nn.CrossEntropyLoss`; plug-ins change it for a while.
    """

    def __init__(self, owner: Bridged) -> None:
        super().__init__()
        self._owner = owner
        mask = owner.task_mask.float()
        self._beside = (mask.T @ mask) > 0  # which outputs are in play with an output
        self.reduction = "mean"

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: [B, K].
            y: int64 [B].

        Returns:
            A scalar, or [B] where nothing is reduced.
        """
        if self._owner.all_outputs:
            return functional.cross_entropy(logits, y, reduction=self.reduction)
        scenario = self._owner.setup.scenario
        if scenario.setting == "task":
            return functional.cross_entropy(logits.masked_fill(~self._beside[y], OUT_OF_PLAY), y, reduction=self.reduction)
        outputs = scenario.in_play(self._owner.experience)
        return functional.cross_entropy(logits[:, outputs.start : outputs.stop], y - outputs.start, reduction=self.reduction)


def leave_idle_blocks_alone(network: Network) -> None:
    """Take the gradient of blocks of the head that nothing looks at: neither momentum nor decay moves them then, as in our strategies.

    Args:
        network: between backward and step.
    """
    for block in network.head.blocks:
        gradients = [parameter.grad for parameter in block.parameters() if parameter.grad is not None]
        if gradients and not any(bool(gradient.any()) for gradient in gradients):
            for parameter in block.parameters():
                parameter.grad = None


def zero_missing_gradients(network: Network) -> None:
    """Give parameters without a gradient one of zeros, which plug-ins rely on.

    Args:
        network: after the step.
    """
    for parameter in network.parameters():
        if parameter.grad is None and parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def many_headed(whole: Whole) -> nn.Module:
    """The same with task labels: plug-ins that look at a head each, such as LwF's, ask for a `MultiTaskModule`.

    Args:
        whole: the network; its logits hold all heads side by side.

    Returns:
        A module of Avalanche; called without task labels it gives the logits by task.
    """
    base: Any = library("avalanche.models").MultiTaskModule

    class ManyHeaded(base):
        """Logits by task where no task label is given."""

        def __init__(self) -> None:
            super().__init__()
            self.whole = whole

        def forward(self, x: Tensor, task_labels: Any = None) -> Any:
            logits = self.whole(x)
            return logits if task_labels is not None else dict.fromkeys(self.known_train_tasks_labels, logits)

    made: nn.Module = ManyHeaded()
    return made


class OurBatches:
    """Our batches of one experience in our order, as Avalanche unpacks them; each pass draws anew, as the engine's do.

    Args:
        owner: the strategy.
    """

    def __init__(self, owner: AvalancheStrategy) -> None:
        self.owner = owner
        self.source = owner.shuffled(owner.setup.scenario.experiences[owner.experience].train)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[list[Tensor]]:
        randomness, experience, epoch = self.owner.setup.randomness, self.owner.experience, self.epoch
        self.epoch += 1
        for batch in self.source.epoch(lambda purpose: randomness.generator(purpose, experience, 0, epoch)):
            yield [batch.x, batch.y, torch.full_like(batch.y, experience)]
