"""Disposals in weight space: away from the transferred network, not only from its answers.

Relearning attacks undo most approximate unlearning within a few steps, and what resists them best lies far from the original weights and
not on a straight path of low loss from them (a finding of the 2025 literature on relearning). `weight-distance` moves the trunk away from
the transferred one, `connectivity` raises the source's loss along the straight line between the two. Our own readings of that finding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from scenarios.experience import Batch
from strategies.disposal.disposal import Disposal
from strategies.disposal.outputs import HIGHEST

NUDGE = 0.01
"""Relative size of the first move: at the transferred weights themselves no direction leads away faster than another."""


class WeightDistance(Disposal):
    """Keep the target while the trunk moves away from the transferred one."""

    def begin(self) -> None:
        """Nudge the trunk off the transferred weights."""
        super().begin()
        if not self.gamma:
            return
        generator = self.generator("nudge")
        with torch.no_grad():
            for parameter in self.trunk:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(NUDGE * noise * parameter.norm() / noise.norm())

    def term(self, source: Batch) -> Tensor:
        """Minus the logarithm of the squared relative distance; the source's examples are not needed.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        assert self.transferred is not None
        pairs = list(zip(self.trunk, self.transferred.backbone.parameters()))
        moved = torch.stack([(parameter - before).square().sum() for parameter, before in pairs]).sum()
        size = torch.stack([before.square().sum() for _, before in pairs]).sum()
        return -(moved / size).log()


class Connectivity(Disposal):
    """Raise the source's loss along the line to the transferred network."""

    def term(self, source: Batch) -> Tensor:
        """Minus the clamped cross-entropy at a random place of the line, through the old head.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        assert self.transferred is not None
        share = float(torch.rand((), generator=self.generator("place on the line")))
        before = dict(self.transferred.backbone.named_parameters())
        between = {name: before[name] + share * (now - before[name]) for name, now in self.network.backbone.named_parameters()}
        features = functional_call(self.network.backbone, between, (source.x,))
        # Only the trunk has to give way: a head could raise the loss by itself.
        head = self.source_head
        logits = functional.linear(features, head.weight.detach(), head.bias.detach())
        return -functional.cross_entropy(logits, source.y - self.source.outputs.start).clamp(max=HIGHEST)
