"""Nearest class mean on frozen features (Mensink et al., *Distance-based image classification*, IEEE TPAMI 2013).

An image belongs to the class whose mean feature is nearest: argmin_c |f - mu_c|^2 = argmax_c 2 f mu_c - |mu_c|^2, or, with metric=cosine,
to that whose direction it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from strategies.frozen.statistics import FrozenFeatures


@dataclass(frozen=True, kw_only=True)
class NcmConfig:
    """Options of `ncm`.

    Attributes:
        metric: euclidean; or cosine, of features at length 1 and the direction of their mean.
    """

    metric: Literal["euclidean", "cosine"] = "euclidean"


class Ncm(FrozenFeatures):
    """Nearest class mean."""

    Config = NcmConfig

    def seen(self, x: Tensor) -> Tensor:
        """What the classifier sees of images.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            float64 [B, F].
        """
        features = super().seen(x)
        return functional.normalize(features) if self.config.metric == "cosine" else features

    def classifier(self) -> tuple[Tensor, Tensor]:
        """The linear form of the distances.

        Returns:
            Weights [K, F] and biases [K].
        """
        means = self.means
        if self.config.metric == "cosine":
            return functional.normalize(means), torch.zeros_like(means[:, 0])
        return 2 * means, -means.square().sum(1)
