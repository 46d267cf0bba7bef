"""Joint training: the upper bound that continual learning is measured against.

At every experience a new network is trained on the union of all training sets met so far, as if all of it had been there at once. Nothing
is left of the order in which the data came, so row i of the accuracy matrix is what this network can reach on experiences 0..i. It starts
from the run's initial weights each time and takes as many passes as one experience gets, or as many steps as those experiences would have
got together (`train.iterations` each): at the end it has made as many steps as fine-tuning on one after the other.
"""

from __future__ import annotations

from scenarios.experience import Experience, concatenate
from strategies.mixed import Mixed
from strategies.phase import Phase, Update


class Joint(Mixed):
    """A new network, trained on all data met so far."""

    def phases(self, experience: Experience) -> list[Phase]:
        """Train anew on everything.

        Args:
            experience: the newest experience.

        Returns:
            One phase.
        """
        met = self.setup.scenario.experiences[: experience.index + 1]
        examples = concatenate([earlier.train for earlier in met])
        self.meet(examples)
        iterations = self.setup.train.iterations
        return [
            Phase(
                name="train on all",
                batches=self.shuffled(examples),
                updates=(Update(loss=self.loss, parameters=self.network.parameters),),
                iterations=None if iterations is None else iterations * len(met),
                begin=self._start_anew,
                fresh=True,
            )
        ]

    def _start_anew(self) -> None:
        self.network.load_state_dict(self.setup.build_network().state_dict())
