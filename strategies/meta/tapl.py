"""TAPL, a reference design: queries join adaptation under pseudo labels that follow it.

After Lee, Lee & Song, "Task-Adaptive Pseudo Labeling for Transductive Meta-Learning", arXiv 2304.11173 (2023). Only its abstract was at
hand: the base learner (MAML), label propagation from support to queries and adaptation on both are its own; everything below is our
reading, and its results are not the paper's.

    P_k = rows, divided by their sums, of label propagation over the features, under theta_k, of support and queries
    y_j = argmax P_kj, made anew in each step, constants;  n_c queries have the label c
    L_k = cross-entropy(support, labels) + lambda sum_j cross-entropy(query_j, y_j) / (N n_{y_j})
    theta_{k+1} = theta_k - alpha grad L_k
    outer loss = cross-entropy(queries under theta_T, true labels) + mu mean_k mean_j -log P_kj[true label of j]

Two things beside pseudo labels are needed. Untrained propagation gives most queries to one class (51.5 of 75), which would push the head
to it in every step: so each class's queries weigh alike (`balance`). And hard labels pass no gradient, so that nothing would make
distances good: so the outer loss also judges the shares P (`propagation_weight`), as GP-MAML's (arXiv 2207.04217) does. The first form of
this design, without either, is `balance=false propagation_weight=0 bandwidth_from=median`; it stays far below MAML.

It replaces the inner loop's step `support`, and gives it an outer loss of its own. The queries' true labels are in the outer loss only. A
query that no label reaches has no part in the inner loss. Transductive whatever the batch-norm mode.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.options import option
from strategies.meta.episodic.inner import Objective, Support, View, cross_entropy
from strategies.meta.episodic.network import Params
from strategies.meta.episodic.propagation import GraphConfig, propagate_labels
from strategies.meta.maml import Maml, MamlConfig

SMALLEST_SHARE = 1e-6
"""To which a query's share of a class is raised before its logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class TaplConfig(GraphConfig, MamlConfig):
    """Options of `tapl`.

    Attributes:
        pseudo_weight: lambda, the weight of the pseudo-labelled queries.
        balance: weigh the queries of each pseudo label alike, instead of every query.
        propagation_weight: mu, the weight of the propagated shares' cross-entropy with the true labels, in the outer loss.
        labels: hard (the greatest score) or soft (scores divided by their sum).
        confidence: weigh each query by its greatest share of the scores.
        label_gradient: stop at the pseudo labels, or go through them (soft labels only).
        warm_up: inner steps on the support set alone, before pseudo labels are used.
        joint: normalise support and queries as one batch in the inner loop, instead of each by itself.
        answer: what answers queries in evaluation: the adapted head, the propagated scores under the adapted network (the head where no
            label reaches), or the mean of both as probabilities.
    """

    pseudo_weight: float = option(1.0, low=0)
    balance: bool = True
    propagation_weight: float = option(1.0, low=0)
    labels: Literal["hard", "soft"] = "hard"
    confidence: bool = False
    label_gradient: Literal["stop", "through"] = "stop"
    warm_up: int = option(0, low=0)
    joint: bool = False
    answer: Literal["head", "scores", "mean"] = "head"

    def __post_init__(self) -> None:
        if self.label_gradient == "through" and self.labels == "hard":
            raise UserError("hard labels have no gradient; set strategy.labels=soft as well, or leave strategy.label_gradient out")


