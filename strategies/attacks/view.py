"""What an adversary is shown: copies and samples, never the victim's own tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from scenarios.experience import Examples, Experience, Scenario
from scenarios.random import Randomness
from strategies.answering import Answering


@dataclass
class AdversaryView:
    """What an adversary sees before an experience, or before a step.

    Attributes:
        scenario: the stream, as it is without any adversary.
        experience: what the victim is about to learn, or is learning.
        examples: its training examples, as the stream gives them.
        randomness: the adversary's own.
        victim: a copy of the victim's network as it stands; None without white-box access.
        fresh: a newly initialised network of the victim's architecture, for a surrogate; None without such access.
        step: steps that the victim has made in this experience.
    """

    scenario: Scenario
    experience: Experience
    examples: Examples
    randomness: Randomness
    victim: Answering | None = None
    fresh: Answering | None = None
    step: int = 0
    kept: dict[str, object] = field(default_factory=dict)

    def generator(self, *purpose: str | int) -> torch.Generator:
        """A generator of the adversary's own, for this experience.

        Args:
            purpose: what the numbers are for.

        Returns:
            The generator, on the CPU.
        """
        return self.randomness.generator("attack", self.experience.index, *purpose)
