"""The diagonal of the Fisher information, in the four forms that go by this name.

With p the network's softmax over the outputs in play, in evaluation mode, and the mean over the examples n of the measuring pass,

    exact       mean_n sum_c p_nc (d log p_nc / d theta)^2        the expectation over labels in closed form
    sampled     mean_n (d log p_ny / d theta)^2, y drawn from p_n     unbiased for it
    empirical   mean_n (d log p_ny / d theta)^2, y the true label     smaller where the network is right
    batch       mean_b (mean_{n in b} d log p_ny / d theta)^2, y true     the square of the batch's gradient: depends on the batch size

`exact` needs one backward pass for each output in play; none of them loops over examples.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from scenarios.random import Randomness
from strategies.networks.network import InPlay, Network, narrowed, renumbered
from strategies.penalties.curvature.per_example import known_layers, per_example, taps
from strategies.penalties.flat import Flat

Estimator = Literal["exact", "sampled", "empirical", "batch"]


class DiagonalFisher:
    """A running mean over batches; buffers and weights of the network are left untouched.

    Args:
        network: whose Fisher; put into evaluation mode by `observe`.
        flat: its parameters.
        estimator: which form.
        randomness: where the labels of `sampled` come from; each batch of the run has its own.
    """

    def __init__(self, network: Network, flat: Flat, estimator: Estimator, randomness: Randomness) -> None:
        self.network = network
        self.flat = flat
        self.estimator = estimator
        self.randomness = randomness
        self._sum = flat.zeros()
        self._views = dict(zip(list[Tensor](flat.parameters), self._sum.views))
        self._count = 0
        self._batches = 0
        if estimator != "batch":
            known_layers(network)

    def reset(self) -> None:
        """Start anew."""
        self._sum.flat.zero_()
        self._count = 0

    def observe(self, x: Tensor, y: Tensor, outputs: InPlay) -> None:
        """Add a batch.

        Args:
            x: float [B, C, H, W], normalised.
            y: int64 [B], the outputs that are right (looked at by `empirical` and `batch`).
            outputs: the outputs in play.
        """
        self.network.eval()
        if self.estimator == "batch":
            self._add_batch(x, y, outputs)
            self._count += 1
        else:
            self._add_examples(x, y, outputs)
            self._count += len(x)
        self._batches += 1

    def mean(self) -> Tensor:
        """The estimate so far.

        Returns:
            [P], not negative.
        """
        return self._sum.flat / max(1, self._count)

    def _add_batch(self, x: Tensor, y: Tensor, outputs: InPlay) -> None:
        loss = nn.functional.cross_entropy(self.network(x, outputs), y)
        gradients = torch.autograd.grad(loss, self.flat.parameters, allow_unused=True)
        for parameter, gradient in zip(self.flat.parameters, gradients):
            if gradient is not None:
                self._views[parameter].addcmul_(gradient, gradient)

    def _add_examples(self, x: Tensor, y: Tensor, outputs: InPlay) -> None:
        with taps(self.network) as noted:
            logits = self.network(x, outputs)
        for scalar in self._scalars(narrowed(logits, outputs).log_softmax(1), renumbered(y, outputs)):
            for parameter, squares in per_example(scalar, noted, torch.square):
                if parameter in self._views:
                    self._views[parameter].add_(squares)

    def _scalars(self, log_p: Tensor, y: Tensor) -> list[Tensor]:
        if self.estimator == "exact":
            return list((log_p.detach().mul(0.5).exp() * log_p).sum(0))
        if self.estimator == "sampled":
            generator = self.randomness.generator("fisher labels", self._batches)
            draw = torch.rand(len(y), 1, generator=generator, dtype=torch.float64).to(y.device)
            below = log_p.detach().double().exp().cumsum(1) < draw
            y = below.sum(1).clamp(max=log_p.shape[1] - 1)
        return [log_p.gather(1, y[:, None]).sum()]

    def state_dict(self) -> dict[str, Any]:
        """The sum so far.

        Returns:
            A tensor and two counts.
        """
        return {"sum": self._sum.flat, "count": self._count, "batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self._sum.flat.copy_(state["sum"])
        self._count, self._batches = state["count"], state["batches"]
