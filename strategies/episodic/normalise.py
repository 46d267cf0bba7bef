"""Episodic normalisation, from mean, variance and rsqrt: right to every order of differentiation, inside and outside of vmap.

Rows are [groups * B, C, ...]: consecutive rows form a group (an episode), and each group is normalised by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

Statistics = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class ByBatch:
    """Each group is normalised by its own batch.

    Attributes:
        eps: added to the variance.
        groups: consecutive groups of rows.
        rows: weight of each row in the statistics, [groups, B]; None where all count alike.
        recorded: mean and variance [groups, C] of every norm, filled as the network is applied.
    """

    eps: float
    groups: int = 1
    rows: Tensor | None = None
    recorded: Statistics = field(default_factory=list)

    def __call__(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise.

        Args:
            index: which norm layer; the layers come in order.
            x: [groups * B, C, ...].
            weight: [C].
            bias: [C].

        Returns:
            [groups * B, C, ...].
        """
        rows = x.unflatten(0, (self.groups, -1))
        others = [1, *range(3, rows.dim())]
        if self.rows is None:
            var, mean = torch.var_mean(rows, others, correction=0)
        else:
            share = (self.rows / self.rows.sum(1, keepdim=True))[(..., *[None] * (rows.dim() - 2))]
            places = rows[0, 0, 0].numel()
            mean = (rows * share).sum(others) / places
            var = ((rows - _spread(mean, rows)).square() * share).sum(others) / places
        self.recorded.append((mean, var))
        return _normalise(rows, mean, var, weight, bias, self.eps)


@dataclass(frozen=True, eq=False)
class ByGiven:
    """Normalised by statistics that are known already.

    Attributes:
        eps: added to the variance.
        statistics: mean and variance [groups, C] of every norm; one group stands for all.
    """

    eps: float
    statistics: Statistics

    def __call__(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise.

        Args:
            index: which norm layer.
            x: [groups * B, C, ...].
            weight: [C].
            bias: [C].

        Returns:
            [groups * B, C, ...].
        """
        mean, var = self.statistics[index]
        return _normalise(x.unflatten(0, (len(mean), -1)), mean, var, weight, bias, self.eps)


def _spread(per_channel: Tensor, rows: Tensor) -> Tensor:
    return per_channel[(slice(None), None, ..., *[None] * (rows.dim() - 3))]


def _normalise(rows: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale = weight * torch.rsqrt(var + eps)
    shift = bias - mean * scale
    return torch.addcmul(_spread(shift, rows), rows, _spread(scale, rows)).flatten(0, 1)
