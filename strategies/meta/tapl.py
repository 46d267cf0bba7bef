"""TAPL, a reference design: queries join adaptation under pseudo labels that follow it.

After Lee, Lee & Song, "Task-Adaptive Pseudo Labeling for Transductive Meta-Learning", arXiv 2304.11173 (2023). Only its abstract was at
hand: the base learner (MAML), label propagation from support to queries and adaptation on both are its own; everything below is our
reading, and its results are not the paper's.

    F   = label propagation over the features, under theta_k, of support and queries     (so labels are made anew as the network adapts)
    L_k = cross-entropy(support, labels) + lambda mean_j w_j cross-entropy(query_j, pseudo label_j)
    theta_{k+1} = theta_k - alpha grad L_k

It replaces the inner loop's step `support`. The queries' true labels are in the outer loss only. Propagation is TPN's with a fixed
bandwidth (from the median distance). Soft labels are almost uniform at spread 0.99, so labels are hard unless asked otherwise. A query
that no label reaches has no part in the loss. Transductive whatever the batch-norm mode.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from scenarios.options import option
from strategies.meta.episodic.inner import Objective, Support, View, cross_entropy
from strategies.meta.episodic.network import Params
from strategies.meta.episodic.propagation import propagate, similarity
from strategies.meta.maml import Maml, MamlConfig


@dataclass(frozen=True, kw_only=True)
class TaplConfig(MamlConfig):
    """Options of `tapl`.

    Attributes:
        pseudo_weight: lambda, the weight of the pseudo-labelled queries.
        neighbours: of each example in the graph, itself among them; 0 for all.
        spread: alpha of label propagation.
        bandwidth: sigma of the similarity; none for a quarter of the square root of the median distance.
        labels: hard (the greatest score) or soft (scores divided by their sum).
        confidence: weigh each query by its greatest share of the scores.
        label_gradient: stop at the pseudo labels, or go through them (soft labels only).
        warm_up: inner steps on the support set alone, before pseudo labels are used.
        joint: normalise support and queries as one batch in the inner loop, instead of each by itself.
    """

    pseudo_weight: float = option(1.0, low=0)
    neighbours: int = option(20, low=0)
    spread: float = option(0.99, low=0.001, high=0.999)
    bandwidth: float | None = option(None, low=1e-6)
    labels: Literal["hard", "soft"] = "hard"
    confidence: bool = False
    label_gradient: Literal["stop", "through"] = "stop"
    warm_up: int = option(0, low=0)
    joint: bool = False


class PseudoLabelled(Support):
    """The step `support`: the support set, and queries under pseudo labels.

    Args:
        config: the options.
    """

    def __init__(self, config: TaplConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, params: Params, view: View, k: int) -> tuple[Objective, Params]:
        """Label the queries.

        Args:
            params: the parameters before the step.
            view: the episode.
            k: which step, from 0.

        Returns:
            The objective, and the `pseudo_labels` int64 [Q], -1 where none.
        """
        with nullcontext() if self.config.label_gradient == "through" else torch.no_grad():
            scores = self.scores(*self._features(params, view), view)
        total = scores.sum(-1, keepdim=True)
        share = scores / total.clamp_min(torch.finfo(total.dtype).tiny)
        best = share.argmax(-1)
        reached = total[:, 0] > 0
        labels = share if self.config.labels == "soft" else (best[:, None] == torch.arange(share.shape[-1], device=best.device)).to(share)
        weights = reached.to(share) * (share.amax(-1) if self.config.confidence else 1)
        real = view.passes.query_rows
        count: Tensor | int = len(labels)
        if real is not None:
            weights, count = weights * real[0], real.sum()
        strength = self.config.pseudo_weight if k >= self.config.warm_up else 0.0
        targets = strength * weights[:, None] * labels / count

        def objective(at: Params) -> Tensor:
            support, query = self._features(at, view)
            return cross_entropy(view.head(at, support), view.targets) + cross_entropy(view.head(at, query), targets)

        return objective, {"pseudo_labels": torch.where(reached, best, -1)}

    def scores(self, support: Tensor, query: Tensor, view: View) -> Tensor:
        """The queries' scores.

        Args:
            support: [S, F].
            query: [Q, F].
            view: the episode.

        Returns:
            [Q, N], not negative.
        """
        config = self.config
        known = (view.targets > 0).to(support)
        labels = torch.cat([known, known.new_zeros(len(query), known.shape[1])])
        rows = [view.passes.support_rows, view.passes.query_rows]
        real = None
        if any(each is not None for each in rows):
            real = torch.cat([part.new_ones(len(part)) if each is None else each[0] for each, part in zip(rows, (support, query))])
        weights = similarity(torch.cat([support, query]), config.neighbours, config.bandwidth, real)
        return propagate(weights, labels, config.spread)[len(support) :].clamp_min(0)

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
