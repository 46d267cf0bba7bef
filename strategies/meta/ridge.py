"""R2-D2: a ridge regression in closed form solves each episode (Bertinetto, Henriques, Torr & Vedaldi, ICLR 2019, arXiv 1805.08136).

    W = argmin |X W - Y|^2 + lambda |W|^2 = X^T (X X^T + lambda I)^-1 Y,    logits = alpha h(x) W        (their equations 4, 6 and 7)

X [S, F + 1] holds the support set's embeddings and a column of ones, Y its one-hot labels. The form above (Woodbury's) inverts S x S; where
an episode has more support images than features, (X^T X + lambda I)^-1 X^T Y inverts the smaller matrix. The embedding, lambda (as its
logarithm) and alpha are learned, end to end through the solution. The paper's further scalar, added to all logits alike, changes neither
an answer nor a cross-entropy, so it is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.options import option
from strategies.meta.learner import rows
from strategies.meta.prototypes import EmbeddingConfig, EmbeddingLearner, support_labels
from strategies.networks.network import OUT_OF_PLAY


@dataclass(frozen=True, kw_only=True)
class RidgeConfig(EmbeddingConfig):
    """Options of `ridge`.

    Attributes:
        regularisation: lambda, where it begins.
        scale: alpha, where it begins.
        learn: learn both, rather than hold them where they begin.
    """

    regularisation: float = option(1.0, above=0)
    scale: float = option(10.0, above=0)
    learn: bool = True


class Ridge(EmbeddingLearner):
    """Ridge regression on learned embeddings.

    Args:
        config: the options.
    """

    Config = RidgeConfig
    config: RidgeConfig

    def build_parts(self) -> nn.ModuleDict:
        """The two learned numbers.

        Returns:
            The logarithm of lambda, and alpha.
        """
        begin = [torch.tensor(math.log(self.config.regularisation)), torch.tensor(self.config.scale)]
        return nn.ModuleDict({"numbers": nn.ParameterList([nn.Parameter(each, requires_grad=self.config.learn) for each in begin])})

    def answer(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Answer episodes, with the graph of the answer.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, Q, ways].
        """
        support, query, _ = self.embed(batch, training)
        log_regularisation, scale = self.parts["numbers"].parameters()
        x, asked = (nn.functional.pad(each, (0, 1), value=1.0) for each in (support, query))
        real = rows(batch.support_mask, batch.support_x)
        if real is not None:
            x = x * real[..., None]
        logits = scale * (asked @ ridge_weights(x, support_labels(batch), log_regularisation.exp()))
        return logits if batch.support_mask is None else logits.masked_fill(~batch.present()[:, None], OUT_OF_PLAY)


def ridge_weights(x: Tensor, y: Tensor, regularisation: Tensor | float) -> Tensor:
    """Solve ridge regressions, by whichever of the two equal forms inverts the smaller matrix.

    Args:
        x: [..., S, F]; rows of zeros count for nothing.
        y: [..., S, N].
        regularisation: lambda, above 0.

    Returns:
        [..., F, N].

    Example:
        >>> ridge_weights(torch.tensor([[2.0]]), torch.tensor([[3.0]]), 1.0)
        tensor([[1.2000]])
    """
    size, features = x.shape[-2:]
    identity = torch.eye(min(size, features), dtype=x.dtype, device=x.device)
    transposed = x.transpose(-1, -2)
    if size < features:
        return transposed @ torch.linalg.solve(x @ transposed + regularisation * identity, y)
    return torch.linalg.solve(transposed @ x + regularisation * identity, transposed @ y)
