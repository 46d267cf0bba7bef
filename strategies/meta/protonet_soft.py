"""Semi-supervised prototypical networks by soft k-means (Ren et al., ICLR 2018, arXiv 1803.00676).

    z_jc = softmax_c(-|h(x_j) - p_c|^2) of every unlabelled x_j
    p_c <- (sum of the support of c + sum_j z_jc h(x_j)) / (number of the support of c + sum_j z_jc)

One step. The authors' code takes z as constants for the gradient; `detach_assignments=false` goes through them. With
`refine_in_training=false` it is their baseline "semi-supervised inference": a supervised embedding, refined in evaluation only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.meta.protonet import ProtoNet
from strategies.meta.prototypes import EmbeddingConfig, class_means, squared_distances
from strategies.networks.network import OUT_OF_PLAY


@dataclass(frozen=True, kw_only=True)
class SoftConfig(EmbeddingConfig):
    """Options of `protonet-soft`.

    Attributes:
        detach_assignments: take the soft assignments as constants for the gradient.
        refine_in_training: refine prototypes in training too, not in evaluation alone.
    """

    detach_assignments: bool = True
    refine_in_training: bool = True


class ProtoNetSoft(ProtoNet):
    """Prototypes refined by one step of soft k-means."""

    Config = SoftConfig
    config: SoftConfig

    def refine(self, prototypes: Tensor, support: Tensor, labels: Tensor, unlabelled: Tensor, training: bool) -> Tensor:
        """Take the unlabelled embeddings into the means, each by its weight.

        Args:
            prototypes: [E, N, F].
            support: [E, S, F].
            labels: [E, S, N].
            unlabelled: [E, U, F].
            training: in training or in evaluation.

        Returns:
            [E, N, F].
        """
        if training and not self.config.refine_in_training:
            return prototypes
        absent = labels.sum(1, keepdim=True) == 0
        weights = self.assign(squared_distances(unlabelled, prototypes).masked_fill(absent, -OUT_OF_PLAY), unlabelled)
        if self.config.detach_assignments:
            weights = weights.detach()
        return class_means(torch.cat([support, unlabelled], 1), torch.cat([labels, weights], 1))

    def assign(self, distances: Tensor, unlabelled: Tensor) -> Tensor:
        """How much of each unlabelled embedding each class takes.

        Args:
            distances: [E, U, N], squared, to the prototypes.
            unlabelled: [E, U, F].

        Returns:
            [E, U, N].
        """
        return torch.softmax(-distances, -1)
