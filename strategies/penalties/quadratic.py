"""The symmetric quadratic penalty, which EWC, online EWC, SI and MAS share.

    penalty = factor * (sum_k importance_k (theta_k - centre_k)^2 + offset)

with a factor that `strategies.penalties.strength` makes of the strength.

It covers every parameter of the network, the blocks of the head included. A block that is out of play has no gradient, gets none from the
penalty, and does not move; so in setting `task` the heads of other experiences contribute 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from strategies.networks.network import Network
from strategies.penalties.flat import Flat
from strategies.penalties.penalty import Penalty
from strategies.penalties.strength import Strength


class Quadratic(Penalty):
    """A quadratic penalty; a method says in `after_experience` what the importance and the centre become.

    Kept for each parameter: importance and centre, and one number of work space.

    Args:
        flat: the parameters.
        strength: the penalty's; 0 leaves the training exactly as it is.
        share: the method's own factor before the strength.
    """

    def __init__(self, flat: Flat, strength: Strength, share: float = 1.0) -> None:
        self.flat = flat
        self.strength = strength
        self.share = share
        self.importance = flat.zeros()
        self.centre = flat.zeros()
        self.offset = self.importance.flat.new_zeros(())
        self.experiences = 0
        self._work = flat.zeros().views
        self._fix_factor()

    def consolidated(self) -> None:
        """One experience more is in importance and centre."""
        self.experiences += 1
        self._fix_factor()

    def _fix_factor(self) -> None:
        self.factor = self.share * self.strength.factor(self.importance.flat, self.experiences)

    def before_experience(self, model: Network) -> None:
        """Nothing is to be done.

        Args:
            model: the network.
        """

    @property
    def asleep(self) -> bool:
        """Whether there is nothing to add."""
        return self.factor == 0 or self.experiences == 0

    @property
    def meant_to_act(self) -> bool:
        """Whether there is an experience to keep, and a strength that is not 0."""
        return self.strength.value > 0 and self.experiences > 0

    @torch.no_grad()
    def add_gradient_(self) -> None:
        """Add 2 factor importance (theta - centre) to the gradients, once there is an importance."""
        if self.asleep:
            return
        places = self.flat.in_play()
        moved = [self._work[place] for place in places]
        for place, out in zip(places, moved):
            torch.sub(self.flat.parameters[place], self.centre.views[place], out=out)
        importance = [self.importance.views[place] for place in places]
        torch._foreach_addcmul_(self.flat.gradients(places), importance, moved, value=2 * self.factor)

    def value(self) -> Tensor:
        """The penalty at the present parameters.

        Returns:
            A scalar.
        """
        return self.factor * ((self.importance.flat * (self.flat.read() - self.centre.flat) ** 2).sum() + self.offset)

    def state_dict(self) -> dict[str, Any]:
        """Importance, centre and offset.

        Returns:
            Tensors and the number of experiences that have been consolidated.
        """
        return {
            "importance": self.importance.flat,
            "centre": self.centre.flat,
            "offset": self.offset,
            "experiences": self.experiences,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.importance.flat.copy_(state["importance"])
        self.centre.flat.copy_(state["centre"])
        self.offset.copy_(state["offset"])
        self.experiences = state["experiences"]
        self._fix_factor()
