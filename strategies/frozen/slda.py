"""Deep streaming linear discriminant analysis on frozen features.

Tyler Hayes, Christopher Kanan. *Lifelong machine learning with deep streaming linear discriminant analysis.* CVPR Workshops 2020, arXiv
1909.01520. With class means mu_c, one covariance S of all classes, and shrinkage e,

    L = [(1 - e) S + e I]^-1,   logit_c = f L mu_c - mu_c L mu_c / 2.

S is the covariance within classes of all examples met, exactly: from sum f f^T and the classes' sums, it does not depend on order or
batches. (The paper's running update weighs early examples of a class a little differently.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.options import option
from strategies.frozen.statistics import WithProducts


@dataclass(frozen=True, kw_only=True)
class SldaConfig:
    """Options of `slda`.

    Attributes:
        shrinkage: share of the unit matrix in the covariance.
    """

    shrinkage: float = option(1e-4, above=0, high=1)


class Slda(WithProducts):
    """Streaming linear discriminant analysis."""

    Config = SldaConfig

    def covariance(self) -> Tensor:
        """The covariance within classes.

        Returns:
            [F, F].
        """
        means = self.means
        return (self.sums["products"] - means.T @ self.sums["sums"]) / self.sums["counts"].sum().clamp_min(1)

    def classifier(self) -> tuple[Tensor, Tensor]:
        """The discriminants.

        Returns:
            Weights [K, F] and biases [K].
        """
        means, share = self.means, self.config.shrinkage
        mixed = (1 - share) * self.covariance() + share * torch.eye(means.shape[1], dtype=means.dtype, device=means.device)
        weight = torch.linalg.solve(mixed, means.T).T
        return weight, -(weight * means).sum(1) / 2
