"""What learners that compare embeddings share: how episodes are embedded, class means, and squared distances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from scenarios.episodes.episodes import EpisodeBatch
from strategies.meta.episodic.network import Normalise
from strategies.meta.episodic.passes import BnMode, Passes
from strategies.meta.learner import MetaConfig, MetaStrategy, one_hot, rows


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(MetaConfig):
    """Options of learners that compare embeddings.

    Attributes:
        bn_mode: what batch norms normalise by: running (moving averages of training's episodes, in which support, queries and unlabelled
            images are one batch), transductive (each of the three by its own batch), support (all by the support set's statistics) or
            per-example (each query with the support set alone, unlabelled images by the support set's statistics).
    """

    bn_mode: BnMode = "running"


class Embedded(NamedTuple):
    """Embeddings of a meta-batch.

    Attributes:
        support: [E, S, F].
        query: [E, Q, F].
        unlabelled: [E, U, F], or None.
    """

    support: Tensor
    query: Tensor
    unlabelled: Tensor | None


class EmbeddingLearner(MetaStrategy):
    """The ground of learners that compare embeddings; none adapts in steps.

    Args:
        config: the options.
    """

    Config = EmbeddingConfig
    config: EmbeddingConfig

    def embed(self, batch: EpisodeBatch, training: bool) -> Embedded:
        """Embed episodes.

        Args:
            batch: the episodes.
            training: whether moving averages are moved rather than used.

        Returns:
            The embeddings.
        """
        groups, mode, theta = len(batch.support_x), self.config.bn_mode, self.theta
        passes = Passes(
            mode=mode,
            eps=self.config.bn_eps,
            support_x=batch.support_x.flatten(0, 1),
            query_x=batch.query_x.flatten(0, 1),
            support_rows=rows(batch.support_mask, batch.support_x),
            query_rows=rows(batch.query_mask, batch.query_x),
            groups=groups,
            native=True,
            running=self.net.running() if mode == "running" and not training else None,
        )

        def forward(x: Tensor, normalise: Normalise) -> Tensor:
            return self.net.features(theta, x, normalise)

        extra = batch.unlabelled_x
        if mode == "running" and training:
            parts = self._joint(passes, extra, forward)
        else:
            parts = [passes.support(forward), passes.query(forward)]
            if extra is not None:
                others = replace(passes, query_x=extra.flatten(0, 1), query_rows=None, mode="support" if mode == "per-example" else mode)
                parts.append(others.query(forward))
        split = [part.unflatten(0, (groups, -1)) for part in parts]
        return Embedded(split[0], split[1], split[2] if extra is not None else None)

    def _joint(self, passes: Passes, extra: Tensor | None, forward: object) -> list[Tensor]:
        query = passes.query_x.unflatten(0, (passes.groups, -1))
        if extra is None:
            parts = list(passes.both(forward))  # type: ignore[arg-type]
        else:
            weights = passes.query_rows
            if weights is not None:
                weights = torch.nn.functional.pad(weights, (0, extra.shape[1]), value=1.0)
            passes = replace(passes, query_x=torch.cat([query, extra], 1).flatten(0, 1), query_rows=weights)
            support, rest = passes.both(forward)  # type: ignore[arg-type]
            rest = rest.unflatten(0, (passes.groups, -1))
            parts = [support, rest[:, : query.shape[1]].flatten(0, 1), rest[:, query.shape[1] :].flatten(0, 1)]
        self.net.move_averages(passes.recorded)
        return parts


def class_means(embedded: Tensor, weights: Tensor) -> Tensor:
    """Weighted means.

    Args:
        embedded: [E, B, F].
        weights: [E, B, N], not negative.

    Returns:
        [E, N, F]; 0 where a class has no weight.

    Example:
        >>> class_means(torch.tensor([[[1.0], [3.0]]]), torch.ones(1, 2, 1))
        tensor([[[2.]]])
    """
    total = weights.sum(1)[..., None]
    return weights.transpose(1, 2) @ embedded / torch.where(total > 0, total, 1.0)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances.

    Args:
        first: [E, A, F].
        second: [E, B, F].

    Returns:
        [E, A, B].

    Example:
        >>> squared_distances(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
        tensor([[[2.]]])
    """
    lengths = first.square().sum(-1)[:, :, None] + second.square().sum(-1)[:, None]
    return torch.baddbmm(lengths, first, second.transpose(1, 2), alpha=-2).clamp_min(0)


def support_labels(batch: EpisodeBatch) -> Tensor:
    """The support set's labels.

    Args:
        batch: the episodes.

    Returns:
        [E, S, ways], one-hot; rows of zeros for padding.
    """
    return one_hot(batch.support_y, batch.ways, batch.support_x.dtype)
