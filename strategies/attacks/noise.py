"""Random noise within the ball: the control that every bounded attack has to be held against.

Comparing an attack with clean data alone overstates it, since changes of the same size in random directions cost accuracy too.
"""

from __future__ import annotations

from scenarios.experience import Examples
from strategies.attacks.adversary import BoundedAdversary, BoundedConfig
from strategies.attacks.view import AdversaryView


class Noise(BoundedAdversary):
    """Random changes of full size."""

    Config = BoundedConfig
    settings = BoundedAdversary.settings | {"episodic"}

    def control(self) -> None:
        """It is the control itself."""
        return None

    def poison(self, view: AdversaryView) -> Examples:
        """Change the chosen examples at random.

        Args:
            view: what the adversary sees: the examples alone.

        Returns:
            The altered examples.
        """
        positions = self.chosen(view)
        pixels = view.examples.raw_pixels(positions)
        delta = self.ball.random(pixels.float(), view.generator("noise"))
        return view.examples.altered(positions, self.ball.altered(delta, pixels))
