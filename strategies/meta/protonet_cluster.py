"""Soft k-means with a further cluster for distractors (Ren et al., ICLR 2018, arXiv 1803.00676).

    z_jc = softmax over N + 1 clusters of -|h(x_j) - p_c|^2 / r_c^2 - log r_c,   p_{N+1} = 0, r_1..N = 1, r_{N+1} learned (as its logarithm)

What falls to the further cluster is taken from the classes; queries are answered among the N classes. This is the paper's form: the
authors' code halves the distances, moves the further cluster like the others, and lets a query fall to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenarios.options import option
from strategies.meta.protonet_soft import ProtoNetSoft, SoftConfig


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(SoftConfig):
    """Options of `protonet-cluster`.

    Attributes:
        detach_assignments: take the soft assignments as constants for the gradient; the radius is then not learned.
        radius: of the distractors' cluster, where it begins.
    """

    detach_assignments: bool = False
    radius: float = option(100.0, low=1e-3)


class ProtoNetCluster(ProtoNetSoft):
    """Prototypes refined by soft k-means beside a cluster of distractors."""

    Config = ClusterConfig
    config: ClusterConfig

    def build_parts(self) -> nn.ModuleDict:
        """The learned radius.

        Returns:
            Its logarithm, as a list of one.
        """
        return nn.ModuleDict({"log_radius": nn.ParameterList([torch.tensor(math.log(self.config.radius))])})

    def assign(self, distances: Tensor, unlabelled: Tensor) -> Tensor:
        """How much of each unlabelled embedding each class takes.

        Args:
            distances: [E, U, N], squared, to the prototypes.
            unlabelled: [E, U, F].

        Returns:
            [E, U, N]; what is missing to 1 belongs to the distractors.
        """
        log_radius: Tensor = self.parts["log_radius"][0]  # type: ignore[index]
        further = -unlabelled.square().sum(-1, keepdim=True) * torch.exp(-2 * log_radius) - log_radius
        return torch.softmax(torch.cat([-distances, further], -1), -1)[..., :-1]
