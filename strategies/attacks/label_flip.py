"""`label-flip`: a control with wrong labels. Some of the target's training images join the new experience's data, wrongly labelled.

The dirty-label control of Li & Ditzler (IJCNN 2022), as a student's reproduction reports it: a tenth of the target's samples. It needs no
model, only the target's data and the power to add examples; images stay as they are, so there is no noise of its size to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from scenarios.errors import UserError
from scenarios.experience import Examples, Scenario, concatenate
from scenarios.options import option
from strategies.attacks.adversary import Adversary, AttackConfig
from strategies.attacks.crafting import sampled
from strategies.attacks.objectives import flipped
from strategies.attacks.view import AdversaryView


@dataclass(frozen=True, kw_only=True)
class LabelFlipConfig(AttackConfig):
    """Options of `label-flip`.

    Attributes:
        fraction: the share of the target's training examples that are added to each changed experience.
    """

    fraction: float = option(0.1, low=0, high=1)


class LabelFlip(Adversary):
    """Adds the target's images under wrong labels."""

    Config = LabelFlipConfig
    settings: ClassVar[frozenset[str]] = frozenset({"domain", "class"})

    def prepare(self, scenario: Scenario) -> None:
        """Settle which experiences are changed.

        Args:
            scenario: the stream.

        Raises:
            UserError: the target has one class alone.
        """
        super().prepare(scenario)
        if len(scenario.experiences[self.config.target].outputs) < 2:
            raise UserError("label-flip needs two classes in the target; choose another attack.target")

    def poison(self, view: AdversaryView) -> Examples:
        """Add the target's images.

        Args:
            view: what the adversary sees: both experiences' examples.

        Returns:
            The examples, and the added ones after them.
        """
        target = view.scenario.experiences[self.config.target]
        added = sampled(target.train, round(self.config.fraction * len(target.train)), view.generator("chosen"))
        here = replace(added, tasks=torch.full_like(added.tasks, view.experience.index), task=view.experience.index)
        here = replace(here, targets=flipped(added.targets, target.outputs, view.generator("flip")))
        shown = here.altered(torch.arange(len(here), device=here.rows.device), added.raw_pixels())
        return concatenate([view.examples, shown])
