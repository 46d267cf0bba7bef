"""A trial: one retraining of one network, told as data, so that many of one shape can be carried out together.

The loss is the cross-entropy of the first K outputs and, where there is a teacher, its divergence from the teacher's answers on the
outputs that follow. Training is gradient descent with momentum: v = m v + (g + d w), w = w - r v. A trial is tested after each of its
`looks`; the last iterate is the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from scenarios.batches import GeneratorFor
from scenarios.experience import Batch, Examples
from strategies.networks.network import Network
from strategies.phase import Optimizer, Phase, Step, Update
from strategies.soft_targets import distillation


@dataclass(eq=False, kw_only=True)
class Trial:
    """One retraining.

    Attributes:
        network: is trained, and belongs to the trial; its first K outputs are the ones that are learned and tested.
        classes: K.
        examples: what it learns from.
        order: int64 [S, B], which of the examples each of the S steps sees.
        test: what it is tested on; its targets are of the same outputs as the examples'.
        first: the output that the targets count from.
        rates: (steps, step size), one after the other; they add up to S.
        looks: the numbers of steps after which it is tested, ascending, the last of them S.
        trained: the whole network, or its head alone (the trunk then stays in evaluation mode).
        momentum: m.
        weight_decay: d.
        teacher: from images to the logits that the outputs after the first K are held to; None for no distillation.
        accuracies: one for each look, once it has been carried out.
    """

    network: Network
    classes: int
    examples: Examples
    order: Tensor
    test: Examples
    first: int
    rates: tuple[tuple[int, float], ...]
    looks: tuple[int, ...]
    trained: Literal["all", "head"] = "all"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    teacher: Callable[[Tensor], Tensor] | None = None
    accuracies: list[float] = field(default_factory=list)

    def parameters(self) -> list[Parameter]:
        """What is trained.

        Returns:
            The parameters.
        """
        return list((self.network if self.trained == "all" else self.network.head).parameters())

    def boundaries(self) -> list[int]:
        """Where training pauses, because the rate changes or the network is tested.

        Returns:
            Numbers of steps, from 0 to S.
        """
        ends = [sum(steps for steps, _ in self.rates[:n]) for n in range(len(self.rates) + 1)]
        return sorted({*ends, *self.looks})

    def rate_after(self, steps: int) -> float:
        """The step size of the next step.

        Args:
            steps: how many have been made.

        Returns:
            The size.
        """
        for length, rate in self.rates:
            if steps < length:
                return rate
            steps -= length
        return self.rates[-1][1]

    def loss(self, logits: Tensor, targets: Tensor, taught: Tensor | None) -> Tensor:
        """The loss of a batch, or of the batches of several trials.

        Args:
            logits: [T, B, outputs].
            targets: int64 [T, B], from the first output.
            taught: the teacher's logits, [T, B, outputs - K], if there is one.

        Returns:
            [T].
        """
        answers = logits[..., : self.classes].transpose(1, 2)
        losses = functional.cross_entropy(answers, targets, reduction="none").mean(1)
        if taught is not None:
            parts = [distillation(student, teacher, 1.0) for student, teacher in zip(logits[..., self.classes :], taught)]
            losses = losses + torch.stack(parts)
        return losses


@dataclass(frozen=True, eq=False)
class Ordered:
    """Batches in an order that is fixed beforehand.

    Attributes:
        examples: the selection.
        order: int64 [steps, B], which of them each step sees.
    """

    examples: Examples
    order: Tensor

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: not needed.

        Yields:
            The batches.
        """
        for positions in self.order.to(self.examples.rows.device):
            yield self.examples.batch(positions)


class Retraining:
    """A trial as a learner, for the engine.

    Args:
        trial: what is carried out.
        test: tests the network, at each of the trial's looks.
    """

    def __init__(self, trial: Trial, test: Callable[[Trial], float]) -> None:
        self.trial, self.test = trial, test
        self.network = trial.network

    def phases(self, experience: object) -> list[Phase]:
        """The stretches between two pauses.

        Args:
            experience: not looked at.

        Returns:
            One phase for each stretch of one rate.
        """
        trial = self.trial
        phases = []
        for start, end in pairwise(trial.boundaries()):
            rate = trial.rate_after(start)
            update = Update(
                loss=self.loss,
                parameters=trial.parameters,
                name=f"rate {rate}",
                optimizer=Optimizer(kind="sgd", learning_rate=rate, momentum=trial.momentum, weight_decay=trial.weight_decay),
            )
            look = self._look if end in trial.looks else None
            batches = Ordered(trial.examples, trial.order[start:end])
            phases.append(Phase(name="retrain", batches=batches, updates=(update,), iterations=end - start, end=look))
        return phases

    def train_mode(self) -> None:
        """Put what is trained into training mode."""
        self.trial.network.train(self.trial.trained == "all")

    def loss(self, batch: Batch) -> Step:
        """The trial's loss.

        Args:
            batch: its examples.

        Returns:
            The step.
        """
        trial = self.trial
        if trial.trained == "head":
            with torch.no_grad():
                features = trial.network.features(batch.x)
            logits = trial.network.head(features)
        else:
            logits = trial.network(batch.x)
        taught = None if trial.teacher is None else trial.teacher(batch.x)[None]
        return Step(trial.loss(logits[None], (batch.y - trial.first)[None], taught)[0])

    def _look(self) -> None:
        self.trial.accuracies.append(self.test(self.trial))
