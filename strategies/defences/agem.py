"""`agem`: a step may not raise the loss on trusted examples, to first order.

Chaudhry et al., *Efficient Lifelong Learning with A-GEM* (ICLR 2019, arXiv 1812.00420): with g the new gradient and m that of the memory,

    g <- g - (<g, m> / |m|^2) m   where <g, m> < 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from scenarios.experience import Batch
from strategies.defences.memory import Guarded
from strategies.projection import project


class Agem(Guarded):
    """Projects the gradient away from what the trusted loss forbids."""

    def constrain(self, batch: Batch, parameters: Sequence[Parameter], generator: torch.Generator) -> None:
        """Project the gradient, where it points against the trusted one.

        Args:
            batch: not looked at.
            parameters: what the step moves; what has no gradient keeps none.
            generator: of this step.
        """
        found = self.trusted_gradients(parameters, generator)
        if found is None:
            return
        both = [(p, p.grad, m) for p, m in zip(parameters, found) if p.grad is not None and m is not None]
        projected = project([gradient for _, gradient, _ in both], [other for _, _, other in both])
        for (parameter, _, _), gradient in zip(both, projected):
            parameter.grad = gradient

    def shaped(self, gradients: Sequence[Tensor], trusted: Sequence[Tensor] | None) -> list[Tensor]:
        """The projected gradient.

        Args:
            gradients: of the new experience's loss.
            trusted: of the trusted loss, or None.

        Returns:
            As many gradients.
        """
        return list(gradients) if trusted is None else project(gradients, trusted)
