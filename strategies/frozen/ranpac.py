"""Random projections of frozen features, and ridge regression on the classes.

Mark McDonnell, Dong Gong, Amin Parvaneh, Ehsan Abbasnejad, Anton van den Hengel. *RanPAC: random projections and pre-trained models for
continual learning.* NeurIPS 2023, arXiv 2307.02251. With h = relu(f P), P a random matrix, G = sum h h^T and C = sum h y^T over all
examples met, logits = h (G + r I)^-1 C.

Of the paper's method this is the second part: the first, which adapts the backbone to the first experience, is left out, and r is
`strategy.ridge` times the mean of G's diagonal (the paper chooses it on held-out examples).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.options import option
from strategies.base import Setup
from strategies.frozen.statistics import WithProducts


@dataclass(frozen=True, kw_only=True)
class RanpacConfig:
    """Options of `ranpac`.

    Attributes:
        projections: how many random features there are; 10,000 in the paper.
        ridge: of the regression, as a share of the mean square of a random feature.
    """

    projections: int = option(2000, low=1)
    ridge: float = option(1e-3, above=0)


class Ranpac(WithProducts):
    """Ridge regression on random projections."""

    Config = RanpacConfig

    def prepare(self, setup: Setup) -> None:
        """Draw the projections.

        Args:
            setup: what it will meet.
        """
        super().prepare(setup)
        shape = (self.network.num_features, self.config.projections)
        drawn = torch.randn(shape, generator=setup.randomness.generator("projections"), dtype=torch.float64)
        self.projection = drawn.to(setup.device)

    def width(self) -> int:
        """How many features the classifier sees.

        Returns:
            The number of projections.
        """
        return self.config.projections

    def seen(self, x: Tensor) -> Tensor:
        """What the classifier sees of images.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            float64 [B, projections].
        """
        return (super().seen(x) @ self.projection).relu()

    def classifier(self) -> tuple[Tensor, Tensor]:
        """The regression.

        Returns:
            Weights [K, F] and biases [K], which are 0.
        """
        gram, targets = self.sums["products"], self.sums["sums"]
        ridge = self.config.ridge * gram.diagonal().mean().clamp_min(1e-30)
        shifted = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return torch.cholesky_solve(targets.T, torch.linalg.cholesky(shifted)).T, torch.zeros_like(targets[:, 0])
