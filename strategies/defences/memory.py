"""A small trusted memory, and the gradients that defences take from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from scenarios.errors import UserError
from scenarios.experience import Examples, Experience, concatenate
from scenarios.options import option
from strategies.answering import Answering
from strategies.base import Strategy
from strategies.defences.defence import Defence
from strategies.networks.network import Network
from strategies.networks.norms import still


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Options of defences that keep trusted examples.

    Attributes:
        per_class: examples of each class that are kept of each experience, as they arrived.
        memory_batch: trusted examples that are looked at in a step.
    """

    per_class: int = option(10, low=1)
    memory_batch: int = option(64, low=1)


class Guarded(Defence):
    """A defence with a trusted memory of earlier experiences.

    Args:
        config: the options.
    """

    Config = MemoryConfig

    def prepare(self, strategy: Strategy) -> None:
        """Take its place beside a learner, with nothing remembered.

        Args:
            strategy: the learner.

        Raises:
            UserError: the learner's network computes otherwise by task, so that old and new share no gradient.
        """
        super().prepare(strategy)
        if not isinstance(strategy.network, Network):
            raise UserError(
                "this defence looks at the gradients of old and new in one network, which this strategy keeps apart; choose another defence"
            )
        self.memory: Examples | None = None

    def end(self, experience: Experience) -> None:
        """Remember some of the experience.

        Args:
            experience: what has been learned.
        """
        generator = self.setup.randomness.generator("defence", "memory", experience.index)
        order = torch.randperm(len(experience.train), generator=generator)
        targets = experience.train.targets.cpu()[order]
        kept = [order[targets == target][: self.config.per_class] for target in targets.unique().tolist()]
        new = replace(experience.train.select(torch.cat(kept).sort().values.to(experience.train.rows.device)), task=None)
        self.memory = new if self.memory is None else replace(concatenate([self.memory, new]), task=None)

    def trusted(self) -> Examples | None:
        """The memory.

        Returns:
            The examples; None before the first experience's end.
        """
        return self.memory

    def trusted_loss(self, generator: torch.Generator) -> Tensor | None:
        """Cross-entropy of the learner's network on some trusted examples.

        Args:
            generator: of this step.

        Returns:
            A scalar with its graph; None without memory.
        """
        if self.memory is None:
            return None
        chosen = torch.randperm(len(self.memory), generator=generator)[: self.config.memory_batch]
        batch = self.memory.batch(chosen.to(self.memory.rows.device))
        with still(self.strategy.network):
            return Strategy.loss(self.strategy, batch).loss

    def trusted_gradients(self, parameters: Sequence[Parameter], generator: torch.Generator) -> list[Tensor | None] | None:
        """The gradient of that loss.

        Args:
            parameters: by which.
            generator: of this step.

        Returns:
            One for each parameter, None for what the loss does not reach; None without memory.
        """
        loss = self.trusted_loss(generator)
        return None if loss is None else list(torch.autograd.grad(loss, list(parameters), allow_unused=True))

    def state_dict(self) -> dict[str, Any]:
        """The memory.

        Returns:
            Its rows, targets and experiences.
        """
        if self.memory is None:
            return {}
        return {name: getattr(self.memory, name) for name in ("rows", "targets", "tasks")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved memory.

        Args:
            state: what `state_dict` gave.
        """
        if "rows" in state:
            storage = self.setup.scenario.experiences[0].train.storage
            self.memory = Examples(storage, *(state[name].to(self.setup.device) for name in ("rows", "targets", "tasks")))

    def report(self) -> dict[str, Any]:
        """The memory's size.

        Returns:
            How many examples are trusted.
        """
        return {"trusted_examples": 0 if self.memory is None else len(self.memory)}


class Aligned(Guarded):
    """A defence to which gradients stand out that point against the trusted one.

    Args:
        config: the options.
    """

    def conspicuous(self, model: Answering, x: Tensor, clean: Tensor, task: int, alignment: Tensor | None) -> Tensor | None:
        """How far a batch's gradient points against the trusted one.

        Args:
            model: a network of the adversary's.
            x: altered images.
            clean: the same unaltered.
            task: their experience.
            alignment: cosine of the batch's gradient and the trusted one.

        Returns:
            0 where they agree; None where nothing is trusted yet.
        """
        return None if alignment is None else (-alignment).clamp_min(0)
