"""`gradient-filter`: examples whose gradients point against those of trusted examples are left out.

A combination of our own (an inference, not a published method): after a warm-up pass of a copy of the network, each example's gradient is
compared with that of the trusted memory, and the share of lowest cosines is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.experience import Experience
from scenarios.options import option
from strategies.defences.filtering import WarmupConfig, warmed, without_lowest
from strategies.defences.memory import Aligned, MemoryConfig
from strategies.defences.per_example import cosines


@dataclass(frozen=True, kw_only=True)
class GradientFilterConfig(WarmupConfig, MemoryConfig):
    """Options of `gradient-filter`.

    Attributes:
        share: of an experience's examples that are dropped.
    """

    share: float = option(0.25, low=0, high=0.99)


class GradientFilter(Aligned):
    """Drops what points against the memory."""

    Config = GradientFilterConfig

    def detect(self, experience: Experience) -> Tensor | None:
        """Minus the cosine of each example's gradient and the trusted one.

        Args:
            experience: what is about to be learned.

        Returns:
            [n], or None before anything is trusted.
        """
        if self.memory is None:
            return None
        scenario, task = self.setup.scenario, experience.index
        model = warmed(self.strategy, experience.train, task, self.config.warmup)
        loss = model.loss(self.memory, scenario, task)
        named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        direction = {name: each for name, each in zip(named, found) if each is not None}
        return -cosines(model, experience.train, task, scenario.in_play(task), direction)

    def filter(self, experience: Experience, scores: Tensor | None) -> Tensor | None:
        """Drop the share of highest scores.

        Args:
            experience: what is about to be learned.
            scores: what `detect` gave.

        Returns:
            Positions that are kept, or None.
        """
        return None if scores is None else without_lowest(scores, self.config.share)
