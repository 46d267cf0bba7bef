"""Masked soft k-means: each class lets in what is near enough (Ren et al., ICLR 2018, arXiv 1803.00676).

    d_jc = |h(x_j) - p_c|^2 / mean_j |h(x_j) - p_c|^2
    log beta_c, log gamma_c = MLP(min, max, variance, skewness, excess kurtosis over j of d_jc),   5 -> 20 tanh -> 2
    m_jc = sigmoid(-gamma_c (d_jc - beta_c)),    z_jc m_jc takes the place of z_jc

As in the authors' code the statistics are constants for the gradient, and threshold and slope are exponentials; unlike it we apply the mask
once, as the paper does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from strategies.meta.protonet_soft import ProtoNetSoft, SoftConfig


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(SoftConfig):
    """Options of `protonet-masked`.

    Attributes:
        detach_assignments: take the masked assignments as constants for the gradient; the mask is then not learned.
    """

    detach_assignments: bool = False


class ProtoNetMasked(ProtoNetSoft):
    """Prototypes refined by masked soft k-means."""

    Config = MaskedConfig

    def build_parts(self) -> nn.ModuleDict:
        """The network that sets threshold and slope.

        Returns:
            The network, by name.
        """
        return nn.ModuleDict({"mask": nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 2))})

    def assign(self, distances: Tensor, unlabelled: Tensor) -> Tensor:
        """How much of each unlabelled embedding each class takes.

        Args:
            distances: [E, U, N], squared, to the prototypes.
            unlabelled: [E, U, F].

        Returns:
            [E, U, N].
        """
        return torch.softmax(-distances, -1) * self.mask(distances)

    def mask(self, distances: Tensor) -> Tensor:
        """Which unlabelled embeddings a class lets in.

        Args:
            distances: [E, U, N], squared, to the prototypes.

        Returns:
            [E, U, N], between 0 and 1.
        """
        relative = relative_distances(distances)
        beta, gamma = self.parts["mask"](moments(relative.detach())).exp().unbind(-1)
        return torch.sigmoid(-gamma[:, None] * (relative - beta[:, None]))


def relative_distances(distances: Tensor) -> Tensor:
    """Distances over their mean for each class.

    Args:
        distances: [E, U, N].

    Returns:
        [E, U, N], of mean 1 over U.

    Example:
        >>> relative_distances(torch.tensor([[[1.0], [3.0]]])).flatten().tolist()
        [0.5, 1.5]
    """
    return distances / distances.mean(1, keepdim=True).clamp_min(torch.finfo(distances.dtype).tiny)


def moments(values: Tensor) -> Tensor:
    """Minimum, maximum, variance, skewness and excess kurtosis.

    Args:
        values: [E, U, N].

    Returns:
        [E, N, 5]; skewness and kurtosis 0 where all values agree.
    """
    centred = values - values.mean(1, keepdim=True)
    variance = centred.square().mean(1)
    scale = variance.clamp_min(1e-12)
    skewness, kurtosis = centred.pow(3).mean(1) / scale.pow(1.5), centred.pow(4).mean(1) / scale.square() - 3 * (variance > 1e-12)
    return torch.stack([values.amin(1), values.amax(1), variance, skewness, kurtosis], -1)
