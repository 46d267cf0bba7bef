"""After SCRUB (reconstruction): steps away from the transferred network on the source alternate with steps towards it on the target.

M. Kurmanji, P. Triantafillou, J. Hayes, E. Triantafillou. *Towards Unbounded Machine Unlearning.* NeurIPS 2023. A step away raises
KL(teacher || student) on the source, the others lower the retaining loss; in the last part of disposal only the target is learned, as in
the paper. The teacher answers through the old head, which is refitted to it first. The paper alternates by epochs and may rewind to an
earlier checkpoint; here steps alternate and the last iterate counts, as for all disposals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.experience import Batch
from scenarios.options import option
from strategies.base import Setup
from strategies.disposal.batches import Pair
from strategies.disposal.disposal import Disposal, DisposalConfig
from strategies.disposal.outputs import HIGHEST
from strategies.phase import Step
from strategies.soft_targets import distillation, frozen_copy


@dataclass(frozen=True, kw_only=True)
class ScrubConfig(DisposalConfig):
    """Options of `scrub`.

    Attributes:
        away: the first part of disposal, in which every other step leads away from the teacher on the source.
    """

    away: float = option(0.67, low=0, high=1)


class Scrub(Disposal):
    """Alternate between leaving the teacher on the source and following it on the target."""

    Config = ScrubConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, with no teacher's head yet.

        Args:
            setup: what the learner will meet, and how it is trained.
        """
        super().prepare(setup)
        self.old_head = frozen_copy(self.source_head)

    def begin(self) -> None:
        """Give the teacher, which is the transferred network, the head that was refitted to it."""
        super().begin()
        self.old_head.load_state_dict(self.source_head.state_dict())

    def dispose_loss(self, batch: Pair) -> Step:
        """One step of either kind.

        Args:
            batch: of target and source.

        Returns:
            The step.
        """
        held = bool(self.gamma) and self.guard.holds(self.step, self.network, self.transferred)
        if self.gamma and not held and self.step % 2 == 0 and self.step < self.config.away * self.config.steps:
            return Step(self.gamma * self.pushed(batch.source))
        return self.keep_loss(batch.target if self.gamma else batch)  # type: ignore[arg-type]

    def term(self, source: Batch) -> Tensor:
        """Minus the clamped divergence from the teacher's answers.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        assert self.transferred is not None
        with torch.no_grad():
            wanted = self.old_head(self.transferred.features(source.x))
        return -distillation(self.source_logits(source.x), wanted, self.config.temperature).clamp(max=HIGHEST)

    def state_dict(self) -> dict[str, Any]:
        """The common state, and the teacher's old head.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {**super().state_dict(), "old_head": self.old_head.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.old_head.load_state_dict(state["old_head"])
