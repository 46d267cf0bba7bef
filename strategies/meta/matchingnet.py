"""Matching networks: queries attend to the support set (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, NeurIPS 2016).

    a(x, x_i) = softmax over the support set of c(h(x), h(x_i)),    p(y | x) = sum_i a(x, x_i) [y = y_i],    c the cosine    (their eq. 1)

Trained on the queries' -log p. It is the paper's model without full-context embeddings (their LSTMs over the support set, section 2.1.2):
f = g = h. The paper puts the bare cosine into the softmax, which can then never be sharp; others multiply it (by 100 in Chen et al.,
ICLR 2019): `strategy.scale`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.options import option
from strategies.meta.prototypes import EmbeddingConfig, EmbeddingLearner
from strategies.networks.network import OUT_OF_PLAY


@dataclass(frozen=True, kw_only=True)
class MatchingConfig(EmbeddingConfig):
    """Options of `matchingnet`.

    Attributes:
        scale: what cosines are multiplied by before their softmax.
    """

    scale: float = option(1.0, above=0)


class MatchingNet(EmbeddingLearner):
    """Attention by cosines over the support set.

    Args:
        config: the options.
    """

    Config = MatchingConfig
    config: MatchingConfig

    def answer(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Answer episodes, with the graph of the answer.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, Q, ways], log probabilities.
        """
        support, query, _ = self.embed(batch, training)
        cosines = self.config.scale * normalize(query, dim=-1) @ normalize(support, dim=-1).transpose(1, 2)
        belongs = batch.support_y[:, None] == torch.arange(batch.ways, device=support.device)[:, None]
        # Logarithms of sums rather than sums: at a large scale a class may have a share that is 0 in float32.
        by_class = cosines[:, :, None].masked_fill(~belongs[:, None], OUT_OF_PLAY).logsumexp(-1)
        return torch.log_softmax(by_class, -1)
