"""What every defence has: options, and the places where it may step in.

A defence belongs to the learner's side. It may look at what arrives (`detect`, `filter`), change pixels at training and at test
(`preprocess`), change training batches (`transform`), and change the gradient between backward and step (`constrain`). What it never has is
an adversary's secret: which examples are altered.

An adversary that knows the defence (`attack.adaptive`) reckons with it through `seen`, `shaped`, `trusted` and `conspicuous`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from scenarios.experience import Batch, Examples, Experience
from strategies.answering import Answering
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

    def seen(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """What an adversary that knows the defence takes the network to be shown; differentiable.

        A step function's slope is 0 almost everywhere: it is passed through as if it were 1 (Athalye et al. 2018).

        Args:
            pixels: [B, C, H, W] in [0, 1].
            generator: of the adversary's.

        Returns:
            [B, C, H, W].
        """
        with torch.no_grad():
            shown = self.preprocess((pixels * 255).round().clamp(0, 255).to(torch.uint8)).to(pixels) / 255
        return pixels + (shown - pixels).detach()

    def shaped(self, gradients: Sequence[Tensor], trusted: Sequence[Tensor] | None) -> list[Tensor]:
        """What an adversary that knows the defence takes the victim's step to follow; differentiable.

        Args:
            gradients: of the new experience's loss.
            trusted: of the loss on trusted examples; None where there are none.

        Returns:
            As many gradients.
        """
        return list(gradients)

    def trusted(self) -> Examples | None:
        """Examples of earlier experiences that the defence trusts.

        Returns:
            The examples; None for a defence that keeps none.
        """
        return None

    def conspicuous(self, model: Answering, x: Tensor, clean: Tensor, task: int, alignment: Tensor | None) -> Tensor | None:
        """How much altered images stand out to the defence; differentiable.

        Args:
            model: a network of the adversary's.
            x: [B, C, H, W], altered and normalised.
            clean: [B, C, H, W], the same unaltered.
            task: their experience.
            alignment: cosine of the batch's gradient and the trusted one; None where there is none.

        Returns:
            A scalar that an adversary lowers; None for a defence to which nothing stands out.
        """
        return None

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
