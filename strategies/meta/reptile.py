"""Reptile: the initialisation moves towards where tasks' own training ends (Nichol, Achiam & Schulman, arXiv 1803.02999, 2018).

    W_i = theta after k steps of SGD or Adam on minibatches of task i,    theta <- theta + epsilon mean_i (W_i - theta)

(their Algorithm 2). Nothing is differentiated through the inner loop. As in the paper a training task needs no queries, so support and
queries are learned from together; each step draws another minibatch (with the same images in every step the paper finds it worse, section
6.3); the inner Adam has beta_1 = 0 and begins anew in each task; epsilon falls linearly to 0; and everything adapts, the norms' scale and
shift as well. At test it adapts on the whole support set in every step. With one step of SGD it is joint training on all tasks (section 5).

The outer step is its own (`outer_rate`): `train.optimizer` and what belongs to it are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.errors import UserError
from scenarios.options import option
from strategies.meta.episodic import engines
from strategies.meta.episodic.inner import Gradient, Objective, Support, View, cross_entropy
from strategies.meta.episodic.inner import Step as InnerStep
from strategies.meta.episodic.known import known
from strategies.meta.episodic.network import Norm, Params
from strategies.meta.learner import query_targets
from strategies.meta.maml import Maml, MamlConfig
from strategies.phase import Optimizer, Phase, Schedule, Step
from strategies.unread import OF_OPTIMIZER

BETA, EPS = 0.999, 1e-8
"""Of the inner Adam: the decay of its second moments, and what is added to their roots."""


@dataclass(frozen=True, kw_only=True)
class ReptileConfig(MamlConfig):
    """Options of `reptile`.

    Attributes:
        inner_steps: adaptation steps in training; none for 5 on images of one channel, else 8.
        test_steps: adaptation steps in evaluation.
        inner_rate: the inner step size; none for 0.001 with adam, and MAML's with sgd.
        inner_optimizer: adam (with beta_1 = 0) or sgd.
        inner_batch: images of an inner step in training; all where there are no more.
        pool: learn a training task from its support and queries together, rather than from its support alone.
        outer_rate: epsilon in the beginning; it falls linearly to 0 over the training of a domain.
    """

    test_steps: int | None = option(50, low=1)
    inner_optimizer: Literal["adam", "sgd"] = "adam"
    inner_batch: int = option(10, low=1)
    pool: bool = True
    outer_rate: float = option(1.0, above=0)


class Minibatches(Support):
    """The step `support`: cross-entropy of the step's own minibatch, where the task names one."""

    def forward(self, params: Params, view: View, k: int) -> tuple[Objective, Params]:
        """Choose what a step descends on.

        Args:
            params: the parameters before the step.
            view: the episode.
            k: which step, from 0.

        Returns:
            The objective, and no diagnostics.
        """
        if "minibatches" not in view.task:
            return view.support_loss, {}
        chosen, passes = view.task["minibatches"][k], view.passes
        real = None if passes.support_rows is None else passes.support_rows[:, chosen]
        targets = view.targets[chosen]
        task = {**view.task, "targets": targets / targets.sum()}
        part = View(view.net, view.theta, replace(passes, support_x=passes.support_x[chosen], support_rows=real), task, False)
        return part.support_loss, {}


class AdamStep(InnerStep):
    """The step `step`: Adam without momentum."""

    def start(self, params: Params, objective: Objective, gradient: Gradient) -> Params:
        """Adam's state before the first step.

        Args:
            params: where the loop starts.
            objective: of the first step.
            gradient: differentiates.

        Returns:
            Second moments by name, and the `bias` that they have: the power of their decay.
        """
        return {**{name: torch.zeros_like(value) for name, value in params.items()}, "bias": next(iter(params.values())).new_ones(())}

    def forward(
        self, params: Params, state: Params, objective: Objective, rates: Mapping[str, Tensor | float], gradient: Gradient
    ) -> tuple[Params, Params, Params]:
        """Take one step.

        Args:
            params: the parameters.
            state: second moments and their bias.
            objective: to descend on.
            rates: step size of each tensor.
            gradient: differentiates.

        Returns:
            Parameters and state after it, and no diagnostics.
        """
        grads = gradient(objective, params)
        bias = state["bias"] * BETA
        squares = {name: BETA * state[name] + (1 - BETA) * grad.square() for name, grad in grads.items()}
        moved = {name: grads[name] / ((squares[name] / (1 - bias)).sqrt() + EPS) for name in params}
        return {name: value - rates[name] * moved[name] for name, value in params.items()}, {**squares, "bias": bias}, {}