class PseudoLabelled(Support):
    """The step `support`: the support set, and queries under pseudo labels.

    Args:
        config: the options.
    """

    def __init__(self, config: TaplConfig) -> None:
        super().__init__()
        self.config = config
        self.query_passes = 1 + (config.propagation_weight > 0 or config.label_gradient == "through")

    def forward(self, params: Params, view: View, k: int) -> tuple[Objective, Params]:
        """Label the queries.

        Args:
            params: the parameters before the step.
            view: the episode.
            k: which step, from 0.

        Returns:
            The objective, and the `pseudo_labels` int64 [Q], -1 where none, and `shares` [Q, N].
        """
        config = self.config
        through = config.label_gradient == "through"
        with nullcontext() if through or config.propagation_weight else torch.no_grad():
            shares, reached = self.shares(*self._features(params, view), view)
        found = {"pseudo_labels": torch.where(reached, shares.argmax(-1), -1), "shares": shares}
        strength = config.pseudo_weight if k >= config.warm_up else 0.0
        if not strength and not config.joint:
            return view.support_loss, found
        targets = strength * self.targets(shares if through else shares.detach(), reached, view)

        def objective(at: Params) -> Tensor:
            support, query = self._features(at, view)
            return cross_entropy(view.head(at, support), view.targets) + cross_entropy(view.head(at, query), targets)

        return objective, found

    def targets(self, shares: Tensor, reached: Tensor, view: View) -> Tensor:
        """The queries' pseudo labels with their weights.

        Args:
            shares: [Q, N].
            reached: bool [Q], whether any label reaches a query.
            view: the episode.

        Returns:
            [Q, N]; with `balance` each column sums to 1 / N over the episode's N classes (an empty one to 0), else each row to 1 / Q.
        """
        config, real = self.config, view.passes.query_rows
        counted = reached.to(shares) * (shares.amax(-1) if config.confidence else 1) * (1 if real is None else real[0])
        best = shares.argmax(-1)[:, None] == torch.arange(shares.shape[-1], device=shares.device)
        labels = counted[:, None] * (shares if config.labels == "soft" else best.to(shares))
        if not config.balance:
            return labels / (len(labels) if real is None else real.sum())
        mass = labels.sum(0)
        ways = view.task["present"].sum() if "present" in view.task else labels.shape[-1]
        return labels / torch.where(mass > 0, mass, 1.0) / ways

    def shares(self, support: Tensor, query: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """Each query's shares of the propagated scores.

        Args:
            support: [S, F].
            query: [Q, F].
            view: the episode.

        Returns:
            [Q, N], rows summing to 1; and bool [Q], false where no label reaches a query: its row is 0.
        """
        rows = [None if each is None else each[0] for each in (view.passes.support_rows, view.passes.query_rows)]
        known = (view.targets > 0).to(support)
        scores = propagate_labels(self.config, support, query, known, (rows[0], rows[1]))[len(support) :]
        total = scores.sum(-1, keepdim=True)
        return scores / total.clamp_min(torch.finfo(total.dtype).tiny), total[:, 0] > 0

    def outer_loss(self, found: Params, targets: Tensor) -> Tensor | None:
        """How far propagation is from the true labels; mu mean_k mean_j -log P_kj[true].

        Args:
            found: with the `shares` [E, T, Q, N].
            targets: [E, Q, N], the queries' true labels; rows sum to a query's weight.

        Returns:
            [E]; None at weight 0.
        """
        if not self.config.propagation_weight:
            return None
        return self.config.propagation_weight * -(targets[:, None] * found["shares"].clamp_min(SMALLEST_SHARE).log()).sum((-2, -1)).mean(1)

    def answer(self, params: Params, view: View) -> Tensor:
        """Answer the queries in evaluation.

        Args:
            params: the adapted parameters.
            view: the episode.

        Returns:
            [Q, N].
        """
        head = super().answer(params, view)
        if self.config.answer == "head":
            return head
        shares, reached = self.shares(*self._features(params, view), view)
        chances = torch.softmax(head, -1)
        mixed = shares if self.config.answer == "scores" else (shares + chances) / 2
        return torch.where(reached[:, None], mixed, chances).clamp_min(SMALLEST_SHARE).log()

    def _features(self, params: Params, view: View) -> tuple[Tensor, Tensor]:
        if self.config.joint:
            return view.joint_features(params)
        return view.support_features(params), view.query_features(params)


class Tapl(Maml):
    """MAML that adapts on pseudo-labelled queries as well (reference design)."""

    Config = TaplConfig
    config: TaplConfig
    replaces: ClassVar[str] = "support"
    label = "reference design"

    def support(self) -> Support:
        """The step that the method replaces.

        Returns:
            The support set, and queries under pseudo labels.
        """
        return PseudoLabelled(self.config)
