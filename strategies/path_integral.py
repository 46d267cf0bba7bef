"""The path integral of SI and ALASSO: how much each parameter's motion has lowered the loss of the experience that is being learned.

    w_k = - sum over steps of g_k * d_k

with g the gradient of the task's loss alone, taken before the step, and d what the optimiser, driven by the penalised loss, then did to the
parameter (momentum, weight decay and clipping act on d only).
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.flat import Flat


class PathIntegral:
    """The running integral w; kept for each parameter: one number, and two of work space.

    Args:
        flat: the parameters.

    Attributes:
        total: w.
    """

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self.total = flat.zeros()
        self._before = flat.zeros()
        self._gradients = flat.zeros()
        self._places: list[int] = []

    @torch.no_grad()
    def before_step(self) -> None:
        """Remember the parameters and the task's gradient; called before the penalty adds its own."""
        self._places = self.flat.in_play()
        torch._foreach_copy_(self._of(self._before.views), [self.flat.parameters[place] for place in self._places])
        torch._foreach_copy_(self._of(self._gradients.views), self.flat.gradients(self._places))

    @torch.no_grad()
    def after_step(self) -> None:
        """Add the step's share."""
        back = self._of(self._before.views)
        torch._foreach_sub_(back, [self.flat.parameters[place] for place in self._places])
        torch._foreach_addcmul_(self._of(self.total.views), self._of(self._gradients.views), back)

    def reset(self) -> None:
        """Start anew."""
        self.total.flat.zero_()

    def _of(self, views: list[Tensor]) -> list[Tensor]:
        return [views[place] for place in self._places]


def curvature(drop: Tensor, displacement: Tensor, xi: float) -> Tensor:
    """The curvature of a parabola that falls by `drop` over `displacement`, damped: drop / (displacement^2 + xi).

    Args:
        drop: by how much the loss fell.
        displacement: over which distance.
        xi: damping; with 0, what has not moved has curvature 0.

    Returns:
        A tensor of the same shape.

    Example:
        >>> curvature(torch.tensor([2.0, 0.0]), torch.tensor([0.5, 0.0]), 0.0).tolist()
        [8.0, 0.0]
    """
    damped = displacement**2 + xi
    return torch.where(damped > 0, drop / damped, 0.0)