class Reptile(Maml):
    """An initialisation in the middle of tasks' solutions.

    Args:
        config: the options.

    Raises:
        UserError: an option asks how the inner loop is to be differentiated, which it is not.
    """

    Config = ReptileConfig
    config: ReptileConfig
    unread: ClassVar[Mapping[str, str]] = {
        **Maml.unread,
        **dict.fromkeys(OF_OPTIMIZER, "reptile's outer step is its own; set strategy.outer_rate instead"),
    }

    def __init__(self, config: ReptileConfig) -> None:
        super().__init__(config)
        for name in ("learn_rates", "first_order", "first_order_iterations", "multi_step_iterations"):
            if getattr(config, name):
                raise UserError(f"reptile differentiates nothing through its inner loop; leave strategy.{name} out")

    @property
    def adapted(self) -> tuple[str, ...]:
        """The names of the tensors that adapt: all, but biases that a norm follows."""
        norms = [layer for layer in self.net.layers if isinstance(layer, Norm)]
        return (*self.net.weights, *(name for norm in norms for name in (norm.weight, norm.bias)))

    @property
    def inner_steps(self) -> int:
        """Adaptation steps in training."""
        return self.config.inner_steps or (5 if self.grey else 8)

    @property
    def inner_rate(self) -> float:
        """The inner step size."""
        return 1e-3 if self.config.inner_rate is None and self.config.inner_optimizer == "adam" else super().inner_rate

    def support(self) -> Support:
        """The second named step.

        Returns:
            The cross-entropy of minibatches.
        """
        return Minibatches()

    def step(self) -> InnerStep:
        """The third named step.

        Returns:
            Adam's or gradient descent's.
        """
        return AdamStep() if self.config.inner_optimizer == "adam" else InnerStep()

    def phases(self, experience: Any) -> list[Phase]:
        """MAML's phase, with Reptile's own outer step.

        Args:
            experience: the domain that is learned.

        Returns:
            The phase.
        """
        optimizer = Optimizer(kind="sgd", learning_rate=self.config.outer_rate, schedule=Schedule(kind="linear"))
        phases = super().phases(experience)
        return [replace(phase, updates=tuple(replace(update, optimizer=optimizer) for update in phase.updates)) for phase in phases]

    @torch.no_grad()
    def episode_loss(self, batch: EpisodeBatch) -> Step:
        """What the outer step goes by: theta minus the mean of the tasks' weights stands for a gradient.

        Args:
            batch: the episodes.

        Returns:
            The step; its loss is that of the queries after adaptation, for the log.
        """
        inner = replace(self.inner(True), first_order=True, keep=True)
        batch = pooled(batch) if self.config.pool else batch
        drawn, learned = self.minibatches(batch), dict(self.network.named_parameters())
        divisor = len(batch.support_x) if self.config.over_tasks == "mean" else 1
        first, losses, gradients, logits, moments = 0, [], [], [], []
        for name, part, tasks in self._chunks(inner, batch):
            last = first + len(part.query_y)
            found = engines.run(name, inner, tasks if drawn is None else {**tasks, "minibatches": drawn[first:last]})
            first = last
            ends = {key: found.get(f"adapted.{key}") for key in learned}
            gradients.append([None if end is None else (learned[key] - end).sum(0) / divisor for key, end in ends.items()])
            logits.append(found["logits"][:, -1])
            losses.append(cross_entropy(logits[-1], query_targets(part, logits[-1])).sum() / divisor)
            moments.append({key: value for key, value in found.items() if key.startswith(("mean.", "var."))})
        self._move_averages(moments)
        with torch.enable_grad():
            total = known(torch.stack(losses).sum(), gradients, list(learned.values()))
        return Step(total, torch.cat(logits).flatten(0, 1), batch.query_y.flatten())

    def minibatches(self, batch: EpisodeBatch) -> Tensor | None:
        """Which images each inner step of the present iteration learns from.

        Args:
            batch: the episodes.

        Returns:
            int64 [E, T, B], rows of the support set, without repetition in a step; None where each step takes them all.
        """
        count, size = batch.support_y.shape
        if size <= self.config.inner_batch:
            return None
        generator = self.setup.randomness.generator("minibatches", self.iteration)
        order = torch.rand(count, self.inner_steps, size, generator=generator).to(batch.support_y.device)
        if batch.support_mask is not None:
            order = order.masked_fill(~batch.support_mask[:, None], 1.0)
        return order.argsort(-1)[..., : self.config.inner_batch]


def pooled(batch: EpisodeBatch) -> EpisodeBatch:
    """Episodes whose support set has their queries as well.

    Args:
        batch: the episodes.

    Returns:
        The same, with S + Q support images; the queries stay.
    """
    masks = (batch.support_mask, batch.query_mask)
    padded = any(mask is not None for mask in masks)
    real = [torch.ones_like(y, dtype=torch.bool) if m is None else m for m, y in zip(masks, (batch.support_y, batch.query_y))]
    return batch._replace(
        support_x=torch.cat([batch.support_x, batch.query_x], 1),
        support_y=torch.cat([batch.support_y, batch.query_y], 1),
        support_mask=torch.cat(real, 1) if padded else None,
    )
