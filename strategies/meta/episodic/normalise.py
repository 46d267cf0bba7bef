"""Episodic normalisation, right to every order of differentiation.

From mean, variance and rsqrt it is so inside and outside of vmap. PyTorch's own kernel is quicker, and right only outside of it.

Rows are [groups * B, C, ...]: consecutive rows form a group (an episode), and each group is normalised by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

Statistics = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class ByBatch:
    """Each group is normalised by its own batch.

    Attributes:
        eps: added to the variance.
        groups: consecutive groups of rows.
        rows: weight of each row in the statistics, [groups, B]; None where all count alike.
        native: use PyTorch's kernel, where nothing is padded; never inside vmap. Nothing is recorded then.
        recorded: mean and variance [groups, C] of every norm, filled as the network is applied.
    """

    eps: float
    groups: int = 1
    rows: Tensor | None = None
    native: bool = False
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
        if self.native and self.rows is None and x[:, 0].numel() > self.groups:
            return self._native(x, weight, bias)
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

    def _native(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.groups == 1:
            return functional.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        folded = x.unflatten(0, (self.groups, -1)).transpose(0, 1).flatten(1, 2)
        out = functional.batch_norm(folded, None, None, weight.repeat(self.groups), bias.repeat(self.groups), True, 0.0, self.eps)
        return out.unflatten(1, (self.groups, -1)).transpose(0, 1).flatten(0, 1)


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
