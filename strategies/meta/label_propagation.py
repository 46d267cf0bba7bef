"""Label propagation in episodes: the transductive baseline, after TPN (Liu et al., ICLR 2019, arXiv 1805.10002).

Labels spread from the support set to the queries over a graph of all their embeddings (`strategies.meta.episodic.propagation`); trained end
to end on the cross-entropy of softmax(F) over support and queries. TPN itself (`tpn`) learns a bandwidth for each example; here one serves
an episode, by default the quarter of the square root of its mean distance, with the gradient through it. `bandwidth_gradient=stop
bandwidth_from=median` is the form without that gradient, under which the features can collapse.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.episodes.episodes import EpisodeBatch
from strategies.meta.episodic.inner import cross_entropy
from strategies.meta.episodic.propagation import GraphConfig, propagate_labels
from strategies.meta.learner import one_hot
from strategies.meta.prototypes import EmbeddingConfig, EmbeddingLearner, support_labels
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step


@dataclass(frozen=True, kw_only=True)
class PropagationConfig(GraphConfig, EmbeddingConfig):
    """Options of `label-propagation`: those of the graph, and of learners that compare embeddings."""


class LabelPropagation(EmbeddingLearner):
    """Labels spread over a graph of learned embeddings."""

    Config = PropagationConfig
    config: PropagationConfig

    @property
    def graph(self) -> GraphConfig:
        """The graph's options."""
        return self.config

    def scaled(self, embedded: Tensor) -> Tensor:
        """What distances are taken of; embeddings as they are.

        Args:
            embedded: [E, B, F].

        Returns:
            [E, B, F].
        """
        return embedded

    def scores(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Spread the labels.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, S + Q, ways].
        """
        support, query, _ = self.embed(batch, training)
        masks = batch.support_mask, batch.query_mask
        scores = propagate_labels(self.graph, self.scaled(support), self.scaled(query), support_labels(batch), masks)
        padded = batch.support_mask is not None or batch.query_mask is not None
        return scores.masked_fill(~batch.present()[:, None], OUT_OF_PLAY) if padded else scores

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
