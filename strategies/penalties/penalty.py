"""The penalty learner: fine-tuning on the task's loss plus a penalty on leaving what earlier experiences need.

    total loss = task_weight * loss of the batch + penalty(parameters)

EWC, online EWC, SI, MAS, ALASSO, K-FAC and XK-FAC differ in their `Penalty` alone. A penalty is no term of the loss: it adds its gradient
to the task's between backward and step. So one backward pass serves all, and what the task alone asks for is there for the penalties
that integrate it along the path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from scenarios.experience import Batch, Experience
from strategies.base import Setup, Strategy
from strategies.networks.network import Network
from strategies.penalties.balance import TINY, Balance, norm
from strategies.phase import Phase, Step, Update


class Penalty(ABC):
    """What a penalty does, in the order in which the learner calls it.

    For each experience: the phases of `preparing`, `before_experience`, for each step `task_weight`, `add_gradient_` and `after_step`, the
    phases of `measuring`, `after_experience`.
    """

    def preparing(self, experience: Experience) -> Sequence[Phase]:
        """Phases before training, for instance to measure statistics of the new data.

        Args:
            experience: what is about to be learned.

        Returns:
            Phases without updates, in order; none as a rule.
        """
        return ()

    @abstractmethod
    def before_experience(self, model: Network) -> None:
        """Get ready for training; called just before the first step.

        Args:
            model: the network, as it will be trained.
        """

    def task_weight(self, loss: Tensor) -> float | Tensor:
        """What the task's loss is multiplied by.

        Args:
            loss: the batch's loss, a scalar without graph.

        Returns:
            A number, or a scalar without graph; 1.0 leaves the loss as it is.
        """
        return 1.0

    @abstractmethod
    def add_gradient_(self) -> None:
        """Add the penalty's gradient to the parameters' `.grad`; what has none (out of play) gets none."""

    def after_step(self) -> None:  # noqa: B027
        """Look at what the optimiser's step did."""

    def measuring(self, experience: Experience) -> Sequence[Phase]:
        """Phases after training, for instance to measure curvature.

        Args:
            experience: what has just been learned.

        Returns:
            Phases without updates, in order; their `end` is free.
        """
        return ()

    @abstractmethod
    def after_experience(self) -> None:
        """Consolidate: turn what was measured into the penalty on the experiences to come."""

    @abstractmethod
    def value(self) -> Tensor:
        """The penalty at the network's present parameters.

        Returns:
            A scalar without graph.
        """

    @property
    def meant_to_act(self) -> bool:
        """Whether there is something to keep, and a strength that is not 0; then `added` may be asked for after `add_gradient_`."""
        return True

    def added(self) -> Tensor:
        """What the penalty adds to the total loss of the step that is being made.

        Returns:
            A scalar without graph.
        """
        return self.value()

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit.

        Returns:
            Nested dictionaries, lists and tuples of tensors and plain values.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """

    def report(self) -> dict[str, Any]:
        """What belongs into the run's summary, for instance which estimator was used.

        Returns:
            Names to plain values; empty where there is nothing.
        """
        return {}


class PenaltyStrategy(Strategy, ABC):
    """Fine-tuning under a penalty; each method builds its own."""

    penalty: Penalty
    remedies: ClassVar[tuple[str, str]] = ("raise strategy.strength", "lower strategy.strength or train.learning_rate")
    """What to do where the penalty is too weak or too strong."""

    @abstractmethod
    def build_penalty(self) -> Penalty:
        """Make the method's penalty; `self.setup` and `self.network` are there.

        Returns:
            The penalty, which asks for nothing yet.
        """

    def prepare(self, setup: Setup) -> None:
        """Build the network and its penalty.

        Args:
            setup: what the learner will meet, and how it is trained.
        """
        super().prepare(setup)
        self.penalty = self.build_penalty()
        self.balance = Balance()

    def phases(self, experience: Experience) -> list[Phase]:
        """Train under the penalty, with the penalty's own phases around it.

        Args:
            experience: what is to be learned.

        Returns:
            The phases, in order.
        """
        penalty = self.penalty
        update = Update(
            loss=self.loss, parameters=self.network.parameters, after_backward=self.add_penalty, after_step=penalty.after_step
        )
        begin = partial(penalty.before_experience, self.network)
        train = Phase(name="train", batches=self.shuffled(experience.train), updates=(update,), begin=begin)
        phases = [*penalty.preparing(experience), train, *penalty.measuring(experience)]
        assert phases[-1].end is None
        phases[-1] = replace(phases[-1], end=partial(self.consolidate, experience))
        return phases

    def add_penalty(self) -> None:
        """Add the penalty's gradient and, every few steps, set the penalty against the task's loss."""
        if not self.penalty.meant_to_act or not self.balance.due():
            self.penalty.add_gradient_()
            return
        task = [parameter.grad.clone() for parameter in self.network.parameters() if parameter.grad is not None]
        self.penalty.add_gradient_()
        total = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        push = norm(torch._foreach_sub(total, task)) / norm(task).clamp(min=TINY)
        self.balance.look(self.penalty.added(), self._task_loss, push)

    def consolidate(self, experience: Experience) -> None:
        """The experience is over.

        Args:
            experience: which.
        """
        self.penalty.after_experience()
        self.balance.close(experience.index)

    def remarks(self, experience: Experience) -> list[str]:
        """Whether the penalty was nothing beside the task's loss, or everything.

        Args:
            experience: what has just been learned.

        Returns:
            A line at most.
        """
        line = self.balance.remark(experience.index, *self.remedies)
        return [line] if line else []

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy over the outputs in play, weighted as the penalty asks for.

        Args:
            batch: examples of the experience that is being learned.

        Returns:
            The step.
        """
        step = super().loss(batch)
        weight = self.penalty.task_weight(step.loss.detach())
        self._task_loss = step.loss.detach() * weight
        return step if isinstance(weight, float) and weight == 1.0 else replace(step, loss=step.loss * weight)

    def state_dict(self) -> dict[str, Any]:
        """The network and the penalty.

        Returns:
            Both states by name.
        """
        return {**super().state_dict(), "penalty": self.penalty.state_dict(), "balance": self.balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.penalty.load_state_dict(state["penalty"])
        self.balance.load_state_dict(state["balance"])

    def report(self) -> dict[str, Any]:
        """What the penalty has to say.

        Returns:
            Names to plain values; `penalty_to_loss` has, for each experience, the least and the greatest share of the penalty to the loss.
        """
        rows = self.balance.history
        return {**self.penalty.report(), **({"penalty_to_loss": rows} if rows else {})}
