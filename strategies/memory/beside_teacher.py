"""What iCaRL, BiC and LUCIR share: herded exemplars beside the network as it was before an experience, kept while that is learned."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any

from scenarios.batches import BatchSource
from scenarios.experience import Batch, Examples, Experience, concatenate
from strategies.base import Setup
from strategies.memory.buffer import Policy
from strategies.memory.rehearsal import Rehearsal
from strategies.phase import Phase, Step, Update
from strategies.soft_targets import Teacher


class BesideTeacher(Rehearsal):
    """Rehearsal of herded exemplars beside a teacher, in setting class."""

    settings = frozenset({"class"})

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing remembered and no teacher.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.teacher = Teacher(self.network)

    @property
    def policy(self) -> Policy:
        """Which examples are kept."""
        return "herding"

    def joined(self, examples: Examples) -> BatchSource:
        """Batches of new examples and exemplars.

        Args:
            examples: the new examples.

        Returns:
            Passes over both.
        """
        return self.shuffled(concatenate([examples, self.memory]) if len(self.memory) else examples)

    def known_before(self, experience: Experience) -> int:
        """How many outputs are older than an experience.

        Args:
            experience: what is to be learned.

        Returns:
            The number, 0 for the first.
        """
        return self.setup.scenario.experiences[experience.index - 1].outputs.stop if experience.index else 0

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the experience and all exemplars beside the old network, then choose exemplars.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        old = self.known_before(experience)
        update = Update(loss=partial(self.loss_beside_teacher, old=old), parameters=self.network.parameters)
        begin = partial(self.start, experience, old) if old else None
        return [
            Phase(name="train", batches=self.joined(experience.train), updates=(update,), begin=begin, end=partial(self.close, experience))
        ]

    @abstractmethod
    def loss_beside_teacher(self, batch: Batch, old: int) -> Step:
        """What training minimises.

        Args:
            batch: new examples and exemplars.
            old: how many outputs are old.

        Returns:
            The step.
        """

    def start(self, experience: Experience, old: int) -> None:
        """Keep the network as it is for a teacher, before there is training on an experience that is not the first.

        Args:
            experience: what is to be learned.
            old: how many outputs are old.
        """
        self.teacher.keep()

    def close(self, experience: Experience) -> None:
        """Let the teacher go, and the experience into the memory.

        Args:
            experience: what has been learned.
        """
        self.teacher.drop()
        self.take_up(experience)

    def state_dict(self) -> dict[str, Any]:
        """The network, the exemplars and, while it is learning, the old network.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {**super().state_dict(), "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.teacher.load_state_dict(state["teacher"])
