"""GEM: a step may not raise the loss on any earlier experience's memory, to first order.

David Lopez-Paz, Marc'Aurelio Ranzato. *Gradient episodic memory for continual learning.* NeurIPS 2017, arXiv 1706.08840. With g the
gradient of the new batch's loss and G those of the earlier experiences' losses, each on its whole memory, the step goes along the nearest z
to g with G z >= 0 (equations 8 to 12), found exactly by its dual; where g is allowed already, along g. Elsewhere the authors' code lets no
dual number fall below a `margin`, which favours earlier experiences.

Each experience has memory / experiences places, filled at random when it has been learned (the paper keeps its last examples).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scenarios.experience import Batch, Examples, Experience
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.memory.buffer import size_of
from strategies.phase import Phase, Step, Update
from strategies.projection import nearest_allowed


@dataclass(frozen=True, kw_only=True)
class GemConfig:
    """Options of `gem`.

    Attributes:
        memory: examples kept in total, as many of each experience; 0 is fine-tuning.
        margin: the least that a dual number may be.
    """

    memory: int = option(500, low=0)
    margin: float = option(0.5, low=0)


class Gem(Strategy):
    """Fine-tuning along the nearest direction that every memory allows."""

    Config = GemConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing remembered.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.memories: list[Examples] = []

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the experience under the memories, then remember some of it.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        update = Update(loss=self.loss, parameters=self.network.parameters, after_backward=self._project)
        batches = self.shuffled(experience.train)
        return [Phase(name="train", batches=batches, updates=(update,), end=lambda: self._take_up(experience))]

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy of the new examples; the gradients on the memories are noted on the way.

        Args:
            batch: new examples.

        Returns:
            The step.
        """
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._noted = [self._gradient(memory, trained, batch) for memory in self.memories]
        return super().loss(batch)

    def _gradient(self, memory: Examples, trained: list[torch.nn.Parameter], batch: Batch) -> list[Tensor | None]:
        old = memory.batch(slice(None))
        if self.setup.scenario.setting == "class":
            old = old._replace(task=None, present=batch.present)
        return list(torch.autograd.grad(super().loss(old).loss, trained, allow_unused=True))

    def _project(self) -> None:
        if not self._noted:
            return
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        reached = [number for number in range(len(trained)) if any(each[number] is not None for each in self._noted)]
        parameters = [trained[number] for number in reached]
        rows = [[each[number] for number in reached] for each in self._noted]
        own, *others = (_flat(gradients, parameters) for gradients in ([parameter.grad for parameter in parameters], *rows))
        allowed = nearest_allowed(own, torch.stack(others), self.config.margin)
        if allowed is own:
            return
        for parameter, gradient in zip(parameters, allowed.split([parameter.numel() for parameter in parameters])):
            parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter))

    def _take_up(self, experience: Experience) -> None:
        size = self.config.memory // len(self.setup.scenario)
        if size:
            order = torch.randperm(len(experience.train), generator=self.setup.randomness.generator("buffer", experience.index))
            self.memories.append(experience.train.select(order[:size].to(experience.train.rows.device)))

    def state_dict(self) -> dict[str, Any]:
        """The network and the memories.

        Returns:
            Nested dictionaries and lists of tensors.
        """
        memories = [{"rows": each.rows, "targets": each.targets, "tasks": each.tasks} for each in self.memories]
        return {**super().state_dict(), "memories": memories}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.memories = []
        for kept, experience in zip(state["memories"], self.setup.scenario.experiences):
            rows, targets, tasks = (kept[name].to(self.setup.device) for name in ("rows", "targets", "tasks"))
            self.memories.append(replace(experience.train, rows=rows, targets=targets, tasks=tasks))

    def report(self) -> dict[str, Any]:
        """The memories' size.

        Returns:
            Examples kept, and the bytes that their images take.
        """
        return {"replay_memory": size_of(sum(map(len, self.memories)), self.setup)}


def _flat(gradients: list[Tensor | None], parameters: list[torch.nn.Parameter]) -> Tensor:
    pairs = zip(gradients, parameters)
    return torch.cat([(torch.zeros_like(parameter) if each is None else each).reshape(-1) for each, parameter in pairs])
