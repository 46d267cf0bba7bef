"""Rehearsal at boundaries: a memory takes up each experience when it has been learned, and is learned from beside the next ones.

What is kept are rows of the training set's storage, not images: a batch of new and remembered examples is gathered, augmented and
normalised in one go. Replayed examples are drawn pass by pass from shuffled rounds through the memory, from a generator of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.batches import BatchSource, GeneratorFor, Shuffled, augmenter
from scenarios.experience import Batch, Examples, Experience, Origin, concatenate
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.memory.buffer import Buffer, Known, Policy
from strategies.phase import Phase, Update

ASKING_BATCH = 512
"""Examples a pass of the network when a policy asks for features or losses."""


@dataclass(frozen=True, kw_only=True)
class RehearsalConfig:
    """Options of methods with a memory.

    Attributes:
        memory: examples kept in total; 0 is fine-tuning.
        batch_size: remembered examples that join each batch; as many as `train.batch_size` unless given.
        buffer: which examples are kept: reservoir, all alike; balanced, as many of each class; greedy, the same, first come first
            served; herding, those nearest to their class's mean feature; or loss-aware, rather those of high loss.
    """

    memory: int = option(500, low=0)
    batch_size: int | None = option(None, low=1)
    buffer: Policy = "reservoir"


@dataclass(frozen=True, eq=False)
class WithReplay:
    """Passes over new examples in which every batch is joined by remembered ones.

    Attributes:
        new: the new experience's batches.
        memory: the remembered examples; at least one.
        batch_size: how many of them join a batch; all of them where there are fewer.
    """

    new: Shuffled
    memory: Examples
    batch_size: int

    def __len__(self) -> int:
        return len(self.new)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass over the new examples.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches, new examples first.
        """
        both = concatenate([self.new.examples, self.memory])
        augment = augmenter(self.new.augmentation, generator_for("augmentation"))
        slots = self._rounds(generator_for("replay")).to(both.rows.device)
        met, remembered = self.new.examples.present, self.memory.present
        for positions, drawn in zip(self.new.order(generator_for), slots):
            chosen = torch.cat([positions, drawn + len(self.new.examples)])
            batch = both.batch(chosen, augment)
            yield batch._replace(origin=Origin(len(positions), both.rows[chosen], drawn, met, remembered))

    def _rounds(self, generator: torch.Generator) -> Tensor:
        # int64 [batches, size]: positions in the memory, from as many shuffled rounds through it as it takes; none is twice in a batch.
        size = min(self.batch_size, len(self.memory))
        whole = len(self.memory) // size
        rounds = -(-len(self) // whole)
        drawn = torch.rand(rounds, len(self.memory), generator=generator).argsort(1)
        return drawn[:, : whole * size].reshape(-1, size)[: len(self)]


def divided(batch: Batch, setting: str) -> tuple[Batch, Batch]:
    """Take a batch of new and remembered examples apart.

    Args:
        batch: the batch, with its origin.
        setting: of the scenario; with task labels, each part looks at its own experiences' outputs alone.

    Returns:
        The new examples and the remembered ones.
    """
    assert batch.origin is not None
    n, met, remembered = batch.origin.new, batch.origin.met, batch.origin.remembered
    if setting != "task":
        met = remembered = batch.present
    task = met[0] if len(met) == 1 else batch.task
    new = Batch(batch.x[:n], batch.y[:n], batch.tasks[:n], task, met)
    old_task = remembered[0] if len(remembered) == 1 and setting == "task" else batch.task
    return new, Batch(batch.x[n:], batch.y[n:], batch.tasks[n:], old_task, remembered)


class Remembering(Strategy):
    """A learner with a memory, whatever kind it is of."""

    buffer: Any

    def state_dict(self) -> dict[str, Any]:
        """The network and the memory.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {**super().state_dict(), "buffer": self.buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.buffer.load_state_dict(state["buffer"])

    def report(self) -> dict[str, Any]:
        """The memory's size.

        Returns:
            Examples kept, and the bytes that their images and what is kept beside them take.
        """
        return {**super().report(), "replay_memory": self.buffer.report()}


class Rehearsal(Remembering):
    """Fine-tuning on new examples together with remembered ones."""

    Config: ClassVar[type] = RehearsalConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing remembered.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.buffer = Buffer(self.config.memory, self.policy, setup)

    @property
    def policy(self) -> Policy:
        """Which examples are kept."""
        return self.config.buffer

    @property
    def memory(self) -> Examples:
        """The remembered examples."""
        return self.buffer.memory

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the experience and the memory, then let the experience into the memory.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        batches = self.joined(experience.train)
        return [Phase(name="train", batches=batches, updates=(self.update(),), end=lambda: self.take_up(experience))]

    def joined(self, examples: Examples) -> BatchSource:
        """Batches of new examples, joined by remembered ones once there are any.

        Args:
            examples: the new examples.

        Returns:
            The source of batches.
        """
        new = self.shuffled(examples)
        return WithReplay(new, self.memory, self.config.batch_size or self.setup.train.batch_size) if len(self.memory) else new

    def update(self) -> Update:
        """What a step does.

        Returns:
            The update.
        """
        return Update(loss=self.loss, parameters=self.network.parameters)

    def take_up(self, experience: Experience) -> None:
        """Let an experience into the memory.

        Args:
            experience: what has been learned.
        """
        generator = self.setup.randomness.generator("buffer", experience.index)
        self.buffer.take_up(experience.train, generator, Known(self.features_of, self.losses_of))

    @torch.no_grad()
    def features_of(self, examples: Examples) -> Tensor:
        """What the head sees of examples, in evaluation mode.

        Args:
            examples: the examples.

        Returns:
            [n, F].
        """
        return torch.cat([self.features(part.x) for part in _in_parts(examples)])

    @torch.no_grad()
    def losses_of(self, examples: Examples) -> Tensor:
        """Cross-entropies of examples in the network as it is, in evaluation mode.

        Args:
            examples: the examples.

        Returns:
            [n].
        """
        self.network.eval()
        steps = [Strategy.loss(self, part) for part in _in_parts(examples)]
        return torch.cat([functional.cross_entropy(s.logits, s.targets, reduction="none") for s in steps])  # type: ignore[arg-type]


def _in_parts(examples: Examples) -> Iterator[Batch]:
    for start in range(0, len(examples), ASKING_BATCH):
        yield examples.batch(slice(start, start + ASKING_BATCH))
