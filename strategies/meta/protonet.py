"""Prototypical networks: a class is the mean of its support embeddings (Snell, Swersky & Zemel, NeurIPS 2017).

    p_c = mean of h(x) over the support of class c,    p(c | x) = softmax_c(-|h(x) - p_c|^2)

Trained on the queries' cross-entropy, end to end. Batch norms use moving averages in evaluation unless asked otherwise, so that no query
sees another. The semi-supervised refinements (`protonet-soft`, `protonet-cluster`, `protonet-masked`) override `refine`.
"""

from __future__ import annotations

from torch import Tensor

from scenarios.episodes.episodes import EpisodeBatch
from strategies.meta.prototypes import EmbeddingLearner, class_means, squared_distances, support_labels
from strategies.networks.network import OUT_OF_PLAY


class ProtoNet(EmbeddingLearner):
    """Nearest class mean in a learned embedding."""

    def answer(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Answer episodes, with the graph of the answer.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, Q, ways], minus the squared distances.
        """
        support, query, unlabelled = self.embed(batch, training)
        labels = support_labels(batch)
        prototypes = class_means(support, labels)
        if unlabelled is not None:
            prototypes = self.refine(prototypes, support, labels, unlabelled, training)
        logits = -squared_distances(query, prototypes)
        return logits if batch.support_mask is None else logits.masked_fill(~batch.present()[:, None], OUT_OF_PLAY)

    def refine(self, prototypes: Tensor, support: Tensor, labels: Tensor, unlabelled: Tensor, training: bool) -> Tensor:
        """Move prototypes by unlabelled embeddings; the supervised learner does not.

        Args:
            prototypes: [E, N, F].
            support: [E, S, F].
            labels: [E, S, N].
            unlabelled: [E, U, F].
            training: in training or in evaluation.

        Returns:
            [E, N, F].
        """
        return prototypes
