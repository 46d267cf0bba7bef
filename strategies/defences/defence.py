"""What every defence has: options, and the places where it may step in.

A defence belongs to the learner's side. It may look at what arrives (`detect`, `filter`), change pixels at training and at test
(`preprocess`), change training batches (`transform`), and change the gradient between backward and step (`constrain`). What it never has is
an adversary's secret: which examples are altered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from scenarios.experience import Batch, Experience
from strategies.base import NoOptions, Setup, Strategy


class Defence:
    """The ground of all defences: does nothing.

    Args:
        config: the options.
    """

    Config: ClassVar[type] = NoOptions
    settings: ClassVar[frozenset[str]] = frozenset({"task", "domain", "class"})
    """Settings of scenarios that it can work in."""

    strategy: Strategy

    def __init__(self, config: Any) -> None:
        self.config = config

    def prepare(self, strategy: Strategy) -> None:
        """Take its place beside a learner.

        Args:
            strategy: the learner, prepared.
        """
        self.strategy = strategy

    @property
    def setup(self) -> Setup:
        """What the learner was prepared with."""
        return self.strategy.setup

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Change pixels, at training and at test alike; a pure function.

        Args:
            pixels: uint8 [B, C, H, W].

        Returns:
            uint8 [B, C, H, W].
        """
        return pixels

    def detect(self, experience: Experience) -> Tensor | None:
        """Score what arrives.

        Args:
            experience: what is about to be learned, as it arrives.

        Returns:
            [n], higher for what is more likely to be altered; None for a defence that does not look.
        """
        return None

    def filter(self, experience: Experience, scores: Tensor | None) -> Tensor | None:
        """Choose what is learned from.

        Args:
            experience: what is about to be learned, as it arrives.
            scores: what `detect` gave.

        Returns:
            int64, positions of the training examples that are kept, ascending; None for all.
        """
        return None

    def transform(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change a training batch.

        Args:
            batch: the batch.
            generator: of this step, on the CPU.

        Returns:
            The batch that is learned from.
        """
        return batch

    def constrain(self, batch: Batch, parameters: Sequence[torch.nn.Parameter], generator: torch.Generator) -> None:
        """Change the gradient of the learner's loss, in place, before penalties are added and the step is made.

        Args:
            batch: what the gradient is of.
            parameters: what the step moves; those out of play have no gradient.
            generator: of this step, on the CPU.
        """

    def begin(self, experience: Experience) -> None:
        """An experience is about to be learned.

        Args:
            experience: what is left of it after `filter`.
        """

    def end(self, experience: Experience) -> None:
        """An experience has been learned.

        Args:
            experience: the same.
        """

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit.

        Returns:
            Nested dictionaries, lists and tuples of tensors and plain values.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """

    def report(self) -> dict[str, Any]:
        """What belongs into the run's summary.

        Returns:
            Names to plain values.
        """
        return {}
