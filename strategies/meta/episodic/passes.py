"""The passes of an episode through a network, in each of the four batch-norm modes.

`transductive`: every pass is normalised by its own batch, queries jointly. `support`: queries by the support set's statistics.
`per-example`: each query together with the support set alone. `running`: by moving averages (in training: by the pass's own batch, which
then moves the averages).

The same code serves one task and, with `groups` tasks laid out one after another in the rows, a whole meta-batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from strategies.meta.episodic.network import Normalise
from strategies.meta.episodic.normalise import ByBatch, ByGiven, Statistics

BnMode = Literal["transductive", "support", "running", "per-example"]
Forward = Callable[[Tensor, Normalise], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Passes:
    """An episode's images and how their passes are normalised.

    Attributes:
        mode: the batch-norm mode.
        eps: added to variances.
        support_x: [groups * S, ...].
        query_x: [groups * Q, ...].
        support_rows: float [groups, S], 0 for padding; None where nothing is padded.
        query_rows: float [groups, Q], likewise.
        groups: tasks in the rows.
        running: the moving averages, where passes are normalised by them.
        native: use PyTorch's own batch norm where it serves; never inside vmap.
        recorded: statistics of the last pass of queries, alone or with the support set, by its own batch.
    """

    mode: BnMode
    eps: float
    support_x: Tensor
    query_x: Tensor
    support_rows: Tensor | None = None
    query_rows: Tensor | None = None
    groups: int = 1
    running: Statistics | None = None
    native: bool = False
    recorded: Statistics = field(default_factory=list)

    def support(self, forward: Forward) -> Tensor:
        """Pass the support set through.

        Args:
            forward: applies the network.

        Returns:
            [groups * S, ...].
        """
        if self.running is not None:
            return forward(self.support_x, ByGiven(self.eps, self.running))
        return forward(self.support_x, ByBatch(self.eps, self.groups, self.support_rows, self.native))

    def query(self, forward: Forward) -> Tensor:
        """Pass the queries through.

        Args:
            forward: applies the network.

        Returns:
            [groups * Q, ...].
        """
        if self.running is not None:
            return forward(self.query_x, ByGiven(self.eps, self.running))
        if self.mode == "support":
            support = ByBatch(self.eps, self.groups, self.support_rows)
            forward(self.support_x, support)
            return forward(self.query_x, ByGiven(self.eps, support.recorded))
        if self.mode == "per-example":
            return self._query_one_by_one(forward)
        normalise = ByBatch(self.eps, self.groups, self.query_rows, self.native and self.mode != "running")
        out = forward(self.query_x, normalise)
        self.recorded[:] = normalise.recorded
        return out

    def both(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """Pass support and queries through as one batch.

        Args:
            forward: applies the network.

        Returns:
            [groups * S, ...] and [groups * Q, ...].
        """
        support, query = self.support_x.unflatten(0, (self.groups, -1)), self.query_x.unflatten(0, (self.groups, -1))
        rows = self._join(self.support_rows, self.query_rows, support.shape[1], query.shape[1])
        own = ByBatch(self.eps, self.groups, rows, self.native and self.mode != "running")
        normalise: Normalise = own if self.running is None else ByGiven(self.eps, self.running)
        out = forward(torch.cat([support, query], 1).flatten(0, 1), normalise).unflatten(0, (self.groups, -1))
        self.recorded[:] = own.recorded
        return out[:, : support.shape[1]].flatten(0, 1), out[:, support.shape[1] :].flatten(0, 1)

    def _query_one_by_one(self, forward: Forward) -> Tensor:
        support, query = self.support_x.unflatten(0, (self.groups, -1)), self.query_x.unflatten(0, (self.groups, -1))
        num_query = query.shape[1]
        x = torch.cat([support[:, None].expand(-1, num_query, *support.shape[1:]), query[:, :, None]], 2)
        rows = None
        if self.support_rows is not None:
            rows = torch.nn.functional.pad(self.support_rows, (0, 1), value=1.0).repeat_interleave(num_query, 0)
        out = forward(x.flatten(0, 2), ByBatch(self.eps, self.groups * num_query, rows, self.native))
        return out.unflatten(0, (self.groups * num_query, -1))[:, -1]

    def _join(self, support: Tensor | None, query: Tensor | None, num_support: int, num_query: int) -> Tensor | None:
        if support is None and query is None:
            return None
        first = support if support is not None else self.support_x.new_ones(self.groups, num_support)
        second = query if query is not None else self.support_x.new_ones(self.groups, num_query)
        return torch.cat([first, second], 1)
