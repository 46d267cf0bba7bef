"""Synaptic Intelligence: a parameter is important if its motion lowered the loss while it moved little.

F. Zenke, B. Poole, S. Ganguli, "Continual Learning Through Synaptic Intelligence", ICML 2017. At the end of an experience, with the path
integral w, the displacement D from the previous centre and the damping xi,

    importance <- max(0, importance + w / (D^2 + xi)),    centre <- theta
    penalty = strength * sum importance (theta - centre)^2

The clipping at 0 stands in the authors' code; there is no factor 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scenarios.options import option
from strategies.networks.network import Network
from strategies.penalties.flat import Flat
from strategies.penalties.path_integral import PathIntegral, curvature
from strategies.penalties.penalty import Penalty, PenaltyStrategy
from strategies.penalties.quadratic import Quadratic
from strategies.penalties.strength import Scale, Strength

DEFAULT = (0.01, 1.0)
"""Strength unless given, in the conventions `mean` and `published`."""


@dataclass(frozen=True, kw_only=True)
class SiConfig:
    """Options of `si`.

    Attributes:
        strength: c, the weight of the penalty; 0.01 (scale mean) or 1 (published) unless given.
        scale: what importances are measured in: mean, divided by their mean, or published, as they are; unless given, mean where no
            strength is given and published where one is.
        xi: damping of the importance of parameters that hardly moved.
    """

    strength: float | None = option(None, low=0)
    scale: Scale | None = None
    xi: float = option(0.1, low=0)


class SiPenalty(Quadratic):
    """The penalty of SI; kept for each parameter: importance, centre and path integral.

    Args:
        flat: the parameters.
        config: the options.
    """

    def __init__(self, flat: Flat, config: SiConfig) -> None:
        super().__init__(flat, Strength.of(config, *DEFAULT))
        self.xi = config.xi
        self.path = PathIntegral(flat, self.centre)

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
        self.path.before_step()
        if not self.asleep:
            self.path.penalise(self.importance, 2 * self.factor)

    def after_step(self) -> None:
        """Add the step to the path."""
        self.path.after_step()

    def after_experience(self) -> None:
        """Add the experience's importance and move the centre."""
        now = self.flat.read()
        displacement = now - self.centre.flat
        self.importance.flat.add_(curvature(self.path.total.flat, displacement, self.xi)).clamp_(min=0)
        self.centre.flat.copy_(now)
        self.consolidated()

    def state_dict(self) -> dict[str, Any]:
        """The quadratic and the path so far.

        Returns:
            Tensors and the number of experiences that have been consolidated.
        """
        return {**super().state_dict(), "path": self.path.total.flat}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.path.total.flat.copy_(state["path"])
        self.path.refresh()

    def report(self) -> dict[str, Any]:
        """The convention of the strength.

        Returns:
            Names to plain values.
        """
        return {"penalty": "strength * sum(importance * (theta - centre)^2)", **self.strength.report()}


class Si(PenaltyStrategy):
    """Synaptic Intelligence."""

    Config = SiConfig

    def build_penalty(self) -> Penalty:
        """Make the penalty.

        Returns:
            The penalty of SI.
        """
        return SiPenalty(Flat(self.network.parameters()), self.config)
