"""The pass that measures Kronecker factors: forward in training mode, labels drawn from the network's own softmax, one joint backward.

The derivatives are those of the batch's *summed* loss, so that what one example's output does to another's loss through a batch norm is in
them. Labels are drawn anew for each batch; true labels would give a mean derivative that is not 0, and with it pairs that are not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from strategies.networks.network import InPlay, Network, narrowed, renumbered
from strategies.penalties.curvature.factors import Form, LayerSums
from strategies.penalties.curvature.kronecker import Kronecker
from strategies.penalties.curvature.merge import MergedLayer, batch_statistics
from strategies.penalties.curvature.taps import Tap, Taps, input_rows, output_rows


@dataclass(frozen=True, kw_only=True)
class FactorConfig:
    """How factors are measured.

    Attributes:
        tap: where the derivative is taken.
        linear: the form of linear layers.
        conv: the form of convolutional layers.
        gate: whether layers with no norm in training mode behind them keep the form `plain`.
        mean_pairs: whether A_1 is taken for m m^T (form `virtual` alone).
        draws: how often labels are drawn for each batch.
    """

    tap: Tap = "post_bn"
    linear: Form = "plain"
    conv: Form = "plain"
    gate: bool = True
    mean_pairs: bool = False
    draws: int = 1


class FactorPass:
    """A pass that only measures: weights and running statistics are left as they are.

    Args:
        network: whose curvature.
        layers: which layers.
        config: how.
    """

    def __init__(self, network: Network, layers: Sequence[MergedLayer], config: FactorConfig) -> None:
        self.network = network
        self.layers = {layer.name: layer for layer in layers}
        self.config = config
        self.sums: dict[str, LayerSums] = {}
        self.loss_sum: Tensor | None = None
        self.batches = 0

    def reset(self) -> None:
        """Start anew."""
        self.sums, self.loss_sum, self.batches = {}, None, 0

    def observe(self, x: Tensor, y: Tensor, outputs: InPlay, generator: torch.Generator, *, coupled: bool) -> None:
        """Add a batch.

        Args:
            x: float [N, C, H, W], normalised.
            y: int64 [N], the outputs that are right; only for the loss, the labels of the curvature are drawn.
            outputs: the outputs in play.
            generator: where the labels come from (on the CPU).
            coupled: whether norms normalise by the batch; if not, by their running statistics.

        Raises:
            UserError: the batch is too small to have pairs.
        """
        if len(x) < 2:
            raise UserError("curvature with batch norm needs batches of at least 2 examples; raise train.batch_size")
        if not coupled:
            self.network.eval()
        with batch_statistics(self.network) if coupled else nullcontext(), Taps(list(self.layers.values()), self.config.tap) as taps:
            logits = self.network(x, outputs)
        if not self.sums:
            self._choose_forms(taps)
        log_p = narrowed(logits, outputs).log_softmax(1)
        drawn = [taps.derivatives(-log_p.gather(1, labels).sum()) for labels in self._draw(log_p.detach(), generator)]
        for name, sums in self.sums.items():
            layer = self.layers[name]
            derivatives = torch.stack([output_rows(layer, each[name]) for each in drawn])
            sums.add(input_rows(layer, taps.inputs[name]), derivatives, 1 / len(drawn))
        loss = nn.functional.nll_loss(log_p.detach(), renumbered(y, outputs))
        self.loss_sum = loss if self.loss_sum is None else self.loss_sum + loss
        self.batches += 1

    def _draw(self, log_p: Tensor, generator: torch.Generator) -> list[Tensor]:
        below = log_p.double().exp().cumsum(1)
        uniform = torch.rand(self.config.draws, len(log_p), 1, generator=generator, dtype=torch.float64).to(log_p.device)
        return list((below < uniform).sum(2, keepdim=True).clamp(max=log_p.shape[1] - 1))

    def _choose_forms(self, taps: Taps) -> None:
        coupled = taps.coupled() if self.config.gate else set(taps.outputs)
        for name in taps.outputs:
            form = self.config.conv if isinstance(self.layers[name].layer, nn.Conv2d) else self.config.linear
            self.sums[name] = LayerSums(form if name in coupled else "plain")

    def curvature(self) -> dict[str, Kronecker]:
        """What has been measured.

        Returns:
            By layer; layers that were not in play are absent.
        """
        return {name: sums.curvature(self.config.mean_pairs) for name, sums in self.sums.items()}

    def loss(self) -> Tensor:
        """The mean loss of the batches.

        Returns:
            A scalar.
        """
        assert self.loss_sum is not None
        return self.loss_sum / self.batches

    def pair_shares(self) -> dict[str, float]:
        """How much pairs of examples weigh, by layer.

        Returns:
            `LayerSums.pair_share` where there is one.
        """
        shares = {name: sums.pair_share() for name, sums in self.sums.items()}
        return {name: share for name, share in shares.items() if share is not None}

    def state_dict(self) -> dict[str, Any]:
        """The sums so far.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {"loss_sum": self.loss_sum, "batches": self.batches, "sums": {name: vars(sums).copy() for name, sums in self.sums.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.reset()
        device = next(self.network.parameters()).device

        def placed(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        self.loss_sum, self.batches = placed(state["loss_sum"]), state["batches"]
        for name, values in state["sums"].items():
            self.sums[name] = LayerSums(values["form"])
            vars(self.sums[name]).update({key: placed(value) for key, value in values.items()})
