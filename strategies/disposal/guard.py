"""A guard of the target: while it suffers, the source's term waits.

Disposal and target share a trunk, so that a term which is too strong takes the target down with the source. Looked at are validation
examples of the target, never its test set, so that nothing is chosen by what is reported.
"""

from __future__ import annotations

from typing import Any

import torch

from scenarios.errors import UserError
from scenarios.experience import Experience
from strategies.networks.network import Network

EVERY, LOOKED_AT = 10, 1000
"""Steps after which the guard looks again, and at how many examples at most."""


class TargetGuard:
    """Says in which steps the term waits.

    Args:
        allowed: how far accuracy on the target may lie below the transferred network's; None for no guard.
        target: the experience.

    Raises:
        UserError: there is nothing to look at.
    """

    def __init__(self, allowed: float | None, target: Experience) -> None:
        if allowed is not None and not len(target.validation):
            raise UserError("strategy.target_guard needs validation examples of the target; set scenario.validation_share=0.1")
        self.allowed, self.target = allowed, target
        self.held, self.waited = False, 0

    def holds(self, step: int, network: Network, transferred: Network | None) -> bool:
        """Look now and then, and count.

        Args:
            step: of disposal.
            network: as it is.
            transferred: as it was before disposal.

        Returns:
            Whether the step is to be made with the retaining loss alone.
        """
        if self.allowed is None:
            return False
        if step % EVERY == 0:
            assert transferred is not None
            self.held = self._knows(transferred) - self._knows(network) > self.allowed
        self.waited += self.held
        return self.held

    @torch.no_grad()
    def _knows(self, network: Network) -> float:
        batch = self.target.validation.batch(slice(LOOKED_AT))
        training = network.training
        network.eval()
        answers = network.head.narrow(network.features(batch.x), self.target.outputs).argmax(1)
        network.train(training)
        return float((answers == batch.y - self.target.outputs.start).double().mean())

    def state_dict(self) -> dict[str, Any]:
        """How it stands.

        Returns:
            Plain values.
        """
        return {"held": self.held, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.held, self.waited = state["held"], state["waited"]
