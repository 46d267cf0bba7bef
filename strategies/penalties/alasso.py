"""ALASSO: an asymmetric quadratic penalty that over-estimates the loss on the side where nothing was measured.

D. Park, S. Hong, B. Han, K. M. Lee, "Continual Learning by Asymmetric Loss Approximation with Single-Side Overestimation", ICCV 2019. With
x = theta - centre and r the direction in which the parameter last came to the centre, the surrogate of all past experiences is

    s(theta; a, eps) = importance * x^2               where x r < 0: the side that the parameter came from, along which the loss was seen
                     = (a importance + eps) * x^2     where x r > 0: the side beyond, over-estimated by a > 1
    penalty = strength * sum s(theta; a, eps)

At the end of an experience the importance is fitted anew, so that one parabola on the observed side accounts for the new loss and for
the old surrogate together. The path integral w is the drop of the new loss (as in SI), S = s(theta; a', eps') the rise of the old surrogate
with parameters a', eps', c' of their own (the over-estimate is meant for training, not for this sum), D the displacement:

    candidate  <- (w - c' S) / (D^2 + xi)
    importance <- max(omega_smoothing * candidate + (1 - omega_smoothing) * importance, importance)
    direction  <- sign of D, centre <- theta

It differs from the authors' code in three corners where that code keeps sign and size of the importance in one tensor: the direction is a
tensor of its own, so it survives an importance of 0; it stays where a parameter did not move; and the first experience has no penalty
(`penalise_first_task` brings back theirs). Step by step, from the same weights and batches, all else is theirs but Adam's epsilon, which
their Keras adds to the second moment before its bias is corrected. The derivation of the update is inferred from their code.

Their published margin over SI (0.944 against 0.752) depends on SI's strength, which they do not give: SI at a tenth of ALASSO's c forgets
as their SI does, and at the same c it holds as much as ALASSO or more (recipe permuted-mnist-alasso-margin), for it adds importances up
where ALASSO fits them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.options import option
from strategies.networks.network import Network
from strategies.penalties.flat import Flat
from strategies.penalties.path_integral import PathIntegral, curvature
from strategies.penalties.penalty import Penalty, PenaltyStrategy
from strategies.penalties.strength import Scale, Strength

DEFAULT = (0.01, 1.0)
"""Strength unless given, in the conventions `mean` and `published`."""


@dataclass(frozen=True, kw_only=True)
class AlassoConfig:
    """Options of `alasso`.

    Attributes:
        strength: c, the weight of the penalty in training; 0.01 (scale mean) or 1 (published) unless given.
        scale: what importances are measured in while training: mean, divided by their mean, or published, as they are; unless given,
            mean where no strength is given and published where one is.
        a: over-estimation of the unobserved side in training; 1 for none.
        eps: what is added to the importance on the unobserved side in training.
        strength_update: c', the weight of the old surrogate when the importance is fitted anew.
        a_update: a' of that surrogate.
        eps_update: eps' of that surrogate.
        xi: damping of the importance of parameters that hardly moved.
        omega_smoothing: share of the newly fitted importance.
        penalise_first_task: apply eps below the initial weights while the first experience is learned, as the authors' code happens to.
    """

    strength: float | None = option(None, low=0)
    scale: Scale | None = None
    a: float = option(1.8, low=0)
    eps: float = option(1e-6, low=0)
    strength_update: float = 1.0
    a_update: float = option(1.0, low=0)
    eps_update: float = option(0.0, low=0)
    xi: float = option(0.1, low=0)
    omega_smoothing: float = option(1.0, low=0, high=1)
    penalise_first_task: bool = False


class AlassoPenalty(Penalty):
    """The penalty of ALASSO; kept for each parameter: importance, centre, path integral, and a byte for the direction.

    The coefficient of x^2 is one number above the centre, another below it: the importance and its over-estimate. The gradient is computed
    without branches as 2 strength (mean x + half |x|), with half their sum and half their difference (above minus below), which are two
    numbers of work space.

    Args:
        flat: the parameters.
        config: the options.
    """

    def __init__(self, flat: Flat, config: AlassoConfig) -> None:
        self.flat = flat
        self.config = config
        self.importance = flat.zeros()
        self.centre = flat.zeros()
        self.path = PathIntegral(flat, self.centre)
        first = -1 if config.penalise_first_task else 1
        self.direction = torch.full_like(self.importance.flat, first, dtype=torch.int8)
        self.experiences = 0
        self.strength = Strength.of(config, *DEFAULT)
        self._mean, self._half = flat.zeros(), flat.zeros()
        self._fix_sides()

    @property
    def _asleep(self) -> bool:
        return self.strength.value == 0 or (self.experiences == 0 and not self.config.penalise_first_task)

    @property
    def meant_to_act(self) -> bool:
        """Whether there is an experience to keep, and a strength that is not 0."""
        return self.strength.value > 0 and self.experiences > 0

    def before_experience(self, model: Network) -> None:
        """Begin the path at the present parameters, which before the first experience are the centre.

        Args:
            model: the network.
        """
        if self.experiences == 0:
            self.centre.flat.copy_(self.flat.read())
        self.path.begin()

    def add_gradient_(self) -> None:
        """Keep the task's gradient, then add the penalty's."""
        places = self.path.before_step()
        if self._asleep:
            return
        scale = 2 * self.factor
        gradients = self.path.penalise(self._mean, scale)
        sizes = [torch.abs(self.path.displacement[place], out=self.path.spare[place]) for place in places]
        torch._foreach_addcmul_(gradients, [self._half.views[place] for place in places], sizes, value=scale)

    def after_step(self) -> None:
        """Add the step to the path."""
        self.path.after_step()

    def after_experience(self) -> None:
        """Fit the importance anew, then move the centre and turn the direction."""
        config = self.config
        now = self.flat.read()
        displacement = now - self.centre.flat
        old = config.strength_update * self._surrogate(displacement, config.a_update, config.eps_update)
        candidate = curvature(self.path.total.flat - old, displacement, config.xi)
        mixed = config.omega_smoothing * candidate + (1 - config.omega_smoothing) * self.importance.flat
        self.importance.flat.copy_(torch.maximum(mixed, self.importance.flat))
        self.direction.copy_(torch.where(displacement == 0, self.direction, displacement.sign()))
        self.centre.flat.copy_(now)
        self.experiences += 1
        self._fix_sides()

    def _surrogate(self, x: Tensor, a: float, eps: float) -> Tensor:
        unobserved = x * self.direction > 0
        return torch.where(unobserved, a * self.importance.flat + eps, self.importance.flat) * x**2

    def _fix_sides(self) -> None:
        self.factor = self.strength.factor(self.importance.flat, self.experiences)
        over = self.config.a * self.importance.flat + self.config.eps
        torch.add(over, self.importance.flat, out=self._mean.flat).mul_(0.5)
        torch.sub(over, self.importance.flat, out=self._half.flat).mul_(self.direction).mul_(0.5)

    def value(self) -> Tensor:
        """The penalty at the present parameters.

        Returns:
            A scalar.
        """
        moved = self.flat.read() - self.centre.flat
        if self._asleep:
            return moved.new_zeros(())
        return self.factor * self._surrogate(moved, self.config.a, self.config.eps).sum()

    def state_dict(self) -> dict[str, Any]:
        """The surrogate and the path so far.

        Returns:
            Tensors and the number of experiences that have been consolidated.
        """
        return {
            "importance": self.importance.flat,
            "centre": self.centre.flat,
            "direction": self.direction,
            "path": self.path.total.flat,
            "experiences": self.experiences,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.importance.flat.copy_(state["importance"])
        self.centre.flat.copy_(state["centre"])
        self.direction.copy_(state["direction"])
        self.path.total.flat.copy_(state["path"])
        self.experiences = state["experiences"]
        self.path.refresh()
        self._fix_sides()

    def report(self) -> dict[str, Any]:
        """The convention of the strength.

        Returns:
            Names to plain values.
        """
        return {"penalty": "strength * sum(surrogate), without a factor 1/2", **self.strength.report()}


class Alasso(PenaltyStrategy):
    """Asymmetric loss approximation with single-side over-estimation."""

    Config = AlassoConfig

    def build_penalty(self) -> Penalty:
        """Make the penalty.

        Returns:
            The penalty of ALASSO.
        """
        return AlassoPenalty(Flat(self.network.parameters()), self.config)
