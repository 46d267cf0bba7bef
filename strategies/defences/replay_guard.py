"""`replay-guard`: each step also follows the loss on a few trusted examples of earlier experiences.

Experience replay (Rolnick et al. 2019; Chaudhry et al. 2019, arXiv 1902.10486) with as little memory as a learner can be asked to keep, put
beside any strategy: what a memory-free learner cannot see, that an old experience is being damaged, these examples show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from scenarios.experience import Batch
from scenarios.options import option
from strategies.defences.memory import Guarded, MemoryConfig


@dataclass(frozen=True, kw_only=True)
class ReplayGuardConfig(MemoryConfig):
    """Options of `replay-guard`.

    Attributes:
        weight: of the trusted loss beside the new one's.
    """

    weight: float = option(1.0, low=0)


class ReplayGuard(Guarded):
    """Adds the trusted loss's gradient."""

    Config = ReplayGuardConfig

    def constrain(self, batch: Batch, parameters: Sequence[Parameter], generator: torch.Generator) -> None:
        """Add the gradient of the trusted loss.

        Args:
            batch: not looked at.
            parameters: what the step moves.
            generator: of this step.
        """
        trusted = self.trusted_gradients(parameters, generator) or [None] * len(parameters)
        for parameter, gradient in zip(parameters, trusted):
            if gradient is not None:
                added = self.config.weight * gradient
                parameter.grad = added if parameter.grad is None else parameter.grad + added

    def shaped(self, gradients: Sequence[Tensor], trusted: Sequence[Tensor] | None) -> list[Tensor]:
        """The sum of both gradients.

        Args:
            gradients: of the new experience's loss.
            trusted: of the trusted loss, or None.

        Returns:
            As many gradients.
        """
        if trusted is None:
            return list(gradients)
        return [gradient + self.config.weight * other for gradient, other in zip(gradients, trusted)]
