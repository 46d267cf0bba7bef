"""Experience replay: each batch of the new experience is joined by a batch of remembered examples, and both count alike.

The memory is a reservoir (Vitter 1985): whatever the stream's length, each example met so far is in it with the same probability. Loss and
sampling are those of Chaudhry et al. 2019, *On tiny episodic memories in continual learning* (arXiv 1902.10486), with boundaries known: the
memory takes up an experience when it has been learned, so an experience is not replayed to itself.

What is kept are rows of the training set's storage, not images. Replayed examples are drawn pass by pass from shuffled rounds through the
memory, from a generator of their own: without memory, training is naive fine-tuning bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from scenarios.batches import BatchSource, GeneratorFor, Shuffled, augmenter
from scenarios.experience import Batch, Examples, Experience, concatenate
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.phase import Phase, Update


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Options of `replay`.

    Attributes:
        memory: examples kept in total; 0 is fine-tuning.
        batch_size: remembered examples that join each batch; as many as `train.batch_size` unless given.
    """

    memory: int = option(500, low=0)
    batch_size: int | None = option(None, low=1)


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
        old = len(self.new.examples) + self._rounds(generator_for("replay")).to(both.rows.device)
        for positions, remembered in zip(self.new.order(generator_for), old):
            yield both.batch(torch.cat([positions, remembered]), augment)

    def _rounds(self, generator: torch.Generator) -> Tensor:
        # int64 [batches, size]: positions in the memory, from as many shuffled rounds through it as it takes; none is twice in a batch.
        size = min(self.batch_size, len(self.memory))
        whole = len(self.memory) // size
        rounds = -(-len(self) // whole)
        drawn = torch.rand(rounds, len(self.memory), generator=generator).argsort(1)
        return drawn[:, : whole * size].reshape(-1, size)[: len(self)]


def reservoir(kept: Tensor, met: int, new: int, size: int, generator: torch.Generator) -> Tensor:
    """Let a stream's next examples into a reservoir (Vitter's algorithm R, for all of them at once).

    Example t of the stream (from 0) takes a place drawn from 0..t, if the reservoir has that place; of several that want one place, the
    last has it.

    Args:
        kept: int64 [n], the numbers (in the stream) of the examples in the reservoir.
        met: how many examples the stream has had.
        new: how many come now; their numbers are met, ..., met + new - 1.
        size: places in the reservoir.
        generator: where the places come from.

    Returns:
        int64 [min(size, met + new)], the numbers of the examples that are in it now.

    Example:
        >>> reservoir(torch.tensor([], dtype=torch.int64), 0, 3, 5, torch.Generator())
        tensor([0, 1, 2])
    """
    numbers = torch.arange(met, met + new)
    places = (torch.rand(new, generator=generator, dtype=torch.float64) * (numbers + 1)).long()
    places = torch.where(numbers < size, numbers, places)
    wanted = places < size
    result = torch.full((min(size, met + new),), -1, dtype=torch.int64)
    result[: len(kept)] = kept
    return result.scatter_reduce_(0, places[wanted], numbers[wanted], "amax")


class Replay(Strategy):
    """Fine-tuning on new examples together with remembered ones."""

    Config = ReplayConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing remembered.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self._met = 0
        self._remember(torch.zeros(0, dtype=torch.int64), setup.scenario.experiences[0].train)

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the experience and the memory, then let the experience into the memory.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        new = self.shuffled(experience.train)
        batches: BatchSource = new
        if len(self.memory):
            batches = WithReplay(new, self.memory, self.config.batch_size or self.setup.train.batch_size)
        update = Update(loss=self.loss, parameters=self.network.parameters)
        return [Phase(name="train", batches=batches, updates=(update,), end=lambda: self._take_up(experience))]

    def _take_up(self, experience: Experience) -> None:
        generator = self.setup.randomness.generator("buffer", experience.index)
        new = len(experience.train)
        kept = reservoir(self._numbers, self._met, new, self.config.memory, generator)
        fresh = kept >= self._met
        positions = torch.where(fresh, kept - self._met + len(self.memory), torch.arange(len(kept)))
        self._met += new
        self._remember(kept, concatenate([self.memory, experience.train]).select(positions.to(self.memory.rows.device)))

    def _remember(self, numbers: Tensor, examples: Examples) -> None:
        self._numbers = numbers
        self.memory = replace(examples.select(torch.arange(len(numbers), device=examples.rows.device)), task=None)

    def state_dict(self) -> dict[str, Any]:
        """The network and the memory.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        memory = {"rows": self.memory.rows, "targets": self.memory.targets, "tasks": self.memory.tasks}
        return {**super().state_dict(), "memory": memory, "numbers": self._numbers, "met": self._met}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        storage = self.setup.scenario.experiences[0].train.storage
        device = self.setup.device
        rows, targets, tasks = (state["memory"][name].to(device) for name in ("rows", "targets", "tasks"))
        self._met, self._numbers = state["met"], state["numbers"].cpu()
        self.memory = Examples(storage, rows, targets, tasks)

    def report(self) -> dict[str, Any]:
        """The memory's size.

        Returns:
            Examples kept, and the bytes that their images take.
        """
        bytes_each = prod(self.setup.scenario.input_shape)
        return {"replay_memory": {"examples": len(self.memory), "bytes": len(self.memory) * bytes_each}}
