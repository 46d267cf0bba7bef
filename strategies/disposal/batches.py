"""What a step of disposal learns from: a batch of the target beside one of the source, each with randomness of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from scenarios.augmentation import Augmentation
from scenarios.batches import GeneratorFor, Shuffled, augmenter
from scenarios.experience import Batch, Examples


class Pair(NamedTuple):
    """One step's examples.

    Attributes:
        target: what is kept.
        source: what is disposed of.
    """

    target: Batch
    source: Batch


@dataclass(frozen=True, eq=False)
class Pairs:
    """Passes over the target, a batch of the source beside each of its batches.

    The source is shuffled when a pass begins and whenever it is used up, so that no example comes twice in a batch. Its randomness is its
    own: a disposal of weight 0 sees the target's batches as training without a source does.

    Attributes:
        target: the target's examples.
        source: the source's examples, at least one batch of them.
        target_batch: examples of the target a step.
        source_batch: examples of the source a step.
        augmentation: what is done to the pixels of both.
    """

    target: Examples
    source: Examples
    target_batch: int
    source_batch: int
    augmentation: Augmentation = "none"

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def _targets(self) -> Shuffled:
        return Shuffled(self.target, self.target_batch, self.augmentation)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Pair]:
        """One pass over the target.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The pairs.
        """
        for target, source in zip(self._targets.epoch(generator_for), self._sources(generator_for)):
            yield Pair(target, source)

    def _sources(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        generator = generator_for("source order")
        augment = augmenter(self.augmentation, generator_for("source augmentation"))
        whole = len(self.source) // self.source_batch * self.source_batch
        while True:
            order = torch.randperm(len(self.source), generator=generator)[:whole].to(self.source.rows.device)
            for positions in order.split(self.source_batch):
                yield self.source.batch(positions, augment)
