"""Label propagation in episodes: the transductive baseline, after TPN (Liu et al., ICLR 2019, arXiv 1805.10002).

Labels spread from the support set to the queries over a graph of all their embeddings (`strategies.meta.episodic.propagation`); trained end
to end on the cross-entropy of softmax(F) over support and queries. TPN learns a bandwidth for each example; here one is fixed, by default
the quarter of the square root of the episode's median distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.options import option
from strategies.meta.episodic.inner import cross_entropy
from strategies.meta.episodic.propagation import propagate, similarity
from strategies.meta.learner import one_hot
from strategies.meta.prototypes import EmbeddingConfig, EmbeddingLearner, support_labels
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step


@dataclass(frozen=True, kw_only=True)
class PropagationConfig(EmbeddingConfig):
    """Options of `label-propagation`.

    Attributes:
        neighbours: of each example in the graph, itself among them; 0 for all.
        spread: alpha of label propagation.
        bandwidth: sigma of the similarity; none for a quarter of the square root of the median distance.
    """

    neighbours: int = option(20, low=0)
    spread: float = option(0.99, low=0.001, high=0.999)
    bandwidth: float | None = option(None, low=1e-6)


class LabelPropagation(EmbeddingLearner):
    """Labels spread over a graph of learned embeddings."""

    Config = PropagationConfig
    config: PropagationConfig

    def scores(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Spread the labels.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, S + Q, ways].
        """
        support, query, _ = self.embed(batch, training)
        labels = support_labels(batch)
        real = None
        if batch.support_mask is not None or batch.query_mask is not None:
            masks = ((batch.support_mask, support), (batch.query_mask, query))
            real = torch.cat([torch.ones_like(part[..., 0]) if mask is None else mask.to(part) for mask, part in masks], 1)
        weights = similarity(torch.cat([support, query], 1), self.config.neighbours, self.config.bandwidth, real)
        scores = propagate(weights, torch.cat([labels, labels.new_zeros(*query.shape[:2], batch.ways)], 1), self.config.spread)
        return scores if real is None else scores.masked_fill(~batch.present()[:, None], OUT_OF_PLAY)

    def answer(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Answer episodes, with the graph of the answer.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, Q, ways], the scores.
        """
        return self.scores(batch, training)[:, batch.support_x.shape[1] :]

    def episode_loss(self, batch: EpisodeBatch) -> Step:
        """The loss of a meta-batch, over support and queries.

        Args:
            batch: the episodes.

        Returns:
            The step; its accuracy is that of the queries.
        """
        scores = self.scores(batch, training=True)
        labels = torch.cat([batch.support_y, batch.query_y], 1)
        targets = one_hot(labels, batch.ways, scores.dtype)
        loss = cross_entropy(scores, targets / targets.sum((1, 2), keepdim=True)).mean()
        return Step(loss, scores[:, batch.support_x.shape[1] :].detach().flatten(0, 1), batch.query_y.flatten())
