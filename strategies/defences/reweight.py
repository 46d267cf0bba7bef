"""`reweight`: each example of a batch counts by how much following it helps the trusted examples.

Ren et al., *Learning to Reweight Examples for Robust Deep Learning* (ICML 2018, arXiv 1803.09050): the weights come from one gradient step
on the loss of trusted data after a virtual step, from weights 0. That gradient is, exactly,

    w_i = max(0, <g_i, g_trusted>) / sum_j max(0, <g_j, g_trusted>),

with g_i the gradient of example i; no gradient of a single example is ever formed. The learner's own loss is corrected by the difference
of weighted and plain cross-entropy, so that what it has beside it (distillation) stays.

On a learner's first experience nothing is trusted yet, and nothing is weighed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from scenarios.experience import Batch
from strategies.defences.memory import Aligned
from strategies.defences.per_example import alignments, losses


class Reweight(Aligned):
    """Weighs examples by their agreement with the trusted gradient."""

    def constrain(self, batch: Batch, parameters: Sequence[Parameter], generator: torch.Generator) -> None:
        """Put weighted cross-entropy in the place of the plain one.

        Args:
            batch: what the gradient is of.
            parameters: what the step moves.
            generator: of this step.
        """
        trusted = self.trusted_gradients(parameters, generator)
        if trusted is None:
            return
        found = losses(self.strategy, batch)
        weights = self.weights(found, parameters, trusted)
        correction = ((weights - 1 / len(weights)) * found).sum()
        reached = [parameter for parameter in parameters if parameter.grad is not None]
        for parameter, change in zip(reached, torch.autograd.grad(correction, reached, allow_unused=True)):
            if change is not None:
                assert parameter.grad is not None
                parameter.grad = parameter.grad + change

    def weights(self, found: Tensor, parameters: Sequence[Parameter], trusted: Sequence[Tensor | None]) -> Tensor:
        """Weigh a batch.

        Args:
            found: [B], the examples' losses, with their graph.
            parameters: of the network.
            trusted: the trusted gradient by each of them.

        Returns:
            [B], not negative, summing to 1; all 0 where no example helps.
        """
        useful = alignments(found, parameters, trusted).clamp_min(0)
        return functional.normalize(useful, p=1, dim=0)
