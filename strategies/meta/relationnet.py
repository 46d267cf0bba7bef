"""Relation networks: a learned comparison of a query with each class (Sung, Yang, Zhang, Xiang, Torr & Hospedales, CVPR 2018).

    r_jc = sigmoid g(sum of h(x) over the support of class c, h(x_j)),    loss = mean over j and c of (r_jc - [y_j = c])^2    (eq. 1 and 2)

h gives feature maps, which are joined along channels; g is a small convolutional network (`strategies.meta.relation`), learned with h. Its
answers are the logits of r.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scenarios.episodes.episodes import EpisodeBatch
from strategies.meta.learner import one_hot
from strategies.meta.prototypes import EmbeddingLearner, support_labels
from strategies.meta.relation import map_shape, relation
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step


class RelationNet(EmbeddingLearner):
    """A learned comparison instead of a distance."""

    def build_parts(self) -> nn.ModuleDict:
        """The network that compares.

        Returns:
            It, by the name `relation`.
        """
        self._shape = map_shape(self.net, self.theta, self.setup.scenario.input_shape)
        channels, height, width = self._shape
        return nn.ModuleDict({"relation": relation(2 * channels, channels, height, width)})

    def answer(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Answer episodes, with the graph of the answer.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, Q, ways], the logits of the relations.
        """
        support, query, _ = self.embed(batch, training)
        classes = support_labels(batch).transpose(1, 2) @ support
        size = (*query.shape[:2], batch.ways)
        pairs = [each.expand(*size, -1).flatten(0, 2).unflatten(1, self._shape) for each in (classes[:, None], query[:, :, None])]
        logits = self.parts["relation"](torch.cat(pairs, 1)).view(size)
        return logits if batch.support_mask is None else logits.masked_fill(~batch.present()[:, None], OUT_OF_PLAY)

    def episode_loss(self, batch: EpisodeBatch) -> Step:
        """The loss of a meta-batch: the relations' squared error.

        Args:
            batch: the episodes.

        Returns:
            The step.
        """
        logits = self.answer(batch, training=True)
        wanted = one_hot(batch.query_y, batch.ways, logits.dtype)
        counted = (batch.query_y >= 0)[..., None] & batch.present()[:, None]
        errors = (torch.sigmoid(logits) - wanted).square().where(counted, 0.0)
        loss = (errors.sum((1, 2)) / counted.sum((1, 2))).mean()
        return Step(loss, logits.detach().flatten(0, 1), batch.query_y.flatten())
