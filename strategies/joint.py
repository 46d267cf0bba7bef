"""Joint training: the upper bound that continual learning is measured against.

At every experience a new network is trained on the union of all training sets met so far, as if all of it had been there at once. Nothing
is left of the order in which the data came, so row i of the accuracy matrix is what this network can reach on experiences 0..i. It starts
from the run's initial weights each time and takes as many passes as one experience gets, or as many steps as those experiences would have
got together (`train.iterations` each): at the end it has made as many steps as fine-tuning on one after the other.

All rows together take about half as many steps again as there are experiences; `strategy.when=last` trains once, on everything, and leaves
the earlier rows empty: the same bound on average accuracy, and no word on forgetting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from scenarios.experience import Experience, concatenate
from strategies.base import Setup, Strategy
from strategies.phase import Phase, Update


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """Options of joint training.

    Attributes:
        when: train anew after every experience, or once after the last.
    """

    when: Literal["every", "last"] = "every"


class Joint(Strategy):
    """A new network, trained on all data met so far."""

    Config = JointConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network.

        Args:
            setup: what the learner will meet, and how it is trained.
        """
        super().prepare(setup)
        self.trained = False

    def phases(self, experience: Experience) -> list[Phase]:
        """Train anew on everything.

        Args:
            experience: the newest experience.

        Returns:
            One phase; none where the training comes later.
        """
        if self.config.when == "last" and experience.index + 1 < len(self.setup.scenario):
            return []
        met = self.setup.scenario.experiences[: experience.index + 1]
        examples = concatenate([earlier.train for earlier in met])
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
        self.trained = True

    def answers(self, task: int) -> bool:
        """Whether the network has been trained, where that happens once.

        Args:
            task: the experience.

        Returns:
            True, except before the training of `when=last`.
        """
        return self.trained or self.config.when == "every"

    def state_dict(self) -> dict[str, Any]:
        """The network, and whether it has been trained.

        Returns:
            Tensors and a truth value.
        """
        return {**super().state_dict(), "trained": self.trained}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.trained = state["trained"]
