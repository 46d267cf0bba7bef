"""The path integral of SI and ALASSO: how much each parameter's motion has lowered the loss of the experience that is being learned.

    w_k = - sum over steps of g_k * d_k

with g the gradient of the task's loss alone, taken before the step, and d what the optimiser, driven by the penalised loss, then did to
the parameter (momentum, weight decay and clipping act on d only).

The distance x from where the path began serves twice: its change is d, and the penalties, whose centre is there, need it for their
gradient. It is computed once a step. The task's gradients are not copied either: they are kept, and the penalised ones take their place in
`.grad`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.penalties.flat import Flat, Vector


class PathIntegral:
    """The running integral w; kept for each parameter: one number, and three of work space.

    Args:
        flat: the parameters.
        start: where the path begins: the penalty's centre, which stays where it is while an experience is learned.

    Attributes:
        total: w.
        displacement: x, shaped like the parameters.
        spare: work space of the same shapes, free between steps.
    """

    def __init__(self, flat: Flat, start: Vector) -> None:
        self.flat = flat
        self.start = start
        self.total = flat.zeros()
        self.displacement = flat.zeros().views
        self.spare = flat.zeros().views
        self._penalised = flat.zeros().views
        self._places: list[int] = []
        self._gradients: list[Tensor] = []

    def begin(self) -> None:
        """Begin a new path."""
        self.total.flat.zero_()
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Compute the displacement anew, after the parameters have been set from outside."""
        for parameter, start, x in zip(self.flat.parameters, self.start.views, self.displacement):
            torch.sub(parameter, start, out=x)

    def before_step(self) -> list[int]:
        """Keep the task's gradients; called before the penalty adds its own.

        Returns:
            The places of the parameters in play.
        """
        self._places = self.flat.in_play()
        self._gradients = self.flat.gradients(self._places)
        return self._places

    @torch.no_grad()
    def penalise(self, coefficient: Vector, scale: float) -> list[Tensor]:
        """Put task gradient + scale * coefficient * x into `.grad` of the parameters in play.

        Args:
            coefficient: by parameter.
            scale: of all.

        Returns:
            The new gradients.
        """
        penalised = [self._penalised[place] for place in self._places]
        for place, gradient, out in zip(self._places, self._gradients, penalised):
            assert gradient.data_ptr() != out.data_ptr(), "gradients have to be set to None before each backward pass"
            torch.addcmul(gradient, coefficient.views[place], self.displacement[place], value=scale, out=out)
            self.flat.parameters[place].grad = out
        return penalised

    @torch.no_grad()
    def after_step(self) -> None:
        """Add the step's share."""
        for place, gradient in zip(self._places, self._gradients):
            before, now = self.displacement[place], self.spare[place]
            torch.sub(self.flat.parameters[place], self.start.views[place], out=now)
            self.total.views[place].addcmul_(gradient, before.sub_(now))
            self.displacement[place], self.spare[place] = now, before
        self._gradients = []


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
