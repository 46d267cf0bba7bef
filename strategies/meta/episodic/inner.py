"""The inner loop: from a network's parameters to those adapted to one episode.

Three of its steps have names, and a method may replace each.

    initialise   theta -> theta_0                       (L2F attenuates here)
    support      theta_k -> the objective of step k     (TAPL adds pseudo-labelled queries here)
    step         theta_k, objective -> theta_{k+1}      (CxGrad re-normalises weights and moves its context here)

The code is that of a single task, on tensors without a task dimension; an engine runs it for many. How it differentiates is the engine's
affair: a `Gradient` is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from strategies.meta.episodic.network import FunctionalNetwork, Normalise, Params
from strategies.meta.episodic.passes import BnMode, Passes
from strategies.networks.network import OUT_OF_PLAY

Objective = Callable[[Params], Tensor]
Task = Mapping[str, Tensor]
"""One episode: support_x, query_x, targets, and where it is padded support_rows, query_rows, present; for a meta-batch, stacked."""


class Gradient(Protocol):
    """Differentiates an objective."""

    def __call__(self, objective: Objective, params: Params, constant: bool = False) -> Params:
        """Differentiate.

        Args:
            objective: from parameters to a scalar.
            params: where.
            constant: whether the result is a constant for the outer gradient, whatever the learner's order.

        Returns:
            The gradient, by name.
        """


class View:
    """One episode as the parts of the inner loop see it: its passes through the network with any adapted parameters.

    Args:
        net: the network.
        theta: all its parameters; the adapted ones are overridden.
        passes: the episode's images.
        task: the episode.
        head_only: whether only the head is adapted, so that features are computed once.
    """

    def __init__(self, net: FunctionalNetwork, theta: Params, passes: Passes, task: Task, head_only: bool) -> None:
        self.net, self.theta, self.passes, self.task = net, theta, passes, task
        self.targets = task["targets"]
        self._fixed = (passes.support(self._body({})), passes.query(self._body({}))) if head_only else None

    def support_features(self, params: Params) -> Tensor:
        """Features of the support set.

        Args:
            params: the adapted parameters.

        Returns:
            [S, F].
        """
        return self._fixed[0] if self._fixed is not None else self.passes.support(self._body(params))

    def query_features(self, params: Params) -> Tensor:
        """Features of the queries.

        Args:
            params: the adapted parameters.

        Returns:
            [Q, F].
        """
        return self._fixed[1] if self._fixed is not None else self.passes.query(self._body(params))

    def joint_features(self, params: Params) -> tuple[Tensor, Tensor]:
        """Features of both, normalised as one batch.

        Args:
            params: the adapted parameters.

        Returns:
            [S, F] and [Q, F].
        """
        return self._fixed if self._fixed is not None else self.passes.both(self._body(params))

    def head(self, params: Params, features: Tensor) -> Tensor:
        """The head's logits.

        Args:
            params: the adapted parameters.
            features: [B, F].

        Returns:
            [B, N]; out of play where the episode lacks a class.
        """
        logits = self.net.head({**self.theta, **params}, features)
        return logits if "present" not in self.task else logits.masked_fill(self.task["present"] == 0, OUT_OF_PLAY)

    def support_loss(self, params: Params) -> Tensor:
        """Cross-entropy of the support set.

        Args:
            params: the adapted parameters.

        Returns:
            Its mean over real images.
        """
        return cross_entropy(self.head(params, self.support_features(params)), self.targets)

    def query_logits(self, params: Params) -> Tensor:
        """The answer.

        Args:
            params: the adapted parameters.

        Returns:
            [Q, N].
        """
        return self.head(params, self.query_features(params))

    def _body(self, params: Params) -> Callable[[Tensor, Normalise], Tensor]:
        merged = {**self.theta, **params}
        return lambda x, normalise: self.net.features(merged, x, normalise)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with weighted distributions as targets.

    Args:
        logits: [..., B, N].
        targets: [..., B, N]; each row a distribution times the row's weight.

    Returns:
        [...]: the weighted sum over rows.

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.eye(2, 4) / 2)
        tensor(1.3863)
    """
    return -(targets * torch.log_softmax(logits, -1)).sum((-2, -1))


class Initialise(nn.Module):
    """The step `initialise`: MAML's leaves the parameters as they are."""

    def forward(self, params: Params, view: View, gradient: Gradient) -> tuple[Params, Params]:
        """Choose where the loop starts.

        Args:
            params: the adapted tensors of theta.
            view: the episode.
            gradient: differentiates.

        Returns:
            The start, and diagnostics.
        """
        return params, {}


class Support(nn.Module):
    """The step `support`: MAML's objective is the support set's cross-entropy.

    What it hands out as diagnostics comes back to it in `outer_loss`, with its graph, beside the queries' true labels; so a method may
    judge what happened inside the loop without the loop ever seeing those labels.
    """

    query_passes: int = 0
    """Passes of the queries through the network in every step, for estimates of memory and time."""

    def forward(self, params: Params, view: View, k: int) -> tuple[Objective, Params]:
        """Choose what a step descends on.

        Args:
            params: the parameters before the step.
            view: the episode.
            k: which step, from 0.

        Returns:
            The objective, and diagnostics.
        """
        return view.support_loss, {}

    def outer_loss(self, found: Params, targets: Tensor) -> Tensor | None:
        """What the method adds to the outer loss, from what it handed out in each of T steps; nothing here.

        Args:
            found: what the inner loop gave, stacked over E episodes; this step's diagnostics are [E, T, ...].
            targets: [E, Q, N], the queries' true labels; rows sum to a query's weight.

        Returns:
            [E], or None.
        """
        return None

    def answer(self, params: Params, view: View) -> Tensor:
        """Answer the queries in evaluation; by the adapted head here.

        Args:
            params: the adapted parameters.
            view: the episode.

        Returns:
            [Q, N].
        """
        return view.query_logits(params)


