"""GDumb: nothing is learned from the stream but a memory, and a network is trained from scratch on it.

Ameya Prabhu, Philip Torr, Puneet Dokania. *GDumb: a simple approach that questions our progress in continual learning.* ECCV 2020. The
greedy sampler (algorithm 1) keeps as many examples of each class; the "dumb" learner trains a new network on them whenever it is to answer,
here after every experience (`when=every`) or after the last. With a memory of all examples it is `joint`, but for the number of steps:
passes are passes over the memory, and `train.iterations` are those of one training.

The paper trains with a cosine step size and CutMix; here it is as `train.*` says, without CutMix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scenarios.experience import Examples, Experience, concatenate
from scenarios.options import option
from strategies.joint import Joint, JointConfig
from strategies.memory.buffer import class_numbers, greedy, size_of


@dataclass(frozen=True, kw_only=True)
class GdumbConfig:
    """Options of `gdumb`.

    Attributes:
        memory: examples kept in total.
        when: train anew after every experience, or once after the last.
    """

    memory: int = option(500, low=1)
    when: Literal["every", "last"] = "every"


class Gdumb(Joint):
    """A new network, trained on the memory alone.

    Args:
        config: the options.
    """

    Config = GdumbConfig

    def __init__(self, config: GdumbConfig) -> None:
        super().__init__(JointConfig(when=config.when))
        self.config = config

    def gathered(self, met: Sequence[Experience]) -> Examples:
        """The memory: what the sampler has kept of one experience after another.

        Args:
            met: the experiences so far.

        Returns:
            As many examples as there are places, or all.
        """
        memory = met[0].train.select(met[0].train.rows[:0])
        for experience in met:
            both = concatenate([memory, experience.train])
            labels = class_numbers(both, self.setup.scenario).tolist()
            kept = greedy(labels, len(memory), self.config.memory, self.setup.randomness.generator("buffer", experience.index))
            memory = both.select(kept.to(both.rows.device))
        return memory

    def steps(self, met: Sequence[Experience]) -> int | None:
        """How many steps are made where they are counted.

        Args:
            met: the experiences so far.

        Returns:
            As many as `train.*` says.
        """
        return None

    def report(self) -> dict[str, Any]:
        """The memory's size at the end of the stream.

        Returns:
            Examples kept, and the bytes that their images take.
        """
        return {"replay_memory": size_of(len(self.gathered(self.setup.scenario.experiences)), self.setup)}
