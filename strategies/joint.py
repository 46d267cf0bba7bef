"""Joint training: the upper bound that continual learning is measured against.

At every experience a new network is trained on the union of all training sets met so far, as if all of it had been there at once. Nothing
is left of the order in which the data came, so row i of the accuracy matrix is what this network can reach on experiences 0..i. It starts
from the run's initial weights each time and takes as many passes as one experience gets, or as many steps as those experiences would have
got together (`train.iterations` each): at the end it has made as many steps as fine-tuning on one after the other.

All rows together take about half as many steps again as there are experiences; `strategy.when=last` trains once, on everything, and leaves
the earlier rows empty: the same bound on average accuracy, and no word on forgetting.

With `strategy.start=current` (or as strategy `cumulative`) it goes on from where it is instead: what a learner reaches that forgets nothing
because it keeps everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from scenarios.experience import Examples, Experience, concatenate
from strategies.base import Setup, Strategy
from strategies.phase import Phase, Update
from strategies.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """Options of joint training.

    Attributes:
        when: train after every experience, or once after the last.
        start: from the initial weights each time, or from the current ones (cumulative training).
    """

    when: Literal["every", "last"] = "every"
    start: Literal["initial", "current"] = "initial"


class Joint(Strategy):
    """A new network, trained on all data met so far.

    Args:
        config: the options.
    """

    Config: ClassVar[type] = JointConfig

    def __init__(self, config: JointConfig) -> None:
        super().__init__(config)
        refuse_unread(config, "strategy", {"start": (config.when == "every", "when=every")})
        self.start: str = config.start

    def prepare(self, setup: Setup) -> None:
        """Build the network.

        Args:
            setup: what the learner will meet, and how it is trained.
        """
        super().prepare(setup)
        self.trained = False

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on everything.

        Args:
            experience: the newest experience.

        Returns:
            One phase; none where the training comes later.
        """
        if self.config.when == "last" and experience.index + 1 < len(self.setup.scenario):
            return []
        met = self.setup.scenario.experiences[: experience.index + 1]
        return [
            Phase(
                name="train on all",
                batches=self.shuffled(self.gathered(met)),
                updates=(Update(loss=self.loss, parameters=self.network.parameters),),
                iterations=self.steps(met),
                begin=self.begin,
                fresh=self.start == "initial",
            )
        ]

    def gathered(self, met: Sequence[Experience]) -> Examples:
        """What is trained on.

        Args:
            met: the experiences so far.

        Returns:
            All their examples.
        """
        return concatenate([each.train for each in met])

    def steps(self, met: Sequence[Experience]) -> int | None:
        """How many steps are made where they are counted.

        Args:
            met: the experiences so far.

        Returns:
            As many for each experience as there would be for one; None where passes are counted.
        """
        iterations = self.setup.train.iterations
        return None if iterations is None else iterations * len(met)

    def begin(self) -> None:
        """Go back to the initial weights, unless training goes on from the current ones."""
        if self.start == "initial":
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
