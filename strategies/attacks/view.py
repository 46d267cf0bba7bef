"""What an adversary is shown: copies and samples, never the victim's own tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from scenarios.experience import Examples, Experience, Scenario
from scenarios.random import Randomness
from strategies.answering import Answering


class KnownDefence(Protocol):
    """What an adversary that knows the defence reckons with: pure functions, differentiable where that is said."""

    def seen(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """What the network is shown instead of images, differentiable.

        Args:
            pixels: [B, C, H, W] in [0, 1].
            generator: of the adversary's.

        Returns:
            [B, C, H, W].
        """

    def shaped(self, gradients: Sequence[Tensor], trusted: Sequence[Tensor] | None) -> list[Tensor]:
        """What the victim's step follows instead of its gradient, differentiable.

        Args:
            gradients: of the new experience's loss.
            trusted: of the loss on what the defence trusts; None where it trusts nothing.

        Returns:
            As many gradients.
        """

    def trusted(self) -> Examples | None:
        """The examples that the defence trusts.

        Returns:
            Examples of earlier experiences; None where it keeps none.
        """

    def conspicuous(self, model: Answering, x: Tensor, clean: Tensor, task: int, alignment: Tensor | None) -> Tensor | None:
        """How much altered images stand out to the defence, differentiable.

        Args:
            model: the network.
            x: [B, C, H, W], altered and normalised.
            clean: [B, C, H, W], the same unaltered.
            task: their experience.
            alignment: cosine of the batch's gradient and the trusted one; None where there is none.

        Returns:
            A scalar that the adversary lowers beside its objective; None where nothing stands out.
        """


@dataclass
class AdversaryView:
    """What an adversary sees before an experience, or before a step.

    Attributes:
        scenario: the stream, as it is without any adversary.
        experience: what the victim is about to learn, or is learning.
        examples: its training examples, as the stream gives them.
        randomness: the adversary's own.
        victim: a copy of the victim's network as it stands; None without white-box access.
        importance: what the victim thinks its parameters worth, in the network's order; None where that is not known.
        fresh: a newly initialised network of the victim's architecture, for a surrogate; None without such access.
        defence: what the adversary knows of the defence; None where it knows none.
        step: steps that the victim has made in this experience.
        kept: what the adversary keeps from step to step.
    """

    scenario: Scenario
    experience: Experience
    examples: Examples
    randomness: Randomness
    victim: Answering | None = None
    importance: list[Tensor] | None = None
    fresh: Answering | None = None
    defence: KnownDefence | None = None
    step: int = 0
    kept: dict[str, Any] = field(default_factory=dict)

    def generator(self, *purpose: str | int) -> torch.Generator:
        """A generator of the adversary's own, for this experience.

        Args:
            purpose: what the numbers are for.

        Returns:
            The generator, on the CPU.
        """
        return self.randomness.generator("attack", self.experience.index, *purpose)

    def normalised(self, pixels: Tensor) -> Tensor:
        """The network's input, differentiable.

        Args:
            pixels: [B, C, H, W] in [0, 1].

        Returns:
            [B, C, H, W].
        """
        storage = self.examples.storage
        x = pixels * (255 * storage.scale.to(pixels.dtype)) + storage.shift.to(pixels.dtype)
        return x.contiguous(memory_format=torch.channels_last) if storage.channels_last else x

    def outputs(self, task: int) -> range:
        """The outputs that decide about an experience's images while the present one is learned.

        Args:
            task: an experience up to the present one.

        Returns:
            Its own outputs in setting `task`, else those of all seen so far.
        """
        return self.scenario.experiences[task].outputs if self.scenario.setting == "task" else self.scenario.in_play(self.experience.index)