class Step(nn.Module):
    """The step `step`: MAML's is gradient descent."""

    def start(self, params: Params, objective: Objective, gradient: Gradient) -> Params:
        """The method's own state before the first step.

        Args:
            params: where the loop starts.
            objective: of the first step.
            gradient: differentiates.

        Returns:
            The state.
        """
        return {}

    def forward(
        self, params: Params, state: Params, objective: Objective, rates: Mapping[str, Tensor | float], gradient: Gradient
    ) -> tuple[Params, Params, Params]:
        """Take one step.

        Args:
            params: the parameters.
            state: the method's own.
            objective: to descend on.
            rates: step size of each tensor.
            gradient: differentiates.

        Returns:
            Parameters and state after it, and diagnostics.
        """
        grads = gradient(objective, params)
        return {name: value - rates[name] * grads[name] for name, value in params.items()}, state, {}


@dataclass(frozen=True, kw_only=True, eq=False)
class InnerLoop:
    """Adaptation to an episode: everything but how to differentiate.

    Attributes:
        net: the network.
        theta: its parameters.
        adapted: names of the tensors that adapt.
        initialise: the first named step.
        support: the second.
        step: the third.
        rates: step size of each adapted tensor, for each step.
        answers: after which numbers of steps the queries are answered.
        first_order: whether gradients of the inner loop are constants for the outer one.
        mode: batch-norm mode.
        eps: added to variances.
        running: the moving averages, where passes are normalised by them.
        training: whether the answers are the outer loss's, which are the head's, or an evaluation's, which are the step `support`'s.
        keep: whether to give the adapted tensors as well.
    """

    net: FunctionalNetwork
    theta: Params
    adapted: tuple[str, ...]
    initialise: Initialise
    support: Support
    step: Step
    rates: Sequence[Mapping[str, Tensor | float]]
    answers: tuple[int, ...]
    first_order: bool
    mode: BnMode
    eps: float
    running: list[tuple[Tensor, Tensor]] | None = None
    training: bool = True
    keep: bool = False

    @property
    def head_only(self) -> bool:
        """Whether only the head adapts."""
        return set(self.adapted) <= {self.net.head.weight, self.net.head.bias}

    def passes(self, task: Task, groups: int = 1, native: bool = False) -> Passes:
        """The passes of an episode, or of a meta-batch with its rows one after another.

        Args:
            task: the episodes.
            groups: how many.
            native: use PyTorch's own batch norm where it serves; never inside vmap.

        Returns:
            The passes.
        """
        return Passes(
            mode=self.mode,
            eps=self.eps,
            support_x=task["support_x"],
            query_x=task["query_x"],
            support_rows=task["support_rows"].view(groups, -1) if "support_rows" in task else None,
            query_rows=task["query_rows"].view(groups, -1) if "query_rows" in task else None,
            groups=groups,
            native=native,
            running=self.running,
        )

    def run(self, task: Task, gradient: Gradient, native: bool = False) -> Params:
        """Adapt to one episode and answer its queries.

        Args:
            task: the episode.
            gradient: differentiates.
            native: use PyTorch's own batch norm where it serves; never inside vmap.

        Returns:
            `logits` [answers, Q, N]; in mode `running`, `mean.i` and `var.i` [1, C] of each norm; with `keep`, each adapted tensor as
            `adapted.NAME`; diagnostics, those of each step stacked.
        """
        passes = self.passes(task, native=native)
        view = View(self.net, self.theta, passes, task, self.head_only)
        params, found = self.initialise({name: self.theta[name] for name in self.adapted}, view, gradient)
        answer = view.query_logits if self.training else partial(self.support.answer, view=view)
        answers = [answer(params)] if 0 in self.answers else []
        state: Params = {}
        each: list[Params] = []
        for k, rates in enumerate(self.rates):
            objective, seen = self.support(params, view, k)
            if k == 0:
                state = self.step.start(params, objective, gradient)
            params, state, done = self.step(params, state, objective, rates, gradient)
            each.append({**seen, **done})
            if k + 1 in self.answers:
                answers.append(answer(params))
        found = {**found, **{name: torch.stack([step[name] for step in each]) for name in each[0]}}
        if self.keep:
            found |= {f"adapted.{name}": value for name, value in params.items()}
        return {"logits": torch.stack(answers), **statistics(passes), **found}


def statistics(passes: Passes) -> Params:
    """Statistics of the last query pass, as named tensors.

    Args:
        passes: the passes.

    Returns:
        `mean.i` and `var.i` [groups, C] of norm i; nothing in modes that keep no averages.
    """
    named = enumerate(passes.recorded if passes.mode == "running" else [])
    return {f"{kind}.{i}": value.detach() for i, pair in named for kind, value in zip(("mean", "var"), pair)}
