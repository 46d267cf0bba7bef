"""MIR: replayed is what the step to come would interfere with most.

Rahaf Aljundi, Lucas Caccia, Eugene Belilovsky, Massimo Caccia, Min Lin, Laurent Charlin, Tinne Tuytelaars. *Online continual learning with
maximally interfered retrieval.* NeurIPS 2019, arXiv 1908.04742. With theta' = theta - learning rate * gradient of the new batch's loss, the
step that would be made without memory, and `candidates` examples drawn from the memory, those with the greatest

    s(x) = loss(theta', x) - loss(theta, x)                                                          (section 3.1, criterion MI-1)

join the batch, and all count alike. While they are chosen, batch norms are in evaluation mode: nothing that is only tried moves statistics.
The memory is a reservoir over every batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from scenarios.experience import Batch
from scenarios.options import option
from strategies.base import Strategy
from strategies.memory.rehearsal import divided
from strategies.memory.stream import StreamConfig, StreamLearner
from strategies.phase import Step


@dataclass(frozen=True, kw_only=True)
class MirConfig(StreamConfig):
    """Options of `mir`, beside those of its memory.

    Attributes:
        candidates: remembered examples among which those that join a batch are chosen; 50 in the paper, where 10 join.
    """

    candidates: int = option(50, low=1)


class Mir(StreamLearner):
    """Replay of what is interfered with."""

    Config = MirConfig

    def portions(self) -> tuple[int, ...]:
        """How many remembered examples are drawn for a batch.

        Returns:
            The candidates; at least as many as join.
        """
        return (max(self.config.candidates, self._joining),)

    @property
    def _joining(self) -> int:
        return self.config.batch_size or self.setup.train.batch_size

    def rehearse(self, batch: Batch) -> tuple[Step, dict[str, Tensor]]:
        """Cross-entropy of new examples and of those that are interfered with most.

        Args:
            batch: new examples and candidates.

        Returns:
            The step, and nothing.
        """
        new, old = divided(batch, self.setup.scenario.setting)
        if len(old.x) > self._joining:
            chosen = self.interference(new, old).topk(self._joining).indices.sort().values + len(new.x)
            rows = torch.cat([torch.arange(len(new.x), device=chosen.device), chosen])
            batch = batch._replace(x=batch.x[rows], y=batch.y[rows], tasks=batch.tasks[rows])
        return self.loss(batch), {}

    def interference(self, new: Batch, old: Batch) -> Tensor:
        """How much the step to come would raise each candidate's loss.

        Args:
            new: the new examples.
            old: the candidates.

        Returns:
            [n].
        """
        network, rate = self.network, self.setup.train.learning_rate
        network.eval()
        parameters = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        found = torch.autograd.grad(Strategy.loss(self, new).loss, list(parameters.values()), allow_unused=True)
        with torch.no_grad():
            moved = {name: p if g is None else p - rate * g for (name, p), g in zip(parameters.items(), found)}
            outputs = self.in_play(old)
            y = old.y
            before, after = network(old.x, outputs), functional_call(network, moved, (old.x, outputs))
            scores = functional.cross_entropy(after, y, reduction="none") - functional.cross_entropy(before, y, reduction="none")
        self.train_mode()
        return scores
