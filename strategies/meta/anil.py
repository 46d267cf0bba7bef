"""ANIL: almost no inner loop; only the head adapts (Raghu, Raghu, Bengio & Vinyals, ICLR 2020).

MAML's inner loop on the head's weight and bias alone; the body's features are computed once per episode and shared by all inner steps.
"""

from __future__ import annotations

from strategies.meta.maml import Maml


class Anil(Maml):
    """MAML whose inner loop adapts the head alone."""

    @property
    def adapted(self) -> tuple[str, ...]:
        """The names of the head's weight and bias."""
        return self.net.weights[-2:]
